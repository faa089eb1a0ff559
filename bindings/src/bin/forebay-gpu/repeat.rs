//! Runs with nothing around them: an engine enters; what it computes, or how many runs a second it does, leaves.

use std::time::{Duration, Instant};

use forebay_bindings::cuda::Graph;
use forebay_bindings::{Context, Engine, Error, Scratch, TensorIOMode};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::lane::{self, Lane};

/// Runs before the clock starts: TensorRT chooses and allocates as it runs the first time.
const WARM_UP: usize = 10;

/// Values of an output that are told.
const SHOWN: usize = 8;

/// A loop over an engine.
#[derive(Deserialize)]
pub(crate) struct Repeat {
    rows: i64,
    seconds: f64,
    /// Each with a thread and streams of its own.
    contexts: usize,
    /// Runs of a context that are put on the GPU before the first is waited for.
    lanes: usize,
    graph: bool,
}

/// Runs of one context.
struct Times {
    took: Vec<Duration>,
    elapsed: Duration,
}

/// One run with ones.
pub(crate) fn once(engine: &Engine, rows: i64) -> Result<Value, Error> {
    let mut context = engine.context(Scratch::Own)?;
    lane::set_shapes(&mut context, rows)?;
    let mut lane = Lane::new(&context)?;
    lane.fill(engine, 1)?;
    lane.start(&mut context)?;
    lane.done.wait()?;
    let tensors = engine.tensors().iter().filter(|tensor| tensor.mode == TensorIOMode::Output);
    let outputs = tensors
        .zip(lane.outputs(SHOWN * size_of::<f32>())?)
        .map(|(tensor, bytes)| json!({ "name": tensor.name, "values": lane::numbers(tensor.dtype, &bytes) }));
    Ok(json!({ "outputs": outputs.collect::<Vec<_>>() }))
}

impl Repeat {
    pub(crate) fn run(&self, engine: &Engine) -> Result<Value, Error> {
        let all: Result<Vec<Times>, Error> = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..self.contexts.max(1)).map(|_| scope.spawn(|| self.one(engine))).collect();
            let ended = threads.into_iter().map(|thread| {
                thread
                    .join()
                    .unwrap_or_else(|_| Err(Error::Wrong("a thread of the loop panicked".to_owned())))
            });
            ended.collect()
        });
        let all = all?;
        let mut took: Vec<Duration> = all.iter().flat_map(|times| times.took.iter().copied()).collect();
        took.sort_unstable();
        let rate: f64 = all.iter().map(|times| times.took.len() as f64 / times.elapsed.as_secs_f64()).sum();
        let at =
            |share: usize| took.get(took.len() * share / 100).map_or(0.0, |time| time.as_secs_f64() * 1e6);
        Ok(json!({ "runs": took.len(), "runs_per_second": rate, "p50_us": at(50), "p99_us": at(99) }))
    }

    /// A context's runs: each lane's run is waited for when its turn comes again.
    fn one(&self, engine: &Engine) -> Result<Times, Error> {
        let mut context = engine.context(Scratch::Own)?;
        lane::set_shapes(&mut context, self.rows)?;
        let mut lanes = (0..self.lanes.max(1)).map(|_| Lane::new(&context)).collect::<Result<Vec<_>, _>>()?;
        let mut graphs = Vec::new();
        for lane in &mut lanes {
            lane.fill(engine, 1)?;
            for _ in 0..WARM_UP {
                lane.start(&mut context)?;
                lane.done.wait()?;
            }
            if self.graph {
                graphs.push(lane.capture(&mut context)?);
            }
        }
        let limit = Duration::from_secs_f64(self.seconds);
        let (mut took, since) = (Vec::new(), Instant::now());
        let mut started = vec![None; lanes.len()];
        while since.elapsed() < limit {
            for (number, lane) in lanes.iter_mut().enumerate() {
                wait(lane, &mut started[number], &mut took)?;
                started[number] = Some(Instant::now());
                begin(lane, &mut context, graphs.get(number))?;
            }
        }
        for (lane, started) in lanes.iter().zip(&mut started) {
            wait(lane, started, &mut took)?;
        }
        Ok(Times { took, elapsed: since.elapsed() })
    }
}

fn begin(lane: &mut Lane, context: &mut Context, graph: Option<&Graph>) -> Result<(), Error> {
    match graph {
        Some(graph) => lane.launch(graph),
        None => lane.start(context),
    }
}

/// Ends the run that the lane has begun, if it has.
fn wait(lane: &Lane, started: &mut Option<Instant>, took: &mut Vec<Duration>) -> Result<(), Error> {
    if let Some(started) = started.take() {
        lane.done.wait()?;
        took.push(started.elapsed());
    }
    Ok(())
}
