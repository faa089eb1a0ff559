//! One measurement: a load enters; requests, time, latency and the CPU time of a process while it lasted leave.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::OTHER_CPU;
use super::bodies::Body;
use crate::command::{command, output};
use crate::layout::Layout;

/// The first number of the first measurement (eight digits), and how many each may use.
const FIRST_NUMBER: u32 = 10_000_000;
const NUMBERS: u32 = 400_000;

/// What `wrk` does.
pub(super) struct Load {
    pub(super) url: String,
    pub(super) body: Body,
    pub(super) connections: u32,
    /// Milliseconds that a connection rests before each request: what is sent is then a little less than a fixed rate.
    pub(super) rest_ms: u32,
    pub(super) seconds: u32,
}

/// What came of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    pub(super) requests: u64,
    pub(super) elapsed: Duration,
    /// CPU time of the measured process.
    pub(super) cpu: Duration,
    /// Median latency.
    pub(super) p50: Duration,
}

impl Load {
    /// Sends it. `number` tells measurements apart, so that what is new in one is new in all.
    ///
    /// # Errors
    /// `wrk` can't be run, or a request failed.
    pub(super) fn run(
        &self,
        layout: &Layout,
        folder: &Path,
        pid: Option<u32>,
        number: u32,
    ) -> Result<Sample> {
        let (head, tail) = self.body.split();
        let (head_file, tail_file) = (folder.join("head"), folder.join("tail"));
        fs::write(&head_file, head)?;
        fs::write(&tail_file, tail)?;
        let mut wrk = command("taskset", ["-c", OTHER_CPU]);
        wrk.arg(layout.bin("wrk")).args([
            "-t1",
            &format!("-c{}", self.connections),
            &format!("-d{}s", self.seconds),
        ]);
        wrk.arg("-s").arg(layout.root.join("xtask/src/bench/load.lua")).arg(&self.url).arg("--");
        wrk.arg((FIRST_NUMBER + number * NUMBERS).to_string()).arg(head_file).arg(tail_file);
        wrk.arg(self.rest_ms.to_string());
        wrk.args(self.body.headers().iter().map(|(name, value)| format!("{name}={value}")));
        let before = pid.map(cpu_time).transpose()?;
        let printed = output(wrk)?;
        let after = pid.map(cpu_time).transpose()?;
        let result =
            printed.lines().find_map(|line| line.strip_prefix("result ")).context("wrk gave no result")?;
        let numbers: Vec<u64> = result.split(' ').map(str::parse).collect::<Result<_, _>>()?;
        let [requests, elapsed_us, p50_us, errors] = numbers[..] else { anyhow::bail!("wrk said: {result}") };
        ensure!(
            errors == 0 && requests > 0,
            "{:?} to {}: {errors} of {requests} requests failed",
            self.body,
            self.url
        );
        Ok(Sample {
            requests,
            elapsed: Duration::from_micros(elapsed_us),
            cpu: after.unwrap_or_default().saturating_sub(before.unwrap_or_default()),
            p50: Duration::from_micros(p50_us),
        })
    }
}

/// CPU time of all threads of a process so far.
///
/// # Errors
/// It doesn't run.
pub(super) fn cpu_time(pid: u32) -> Result<Duration> {
    let mut total = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let schedstat = fs::read_to_string(task?.path().join("schedstat"))?;
        total += schedstat.split(' ').next().context("an empty schedstat")?.parse::<u64>()?;
    }
    Ok(Duration::from_nanos(total))
}
