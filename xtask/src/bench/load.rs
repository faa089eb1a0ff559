//! One measurement: a load enters; requests, time, latency and the CPU time of processes while it lasted leave.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::OTHER_CPU;
use super::bodies::Body;
use crate::command::{command, output};
use crate::layout::Layout;
use crate::up;

/// What `forebay bench` does.
pub(super) struct Load {
    /// Base URL of what is asked, its gRPC port for a body that goes there.
    pub(super) server: String,
    pub(super) body: Body,
    pub(super) connections: u32,
    /// Requests a second at equal distances; none: each connection asks again when it is answered.
    pub(super) rate: Option<u32>,
    pub(super) seconds: u32,
}

/// What came of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    pub(super) requests: u64,
    pub(super) elapsed: Duration,
    /// CPU time of the measured processes.
    pub(super) cpu: Duration,
    /// Median latency.
    pub(super) p50: Duration,
}

impl Load {
    /// Sends it.
    ///
    /// # Errors
    /// The client can't be run, or a request failed.
    pub(super) fn run(&self, layout: &Layout, folder: &Path, pids: &[u32]) -> Result<Sample> {
        let (data, report) = (folder.join("request.json"), folder.join("load.json"));
        fs::write(&data, self.body.data())?;
        let mut bench = command("taskset", ["-c", OTHER_CPU]);
        bench.arg(up::backend(layout)?).args(["bench", self.body.model(), "--threads=1", "--warmup-secs=0"]);
        let grpc = self.server.replacen("http:", "grpc:", 1);
        bench.args(["--url", &self.server, "--grpc-url", &grpc]).args(self.body.flags());
        bench
            .arg(format!("--concurrency={}", self.connections))
            .arg(format!("--duration-secs={}", self.seconds));
        if let Some(rate) = self.rate {
            bench.arg(format!("--rate={rate}")).arg("--arrival=fixed");
        }
        bench.arg("--data").arg(&data).arg("--json").arg(&report);
        let cpu_time = || pids.iter().map(|pid| cpu_time(*pid)).sum::<Result<Duration>>();
        let before = cpu_time()?;
        output(bench)?;
        let cpu = cpu_time()?.saturating_sub(before);
        let report: Value = serde_json::from_slice(&fs::read(report)?)?;
        self.sample(&report["runs"][0], cpu)
    }

    fn sample(&self, run: &Value, cpu: Duration) -> Result<Sample> {
        let failed = run["failed"].as_object().context("the report says nothing of failures")?;
        let requests = run["answered"].as_u64().context("the report has no answers")?;
        ensure!(failed.is_empty() && requests > 0, "{:?} to {}: {failed:?}", self.body, self.server);
        let number = |value: &Value| value.as_f64().context("the report lacks a time");
        Ok(Sample {
            requests,
            elapsed: Duration::from_secs_f64(number(&run["elapsed_secs"])?),
            cpu,
            p50: Duration::from_secs_f64(number(&run["latency_us"]["p50"])? / 1e6),
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
