//! README's chart: what repeated requests for a real model get without Forebay and with it. Its figures and itself go to `charts/`.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::envoy::{self, Listener};
use super::{Backend, MEASURED_CPU, OTHER_CPU, Settings, Upstreams};
use crate::command::{command, output};
use crate::http::Client;
use crate::layout::Layout;
use crate::up::services::url;
use rig::group::Group;
use rig::process::{PATIENCE, free_port};

/// What is asked: `magika`, 5 ms of computing, of which one processor does 200 a second.
const MODEL: [&str; 6] = [
    "magika",
    "--shape=bytes:1,2048",
    "--range=bytes:0,255",
    "--encoding=binary",
    "--threads=1",
    "--warmup-secs=0",
];
/// How often which input is asked, as pages and queries are.
const REPEATS: [&str; 3] = ["--repeats=zipf", "--keys=10000", "--skew=1"];
const CONNECTIONS: [u32; 4] = [1, 4, 16, 64];
const TITLE: &str = "magika through Envoy, 10,000 inputs by Zipf's law, each run from an empty cache";
/// The filter has heard what is live when it gives an answer.
const HIT: &str = "forebay; hit";

/// Measures, and writes both files anew.
///
/// # Errors
/// Something can't be started, or a request fails.
pub(super) fn run(layout: &Layout, settings: &Settings, folder: &Path) -> Result<()> {
    let mut reports = Vec::new();
    for (label, pool, listener) in
        [("Envoy and the server", "none", Listener::Plain), ("with Forebay", "memory", Listener::Gate)]
    {
        let mut group = Group::new(folder)?;
        let measured = side(layout, settings, folder, &mut group, (label, pool, listener));
        group.stop()?;
        reports.extend(measured?);
    }
    let charts = layout.root.join("charts");
    std::fs::create_dir_all(&charts)?;
    let (json, svg) = (charts.join("saves.json"), charts.join("saves.svg"));
    std::fs::write(&json, joined(&reports)?)?;
    let mut draw = command(crate::up::backend(layout)?, ["bench"]);
    draw.arg("--from").arg(&json).arg("--chart").arg(&svg).arg(format!("--title={TITLE}"));
    output(draw)?;
    println!("{}\n{}", json.display(), svg.display());
    Ok(())
}

/// One side, a report for each number of connections.
fn side(
    layout: &Layout,
    settings: &Settings,
    folder: &Path,
    group: &mut Group,
    (label, pool, listener): (&str, &str, Listener),
) -> Result<Vec<PathBuf>> {
    let repository = layout.repository();
    let backend =
        Backend { name: "backend", repository: &repository, pool, cpu: MEASURED_CPU, busy_poll_us: 0 };
    let ports = backend.start(layout, settings, group)?;
    let port = free_port();
    let config = folder.join("chart.json");
    let upstreams = Upstreams::of(&ports)?;
    std::fs::write(&config, envoy::config(layout, folder, &[(listener, port)], upstreams).to_string())?;
    let mut envoy = command("taskset", ["-c", OTHER_CPU]);
    envoy.arg(layout.bin("envoy")).args(["--concurrency", "1", "--disable-hot-restart", "-c"]).arg(&config);
    group.start("envoy", envoy)?;
    let client = Client::default();
    let body = super::bodies::Body::Magika;
    group.until("envoy", PATIENCE, || {
        let answer = client.post(&body.url(&url(port)), &body.headers(), &body.bytes()).ok()?;
        (answer.status == 200 && (pool == "none" || answer.nearest_cache().starts_with(HIT))).then_some(())
    })?;
    let mut reports = Vec::new();
    for connections in CONNECTIONS {
        let report = folder.join(format!("{pool}-{connections}.json"));
        let mut bench = command("taskset", ["-c", OTHER_CPU]);
        bench.arg(crate::up::backend(layout)?).arg("bench").args(MODEL).args(REPEATS);
        bench.arg(format!("--url={}", url(port))).arg(format!("--label={label}"));
        bench
            .arg(format!("--concurrency={connections}"))
            .arg(format!("--duration-secs={}", settings.seconds));
        bench.arg("--json").arg(&report);
        println!("{label}: {}", output(bench)?.lines().nth(2).unwrap_or_default());
        reports.push(report);
    }
    Ok(reports)
}

/// Reports as one: the first with the runs of all.
fn joined(reports: &[PathBuf]) -> Result<String> {
    let mut all: Option<Value> = None;
    for report in reports {
        let mut read: Value = serde_json::from_slice(&std::fs::read(report)?)?;
        let runs = read["runs"].as_array_mut().context("a report has runs")?;
        match &mut all {
            Some(all) => all["runs"].as_array_mut().context("a report has runs")?.append(runs),
            None => all = Some(read),
        }
    }
    Ok(serde_json::to_string_pretty(&all.context("nothing was measured")?)? + "\n")
}
