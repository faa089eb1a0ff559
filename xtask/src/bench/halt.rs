//! How long a virtual machine's processors look for work before they halt: what a request pays that finds one halted is the
//! machine's and its host's, and may be more than all that the server does.

use std::fs;

use anyhow::{Context, Result};

/// Where Linux's haltpoll governor has the setting; Linux's own default is 200000 (Documentation/virt/guest-halt-polling.rst).
const FILE: &str = "/sys/module/haltpoll/parameters/guest_halt_poll_ns";

/// The setting while this lives, and what it was before.
pub(super) struct HaltPoll(Option<String>);

impl HaltPoll {
    /// Leaves the setting as it is if `ns` is `None`.
    ///
    /// # Errors
    /// The machine has no such setting, or it may not be changed.
    pub(super) fn set(ns: Option<u32>) -> Result<Self> {
        let Some(ns) = ns else { return Ok(Self(None)) };
        let before = fs::read_to_string(FILE);
        let before = before.with_context(|| format!("--halt-poll-ns: this machine has no {FILE}"))?;
        fs::write(FILE, ns.to_string()).with_context(|| format!("--halt-poll-ns: can't write {FILE}"))?;
        Ok(Self(Some(before)))
    }
}

impl Drop for HaltPoll {
    fn drop(&mut self) {
        let Some(before) = &self.0 else { return };
        if let Err(error) = fs::write(FILE, before) {
            eprintln!("{FILE} was {} and can't be put back: {error}", before.trim());
        }
    }
}

/// One line: what the processors do when there is nothing to do.
pub(super) fn describe() -> String {
    match fs::read_to_string(FILE) {
        Ok(ns) => format!("Processors look for work for {} ns before they halt.", ns.trim()),
        Err(_) => "Processors halt as the machine's idle driver has it.".to_owned(),
    }
}
