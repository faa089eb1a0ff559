//! `cargo xtask up --once`: the address of Envoy and the models to ask enter; each answer's latency and `Cache-Status`, and whether
//! all is as it should be, leaves.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use rig::http::Answer;

use crate::command::{command, output};
use crate::http::Client;
use crate::up::sample::{Encoding, Sample};
use crate::up::try_it::{self, Try};

/// How often each request is sent: a miss, then hits.
const TIMES: usize = 3;
/// Seed of what is asked over gRPC; other encodings have their own.
const CALL_SEED: usize = 3;

/// What calls over gRPC are made with.
pub(crate) struct Caller<'a> {
    /// `forebay`.
    pub(crate) program: &'a Path,
    /// For the request's file.
    pub(crate) folder: &'a Path,
}

/// Sends one request of each model and encoding three times.
///
/// # Errors
/// A model can't be asked; an answer is not a 200, or not the same each time; or, of a model whose answers may be kept, not first a
/// miss and then hits.
pub(crate) fn run(envoy: &str, tries: &[Try], caller: &Caller<'_>) -> Result<()> {
    println!(
        "\nEach request is sent {TIMES} times. Each encoding carries inputs of its own: the same ones would hit across encodings."
    );
    println!("{:<16} {:<8} {:>4} {:>11}  Cache-Status", "model", "encoding", "time", "latency");
    let mut wrong = Vec::new();
    for Try { model, sample } in tries {
        match sample {
            Err(error) => wrong.push(format!("{model} can't be asked: {error:#}")),
            Ok(sample) => {
                for encoding in sample.encodings() {
                    wrong.extend(repeat(envoy, sample, *encoding)?);
                }
                // The client reads its inputs as JSON.
                if sample.encodings().contains(&Encoding::Json) {
                    wrong.extend(call(envoy, sample, caller)?);
                }
            }
        }
    }
    if wrong.is_empty() {
        println!("all as it should be: a miss, then hits, of each model that may be cached");
        return Ok(());
    }
    bail!("not as it should be:\n  {}", wrong.join("\n  "))
}

fn repeat(envoy: &str, sample: &Sample, encoding: Encoding) -> Result<Vec<String>> {
    // The connection is made by a request that is not measured, so that each of the others finds it open.
    let client = Client::default();
    client.get(&format!("{envoy}/v2/health/ready"))?;
    let body = sample.request(encoding, encoding as usize);
    let (model, by) = (&sample.model, encoding.name());
    let mut wrong = Vec::new();
    let mut first: Option<Vec<u8>> = None;
    for time in 1..=TIMES {
        let since = Instant::now();
        let answer = try_it::send(&client, envoy, sample, encoding, &body, false)?;
        let latency = since.elapsed().as_secs_f64() * 1e3;
        println!("{model:<16} {by:<8} {time:>4} {latency:>8.2} ms  {}", answer.cache_status());
        let found = check(&answer, time, first.as_deref(), sample.cached);
        wrong.extend(found.err().map(|error| format!("{model}, {by}, time {time}: {error:#}")));
        first.get_or_insert(answer.body);
    }
    Ok(wrong)
}

/// The same over gRPC.
fn call(envoy: &str, sample: &Sample, caller: &Caller<'_>) -> Result<Vec<String>> {
    let data = caller.folder.join("call.json");
    let asked = sample.request(Encoding::Json, CALL_SEED).bytes;
    // One element of two values has no third: it was asked for already.
    let mut others = sample.encodings().iter().map(|encoding| *encoding as usize);
    let is_new = others.all(|seed| sample.request(Encoding::Json, seed).bytes != asked);
    std::fs::write(&data, asked)?;
    let model = &sample.model;
    let mut wrong = Vec::new();
    let mut first: Option<String> = None;
    for time in 1..=TIMES {
        let mut infer = command(caller.program, ["infer", model, "--encoding=grpc", "--data"]);
        infer.arg(&data).args(["--url", envoy, "--grpc-url", &envoy.replacen("http:", "grpc:", 1)]);
        let said = output(infer).with_context(|| format!("{model} over gRPC"))?;
        let line = |name| said.lines().find_map(|line: &str| Some(line.strip_prefix(name)?.trim()));
        let (status, latency) =
            (line("Cache-Status").unwrap_or_default(), line("latency").unwrap_or_default());
        let latency = latency.split(" (").next().unwrap_or_default();
        println!("{model:<16} {:<8} {time:>4} {latency:>11}  {status}", "gRPC");
        // Its outputs come behind all that is told of it.
        let outputs = said.lines().skip_while(|line| !line.starts_with("bytes")).skip(1).collect::<String>();
        let is_first = first.as_ref().is_none_or(|first| *first == outputs);
        let nearest = status.rsplit(", ").next().unwrap_or_default();
        let times = if is_new { time } else { time + 1 };
        let found = as_it_should_be(nearest, times, is_first, sample.cached);
        wrong.extend(found.err().map(|error| format!("{model}, gRPC, time {time}: {error:#}")));
        first.get_or_insert(outputs);
    }
    Ok(wrong)
}

fn check(answer: &Answer, time: usize, first: Option<&[u8]>, cached: bool) -> Result<()> {
    let body = || String::from_utf8_lossy(&answer.body).chars().take(300).collect::<String>();
    ensure!(answer.status == 200, "status {}: {}", answer.status, body());
    let is_first = first.is_none_or(|first| first == answer.body);
    as_it_should_be(&answer.nearest_cache(), time, is_first, cached)
}

fn as_it_should_be(nearest: &str, time: usize, is_first: bool, cached: bool) -> Result<()> {
    if !cached {
        // It is computed each time, and may have its own mind.
        return Ok(());
    }
    ensure!(is_first, "the answer is not the first one");
    let hit = nearest.split(';').any(|parameter| parameter.trim() == "hit");
    let wanted = if time == 1 { "a miss" } else { "a hit" };
    ensure!(!nearest.is_empty() && hit == (time > 1), "Cache-Status is {nearest:?}, not {wanted}");
    Ok(())
}
