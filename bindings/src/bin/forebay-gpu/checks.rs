//! What the CUDA side must do, each by itself: an engine of sums of ones enters, a line a check leaves. The numbers of the results
//! are checked; times are told and not judged.

use std::time::{Duration, Instant};

use forebay_bindings::cuda::Device;
use forebay_bindings::{Context, Engine, Error, Scratch, TensorIOMode};
use serde_json::{Value, json};

use crate::lane::{self, Lane};

/// Large enough that a copy takes longer than what surrounds it.
const COPIED: usize = 8 << 20;
/// Copies that are timed.
const COPIES: u32 = 20;
/// Runs of each kind.
const RUNS: u8 = 100;
/// Rows of a run whose copies take time.
const ROWS: i64 = 64;

/// A check: its name, and what does it.
type Check = (&'static str, fn(&Engine) -> Result<String, Error>);

const CHECKS: [Check; 7] = [
    ("bytes that go to the GPU and back are the same", staging),
    ("copies of pinned memory, GB/s", speed),
    ("a run's result is right", result),
    ("a graph's results are right, launch after launch", graph),
    ("two lanes of one context never mix their results", two_lanes),
    ("contexts on streams of their own never mix their results", contexts),
    ("two lanes against one, with graphs and without", overlap),
];

pub(crate) fn all(engine: &Engine) -> Value {
    let checks = CHECKS.iter().map(|(what, check)| match check(engine) {
        Ok(told) => json!({ "what": what, "passed": true, "told": told }),
        Err(error) => json!({ "what": what, "passed": false, "told": error.to_string() }),
    });
    Value::Array(checks.collect())
}

fn staging(engine: &Engine) -> Result<String, Error> {
    let device = lane::device(engine)?;
    let (to, from) = (device.alloc_pinned(COPIED)?, device.alloc_pinned(COPIED)?);
    let (gpu, stream) = (device.alloc(COPIED)?, device.stream()?);
    for (index, byte) in to.write()?.iter_mut().enumerate() {
        *byte = (index % 251).to_le_bytes()[0];
    }
    stream.upload(&to, 0..COPIED, &gpu, 0)?;
    stream.download(&gpu, 0..COPIED, &from, 0)?;
    stream.synchronize()?;
    let same = to.read()?[..] == from.read()?[..];
    if same { Ok(format!("{} MiB", COPIED >> 20)) } else { Err(wrong("other bytes came back")) }
}

/// Both ways, by events that note the time.
fn speed(engine: &Engine) -> Result<String, Error> {
    let device = lane::device(engine)?;
    let rate = |up: bool| -> Result<f64, Error> {
        let (host, gpu, stream) = (device.alloc_pinned(COPIED)?, device.alloc(COPIED)?, device.stream()?);
        let (mut began, mut ended) = (device.timed_event()?, device.timed_event()?);
        began.record(&stream)?;
        for _ in 0..COPIES {
            if up {
                stream.upload(&host, 0..COPIED, &gpu, 0)?;
            } else {
                stream.download(&gpu, 0..COPIED, &host, 0)?;
            }
        }
        ended.record(&stream)?;
        ended.wait()?;
        let took = ended.since(&began)?.unwrap_or_default();
        Ok(COPIED as f64 * f64::from(COPIES) / took.as_secs_f64() / 1e9)
    };
    Ok(format!("to the GPU {:.1}, from it {:.1}", rate(true)?, rate(false)?))
}

fn result(engine: &Engine) -> Result<String, Error> {
    let (mut context, mut lane) = ready(engine)?;
    for value in 1..=RUNS {
        lane.fill(engine, value)?;
        lane.start(&mut context)?;
        lane.done.wait()?;
        sums(engine, &lane, value)?;
    }
    Ok(format!("{RUNS} runs of {ROWS} rows"))
}

fn graph(engine: &Engine) -> Result<String, Error> {
    let (mut context, mut lane) = ready(engine)?;
    lane.fill(engine, 1)?;
    lane.start(&mut context)?;
    lane.done.wait()?;
    let graph = lane.capture(&mut context)?;
    for value in 1..=RUNS {
        lane.fill(engine, value)?;
        lane.launch(&graph)?;
        lane.done.wait()?;
        sums(engine, &lane, value)?;
    }
    Ok(format!("{RUNS} launches of {ROWS} rows"))
}

/// Each lane's next run is begun before the other's is waited for.
fn two_lanes(engine: &Engine) -> Result<String, Error> {
    let (mut context, first) = ready(engine)?;
    let mut lanes = [first, Lane::new(&context)?];
    for value in (1..RUNS).step_by(2) {
        for (lane, value) in lanes.iter_mut().zip(value..) {
            lane.fill(engine, value)?;
            lane.start(&mut context)?;
        }
        for (lane, value) in lanes.iter().zip(value..) {
            lane.done.wait()?;
            sums(engine, lane, value)?;
        }
    }
    Ok(format!("{RUNS} runs"))
}

fn contexts(engine: &Engine) -> Result<String, Error> {
    let mut all = Vec::new();
    for _ in 0..4 {
        all.push(ready(engine)?);
    }
    for round in 0..RUNS / 4 {
        for ((context, lane), number) in all.iter_mut().zip(1_u8..) {
            lane.fill(engine, round + number)?;
            lane.start(context)?;
        }
        for ((_, lane), number) in all.iter().zip(1_u8..) {
            lane.done.wait()?;
            sums(engine, lane, round + number)?;
        }
    }
    Ok(format!("{} contexts, {RUNS} runs", all.len()))
}

/// Time a run, of one lane that is waited for each time and of two that take turns.
fn overlap(engine: &Engine) -> Result<String, Error> {
    let mut told = Vec::new();
    for (count, captured) in [(1, false), (2, false), (1, true), (2, true)] {
        let (mut context, lane) = ready(engine)?;
        let mut lanes = vec![lane];
        if count == 2 {
            lanes.push(Lane::new(&context)?);
        }
        let mut graphs = Vec::new();
        for lane in &mut lanes {
            lane.fill(engine, 1)?;
            lane.start(&mut context)?;
            lane.done.wait()?;
            if captured {
                graphs.push(lane.capture(&mut context)?);
            }
        }
        let since = Instant::now();
        for run in 0..usize::from(RUNS) {
            let turn = run % count;
            lanes[turn].done.wait()?;
            match graphs.get(turn) {
                Some(graph) => lanes[turn].launch(graph)?,
                None => lanes[turn].start(&mut context)?,
            }
        }
        for lane in &lanes {
            lane.done.wait()?;
        }
        let how = if captured { "graphs" } else { "calls" };
        told.push(format!("{count} by {how} {:.0} us a run", micros(since.elapsed() / u32::from(RUNS))));
    }
    Ok(told.join(", "))
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

fn ready(engine: &Engine) -> Result<(Context, Lane), Error> {
    let mut context = engine.context(Scratch::Own)?;
    lane::set_shapes(&mut context, ROWS)?;
    let lane = Lane::new(&context)?;
    Ok((context, lane))
}

/// Both inputs of the sum were that number.
fn sums(engine: &Engine, lane: &Lane, value: u8) -> Result<(), Error> {
    let expected = 2.0 * f64::from(value);
    let outputs = engine.tensors().iter().filter(|tensor| tensor.mode == TensorIOMode::Output);
    for (tensor, bytes) in outputs.zip(lane.outputs(usize::MAX)?) {
        let numbers = lane::numbers(tensor.dtype, &bytes);
        if let Some(other) = numbers.iter().find(|number| (*number - expected).abs() > f64::EPSILON) {
            return Err(wrong(&format!("{} holds {other}, not {expected}", tensor.name)));
        }
    }
    Ok(())
}

fn wrong(what: &str) -> Error {
    Error::Wrong(what.to_owned())
}

/// Does the GPU still do a run right?
pub(crate) fn one_run(engine: &Engine) -> Result<String, Error> {
    let (mut context, mut lane) = ready(engine)?;
    lane.fill(engine, 3)?;
    lane.start(&mut context)?;
    lane.done.wait()?;
    sums(engine, &lane, 3).map(|()| "it runs and its result is right".to_owned())
}

/// Is the whole device's work done without an error?
pub(crate) fn healthy(device: &Device) -> String {
    match device.check() {
        Ok(()) => "works".to_owned(),
        Err(error) => format!("{error}; sticky: {}", error.is_sticky()),
    }
}
