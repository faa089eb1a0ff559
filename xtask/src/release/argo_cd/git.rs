//! What an environment runs, as Git has it: a checkout enters; the commit that takes back what the environment got last leaves, on a
//! branch of its own or pushed.
//!
//! Nothing in the checkout's own tree is touched: the revert is made in a worktree beside it, from what the remote has.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use thiserror::Error;

use crate::command::{command, last_lines};

/// Why Git does not lead back.
#[derive(Debug, Error)]
pub(super) enum Wrong {
    #[error("git {words}:\n{said}")]
    Git { words: String, said: String },
    #[error("--main {0:?} should be a remote and its branch, as in origin/main")]
    Main(String),
    #[error(
        "{file} is not on {main}, or has no line targetRevision: --repository should be a checkout of what Argo CD reads"
    )]
    NoLine { file: String, main: String },
    #[error(
        "{file} is the Application {is}, but {name} brings what runs in this namespace: one of ENVIRONMENT and --namespace is another's"
    )]
    Another { file: String, is: String, name: String },
    #[error("on {main} nothing has changed yet what {environment} gets: there is nothing to go back to")]
    Nowhere { environment: String, main: String },
    #[error(
        "{commit} can't be reverted by itself, since later commits changed the same: revert them by hand, newest first\n{said}"
    )]
    Conflict { commit: String, said: String },
    #[error(
        "{branch} can't be pushed to {main}: pushed to meanwhile, the same command again will do; protected, open a pull request\n{said}"
    )]
    Push { branch: String, main: String, said: String },
}

/// What the environment gets.
pub(super) struct Line {
    pub(super) environment: String,
    /// Its Application's name, and where Git has it.
    pub(super) application: String,
    pub(super) file: String,
    /// What its source is made of, which counts where it follows a branch and no line changes.
    pub(super) paths: Vec<String>,
}

/// Where the way back stands.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// That commit is to be taken back.
    Take(Last),
    /// The last change was a way back already, and stands on the branch.
    Gone(Last),
}

/// The last change of what an environment gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Last {
    pub(super) commit: String,
    /// The branch that it is on, without its remote.
    pub(super) branch: String,
    /// The line's revision before it and after it; the branch itself where that is followed.
    pub(super) from: String,
    pub(super) to: String,
}

impl Last {
    /// Does the environment follow a branch? Then its line stays as it is.
    pub(super) fn follows(&self) -> bool {
        self.from == self.to
    }
}

pub(super) struct Repository {
    root: PathBuf,
    remote: String,
    branch: String,
}

impl Repository {
    /// # Errors
    /// `main` is no remote with a branch, or can't be fetched.
    pub(super) fn fetched(root: &Path, main: &str) -> Result<Self, Wrong> {
        let (remote, branch) = main.split_once('/').ok_or_else(|| Wrong::Main(main.to_owned()))?;
        let own = Self { root: root.to_owned(), remote: remote.to_owned(), branch: branch.to_owned() };
        own.git(&["fetch", "--quiet", "--tags", remote])?;
        Ok(own)
    }

    fn main(&self) -> String {
        self.on(&self.branch)
    }

    fn on(&self, branch: &str) -> String {
        format!("{}/{branch}", self.remote)
    }

    /// Where the way back begins or stands.
    ///
    /// # Errors
    /// The line is not there, or never changed.
    pub(super) fn way(&self, line: &Line) -> Result<Way, Wrong> {
        let main = self.main();
        let is = self.value(&main, &line.file, "  name: ").unwrap_or_default();
        let now = self.revision(&main, &line.file);
        let now = now.ok_or_else(|| Wrong::NoLine { file: line.file.clone(), main: main.clone() })?;
        if is != line.application {
            return Err(Wrong::Another { file: line.file.clone(), is, name: line.application.clone() });
        }
        let nowhere = |main: String| Wrong::Nowhere { environment: line.environment.clone(), main };
        if self.commit(&self.on(&now)).is_some() {
            return self.followed(&now, &line.paths)?.ok_or_else(|| nowhere(self.on(&now)));
        }
        let commit = self.last(&main, &["-G^    targetRevision: ", "--", &line.file])?;
        let commit = commit.ok_or_else(|| nowhere(main.clone()))?;
        let before = self.revision(&format!("{commit}^"), &line.file);
        let before = before.filter(|before| *before != now).ok_or_else(|| nowhere(main))?;
        // The rule by which k8s/argocd/promote pauses: it was moved to what is older.
        let back = match (self.commit(&now), self.commit(&before)) {
            (Some(now), Some(before)) => self.is_in(&now, &before),
            _ => false,
        };
        let branch = self.branch.clone();
        Ok(if back {
            Way::Gone(Last { commit, branch, from: before, to: now })
        } else {
            Way::Take(Last { commit, branch, from: now, to: before })
        })
    }

    /// The same where a branch is followed: what was last done to its paths, unless that only undid what was done before it.
    fn followed(&self, branch: &str, paths: &[String]) -> Result<Option<Way>, Wrong> {
        let mut of: Vec<&str> = vec!["--"];
        of.extend(paths.iter().map(String::as_str));
        let Some(commit) = self.last(&self.on(branch), &of)? else { return Ok(None) };
        let Some(parent) = self.commit(&format!("{commit}^")) else { return Ok(None) };
        let undone = match self.last(&parent, &of)?.and_then(|before| self.commit(&format!("{before}^"))) {
            Some(older) => {
                let mut differ = vec!["diff", "--quiet", &older, &commit];
                differ.extend(&of);
                self.git(&differ).is_ok()
            }
            None => false,
        };
        let last = Last { commit, branch: branch.to_owned(), from: branch.to_owned(), to: branch.to_owned() };
        Ok(Some(if undone { Way::Gone(last) } else { Way::Take(last) }))
    }

    /// Makes the revert: its commit, on a branch of that name.
    ///
    /// # Errors
    /// Later commits are in its way.
    pub(super) fn revert(&self, environment: &str, last: &Last) -> Result<(String, String), Wrong> {
        let short = last.commit.get(..10).unwrap_or(&last.commit);
        let branch = format!("back-{environment}-{short}");
        let folder = std::env::temp_dir().join(format!("forebay-{branch}-{}", std::process::id()));
        let tree = Worktree { of: self, folder };
        let place = tree.folder.display().to_string();
        self.git(&["worktree", "add", "--quiet", "-B", &branch, &place, &self.on(&last.branch)])?;
        let reverted = self.git(&["-C", &place, "revert", "--no-edit", &last.commit]);
        reverted.map_err(|error| match error {
            Wrong::Git { said, .. } => Wrong::Conflict { commit: last.commit.clone(), said },
            other => other,
        })?;
        let made = self.git(&["-C", &place, "rev-parse", "HEAD"])?;
        Ok((branch, made))
    }

    /// Pushes it to the branch that it is for.
    ///
    /// # Errors
    /// The remote refuses.
    pub(super) fn push(&self, branch: &str, last: &Last) -> Result<(), Wrong> {
        let to = format!("{branch}:refs/heads/{}", last.branch);
        let pushed = self.git(&["push", "--quiet", &self.remote, &to]);
        pushed.map(drop).map_err(|error| match error {
            Wrong::Git { said, .. } => {
                Wrong::Push { branch: branch.to_owned(), main: self.on(&last.branch), said }
            }
            other => other,
        })
    }

    /// Is that commit in the history of a revision, as Argo CD tells it? One that is not known here may be newer than what was fetched.
    pub(super) fn has(&self, revision: &str, commit: &str) -> bool {
        let known = self.commit(revision).is_some()
            || self.git(&["fetch", "--quiet", &self.remote]).is_ok() && self.commit(revision).is_some();
        known && self.is_in(commit, revision)
    }

    /// The commit that a revision names: a tag or a commit as it is, a branch as the remote has it.
    pub(super) fn commit(&self, revision: &str) -> Option<String> {
        self.git(&["rev-parse", "--verify", "--quiet", &format!("{revision}^{{commit}}")]).ok()
    }

    fn is_in(&self, older: &str, newer: &str) -> bool {
        self.git(&["merge-base", "--is-ancestor", older, newer]).is_ok()
    }

    fn last(&self, on: &str, of: &[&str]) -> Result<Option<String>, Wrong> {
        let mut words = vec!["log", "-1", "--format=%H"];
        // The revision goes before `--`, and after options.
        let split = of.iter().position(|word| *word == "--").unwrap_or(of.len());
        words.extend(&of[..split]);
        words.push(on);
        words.extend(&of[split..]);
        Ok(Some(self.git(&words)?).filter(|commit| !commit.is_empty()))
    }

    fn revision(&self, at: &str, file: &str) -> Option<String> {
        self.value(at, file, "    targetRevision: ")
    }

    /// What follows those words at the begin of a file's line.
    fn value(&self, at: &str, file: &str, words: &str) -> Option<String> {
        let text = self.git(&["show", &format!("{at}:{file}")]).ok()?;
        text.lines().find_map(|line| line.strip_prefix(words)).map(|value| value.trim().to_owned())
    }

    fn git(&self, words: &[&str]) -> Result<String, Wrong> {
        let mut git = command("git", words);
        git.current_dir(&self.root).stdin(Stdio::null());
        let wrong = |said: String| Wrong::Git { words: words.join(" "), said };
        let done = git.output().map_err(|error| wrong(error.to_string()))?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if done.status.success() {
            Ok(text(&done.stdout))
        } else {
            Err(wrong(last_lines(&format!("{}\n{}", text(&done.stdout), text(&done.stderr)))))
        }
    }
}

/// A tree that is gone when it is dropped; its branch stays.
struct Worktree<'a> {
    of: &'a Repository,
    folder: PathBuf,
}

impl Drop for Worktree<'_> {
    fn drop(&mut self) {
        // It was not made, if it can't be removed.
        let _ = self.of.git(&["worktree", "remove", "--force", &self.folder.display().to_string()]);
    }
}

#[cfg(test)]
mod tests;
