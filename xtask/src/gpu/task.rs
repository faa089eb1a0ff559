//! A task for `forebay-gpu` enters; what it found, or why it failed, leaves. Each is a process of its own with a time limit, so
//! that what brings it down is an outcome like others.

use std::io::{Read as _, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Value, json};

use super::kit::{Engine, Kit};

/// How often it is looked whether the process has ended.
const POLL: Duration = Duration::from_millis(10);

/// For what takes a moment: asking, deserializing, one run.
pub(super) const MOMENT: Duration = Duration::from_mins(1);

/// For a build of a real model's plan.
pub(super) const BUILD: Duration = Duration::from_secs(100);

/// Does the task.
///
/// # Errors
/// What it says; or it was ended by a signal, took longer than the limit, or can't be started.
pub(super) fn perform(kit: &Kit, task: &Value, limit: Duration) -> Result<Value, String> {
    let mut program = Command::new(kit.program("forebay-gpu"));
    program.envs(kit.environment());
    program.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = program.spawn().map_err(|error| format!("forebay-gpu can't be started: {error}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A process that ended before it read its task is told of below.
        let _ = stdin.write_all(task.to_string().as_bytes());
    }
    let ended = wait(&mut child, limit);
    let mut said = String::new();
    if let Some(mut stdout) = child.stdout.take() {
        stdout.read_to_string(&mut said).map_err(|error| format!("forebay-gpu's answer is lost: {error}"))?;
    }
    let last = said.lines().last().unwrap_or_default();
    let status = ended.map_err(|error| format!("{error}; the last it said: {last:?}"))?;
    if let Some(signal) = status.signal() {
        return Err(format!("was ended by signal {signal}; the last it said: {last:?}"));
    }
    let told: Value =
        serde_json::from_str(last).map_err(|_| format!("forebay-gpu ended without a word ({status})"))?;
    match told["error"].as_str() {
        Some(error) => Err(error.to_owned()),
        None => Ok(told),
    }
}

/// The answers are shorter than a pipe holds, so a process never waits for its reader.
fn wait(child: &mut Child, limit: Duration) -> Result<ExitStatus, String> {
    let since = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(status),
            Ok(None) if since.elapsed() < limit => std::thread::sleep(POLL),
            Ok(None) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("took longer than {} s and was stopped", limit.as_secs()));
            }
            Err(error) => return Err(format!("the process is lost: {error}")),
        }
    }
}

/// What a free input may be, smallest, best and largest.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Range {
    pub(super) input: String,
    pub(super) min: Vec<i64>,
    pub(super) opt: Vec<i64>,
    pub(super) max: Vec<i64>,
}

/// Builds a plan of the model with that engine.
///
/// # Errors
/// As [`perform`].
pub(super) fn build(
    kit: &Kit,
    engine: &Engine,
    model: &Path,
    plan: &Path,
    ranges: &[Range],
) -> Result<(), String> {
    let inputs = ranges.iter().map(|range| {
        json!({ "input": range.input, "values": false, "min": range.min, "opt": range.opt, "max": range.max })
    });
    let task = json!({
        "task": "build",
        "source": engine.source(),
        "model": model,
        "plan": plan,
        "profile": { "inputs": inputs.collect::<Vec<_>>() },
        "compute_capabilities": engine.compute_capabilities,
    });
    perform(kit, &task, BUILD).map(drop)
}
