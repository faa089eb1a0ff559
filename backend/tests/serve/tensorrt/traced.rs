//! A server on the double whose calls are seen, and whose GPU can be held.

use std::fs::File;

use rig::process::until;

use super::{command, repository};
use crate::process::Forebay;

pub(super) const UPLOAD: &str = "cuMemcpyHtoDAsync_v2";
pub(super) const RUN: &str = "enqueueV3";
pub(super) const DOWNLOAD: &str = "cuMemcpyDtoHAsync_v2";

pub(super) struct Traced {
    pub(super) forebay: Forebay,
    /// Of the model.
    _root: tempfile::TempDir,
    /// The trace, and a file for each closed gate.
    folder: tempfile::TempDir,
}

impl Traced {
    /// Serves the plan; `failing` are rules of the double.
    pub(super) fn start(config: &str, plan: &[u8], failing: &str) -> Self {
        let (root, folder) = (repository(config, plan), tempfile::tempdir().unwrap());
        let mut command = command(root.path(), &["--pool", "none"]);
        command.env(tensorrt_double::GATES, folder.path());
        command.env(tensorrt_double::TRACE, folder.path().join("trace"));
        command.env(tensorrt_double::FAIL, failing);
        Self { forebay: Forebay::start(command), _root: root, folder }
    }

    /// Holds the call's work when its turn on the GPU comes.
    pub(super) fn close(&self, call: &str) {
        File::create(self.folder.path().join(call)).unwrap();
    }

    pub(super) fn open(&self, call: &str) {
        std::fs::remove_file(self.folder.path().join(call)).unwrap();
    }

    /// Waits until so many pieces of the call's work stood before its gate.
    pub(super) fn await_held(&self, call: &str, count: usize) {
        let line = format!("held {call}");
        until(&line, || (self.count(&line) >= count).then_some(()));
    }

    /// How often a call was made.
    pub(super) fn count(&self, call: &str) -> usize {
        let trace = std::fs::read_to_string(self.folder.path().join("trace")).unwrap();
        trace.lines().filter(|line| *line == call).count()
    }

    /// Ends the server; lines that it said with the words.
    pub(super) fn said(self, words: &str) -> Vec<String> {
        let log = self.forebay.ended();
        log.lines().filter(|line| line.contains(words)).map(str::to_owned).collect()
    }
}
