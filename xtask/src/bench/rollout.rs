//! What a rollout costs: a server is asked for some things often and most seldom, its answers live for a while, and then its model gets new
//! weights. How much it computes after it leaves, beside what it computed before; once with a replay of what was asked, once without.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rig::forebay::Ports;
use rig::group::Group;
use rig::http::{metric, post, send};
use rig::process::{PATIENCE, Process};
use rig::v2::JSON;

use super::{MEASURED_CPU, OTHER_CPU, Settings};
use crate::command::command;
use crate::layout::Layout;
use crate::up;

const NAME: &str = "rollout, warm";
const MODEL: &str = "m";
/// So long answers are fresh, and so long is looked at what is computed, before the rollout and after it.
const LIFE_S: u64 = 20;
/// What is computed is counted in each of these: what goes on for less is nothing that a server is made larger for.
const WINDOW_S: u64 = 2;
/// Different requests, so many a second, by Zipf's law: about one in eight is computed while nothing happens.
const KEYS: u32 = 5_000;
const RATE: u32 = 1_000;
const REPLAY_WITHIN_S: u64 = 15;
/// More is computed than that, times what was before: the mark is missed.
const MOST: f64 = 1.2;

/// A server, its model and its records, in a folder.
struct Scene<'a> {
    layout: &'a Layout,
    program: PathBuf,
    folder: &'a Path,
}

/// Requests that were computed in each window.
struct Side {
    before: Vec<u64>,
    after: Vec<u64>,
    surge: String,
}

/// Measures it, and prints what came of it.
///
/// # Errors
/// Something can't be started, or a request fails.
pub(super) fn rows(layout: &Layout, settings: &Settings, folder: &Path) -> Result<()> {
    if !NAME.contains(&settings.only) {
        return Ok(());
    }
    let program = settings.backend.clone().map_or_else(|| up::backend(layout), Ok)?;
    let scene = Scene { layout, program, folder };
    let replay = format!("--replay-within={REPLAY_WITHIN_S}");
    let (warm, cold) = (scene.side("warm", &[&replay])?, scene.side("cold", &[])?);
    let worst = |of: &[u64]| of.iter().copied().max().unwrap_or(0);
    let ratio = |side: &Side| worst(&side.after) as f64 / worst(&side.before).max(1) as f64;
    println!(
        "{NAME}: computed in {WINDOW_S} s at most {} before and {} after, {:.2} times (surge told: {}); without a replay {} and {}, {:.2} times; \
         at most {MOST}: {}",
        worst(&warm.before),
        worst(&warm.after),
        ratio(&warm),
        warm.surge,
        worst(&cold.before),
        worst(&cold.after),
        ratio(&cold),
        if ratio(&warm) <= MOST { "met" } else { "MISSED" },
    );
    Ok(())
}

impl Scene<'_> {
    fn side(&self, name: &'static str, flags: &[&str]) -> Result<Side> {
        let folder = self.folder.join(format!("rollout-{name}"));
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
        self.install(&folder, 1)?;
        let mut group = Group::new(&folder)?;
        let outcome = self.measure(&folder, flags, &mut group);
        group.stop()?;
        outcome
    }

    fn measure(&self, folder: &Path, flags: &[&str], group: &mut Group) -> Result<Side> {
        let ports = group.start_until("serve", self.serve(folder, flags)?, PATIENCE, Ports::of)?;
        // Longer than all of it takes: gone when all was seen.
        let seconds = 4 * LIFE_S + REPLAY_WITHIN_S + 10;
        let mut clients = Process::start("clients", self.clients(ports.http, seconds));
        thread::sleep(Duration::from_secs(2 * LIFE_S));
        let before = windows(ports.metrics)?;
        self.install(folder, 2)?;
        let loaded = send(ports.http, &post(&format!("/v2/repository/models/{MODEL}/load"), &JSON, b"{}"))?;
        ensure!(loaded.status == 200, "{loaded:?}");
        let after = windows(ports.metrics)?;
        ensure!(clients.ended().is_none(), "clients ended before all was seen:\n{}", clients.log());
        Ok(Side { before, after, surge: loaded.header("x-forebay-surge").to_owned() })
    }

    /// The model's next version computes the same as the one before it, in a generation of its own.
    fn install(&self, folder: &Path, version: u32) -> Result<()> {
        let (from, to) =
            (self.layout.dir.join("test-repository/products"), folder.join("models").join(MODEL));
        let (model, next) = (to.join(version.to_string()), to.join("next"));
        fs::create_dir_all(&next)?;
        fs::copy(from.join("1/model.onnx"), next.join("model.onnx"))?;
        let config = fs::read_to_string(from.join("config.pbtxt"))?;
        let lines =
            config.lines().filter(|line| !line.starts_with("name:") && !line.starts_with("parameters"));
        let life =
            format!("parameters {{ key: \"forebay_max_age_s\" value {{ string_value: \"{LIFE_S}\" }} }}");
        fs::write(to.join("config.pbtxt"), lines.chain([&*life]).collect::<Vec<_>>().join("\n"))?;
        fs::rename(next, model).context("a version")
    }

    fn serve(&self, folder: &Path, flags: &[&str]) -> Result<std::process::Command> {
        let key = folder.join("key");
        fs::write(&key, "6b".repeat(32))?;
        let mut serve = command("taskset", ["-c", MEASURED_CPU]);
        serve.arg(&self.program).args(["serve", "--http-address=127.0.0.1", "--grpc-address=127.0.0.1"]);
        serve.args(["--metrics-address=127.0.0.1", "--http-port=0", "--grpc-port=0", "--metrics-port=0"]);
        serve.args(["--gate-port=0", "--instances=1", "--model-control-mode=explicit", "--record-share=1"]);
        serve.arg(format!("--load-model={MODEL}")).arg(format!("--record={MODEL}")).args(flags);
        serve.arg("--record-dir").arg(folder.join("records")).arg("--record-key-file").arg(key);
        serve.arg("--model-repository").arg(folder.join("models"));
        serve.arg("--onnxruntime").arg(self.layout.onnxruntime());
        Ok(serve)
    }

    fn clients(&self, port: u16, seconds: u64) -> std::process::Command {
        let mut clients = command("taskset", ["-c", OTHER_CPU]);
        clients.arg(&self.program).args([
            "bench",
            MODEL,
            "--threads=1",
            "--concurrency=16",
            "--warmup-secs=0",
        ]);
        clients.arg(format!("--url=http://127.0.0.1:{port}")).arg(format!("--duration-secs={seconds}"));
        clients.args(["--repeats=zipf", "--skew=1", "--seed=7", "--arrival=fixed"]);
        clients.arg(format!("--keys={KEYS}")).arg(format!("--rate={RATE}"));
        clients
    }
}

/// Requests that are computed in each window of an answer's life from now on.
fn windows(metrics: u16) -> Result<Vec<u64>> {
    let (began, mut last, mut found) = (Instant::now(), computed(metrics)?, Vec::new());
    for window in 1..=LIFE_S / WINDOW_S {
        let end = began + Duration::from_secs(window * WINDOW_S);
        thread::sleep(end.saturating_duration_since(Instant::now()));
        let now = computed(metrics)?;
        found.push(now.checked_sub(last).context("a counter fell")?);
        last = now;
    }
    Ok(found)
}

/// Requests that sessions have computed, of all versions.
fn computed(metrics: u16) -> Result<u64> {
    Ok(metric(metrics, "nv_inference_count{", "")?)
}
