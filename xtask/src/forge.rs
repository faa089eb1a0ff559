//! A Git repository as a forge has it: a checkout's k8s/ enters; an origin, and a clone whose changes go there, leave.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::command::{command, output};

pub(crate) struct Forge {
    folder: PathBuf,
}

impl Forge {
    /// Makes it in an empty folder, with that checkout's k8s/ in the clone. Nothing is committed yet.
    ///
    /// # Errors
    /// A folder can't be made, or Git can't.
    pub(crate) fn new(folder: &Path, checkout: &Path) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let forge = Self { folder: folder.to_owned() };
        let mut init = command("git", ["init", "--quiet", "--bare", "--initial-branch=main"]);
        init.arg(forge.origin());
        output(init)?;
        let mut clone = command("git", ["clone", "--quiet"]);
        clone.arg(forge.origin()).arg(forge.work());
        output(clone)?;
        for words in
            [["config", "user.name", "a"], ["config", "user.email", "a@b"], ["switch", "--create", "main"]]
        {
            forge.git(&words)?;
        }
        let mut copy = command("cp", ["-r"]);
        copy.arg(checkout.join("k8s")).arg(forge.work());
        output(copy)?;
        Ok(forge)
    }

    pub(crate) fn origin(&self) -> PathBuf {
        self.folder.join("origin.git")
    }

    /// The clone.
    pub(crate) fn work(&self) -> PathBuf {
        self.folder.join("work")
    }

    /// Runs git in the clone; what it says.
    ///
    /// # Errors
    /// It fails.
    pub(crate) fn git(&self, words: &[&str]) -> Result<String> {
        let mut git = command("git", words);
        git.current_dir(self.work());
        Ok(output(git)?.trim().to_owned())
    }

    /// Puts one text in another's place, which must be there.
    ///
    /// # Errors
    /// It isn't, or the file can't be read or written.
    pub(crate) fn change(&self, file: &str, from: &str, to: &str) -> Result<()> {
        let path = self.work().join(file);
        let text = fs::read_to_string(&path).with_context(|| format!("can't read {file}"))?;
        ensure!(text.contains(from), "{file} has no {from:?}");
        Ok(fs::write(path, text.replace(from, to))?)
    }

    /// Commits all as it is to main, here and in the origin; the commit.
    ///
    /// # Errors
    /// Git fails.
    pub(crate) fn commit(&self, why: &str) -> Result<String> {
        self.git(&["add", "--all"])?;
        self.git(&["commit", "--quiet", "-m", why])?;
        self.pushed()
    }

    /// Tags main's commit, in the origin too.
    ///
    /// # Errors
    /// Git fails.
    pub(crate) fn tag(&self, tag: &str) -> Result<()> {
        self.git(&["tag", tag])?;
        self.git(&["push", "--quiet", "origin", tag]).map(drop)
    }

    /// `k8s/argocd/promote` in the clone.
    pub(crate) fn promote(&self, words: &[&str]) -> Command {
        let mut promote = command(self.work().join("k8s/argocd/promote"), words);
        promote.current_dir(self.work());
        promote
    }

    /// Promotes, and merges as the pull request would; the commit.
    ///
    /// # Errors
    /// It is refused.
    pub(crate) fn promoted(&self, words: &[&str]) -> Result<String> {
        let said = output(self.promote(words))?;
        let branch = said.split("the branch ").nth(1).and_then(|rest| rest.split(' ').next());
        let branch = branch.with_context(|| format!("promote names no branch: {said}"))?;
        self.git(&["merge", "--quiet", "--ff-only", branch])?;
        self.pushed()
    }

    /// Takes what others pushed.
    ///
    /// # Errors
    /// Git fails.
    pub(crate) fn pull(&self) -> Result<()> {
        self.git(&["pull", "--quiet", "--ff-only", "origin", "main"]).map(drop)
    }

    fn pushed(&self) -> Result<String> {
        self.git(&["push", "--quiet", "origin", "main"])?;
        self.git(&["rev-parse", "HEAD"])
    }
}
