//! What a start costs: `forebay serve` from its exec to its ready line, and to the first answer of a model. Figures leave, each beside its
//! base of the same run, and for each how long the server says that its steps took.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use rig::forebay::Ports;
use rig::group::Group;
use rig::http::{get, post, send};
use rig::process::PATIENCE;
use rig::v2::JSON;

use super::Settings;
use super::bodies::Body;
use super::figure::{Figure, Target};
use crate::command::{command, output};
use crate::layout::Layout;
use crate::up;

/// A model with a recurrent net: 2 MB, most of whose load is ONNX Runtime's optimisation.
const VAD: &str = "vad";
/// So many of it are loaded side by side.
const SEVERAL: usize = 8;

/// A server that starts again and again.
struct Scene<'a> {
    program: PathBuf,
    onnxruntime: PathBuf,
    folder: &'a Path,
    repeat: u32,
}

/// One start.
struct Started {
    ready: Duration,
    answered: Duration,
    /// In milliseconds, by name.
    steps: BTreeMap<String, f64>,
}

/// Measures all, and prints what came of it.
///
/// # Errors
/// Something can't be started, or does not answer.
pub(super) fn rows(layout: &Layout, settings: &Settings, folder: &Path) -> Result<()> {
    type Measure = fn(&Scene<'_>, &Path) -> Result<Figure>;
    let all: [(&str, usize, Measure); 3] =
        [("start, no model", 0, no_model), ("start, vad", 1, one), ("start, 8 models", SEVERAL, several)];
    let scene = Scene {
        program: settings.backend.clone().map_or_else(|| up::backend(layout), Ok)?,
        onnxruntime: layout.onnxruntime(),
        folder,
        repeat: settings.repeat.max(1),
    };
    for (name, count, measure) in all {
        if name.contains(&settings.only) {
            println!("{}", measure(&scene, &repository(layout, folder, count)?)?);
        }
    }
    Ok(())
}

/// With so many models, all of them `vad`.
fn repository(layout: &Layout, folder: &Path, count: usize) -> Result<PathBuf> {
    let root = folder.join(format!("start-{count}"));
    if root.exists() {
        fs::remove_dir_all(&root)?;
    }
    fs::create_dir_all(&root)?;
    let vad = layout.repository().join(VAD);
    let config = fs::read_to_string(vad.join("config.pbtxt"))?;
    for number in 0..count {
        let name = if number == 0 { VAD.to_owned() } else { format!("{VAD}-{number}") };
        let model = root.join(&name);
        fs::create_dir(&model)?;
        symlink(vad.join("1"), model.join("1"))?;
        fs::write(
            model.join("config.pbtxt"),
            config.replacen(&format!("\"{VAD}\""), &format!("\"{name}\""), 1),
        )?;
    }
    Ok(root)
}

impl Scene<'_> {
    /// Starts it with these models, asks the first if there is one, and ends it.
    fn start(&self, models: &Path, more: &[String]) -> Result<Started> {
        let mut serve = command(&self.program, ["serve", "--http-port=0", "--http-address=127.0.0.1"]);
        serve.args([
            "--grpc-port=0",
            "--grpc-address=127.0.0.1",
            "--metrics-port=0",
            "--metrics-address=127.0.0.1",
        ]);
        serve.args(["--pool=none", "--drain-secs=0"]).args(more);
        serve.arg("--model-repository").arg(models).arg("--onnxruntime").arg(&self.onnxruntime);
        let mut group = Group::new(self.folder)?;
        let began = Instant::now();
        let ports = group.start_until("serve-starts", serve, PATIENCE, Ports::of)?;
        let ready = began.elapsed();
        if models.join(VAD).exists() {
            let answer =
                send(ports.http, &post(&format!("/v2/models/{VAD}/infer"), &JSON, &Body::VadJson.bytes()))?;
            ensure!(answer.status == 200, "{answer:?}");
        }
        let answered = began.elapsed();
        let steps = steps(&String::from_utf8(send(ports.metrics, &get("/metrics"))?.body)?);
        group.stop()?;
        Ok(Started { ready, answered, steps })
    }

    /// So many starts of two kinds, in turn: each kind's, and its steps' medians.
    fn in_turn(
        &self,
        mut own: impl FnMut() -> Result<Started>,
        mut base: impl FnMut() -> Result<Duration>,
    ) -> Result<(Vec<Started>, Vec<Duration>)> {
        let (mut started, mut against) = (Vec::new(), Vec::new());
        for _ in 0..self.repeat {
            against.push(base()?);
            started.push(own()?);
        }
        println!("  steps of a start, medians: {}", medians(&started));
        Ok((started, against))
    }
}

fn no_model(scene: &Scene<'_>, models: &Path) -> Result<Figure> {
    let base = || {
        let began = Instant::now();
        output(command(&scene.program, ["--version"]))?;
        Ok(began.elapsed())
    };
    let (started, against) = scene.in_turn(|| scene.start(models, &[]), base)?;
    let own = started.iter().map(|one| one.ready).collect();
    let (name, base) = ("ready without models", "the program says its version");
    Ok(Figure { name, base, own, against, target: Target::AtMost(20.0) })
}

/// The first start of those keeps what it optimised for those that follow.
fn one(scene: &Scene<'_>, models: &Path) -> Result<Figure> {
    let kept = scene.folder.join("start-kept");
    let keeps = [format!("--optimized-model-dir={}", kept.display())];
    if kept.exists() {
        fs::remove_dir_all(&kept)?;
    }
    scene.start(models, &keeps)?;
    let base = || Ok(scene.start(models, &[])?.answered);
    let (started, against) = scene.in_turn(|| scene.start(models, &keeps), base)?;
    let own = started.iter().map(|one| one.answered).collect();
    let (name, base) = ("vad answers, optimised before", "optimised at this start");
    Ok(Figure { name, base, own, against, target: Target::AtMost(150.0) })
}

fn several(scene: &Scene<'_>, models: &Path) -> Result<Figure> {
    let base = || Ok(scene.start(models, &["--model-load-thread-count=1".to_owned()])?.ready);
    let (started, against) = scene.in_turn(|| scene.start(models, &[]), base)?;
    let own = started.iter().map(|one| one.ready).collect();
    let (name, base) = ("8 models are ready, loaded side by side", "one after another");
    Ok(Figure { name, base, own, against, target: Target::None })
}

/// Of `forebay_start_seconds` and `forebay_load_seconds`, in milliseconds.
fn steps(metrics: &str) -> BTreeMap<String, f64> {
    let step = |line: &str| {
        let (series, seconds) = line.rsplit_once(' ')?;
        let of = ["forebay_start_seconds{", "forebay_load_seconds{model=\"vad\""];
        of.iter().any(|of| series.starts_with(of)).then_some(())?;
        let name = series.split("step=\"").nth(1)?.split('"').next()?;
        Some((name.to_owned(), seconds.parse::<f64>().ok()? * 1e3))
    };
    metrics.lines().filter_map(step).collect()
}

fn medians(started: &[Started]) -> String {
    let names = started.first().map(|one| one.steps.keys().cloned().collect::<Vec<_>>()).unwrap_or_default();
    let median = |name: &String| {
        let mut of: Vec<f64> = started.iter().filter_map(|one| one.steps.get(name).copied()).collect();
        of.sort_unstable_by(f64::total_cmp);
        format!("{name} {:.1} ms", of.get(of.len() / 2).copied().unwrap_or(f64::NAN))
    };
    names.iter().map(median).collect::<Vec<_>>().join(", ")
}
