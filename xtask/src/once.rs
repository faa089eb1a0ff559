//! `cargo xtask up --once`: the address of Envoy and the models to ask enter; each answer's latency and `Cache-Status`, and whether
//! all is as it should be, leaves.

use std::time::Instant;

use anyhow::{Result, bail, ensure};
use rig::http::Answer;

use crate::http::Client;
use crate::up::sample::{Encoding, Sample};
use crate::up::try_it::{self, Try};

/// How often each request is sent: a miss, then hits.
const TIMES: usize = 3;

/// Sends one request of each model and encoding three times.
///
/// # Errors
/// A model can't be asked; an answer is not a 200, or not the same each time; or, of a model whose answers may be kept, not first a
/// miss and then hits.
pub(crate) fn run(envoy: &str, tries: &[Try]) -> Result<()> {
    println!(
        "\nEach request is sent {TIMES} times. JSON and binary carry different inputs: the same ones would hit across encodings."
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

fn check(answer: &Answer, time: usize, first: Option<&[u8]>, cached: bool) -> Result<()> {
    let body = || String::from_utf8_lossy(&answer.body).chars().take(300).collect::<String>();
    ensure!(answer.status == 200, "status {}: {}", answer.status, body());
    if !cached {
        // It is computed each time, and may have its own mind.
        return Ok(());
    }
    ensure!(first.is_none_or(|first| first == answer.body), "the answer is not the first one: {}", body());
    let nearest = answer.nearest_cache();
    let hit = nearest.split(';').any(|parameter| parameter.trim() == "hit");
    let wanted = if time == 1 { "a miss" } else { "a hit" };
    ensure!(
        !nearest.is_empty() && hit == (time > 1),
        "Cache-Status is {:?}, not {wanted}",
        answer.cache_status()
    );
    Ok(())
}
