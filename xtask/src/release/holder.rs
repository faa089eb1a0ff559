//! Who holds a lock: this process enters; its name in a Lease leaves, and of another's name whether that process is gone.

use std::fs;

use crate::deployment::tools::ends_with_us;

/// `MACHINE PID START`, and a word more where what it started may outlive it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Holder {
    /// One kernel's start and one namespace of processes in it: there a number is one process.
    machine: String,
    pid: u32,
    /// When the process began, in the kernel's ticks: a number is given to another one later.
    start: u64,
    /// What it started ends with it.
    tied: bool,
}

const LOOSE: &str = "loose";

impl Holder {
    pub(super) fn here() -> Self {
        let pid = std::process::id();
        Self { machine: machine(), pid, start: start(pid).unwrap_or(0), tied: ends_with_us() }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let machine = words.next()?.to_owned();
        let (pid, start) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        Some(Self { machine, pid, start, tied: words.next() != Some(LOOSE) })
    }

    /// It is known to be gone, with all that it started: it ran here, and doesn't any more.
    pub(super) fn is_gone(&self) -> bool {
        self.start != 0 && self.machine == machine() && start(self.pid) != Some(self.start)
    }

    pub(super) fn is_tied(&self) -> bool {
        self.tied
    }
}

impl std::fmt::Display for Holder {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} {} {}", self.machine, self.pid, self.start)?;
        if self.tied { Ok(()) } else { write!(formatter, " {LOOSE}") }
    }
}

fn machine() -> String {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let host = read("/proc/sys/kernel/hostname");
    let boot = read("/proc/sys/kernel/random/boot_id");
    let processes = fs::read_link("/proc/self/ns/pid").map(|link| link.display().to_string());
    let digits: String = processes.unwrap_or_default().chars().filter(char::is_ascii_digit).collect();
    format!("{}/{}/{digits}", host.trim(), boot.trim())
}

/// The 22nd field; the second may hold spaces, in parentheses.
fn start(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    // One that was killed and that nobody has waited for yet is gone as well.
    let state = fields.next()?;
    (state != "Z").then_some(())?;
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_runs_holds_on_and_one_that_ended_is_gone() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let held = Holder { pid: child.id(), start: start(child.id()).unwrap(), ..Holder::here() };
        assert!(!Holder::here().is_gone() && !held.is_gone());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(held.is_gone());
    }

    #[test]
    fn of_another_machine_nothing_is_known() {
        let there = Holder { machine: "elsewhere/0/1".to_owned(), pid: 1, start: 7, tied: true };
        assert!(!there.is_gone());
    }

    #[test]
    fn a_name_is_read_as_it_was_written() {
        for tied in [true, false] {
            let holder = Holder { tied, ..Holder::here() };
            assert_eq!(Holder::parse(&holder.to_string()), Some(holder));
        }
        assert_eq!(Holder::parse("somebody-else_0123"), None);
    }
}
