//! `cargo xtask bench`: what a hit, a miss and the backend cost. Two of each thing are measured in turn, the thing and its base,
//! and one table leaves, every row a ratio within one run.
//!
//! Envoy (one worker) has one processor, everything else the other, so a row's CPU time is Envoy's own and the ratios hold on
//! a noisy machine. Clients are `wrk`.

mod bodies;
mod envoy;
mod halt;
mod load;
mod server;
mod table;

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use clap::Args;

use crate::command::command;
use crate::http::Client;
use crate::layout::Layout;
use crate::setup::{self, Part};
use crate::up::services::{Bound, PATIENCE, bound, url};
use crate::{up, wasm};
use bodies::Body;
use envoy::Listener;
use halt::HaltPoll;
use load::{Load, Sample};
use rig::group::Group;
use rig::process::free_port;
use table::{Row, Table, Unit};

/// The processor that what is measured has for itself.
const MEASURED_CPU: &str = "0";
/// The processor of clients and of everything else.
const OTHER_CPU: &str = "1";

/// Settings of `cargo xtask bench`.
#[derive(Debug, Args)]
pub(crate) struct Settings {
    /// Seconds of each measurement
    #[arg(long, default_value_t = 2)]
    seconds: u32,
    /// Measurements of each side of a row, in turn; the median counts
    #[arg(long, default_value_t = 5)]
    repeat: u32,
    /// Only rows whose name contains this
    #[arg(long, default_value = "")]
    only: String,
    /// Nanoseconds that a virtual machine's processors look for work before they halt, while this runs (root)
    #[arg(long)]
    halt_poll_ns: Option<u32>,
}

/// What is measured against what.
struct Case {
    name: String,
    base: &'static str,
    connections: u32,
    body: Body,
    measured: Listener,
    against: Listener,
    target: Option<f64>,
}

/// Runs `cargo xtask bench`.
///
/// # Errors
/// Something can't be installed, built or started, or a request fails.
pub(crate) fn run(layout: &Layout, settings: &Settings) -> Result<()> {
    ensure!(
        std::thread::available_parallelism()?.get() >= 2,
        "two processors are needed: one is the clients'"
    );
    setup::install(
        layout,
        &[
            Part::Python,
            Part::Envoy,
            Part::Models,
            Part::Wasm,
            Part::Wrk,
            Part::H2load,
            Part::CudaHeaders,
            Part::Libclang,
        ],
    )?;
    wasm::run(layout)?;
    up::build_backend(layout)?;
    let folder = layout.run("bench");
    std::fs::create_dir_all(&folder)?;
    let halt_poll = HaltPoll::set(settings.halt_poll_ns)?;
    let mut table = Table::default();
    let mut group = Group::new(&folder)?;
    let outcome = proxy_rows(layout, settings, &folder, &mut group, &mut table);
    group.stop()?;
    outcome?;
    server::rows(layout, settings, &folder, &mut table)?;
    println!("\n{table}\n{}", halt::describe());
    drop(halt_poll);
    Ok(())
}

/// Everything that goes through Envoy.
fn proxy_rows(
    layout: &Layout,
    settings: &Settings,
    folder: &Path,
    group: &mut Group,
    table: &mut Table,
) -> Result<()> {
    let cases: Vec<Case> = cases().into_iter().filter(|case| case.name.contains(&settings.only)).collect();
    if cases.is_empty() {
        return Ok(());
    }
    let repository = layout.dir.join("test-repository");
    let backend =
        Backend { name: "backend", repository: &repository, pool: "memory", cpu: OTHER_CPU, busy_poll_us: 0 };
    let backend = backend.start(layout, group)?;
    let gate = backend.gate.context("the backend names no port of its gate")?;
    let client = Client::new();
    for body in Body::ALL {
        let answer = client.post(&body.url(&url(backend.http)), &body.headers(), &body.bytes())?;
        ensure!(answer.status == 200, "{body:?}: {}", String::from_utf8_lossy(&answer.body));
        std::fs::write(folder.join(body.answer_file()), &answer.body)?;
    }
    let listeners = Listener::ALL.map(|listener| (listener, free_port()));
    let config = folder.join("envoy.json");
    std::fs::write(&config, envoy::config(layout, folder, &listeners, (backend.http, gate)).to_string())?;
    let mut envoy = command("taskset", ["-c", MEASURED_CPU]);
    envoy.arg(layout.bin("envoy")).args(["--concurrency", "1", "--disable-hot-restart", "-c"]).arg(&config);
    let pid = group.start("envoy", envoy)?;
    let port = |listener| listeners.iter().find(|(known, _)| *known == listener).map_or(0, |(_, port)| *port);
    for listener in Listener::ALL {
        group.until("envoy", PATIENCE, || client.get(&format!("{}/v2", url(port(listener)))).ok())?;
    }
    let mut number = 0;
    for case in cases {
        if case.name.starts_with("hit") {
            // The filter gives an answer only when it has heard which generations are live.
            group.until("the filter's hit", PATIENCE, || {
                let target = case.body.url(&url(port(case.measured)));
                let answer = client.post(&target, &case.body.headers(), &case.body.bytes()).ok()?;
                answer.nearest_cache().starts_with("forebay; hit").then_some(())
            })?;
        }
        let load = |listener: Listener| Load {
            url: case.body.url(&url(port(listener))),
            body: case.body,
            connections: case.connections,
            seconds: settings.seconds,
        };
        let pair = in_turn(settings.repeat, |measured| {
            number += 1;
            load(if measured { case.measured } else { case.against }).run(layout, folder, Some(pid), number)
        })?;
        table.add(Row::of(&case.name, case.base, case.connections, &pair, Unit::Cpu, case.target));
    }
    Ok(())
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (body, repeat, target) in [(Body::Json1k, "1 KB", 1.7), (Body::Binary64k, "64 KB", 3.5)] {
        for connections in [1, 16, 64] {
            cases.push(Case {
                name: format!("hit, exact repeat, {repeat}"),
                base: "direct_response",
                connections,
                body,
                measured: Listener::Gate,
                against: Listener::direct(body),
                target: Some(target),
            });
        }
    }
    for (body, base, what) in [
        (Body::Json1kNewId, Body::Json1k, "1 KB JSON"),
        (Body::Json64kNewId, Body::Json64k, "64 KB JSON"),
        (Body::Binary64kNewId, Body::Binary64k, "64 KB binary"),
    ] {
        cases.push(Case {
            name: format!("hit, by digest, {what}"),
            base: "direct_response",
            connections: 16,
            body,
            measured: Listener::Gate,
            against: Listener::direct(base),
            target: None,
        });
    }
    for (body, what) in [(Body::Json1kNew, "1 KB JSON"), (Body::Binary64kNew, "64 KB binary")] {
        for (measured, how, target) in
            [(Listener::NoGate, "no L2", 1.25), (Listener::Gate, "with L2 callout", 1.8)]
        {
            cases.push(Case {
                name: format!("miss, {what}, {how}"),
                base: "plain proxying",
                connections: 16,
                body,
                measured,
                against: Listener::Plain,
                target: Some(target),
            });
        }
    }
    cases
}

/// Measures a side and its base in turn; the samples of both.
fn in_turn(repeat: u32, mut measure: impl FnMut(bool) -> Result<Sample>) -> Result<[Vec<Sample>; 2]> {
    let mut pair = [Vec::new(), Vec::new()];
    for _ in 0..repeat.max(1) {
        pair[0].push(measure(true)?);
        pair[1].push(measure(false)?);
    }
    Ok(pair)
}

/// A `forebay serve` to start, with one instance a model.
struct Backend<'a> {
    name: &'static str,
    repository: &'a Path,
    pool: &'a str,
    cpu: &'a str,
    busy_poll_us: u32,
}

impl Backend<'_> {
    /// Starts it and returns its ports.
    fn start(&self, layout: &Layout, group: &mut Group) -> Result<Bound> {
        let mut serve = command("taskset", ["-c", self.cpu]);
        serve.arg(up::backend(layout)?).args(["serve", "--http-address=127.0.0.1", "--http-port=0"]);
        serve.arg("--gate-port=0");
        serve.args(["--metrics-address=127.0.0.1", "--metrics-port=0", "--grpc-address=127.0.0.1"]);
        serve.args(["--grpc-port=0", "--instances=1", "--service=bench", "--pool", self.pool]);
        serve.arg("--model-repository").arg(self.repository).arg("--onnxruntime").arg(layout.onnxruntime());
        serve.arg(format!("--busy-poll-us={}", self.busy_poll_us));
        serve.env("FOREBAY_POOL_SECRET", "a secret of no worth: for the benchmark alone");
        let ports = group.start_until(self.name, serve, PATIENCE, bound)?;
        ensure!(ports.http != 0, "{} names no port", self.name);
        Ok(ports)
    }
}
