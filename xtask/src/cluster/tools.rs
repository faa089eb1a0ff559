//! Programs that set-up unpacked, with the libraries unpacked beside them: a name enters, a command leaves.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::command::{command, on_path, output};
use crate::layout::Layout;

pub(super) struct Tools {
    folder: PathBuf,
}

impl Tools {
    pub(super) fn new(layout: &Layout) -> Self {
        Self { folder: layout.nodes() }
    }

    /// A program with its arguments.
    pub(super) fn command<A: AsRef<OsStr>>(
        &self,
        program: &str,
        arguments: impl IntoIterator<Item = A>,
    ) -> Command {
        let unpacked =
            self.programs().into_iter().map(|folder| folder.join(program)).find(|file| file.exists());
        let mut command =
            command(unpacked.or_else(|| on_path(program)).unwrap_or_else(|| program.into()), arguments);
        command.envs(self.environment());
        command
    }

    /// Runs it and returns what it wrote.
    ///
    /// # Errors
    /// It fails.
    pub(super) fn output<A: AsRef<OsStr>>(
        &self,
        program: &str,
        arguments: impl IntoIterator<Item = A>,
    ) -> Result<String> {
        output(self.command(program, arguments))
    }

    /// Runs a line of words, separated by spaces.
    ///
    /// # Errors
    /// It fails.
    pub(super) fn run(&self, line: &str) -> Result<()> {
        let mut words = line.split_whitespace();
        let program = words.next().unwrap_or_default();
        self.output(program, words).map(drop)
    }

    /// Where CNI's plugins are.
    pub(super) fn cni(&self) -> PathBuf {
        self.folder.join("usr/lib/cni")
    }

    fn programs(&self) -> [PathBuf; 5] {
        ["links", "usr/sbin", "usr/bin", "sbin", "bin"].map(|folder| self.folder.join(folder))
    }

    /// What a shell needs to find them.
    fn environment(&self) -> [(&'static str, OsString); 3] {
        let triplet = format!("{}-linux-gnu", std::env::consts::ARCH);
        let libraries = ["usr/lib", "lib"].map(|folder| self.folder.join(folder).join(&triplet));
        let joined = |mut folders: Vec<PathBuf>, variable| {
            folders.extend(std::env::split_paths(&std::env::var_os(variable).unwrap_or_default()));
            folders.retain(|folder| !folder.as_os_str().is_empty());
            std::env::join_paths(folders).unwrap_or_default()
        };
        [
            ("XTABLES_LIBDIR", libraries[0].join("xtables").into()),
            ("LD_LIBRARY_PATH", joined(libraries.to_vec(), "LD_LIBRARY_PATH")),
            ("PATH", joined(self.programs().to_vec(), "PATH")),
        ]
    }
}
