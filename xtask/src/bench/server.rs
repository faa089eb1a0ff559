//! `forebay serve` against a loop over the same model in one process, one processor each: real models, each encoding, with
//! and without batches, computed and kept.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::bodies::{self, Body};
use super::load::{Load, Sample, cpu_time};
use super::table::{Row, Table, Told, Unit};
use super::{Backend, MEASURED_CPU, OTHER_CPU, Settings, in_turn};
use crate::command::{command, output};
use crate::http::Client;
use crate::layout::Layout;
use crate::up::services::url;
use rig::group::Group;

const BASE: &str = "ONNX Runtime in process";
/// Rows of the batches that are compared.
const BATCH: u32 = 8;
/// For how long a server polls that does: longer than its client takes for the next request.
const BUSY_POLL_US: u32 = 200;
/// Where calls go.
const MODEL_INFER: &str = "/inference.GRPCInferenceService/ModelInfer";

/// How a request is sent.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sent {
    Http(Body),
    /// vad's input.
    Grpc,
}

/// One row: what is sent over how many connections, and what the loop does meanwhile.
struct Case {
    name: &'static str,
    model: &'static str,
    sent: Sent,
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
    let mut number = 0;
    for (backend, cases) in servers {
        if cases.is_empty() {
            continue;
        }
        let mut group = Group::new(folder)?;
        let bound = backend.start(layout, &mut group)?;
        let server = Server { http: bound.http, grpc: bound.grpc, pid: group.pid(backend.name)? };
        for case in &cases {
            let sides = in_turn(settings.repeat, [true, false], |measured| {
                number += 1;
                if measured {
                    case.load(layout, settings, folder, &server, number)
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
    for (name, sent, target) in [
        ("serve, vad, JSON", Sent::Http(Body::VadJson), None),
        ("serve, vad, binary", Sent::Http(Body::VadBinary), Some(0.75)),
        ("serve, vad, gRPC", Sent::Grpc, Some(0.75)),
    ] {
        let case =
            |connections, unit, target| Case { name, model: "vad", sent, connections, rows: 1, unit, target };
        cases.push(case(1, Unit::Added, Some(100.0)));
        cases.push(case(16, Unit::Rate, target));
    }
    cases
}

/// Computed by a server that looks for the next request a while before it sleeps.
fn polled() -> Vec<Case> {
    let case = |(name, sent)| Case {
        name,
        model: "vad",
        sent,
        connections: 1,
        rows: 1,
        unit: Unit::Added,
        target: Some(100.0),
    };
    [
        ("serve, vad, JSON, busy polling", Sent::Http(Body::VadJson)),
        ("serve, vad, binary, busy polling", Sent::Http(Body::VadBinary)),
        ("serve, vad, gRPC, busy polling", Sent::Grpc),
    ]
    .map(case)
    .into()
}

/// Not computed.
fn kept() -> Vec<Case> {
    let case = |(name, sent)| Case {
        name,
        model: "vad",
        sent,
        connections: 16,
        rows: 1,
        unit: Unit::Rate,
        target: None,
    };
    [
        ("serve, vad, JSON, hits", Sent::Http(Body::VadJson)),
        ("serve, vad, binary, hits", Sent::Http(Body::VadBinary)),
        ("serve, vad, gRPC, hits", Sent::Grpc),
    ]
    .map(case)
    .into()
}

/// Computed in batches.
fn magika() -> Vec<Case> {
    vec![Case {
        name: "serve, magika, batches of 8",
        model: "magika",
        sent: Sent::Http(Body::Magika),
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
    fn load(
        &self,
        layout: &Layout,
        settings: &Settings,
        folder: &Path,
        server: &Server,
        number: u32,
    ) -> Result<Sample> {
        let Sent::Http(body) = self.sent else {
            return self.load_grpc(layout, settings, folder, server);
        };
        let load = Load {
            url: body.url(&url(server.http)),
            body,
            connections: self.connections,
            rest_ms: 0,
            seconds: settings.seconds,
        };
        load.run(layout, folder, Some(server.pid), number)
    }

    /// One call at a time on each connection, by `h2load`.
    fn load_grpc(
        &self,
        layout: &Layout,
        settings: &Settings,
        folder: &Path,
        server: &Server,
    ) -> Result<Sample> {
        let port = server.grpc.context("the server names no gRPC port")?;
        let (message, log) = (folder.join("message"), folder.join("h2load.log"));
        std::fs::write(&message, bodies::vad_grpc())?;
        // h2load appends.
        let _ = std::fs::remove_file(&log);
        let mut h2load = command("taskset", ["-c", OTHER_CPU]);
        h2load.arg(layout.bin("h2load"));
        h2load.args(["-t1", "-m1", "-c", &self.connections.to_string(), "-D", &settings.seconds.to_string()]);
        h2load.args(["-H", "content-type: application/grpc", "-H", "te: trailers", "-d"]).arg(&message);
        h2load.arg(format!("--log-file={}", log.display())).arg(url(port) + MODEL_INFER);
        let answered = self.answered(server)?;
        let before = cpu_time(server.pid)?;
        output(h2load)?;
        let cpu = cpu_time(server.pid)?.saturating_sub(before);
        let answered = self.answered(server)? - answered;
        Ok(Sample { cpu, ..of_log(&std::fs::read_to_string(log)?, answered)? })
    }

    /// Requests that got a result so far: h2load doesn't look at a call's own status.
    fn answered(&self, server: &Server) -> Result<u64> {
        let stats = Client::new().get(&format!("{}/v2/models/{}/stats", url(server.http), self.model))?;
        let stats: serde_json::Value = serde_json::from_slice(&stats.body)?;
        let count = &stats["model_stats"][0]["inference_stats"]["success"]["count"];
        count.as_u64().context("the statistics have no success count")
    }
}

/// h2load's log has a line a request: when it began, its status, and how long it took, in microseconds.
fn of_log(log: &str, answered: u64) -> Result<Sample> {
    let mut took = Vec::new();
    let (mut first, mut last) = (u64::MAX, 0);
    for line in log.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let [began, status, micros] = fields[..] else { anyhow::bail!("h2load logged {line:?}") };
        ensure!(status == "200", "a call ended with status {status}");
        let (began, micros): (u64, u64) = (began.parse()?, micros.parse()?);
        (first, last) = (first.min(began), last.max(began + micros));
        took.push(micros);
    }
    took.sort_unstable();
    let requests = took.len() as u64;
    ensure!(requests > 0 && answered >= requests, "{requests} calls ended, {answered} of them with a result");
    Ok(Sample {
        requests,
        elapsed: Duration::from_micros(last - first),
        cpu: Duration::ZERO,
        p50: Duration::from_micros(took[took.len() / 2]),
    })
}

fn bare_loop(layout: &Layout, case: &Case, seconds: u32) -> Result<Sample> {
    let mut bare = command("taskset", ["-c", MEASURED_CPU]);
    bare.arg(layout.python()).arg(layout.root.join("xtask/src/bench/bare_loop.py"));
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
