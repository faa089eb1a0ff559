//! `cargo test`: a command enters; what the tests say leaves, and their results are summed. A test that runs longer than [`LIMIT`] ends with
//! its program, and with every process that it started.
//!
//! The tests of a program run in one process: the filter's share one compiled module, and would take half an hour more in processes of
//! their own, as nextest runs them (measured: 129 tests in 9 s, and in 321 s). So the end is brought by what libtest says itself: after
//! a minute it names a test that still runs. (With one processor it doesn't: then there is no limit.)

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

/// How long a test may run; each takes less than a tenth of it.
const LIMIT: Duration = Duration::from_mins(5);
/// When libtest names it.
const NAMED_AFTER: Duration = Duration::from_mins(1);

/// Runs the tests and adds their results to the total.
///
/// # Errors
/// One fails, or ran too long.
pub(super) fn run(mut tests: Command, total: &mut Total) -> Result<()> {
    let mut child =
        tests.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("can't run cargo test")?;
    let (sender, lines) = channel();
    let stdout = BufReader::new(child.stdout.take().context("cargo test has no stdout")?);
    std::thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    let (mut slow, mut ended) = (Slow::default(), Vec::new());
    loop {
        match lines.recv_timeout(slow.patience(Instant::now())) {
            Ok(line) => {
                println!("{line}");
                total.add(&line);
                slow.hear(&line, Instant::now());
            }
            Err(RecvTimeoutError::Timeout) => {
                let over = slow.over(Instant::now());
                // A compiler says nothing for minutes.
                if !over.is_empty() {
                    end_descendants(child.id());
                }
                for name in over {
                    println!("test {name} ... ran for more than {} s: its program is ended", LIMIT.as_secs());
                    ended.push(name);
                }
            }
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    let status = child.wait()?;
    if !ended.is_empty() {
        bail!("tests ran for more than {} s: {}", LIMIT.as_secs(), ended.join(", "));
    }
    if !status.success() {
        bail!("tests failed");
    }
    Ok(())
}

/// Tests that libtest named because they still run, with when their time is over.
#[derive(Default)]
struct Slow(HashMap<String, Instant>);

impl Slow {
    fn hear(&mut self, line: &str, now: Instant) {
        let Some(test) = line.strip_prefix("test ") else {
            // The program has ended.
            if line.starts_with("test result:") {
                self.0.clear();
            }
            return;
        };
        if let Some((name, _)) = test.split_once(" has been running for over ") {
            self.0.insert(name.to_owned(), now + LIMIT.saturating_sub(NAMED_AFTER));
        } else if let Some((name, _)) = test.split_once(" ... ") {
            self.0.remove(name);
        }
    }

    /// How long nothing needs to be done.
    fn patience(&self, now: Instant) -> Duration {
        let first = self.0.values().min();
        first.map_or(NAMED_AFTER, |first| first.saturating_duration_since(now))
    }

    /// Takes those whose time is over.
    fn over(&mut self, now: Instant) -> Vec<String> {
        self.0.extract_if(|_, until| *until <= now).map(|(name, _)| name).collect()
    }
}

/// Kills what the process started, and what that started, but not itself.
fn end_descendants(of: u32) {
    for child in children(of) {
        end_descendants(child);
        if let Some(pid) = i32::try_from(child).ok().and_then(Pid::from_raw) {
            // One that has just ended by itself needs no signal.
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

fn children(of: u32) -> Vec<u32> {
    let threads = std::fs::read_dir(format!("/proc/{of}/task")).into_iter().flatten().flatten();
    let lists = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .collect()
}

/// Sums of the `test result:` lines.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Total {
    passed: u64,
    failed: u64,
    ignored: u64,
}

impl std::fmt::Display for Total {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "total: {} passed, {} failed, {} ignored", self.passed, self.failed, self.ignored)
    }
}

impl Total {
    /// Adds a line as in "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; ...".
    fn add(&mut self, line: &str) {
        let Some(results) = line.strip_prefix("test result:") else { return };
        let words: Vec<&str> = results.split_whitespace().collect();
        for pair in words.windows(2) {
            let [count, what] = pair else { continue };
            let Ok(count) = count.parse::<u64>() else { continue };
            match what.trim_end_matches(';') {
                "passed" => self.passed += count,
                "failed" => self.failed += count,
                "ignored" => self.ignored += count,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_lines_are_summed_and_others_are_not() {
        let mut total = Total::default();
        total.add("running 3 passed tests");
        total.add(
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.10s",
        );
        total.add("test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.10s");
        assert_eq!(total, Total { passed: 4, failed: 2, ignored: 1 });
    }

    #[test]
    fn a_tests_time_begins_when_it_is_named_and_ends_with_its_result() {
        let (mut slow, now) = (Slow::default(), Instant::now());
        assert_eq!(slow.over(now + LIMIT), Vec::<String>::new(), "silence alone ends nothing");
        slow.hear("test one::slow has been running for over 60 seconds", now);
        slow.hear("test two::slow has been running for over 60 seconds", now);
        slow.hear("test two::slow ... ok", now);
        assert_eq!(slow.patience(now), LIMIT.saturating_sub(NAMED_AFTER));
        assert_eq!(slow.over(now), Vec::<String>::new());
        assert_eq!(slow.over(now + LIMIT), ["one::slow"]);
        assert_eq!(slow.over(now + LIMIT), Vec::<String>::new());
    }

    #[test]
    fn what_a_process_started_ends_with_all_that_that_started() {
        let mut shell = Command::new("sh").args(["-c", "sh -c 'sleep 1000; true'; true"]).spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        while children(shell.id()).iter().all(|child| children(*child).is_empty()) {
            assert!(Instant::now() < deadline, "the shell starts a shell");
            std::thread::yield_now();
        }
        end_descendants(shell.id());
        assert!(shell.wait().unwrap().success());
    }
}
