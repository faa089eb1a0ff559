//! What a wake costs: a gate that holds, a backend that starts, clients that wait for it and others that ask for what is kept. Figures
//! leave, each beside its base of the same run.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::{self, scope};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};
use rig::forebay::Ports;
use rig::group::Group;
use rig::http::{Answer, Connection, metric, post, send};
use rig::process::{PATIENCE, free_port, listens, until};
use rig::tier::Tier;
use rig::v2::{JSON, fp32};
use rustix::thread::{CpuSet, sched_setaffinity};

use super::figure::{Figure, Target};
use super::{MEASURED_CPU, OTHER_CPU, Settings};
use crate::command::command;
use crate::layout::Layout;
use crate::up;

const PATH: &str = "/v2/models/identity_fp32/infer";
/// Who waits for the same backend.
const HELD: usize = 1000;
/// Who asks for what is kept, each so often.
const HITTERS: usize = 8;
const EVERY: Duration = Duration::from_millis(8);
/// So long they ask while nothing else happens.
const QUIET: Duration = Duration::from_millis(500);

/// A gate whose backends come and go.
struct Scene<'a> {
    layout: &'a Layout,
    settings: &'a Settings,
    folder: &'a Path,
    /// Of the pool, and of a backend: its HTTP, gRPC and metrics.
    redis: u16,
    backend: [u16; 3],
    /// Where the gate takes requests.
    gate: u16,
    values: AtomicU32,
}

/// Measures all, and prints what came of it.
///
/// # Errors
/// Something can't be started, or a request is lost.
pub(super) fn rows(layout: &Layout, settings: &Settings, folder: &Path) -> Result<()> {
    type Measure = fn(&Scene<'_>) -> Result<Figure>;
    let all: [(&str, Measure); 3] =
        [("wake, first answer", first), ("wake, 1,000 held", crowd), ("wake, hits meanwhile", hits)];
    let chosen = all.into_iter().filter(|(name, _)| name.contains(&settings.only));
    let mut group = Group::new(folder)?;
    let mut scene = None;
    for (_, measure) in chosen {
        let scene = match &mut scene {
            Some(scene) => scene,
            none => none.insert(Scene::start(layout, settings, folder, &mut group)?),
        };
        println!("{}", measure(scene)?);
    }
    group.stop()
}

impl<'a> Scene<'a> {
    fn start(
        layout: &'a Layout,
        settings: &'a Settings,
        folder: &'a Path,
        group: &mut Group,
    ) -> Result<Self> {
        let (redis, backend) = (free_port(), [free_port(), free_port(), free_port()]);
        group.start("redis", Tier::Redis.command(&layout.dir.join("bin"), redis))?;
        group.until("Redis", PATIENCE, || listens(redis))?;
        let mut scene = Self { layout, settings, folder, redis, backend, gate: 0, values: AtomicU32::new(1) };
        let mut gate = scene.forebay("gate", MEASURED_CPU)?;
        let [http, grpc, metrics] = backend;
        gate.args(["--gate-port=0", "--metrics-port=0", "--hold-ports=0,0", "--hold-service=bench"]);
        gate.arg(format!("--hold-for=http://127.0.0.1:{http}"));
        gate.arg(format!("--hold-for-grpc-port={grpc}")).arg(format!("--hold-for-metrics-port={metrics}"));
        scene.gate = group.start_until("gate", gate, PATIENCE, Ports::of)?.http;
        Ok(scene)
    }

    /// A program with the pool, on that processor.
    fn forebay(&self, which: &str, cpu: &str) -> Result<Command> {
        let program = self.settings.backend.clone().map_or_else(|| up::backend(self.layout), Ok)?;
        let mut forebay = command("taskset", ["-c", cpu]);
        forebay.arg(program).args([which, "--pool=redis", "--metrics-address=127.0.0.1"]);
        forebay.arg(format!("--redis-url=redis://127.0.0.1:{}", self.redis));
        forebay.env("FOREBAY_POOL_SECRET", "a secret of no worth: for the benchmark alone");
        Ok(forebay)
    }

    /// A backend starts, and goes when `done` is: it is told when the backend said that it is ready.
    fn wakes<T>(&self, done: impl FnOnce(Instant) -> Result<T>) -> Result<T> {
        self.wake(self.forebay("serve", OTHER_CPU)?, done)
    }

    /// The same of one that yields its processor to who asks for hits: in a cluster it starts on another machine.
    fn wakes_elsewhere<T>(&self, done: impl FnOnce(Instant) -> Result<T>) -> Result<T> {
        let serve = self.forebay("serve", OTHER_CPU)?;
        let mut idle = command("chrt", ["--idle", "0"]);
        idle.arg(serve.get_program()).args(serve.get_args());
        idle.envs(serve.get_envs().filter_map(|(name, value)| Some((name, value?))));
        self.wake(idle, done)
    }

    fn wake<T>(&self, mut serve: Command, done: impl FnOnce(Instant) -> Result<T>) -> Result<T> {
        let [http, grpc, metrics] = self.backend;
        serve.args(["--http-address=127.0.0.1", "--grpc-address=127.0.0.1", "--service=bench"]);
        serve.args(["--instances=1", "--drain-secs=0"]).arg(format!("--http-port={http}"));
        serve.arg(format!("--grpc-port={grpc}")).arg(format!("--metrics-port={metrics}"));
        serve.arg("--model-repository").arg(self.layout.dir.join("test-repository"));
        serve.arg("--onnxruntime").arg(self.layout.onnxruntime());
        let mut group = Group::new(self.folder)?;
        group.start_until("serve-wakes", serve, PATIENCE, Ports::of)?;
        let outcome = done(Instant::now());
        let failed = self.failed();
        group.stop()?;
        ensure!(failed? == 0, "the backend's queue refused requests");
        outcome
    }

    /// Requests that the backend refused.
    fn failed(&self) -> Result<u64> {
        Ok(metric(self.backend[2], "nv_inference_request_failure{", "")?)
    }

    /// A request that nobody has sent.
    fn new_request(&self) -> Vec<u8> {
        let value = self.values.fetch_add(1, Ordering::Relaxed) as f32;
        post(PATH, &JSON, &fp32(&[value]))
    }

    /// So many that were sent, each on a connection of its own.
    fn ask(&self, count: usize) -> Result<Vec<Connection>> {
        let one = || {
            let mut connection = Connection::open(self.gate)?;
            connection.write(&self.new_request())?;
            anyhow::Ok(connection)
        };
        (0..count).map(|_| one()).collect()
    }

    fn repeat(&self) -> u32 {
        self.settings.repeat.max(1)
    }
}

fn answered(connections: &mut [Connection]) -> Result<()> {
    for connection in connections {
        let answer = connection.read()?;
        ensure!(answer.status == 200, "{answer:?}");
    }
    Ok(())
}

/// From the backend's readiness to the answer of who waited for it; and what one takes that comes then.
fn first(scene: &Scene<'_>) -> Result<Figure> {
    let (mut own, mut against) = (Vec::new(), Vec::new());
    for _ in 0..scene.repeat() {
        let mut held = scene.ask(1)?;
        let at = thread::spawn(move || answered(&mut held).map(|()| Instant::now()));
        let (took, awake) = scene.wakes(|ready| {
            let at = at.join().map_err(|_| anyhow!("who waited failed"))??;
            let began = Instant::now();
            answered(&mut scene.ask(1)?)?;
            Ok((at.saturating_duration_since(ready), began.elapsed()))
        })?;
        own.push(took);
        against.push(awake);
    }
    let target = Target::AtMost(50.0);
    Ok(Figure { name: "first answer after a wake", base: "one that comes then", own, against, target })
}

/// From the backend's readiness to the last of many answers; and what as many take that come then.
fn crowd(scene: &Scene<'_>) -> Result<Figure> {
    let (mut own, mut against) = (Vec::new(), Vec::new());
    for _ in 0..scene.repeat() {
        let mut held = scene.ask(HELD)?;
        let (took, awake) = scene.wakes(|ready| {
            answered(&mut held)?;
            let (took, began) = (ready.elapsed(), Instant::now());
            answered(&mut scene.ask(HELD)?)?;
            Ok((took, began.elapsed()))
        })?;
        own.push(took);
        against.push(awake);
    }
    Ok(Figure {
        name: "1,000 held are answered",
        base: "1,000 that come then",
        own,
        against,
        target: Target::None,
    })
}

/// What hits take at the gate while a backend wakes; and while nothing happens.
fn hits(scene: &Scene<'_>) -> Result<Figure> {
    let kept = scene.new_request();
    scene.wakes(|_| {
        // It is written behind the answer.
        until("an answer is kept", || send(scene.gate, &kept).ok().filter(is_hit));
        Ok(())
    })?;
    let (mut own, mut against) = (Vec::new(), Vec::new());
    for _ in 0..scene.repeat() {
        against.extend(meanwhile(scene, &kept, || {
            thread::sleep(QUIET);
            Ok(())
        })?);
        own.extend(meanwhile(scene, &kept, || {
            let mut held = scene.ask(1)?;
            scene.wakes_elsewhere(|_| answered(&mut held))
        })?);
    }
    let target = Target::Tail(1.2);
    Ok(Figure { name: "hits while a backend wakes", base: "while nothing happens", own, against, target })
}

/// What hits take until that is done, each from when it was due.
fn meanwhile(scene: &Scene<'_>, kept: &[u8], done: impl FnOnce() -> Result<()>) -> Result<Vec<Duration>> {
    let enough = AtomicBool::new(false);
    scope(|threads| {
        let hitters: Vec<_> =
            (0..HITTERS).map(|_| threads.spawn(|| hit(scene.gate, kept, &enough))).collect();
        let outcome = done();
        enough.store(true, Ordering::Relaxed);
        let mut all = Vec::new();
        for hitter in hitters {
            all.extend(hitter.join().map_err(|_| anyhow!("a client failed"))??);
        }
        outcome.map(|()| all)
    })
}

fn is_hit(answer: &Answer) -> bool {
    answer.status == 200 && answer.cache_status() == "forebay-gate; hit"
}

fn hit(port: u16, kept: &[u8], enough: &AtomicBool) -> Result<Vec<Duration>> {
    // The gate has a processor of its own.
    let mut cpus = CpuSet::new();
    cpus.set(OTHER_CPU.parse()?);
    sched_setaffinity(None, &cpus)?;
    let mut connection = Connection::open(port)?;
    let (mut took, mut due) = (Vec::new(), Instant::now());
    while !enough.load(Ordering::Relaxed) {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        connection.write(kept)?;
        let answer = connection.read()?;
        ensure!(is_hit(&answer), "no hit: {answer:?}");
        took.push(due.elapsed());
        due += EVERY;
    }
    Ok(took)
}
