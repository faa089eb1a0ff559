//! A fault of the GPU under a server: the stand-in's kernel writes where no memory is in one of many requests. What each is
//! answered leaves.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::kit::{Engine, Kit};
use super::report::{Row, Section};
use super::server::Served;
use super::tensors::{Datatype, Tensor};
use super::{Run, correctness, judged, measured, models, probe, server};
use crate::http::Client;
use crate::up::services::url;
use rig::group::Group;

const ABOUT: &str =
    "One kernel of many writes where no memory is. The server must live, and answer rightly again.";

/// Kernels until the one that faults; the server may run the model by itself before the first request.
const FAULT: (&str, &str) = ("FOREBAY_DOUBLE_FAIL", "fault:5=1");
/// Requests that surely reach it.
const REQUESTS: usize = 8;
/// For how long an answer is waited for afterwards, and how often it is asked for.
const PATIENCE: Duration = Duration::from_mins(1);
const PAUSE: Duration = Duration::from_millis(50);

pub(super) fn section(run: &Run, standin: &Engine) -> Section {
    let rows = rows(run.kit, standin)
        .unwrap_or_else(|error| vec![judged("a fault under the server", false, format!("{error:#}"))]);
    let title = "A fault of the GPU under the server".to_owned();
    Section { title, engine: standin.told(), about: ABOUT.to_owned(), rows }
}

fn rows(kit: &Kit, standin: &Engine) -> Result<Vec<Row>> {
    let repository = kit.scratch("fault-server")?;
    let folder = repository.join(probe::MODEL).join("1");
    std::fs::create_dir_all(&folder)?;
    probe::build_sum(kit, standin, &folder.join("model.plan")).map_err(anyhow::Error::msg)?;
    let mut group = Group::new(&kit.scratch("logs")?)?;
    let served = Served { repository, models: &[probe::MODEL], environment: &[FAULT], ..Served::default() };
    let port = server::start(kit, standin, &served, &mut group)?;
    let asked = Asked::new(port);
    let answers: Vec<Result<()>> = (0..REQUESTS).map(|_| asked.sum()).collect();
    let first = answers.iter().find_map(|answer| answer.as_ref().err());
    let first = first.context("no request met the fault")?;
    let mut rows = vec![measured("the request that meets it is answered", format!("{first:#}"))];
    let failed = answers.iter().filter(|answer| answer.is_err()).count();
    rows.push(measured(format!("requests of {REQUESTS} that failed"), failed.to_string()));
    let alive = asked.client.get(&format!("{}/v2/health/live", url(port)));
    rows.push(judged("the server lives", alive.is_ok_and(|answer| answer.status == 200), ""));
    let again = asked.again();
    let told = again.as_ref().unwrap_or_else(|error| error);
    rows.push(judged("it answers rightly again", again.is_ok(), told));
    // A server whose GPU is lost may end in any way; that it lived was seen.
    let ended = group.stop();
    rows.push(measured(
        "the server's end",
        ended.map_or_else(|error| format!("{error:#}"), |()| "as ever".to_owned()),
    ));
    Ok(rows)
}

/// A client of the model, and what it asks.
struct Asked {
    client: Client,
    port: u16,
    inputs: [Tensor; 2],
}

impl Asked {
    fn new(port: u16) -> Self {
        let inputs = ["a", "b"].map(|name| models::tensor(name, Datatype::Fp32, &[2, 8]));
        Self { client: Client::default(), port, inputs }
    }

    /// Asks once. The inputs are equal, so the sum is twice each.
    fn sum(&self) -> Result<()> {
        let outputs = correctness::infer(&self.client, self.port, probe::MODEL, &self.inputs)?;
        let right: Vec<f64> = self.inputs[0].numbers().iter().map(|number| 2.0 * number).collect();
        let got = outputs.first().context("no output")?.numbers();
        anyhow::ensure!(got == right, "a wrong answer: {got:?}");
        Ok(())
    }

    /// Asks until an answer is right, and tells how long that took, or what the last answer was.
    fn again(&self) -> Result<String, String> {
        let since = Instant::now();
        loop {
            match self.sum() {
                Ok(()) => return Ok(format!("after {} ms", since.elapsed().as_millis())),
                Err(error) if since.elapsed() > PATIENCE => {
                    return Err(format!("not in {} s: {error:#}", PATIENCE.as_secs()));
                }
                Err(_) => std::thread::sleep(PAUSE),
            }
        }
    }
}
