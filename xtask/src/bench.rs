//! `cargo xtask bench`: what a hit, a miss, the backend, its [`start`], its [`wake`] and a [`rollout`] cost. The thing, its base and, for the filter, its [`floor`] are
//! measured in turn, and one table leaves, every row ratios within one run.
//!
//! Envoy (one worker) has one processor, everything else the other, so a row's CPU time is Envoy's own (and the
//! backend's where a row says so) and the ratios hold on a noisy machine. A second Envoy has two workers and both processors; it gets less than it could take. The client is
//! `forebay bench`.

mod bodies;
mod cases;
mod chart;
mod envoy;
pub(crate) mod figure;
mod floor;
mod gate;
mod halt;
mod load;
mod rollout;
mod server;
mod start;
mod table;
mod wake;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use clap::Args;

use crate::command::command;
use crate::http::Client;
use crate::layout::Layout;
use crate::setup::{self, Part};
use crate::up::services::url;
use crate::{up, wasm};
use bodies::Body;
use cases::{Case, cases};
use envoy::Listener;
use halt::HaltPoll;
use load::{Load, Sample};
use rig::forebay::Ports;
use rig::group::Group;
use rig::process::{PATIENCE, free_port};
use table::{Row, Table, Told, Unit};

/// The processor that what is measured has for itself.
const MEASURED_CPU: &str = "0";
/// What Envoy asks, which has the gate in it.
const BACKEND: &str = "backend";
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
    /// Measure what README's chart shows and draw it anew, into charts/, and nothing else
    #[arg(long)]
    chart: bool,
    /// A built `forebay` to measure in place of this checkout's
    #[arg(long)]
    backend: Option<PathBuf>,
    /// Nanoseconds that a virtual machine's processors look for work before they halt, while this runs (root)
    #[arg(long)]
    halt_poll_ns: Option<u32>,
}

/// An Envoy that runs.
struct Proxy {
    workers: u32,
    pid: u32,
    ports: Vec<(Listener, u16)>,
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
            Part::Redis,
            Part::Models,
            Part::Wasm,
            Part::CudaHeaders,
            Part::Libclang,
        ],
    )?;
    wasm::run(layout)?;
    // Its client is what sends, whatever is measured.
    up::build_backend(layout)?;
    let folder = layout.run("bench");
    std::fs::create_dir_all(&folder)?;
    let halt_poll = HaltPoll::set(settings.halt_poll_ns)?;
    if settings.chart {
        return chart::run(layout, settings, &folder);
    }
    let mut table = Table::default();
    let mut group = Group::new(&folder)?;
    let outcome = proxy_rows(layout, settings, &folder, &mut group, &mut table);
    group.stop()?;
    outcome?;
    server::rows(layout, settings, &folder, &mut table)?;
    gate::rows(layout, settings, &folder, &mut table)?;
    start::rows(layout, settings, &folder)?;
    wake::rows(layout, settings, &folder)?;
    rollout::rows(layout, settings, &folder)?;
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
        Backend { name: BACKEND, repository: &repository, pool: "memory", cpu: OTHER_CPU, busy_poll_us: 0 };
    let backend = backend.start(layout, settings, group)?;
    let client = Client::default();
    for body in Body::ALL {
        let answer = client.post(&body.url(&url(backend.http)), &body.headers(), &body.bytes())?;
        ensure!(answer.status == 200, "{body:?}: {}", String::from_utf8_lossy(&answer.body));
        std::fs::write(folder.join(body.answer_file()), &answer.body)?;
    }
    for listener in Listener::all() {
        if let Listener::Floor(floor) = listener {
            floor.write(folder)?;
        }
    }
    let upstreams = Upstreams::of(&backend)?;
    let start = |group: &mut Group, workers| Proxy::start(layout, folder, group, workers, upstreams);
    let proxies = [start(group, 1)?, start(group, 2)?];
    for case in cases {
        let proxy = proxies.iter().find(|proxy| proxy.workers == case.workers);
        let proxy = proxy.context("no Envoy has so many workers")?;
        let load = |(listener, body): (Listener, Body)| Load {
            server: url(proxy.port(listener)),
            body,
            connections: case.connections,
            rate: case.rate,
            seconds: settings.seconds,
        };
        if case.name.starts_with("hit") {
            // The filter gives an answer only when it has heard which generations are live.
            group.until("the filter's hit", PATIENCE, || {
                let body = case.against.1;
                let target = body.url(&url(proxy.port(case.measured)));
                let answer = client.post(&target, &body.headers(), &body.bytes()).ok()?;
                answer.nearest_cache().starts_with("forebay; hit").then_some(())
            })?;
        }
        if case.body.is_grpc() {
            // The first calls bring the answer.
            Load { seconds: 1, ..load((case.measured, case.body)) }.run(layout, folder, &[])?;
        }
        let floor = case.floor.map(|floor| (floor, case.body));
        let sides: Vec<_> = [(case.measured, case.body), case.against].into_iter().chain(floor).collect();
        let mut pids = vec![proxy.pid];
        if case.with_backend {
            pids.push(group.pid(BACKEND)?);
        }
        let sides = in_turn(settings.repeat, &sides, |side| load(side).run(layout, folder, &pids))?;
        let Case { name, base, connections, target, .. } = case;
        table.add(Row::of(Told { name, base, connections, unit: Unit::Cpu, target }, &sides));
    }
    Ok(())
}

/// The ports of what Envoy asks.
#[derive(Clone, Copy)]
struct Upstreams {
    http: u16,
    grpc: u16,
    gate: u16,
}

impl Upstreams {
    /// A backend's. Without a pool it has no gate, and who asks it then has no filter.
    fn of(backend: &Ports) -> Result<Self> {
        let grpc = backend.grpc.context("the backend names no port of its gRPC")?;
        Ok(Self { http: backend.http, grpc, gate: backend.gate.unwrap_or(backend.http) })
    }
}

impl Proxy {
    /// Starts an Envoy and waits until all its listeners answer.
    fn start(
        layout: &Layout,
        folder: &Path,
        group: &mut Group,
        workers: u32,
        upstreams: Upstreams,
    ) -> Result<Self> {
        let mut ports: Vec<(Listener, u16)> = Vec::new();
        for listener in Listener::all() {
            // None of them is bound yet, so one may be said to be free twice.
            let is_new = |port: &u16| ports.iter().all(|(_, taken)| taken != port);
            let port = std::iter::repeat_with(free_port).find(is_new).unwrap_or_default();
            ports.push((listener, port));
        }
        let (name, cpus) = match workers {
            1 => ("envoy", MEASURED_CPU.to_owned()),
            _ => ("envoy-two-workers", format!("{MEASURED_CPU},{OTHER_CPU}")),
        };
        let config = folder.join(format!("{name}.json"));
        std::fs::write(&config, envoy::config(layout, folder, &ports, upstreams).to_string())?;
        let mut envoy = command("taskset", ["-c", &cpus]);
        envoy.arg(layout.bin("envoy")).args(["--concurrency", &workers.to_string(), "--disable-hot-restart"]);
        envoy.arg("-c").arg(&config);
        let pid = group.start(name, envoy)?;
        let proxy = Self { workers, pid, ports };
        let client = Client::default();
        for (_, port) in &proxy.ports {
            group.until(name, PATIENCE, || client.get(&format!("{}/v2", url(*port))).ok())?;
        }
        Ok(proxy)
    }

    fn port(&self, listener: Listener) -> u16 {
        self.ports.iter().find(|(known, _)| *known == listener).map_or(0, |(_, port)| *port)
    }
}

/// Measures each side in turn; the samples of all.
fn in_turn<T: Copy>(
    repeat: u32,
    sides: &[T],
    mut measure: impl FnMut(T) -> Result<Sample>,
) -> Result<Vec<Vec<Sample>>> {
    let mut samples = vec![Vec::new(); sides.len()];
    for _ in 0..repeat.max(1) {
        for (side, samples) in sides.iter().zip(&mut samples) {
            samples.push(measure(*side)?);
        }
    }
    Ok(samples)
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
    fn start(&self, layout: &Layout, settings: &Settings, group: &mut Group) -> Result<Ports> {
        let mut serve = command("taskset", ["-c", self.cpu]);
        let program = settings.backend.clone().map_or_else(|| up::backend(layout), Ok)?;
        serve.arg(program).args(["serve", "--http-address=127.0.0.1", "--http-port=0"]);
        serve.arg("--gate-port=0");
        serve.args(["--metrics-address=127.0.0.1", "--metrics-port=0", "--grpc-address=127.0.0.1"]);
        serve.args(["--grpc-port=0", "--instances=1", "--service=bench", "--pool", self.pool]);
        serve.arg("--model-repository").arg(self.repository).arg("--onnxruntime").arg(layout.onnxruntime());
        serve.arg(format!("--busy-poll-us={}", self.busy_poll_us));
        serve.env("FOREBAY_POOL_SECRET", "a secret of no worth: for the benchmark alone");
        let ports = group.start_until(self.name, serve, PATIENCE, Ports::of)?;
        ensure!(ports.http != 0, "{} names no port", self.name);
        Ok(ports)
    }
}
