//! `forebay serve` against a loop over the same model in one process, one processor each: real models, each encoding, with
//! and without batches, computed and kept.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::bodies::Body;
use super::load::{Load, Sample};
use super::table::{Row, Table, Told, Unit};
use super::{Backend, MEASURED_CPU, Settings, in_turn};
use crate::command::{cargo, command, output, shown};
use crate::layout::Layout;
use crate::up;
use crate::up::services::url;
use rig::group::Group;

const BASE: &str = "ONNX Runtime in process";
/// Rows of the batches that are compared.
const BATCH: u32 = 8;
/// For how long a server polls that does: longer than its client takes for the next request.
const BUSY_POLL_US: u32 = 200;

/// One row: what is sent over how many connections, and what the loop does meanwhile.
struct Case {
    name: &'static str,
    model: &'static str,
    body: Body,
    connections: u32,
    /// Requests of one row that the loop runs at once.
    rows: u32,
    unit: Unit,
    target: Option<f64>,
}

/// Where a server listens, and which process it is.
struct Server {
    http: u16,
    grpc: Option<u16>,
    pid: u32,
}

/// Adds the rows.
///
/// # Errors
/// A server can't be started, or a request fails.
pub(super) fn rows(layout: &Layout, settings: &Settings, folder: &Path, table: &mut Table) -> Result<()> {
    let chosen = |case: &Case| case.name.contains(&settings.only);
    let vad: Vec<Case> = vad().into_iter().filter(chosen).collect();
    let polled: Vec<Case> = polled().into_iter().filter(chosen).collect();
    let kept: Vec<Case> = kept().into_iter().filter(chosen).collect();
    let magika: Vec<Case> = magika().into_iter().filter(chosen).collect();
    if [&vad, &polled, &kept, &magika].iter().all(|cases| cases.is_empty()) {
        return Ok(());
    }
    build_bare_loop(layout)?;
    let batched = batched(layout, folder)?;
    let repository = layout.repository();
    let backend = |name, repository, pool, busy_poll_us| Backend {
        name,
        repository,
        pool,
        cpu: MEASURED_CPU,
        busy_poll_us,
    };
    let servers = [
        (backend("serve-computes", &repository, "none", 0), vad),
        (backend("serve-polls", &repository, "none", BUSY_POLL_US), polled),
        (backend("serve-keeps", &repository, "memory", 0), kept),
        (backend("serve-batches", &batched, "none", 0), magika),
    ];
    for (backend, cases) in servers {
        if cases.is_empty() {
            continue;
        }
        let mut group = Group::new(folder)?;
        let ports = backend.start(layout, settings, &mut group)?;
        let server = Server { http: ports.http, grpc: ports.grpc, pid: group.pid(backend.name)? };
        for case in &cases {
            let sides = in_turn(settings.repeat, &[true, false], |measured| {
                if measured {
                    case.load(layout, settings, folder, &server)
                } else {
                    bare_loop(layout, case, settings.seconds)
                }
            })?;
            let Case { connections, unit, target, .. } = *case;
            let told = Told { name: case.name.to_owned(), base: BASE, connections, unit, target };
            table.add(Row::of(told, &sides));
        }
        group.stop()?;
    }
    Ok(())
}

/// Computed, each request by itself.
fn vad() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, body, target) in [
        ("serve, vad, JSON", Body::VadJson, None),
        ("serve, vad, binary", Body::VadBinary, Some(0.75)),
        ("serve, vad, gRPC", Body::VadGrpc, Some(0.75)),
    ] {
        let case =
            |connections, unit, target| Case { name, model: "vad", body, connections, rows: 1, unit, target };
        cases.push(case(1, Unit::Added, Some(100.0)));
        cases.push(case(16, Unit::Rate, target));
    }
    cases
}

/// Computed by a server that looks for the next request a while before it sleeps.
fn polled() -> Vec<Case> {
    let case = |(name, body)| Case {
        name,
        model: "vad",
        body,
        connections: 1,
        rows: 1,
        unit: Unit::Added,
        target: Some(100.0),
    };
    [
        ("serve, vad, JSON, busy polling", Body::VadJson),
        ("serve, vad, binary, busy polling", Body::VadBinary),
        ("serve, vad, gRPC, busy polling", Body::VadGrpc),
    ]
    .map(case)
    .into()
}

/// Not computed.
fn kept() -> Vec<Case> {
    let case = |(name, body)| Case {
        name,
        model: "vad",
        body,
        connections: 16,
        rows: 1,
        unit: Unit::Rate,
        target: None,
    };
    [
        ("serve, vad, JSON, hits", Body::VadJson),
        ("serve, vad, binary, hits", Body::VadBinary),
        ("serve, vad, gRPC, hits", Body::VadGrpc),
    ]
    .map(case)
    .into()
}

/// Computed in batches.
fn magika() -> Vec<Case> {
    vec![Case {
        name: "serve, magika, batches of 8",
        model: "magika",
        body: Body::Magika,
        connections: 2 * BATCH,
        rows: BATCH,
        unit: Unit::Rate,
        target: Some(0.95),
    }]
}

/// A repository with magika alone, in batches.
fn batched(layout: &Layout, folder: &Path) -> Result<std::path::PathBuf> {
    let root = folder.join("batched");
    let version = root.join("magika/1");
    std::fs::create_dir_all(&version)?;
    std::fs::copy(layout.repository().join("magika/1/model.onnx"), version.join("model.onnx"))?;
    let config = format!("max_batch_size: {BATCH} dynamic_batching {{ preferred_batch_size: [ {BATCH} ] }}");
    std::fs::write(root.join("magika/config.pbtxt"), config)?;
    Ok(root)
}

impl Case {
    fn load(&self, layout: &Layout, settings: &Settings, folder: &Path, server: &Server) -> Result<Sample> {
        let port = if self.body.is_grpc() { server.grpc } else { Some(server.http) };
        let load = Load {
            server: url(port.context("the server names no gRPC port")?),
            body: self.body,
            connections: self.connections,
            rate: None,
            seconds: settings.seconds,
        };
        load.run(layout, folder, &[server.pid])
    }
}

fn build_bare_loop(layout: &Layout) -> Result<()> {
    let mut build = cargo();
    build.current_dir(&layout.root).args(["build", "--release", "--package", "bare-loop"]);
    shown(build).context("the bare loop does not build")
}

fn bare_loop(layout: &Layout, case: &Case, seconds: u32) -> Result<Sample> {
    let mut bare = command("taskset", ["-c", MEASURED_CPU]);
    bare.arg(up::backend(layout)?.with_file_name("bare-loop")).arg(layout.onnxruntime());
    bare.arg(layout.repository().join(case.model).join("1/model.onnx"));
    bare.args([seconds.to_string(), case.rows.to_string()]);
    let printed = output(bare)?;
    let printed: Vec<&str> = printed.split_whitespace().collect();
    let [runs, elapsed, p50_us] = printed[..] else {
        anyhow::bail!("the bare loop prints runs, seconds and a latency, not {printed:?}")
    };
    let elapsed = Duration::from_secs_f64(elapsed.parse()?);
    let requests = runs.parse::<u64>()? * u64::from(case.rows);
    Ok(Sample { requests, elapsed, cpu: elapsed, p50: Duration::from_micros(p50_us.parse()?) })
}
