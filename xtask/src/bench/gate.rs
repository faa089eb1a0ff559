//! What a gate's lookup costs beside Redis' own GET, and beside itself where ten million entries are kept; and what a lease adds to a miss of
//! `serve`. A gate, a server and their Redis are started; rows leave.

use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use forebay_protocol::digest::{Digest, Scope, digest};
use forebay_protocol::gate::{LOOKUP_PATH, LOOKUPS_PATH};
use forebay_protocol::limits::Limits;
use forebay_protocol::lookups::{Lookup, Lookups, MAX_LOOKUPS, Outcomes};
use forebay_protocol::path::InferPath;
use prost::Message as _;
use rig::forebay::Ports;
use rig::group::Group;
use rig::http::{Connection, post, request, send};
use rig::process::{PATIENCE, free_port, listens, until};
use rig::tier::{Tier, ask};

use super::bodies::Body;
use super::load::{Load, Sample, cpu_time};
use super::table::{Row, Table, Told, Unit};
use super::{MEASURED_CPU, OTHER_CPU, Settings, in_turn};
use crate::command::{command, output};
use crate::layout::Layout;
use crate::up;
use crate::up::services::url;

const LOOKUPS: &str = "gate, lookups of 1 KB";
const TOGETHER: &str = "gate, lookups of 1 KB, 32 together";
const AMONG: &str = "gate, lookups that find nothing, among 10^7 entries";
const LEASE: &str = "serve, miss with a lease, 1 KB JSON";
const SERVICE: &str = "bench";
const CONNECTIONS: u32 = 16;
/// Entries that others keep, and bytes of each.
const ENTRIES: u64 = 10_000_000;
const ENTRY_BYTES: u64 = 100;
/// So many different keys are looked up that no processor has them at hand.
const KEYS: u32 = 20_000;

/// Processes, by where they listen.
struct Scene<'a> {
    layout: &'a Layout,
    settings: &'a Settings,
    folder: &'a Path,
    redis: u16,
    serve: Ports,
    gate: u16,
    /// Of Redis, and of the gate.
    pids: [u32; 2],
}

/// Adds the rows.
///
/// # Errors
/// Something can't be started, or a request fails.
pub(super) fn rows(layout: &Layout, settings: &Settings, folder: &Path, table: &mut Table) -> Result<()> {
    type Measure = fn(&Scene<'_>) -> Result<Row>;
    let all: [(&str, Measure); 4] = [(LOOKUPS, alone), (TOGETHER, together), (LEASE, lease), (AMONG, among)];
    let mut chosen = all.into_iter().filter(|(name, _)| name.contains(&settings.only)).peekable();
    if chosen.peek().is_none() {
        return Ok(());
    }
    let mut group = Group::new(folder)?;
    let scene = Scene::start(layout, settings, folder, &mut group)?;
    for (_, measure) in chosen {
        table.add(measure(&scene)?);
    }
    group.stop()
}

/// The gate, beside Redis alone: lookups a second of one processor's time.
fn alone(scene: &Scene<'_>) -> Result<Row> {
    let message = scene.kept()?;
    Ok(Row::of(
        told(LOOKUPS, "redis-benchmark's GET", CONNECTIONS, Unit::Rate, 0.6),
        &scene.beside_redis(&message, 1)?,
    ))
}

/// The same of lookups that come together, as busy filters ask.
fn together(scene: &Scene<'_>) -> Result<Row> {
    scene.kept()?;
    let lookup = Lookup {
        service: SERVICE.to_owned(),
        model: Body::Json1k.model().to_owned(),
        digest: decoded(Body::Json1k)?.0.to_vec().into(),
        ..Lookup::default()
    };
    let body = Lookups { lookups: vec![lookup; MAX_LOOKUPS] }.encode_to_vec();
    let message = post(LOOKUPS_PATH, &[], &body);
    let outcomes = Outcomes::parse(send(scene.gate, &message)?.body.into(), MAX_LOOKUPS);
    ensure!(outcomes.is_some_and(|all| all.iter().all(|outcome| outcome.status == 200)), "not all are found");
    let sides = scene.beside_redis(&message, MAX_LOOKUPS as u64)?;
    Ok(Row::of(told(TOGETHER, "redis-benchmark's GET", CONNECTIONS, Unit::Rate, 0.6), &sides))
}

/// Where ten million entries more are kept: gate and Redis.
fn among(scene: &Scene<'_>) -> Result<Row> {
    let keys: Vec<Vec<u8>> = (0..KEYS).map(|key| lookup(&digest_of(key), Body::Json1k.model())).collect();
    let measure = || -> Result<Vec<Sample>> {
        (0..scene.settings.repeat.max(1)).map(|_| scene.looked_up(&keys, 404, &scene.pids)).collect()
    };
    let few = measure()?;
    let before = scene.used_bytes()?;
    scene.tell(&format!("DEBUG POPULATE {ENTRIES} filler {ENTRY_BYTES}"))?;
    // Nobody was answered meanwhile.
    until("the gate has its pool again", || (send(scene.gate, &keys[0]).ok()?.status == 404).then_some(()));
    let bytes = (scene.used_bytes()? - before) / ENTRIES;
    println!("{AMONG}: Redis takes {bytes} bytes for each of {ENTRY_BYTES}");
    let row = Row::of(told(AMONG, "among few", CONNECTIONS, Unit::Cpu, 1.2), &[measure()?, few]);
    scene.tell("FLUSHALL")?;
    Ok(row)
}

/// A request that is urgent waits for no other server, and so takes no lease.
fn lease(scene: &Scene<'_>) -> Result<Row> {
    let sides = in_turn(scene.settings.repeat, &[Body::Json1kNew, Body::Json1kNewUrgent], |body| {
        let load = Load {
            server: url(scene.serve.http),
            body,
            connections: 1,
            rate: None,
            seconds: scene.settings.seconds,
        };
        load.run(scene.layout, scene.folder, &[])
    })?;
    Ok(Row::of(told(LEASE, "without one", 1, Unit::Added, 10.0), &sides))
}

fn told(name: &str, base: &'static str, connections: u32, unit: Unit, target: f64) -> Told {
    Told { name: name.to_owned(), base, connections, unit, target: Some(target) }
}

impl<'a> Scene<'a> {
    fn start(
        layout: &'a Layout,
        settings: &'a Settings,
        folder: &'a Path,
        group: &mut Group,
    ) -> Result<Self> {
        let redis = free_port();
        let mut tier = Tier::Redis.command(&layout.dir.join("bin"), redis);
        tier.args(["--enable-debug-command", "local"]);
        let redis_pid = group.start("redis", on(OTHER_CPU, &tier))?;
        group.until("Redis", PATIENCE, || listens(redis))?;
        let program = settings.backend.clone().map_or_else(|| up::backend(layout), Ok)?;
        let forebay = |which: &str| {
            let mut forebay = Command::new(&program);
            forebay.args([which, "--pool=redis", "--metrics-address=127.0.0.1", "--metrics-port=0"]);
            // What a busy machine delays is not to become a miss.
            forebay.arg(format!("--redis-url=redis://127.0.0.1:{redis}")).arg("--pool-timeout-ms=500");
            forebay
        };
        let mut serve = forebay("serve");
        serve.args([
            "--http-address=127.0.0.1",
            "--http-port=0",
            "--grpc-address=127.0.0.1",
            "--grpc-port=0",
        ]);
        serve.args(["--instances=1", &format!("--service={SERVICE}")]);
        serve.arg("--model-repository").arg(layout.dir.join("test-repository"));
        serve.arg("--onnxruntime").arg(layout.onnxruntime());
        let serve = group.start_until("serve-looks", on(MEASURED_CPU, &serve), PATIENCE, Ports::of)?;
        let mut gate = forebay("gate");
        gate.arg("--gate-port=0");
        let gate = group.start_until("gate", on(MEASURED_CPU, &gate), PATIENCE, Ports::of)?;
        let gate = gate.gate.context("the gate names no port")?;
        let pids = [redis_pid, group.pid("gate")?];
        let scene = Self { layout, settings, folder, redis, serve, gate, pids };
        let unknown = lookup(&digest_of(0), Body::Json1k.model());
        group.until("the gate knows what is live", PATIENCE, || {
            (send(gate, &unknown).ok()?.status == 404).then_some(())
        })?;
        Ok(scene)
    }

    /// So many lookups come, whose answers have that status; the CPU time of those processes counts, and their rate is that of it.
    fn looked_up(&self, requests: &[Vec<u8>], status: u16, pids: &[u32]) -> Result<Sample> {
        let until = Instant::now() + Duration::from_secs(self.settings.seconds.into());
        let before = sum(pids)?;
        let took: Vec<Duration> = thread::scope(|threads| {
            let share = requests.len().div_ceil(CONNECTIONS as usize);
            let clients: Vec<_> = (0..CONNECTIONS as usize)
                .map(|client| {
                    let own = requests.get(client * share..).filter(|own| !own.is_empty());
                    let own = own.map_or(requests, |own| &own[..share.min(own.len())]);
                    threads.spawn(move || look_up(self.gate, own, status, until))
                })
                .collect();
            let joined =
                clients.into_iter().map(|client| client.join().map_err(|_| anyhow!("a client failed"))?);
            joined.collect::<Result<Vec<_>>>().map(|took| took.concat())
        })?;
        sample(took.len() as u64, sum(pids)?.saturating_sub(before), &took)
    }

    /// Has an answer of 1 KB in the pool; the lookup that finds it.
    fn kept(&self) -> Result<Vec<u8>> {
        let body = Body::Json1k;
        let path = format!("/v2/models/{}/infer", body.model());
        let kept = send(self.serve.http, &post(&path, &body.headers(), &body.bytes()))?;
        ensure!(kept.status == 200, "{kept:?}");
        let lookup = lookup(&decoded(body)?, body.model());
        // It is written behind the answer.
        until("the entry is in the pool", || (send(self.gate, &lookup).ok()?.status == 200).then_some(()));
        Ok(lookup)
    }

    /// Messages of so many lookups, and Redis' own client, in turn.
    fn beside_redis(&self, message: &[u8], lookups: u64) -> Result<Vec<Vec<Sample>>> {
        in_turn(self.settings.repeat, &[true, false], |gate| {
            if !gate {
                return self.redis_alone();
            }
            let Sample { requests, elapsed, cpu, p50 } =
                self.looked_up(&[message.to_vec()], 200, &self.pids[1..])?;
            Ok(Sample { requests: requests * lookups, elapsed, cpu, p50 })
        })
    }

    /// As many a second as Redis gives of 1 KB, by its own client.
    fn redis_alone(&self) -> Result<Sample> {
        /// Some seconds of them.
        const REQUESTS: u64 = 300_000;
        let benchmark = |what: &str, requests: u64| {
            let mut benchmark = command("taskset", ["-c", MEASURED_CPU]);
            benchmark.arg(self.layout.bin("redis-benchmark")).args(["-q", "-d", "1024", "-t", what]);
            benchmark.args(["-p", &self.redis.to_string(), "-c", &CONNECTIONS.to_string()]);
            benchmark.args(["-n", &requests.to_string()]);
            output(benchmark)
        };
        // What is got is there.
        benchmark("set", 1000)?;
        let (pids, before) = (&self.pids[..1], sum(&self.pids[..1])?);
        benchmark("get", REQUESTS)?;
        sample(REQUESTS, sum(pids)?.saturating_sub(before), &[])
    }

    fn used_bytes(&self) -> Result<u64> {
        let used = |line: std::io::Result<String>| line.ok()?.strip_prefix("used_memory:")?.parse().ok();
        ask(self.redis, "INFO memory")?.find_map(used).context("Redis tells no memory")
    }

    /// Has Redis do that.
    fn tell(&self, command: &str) -> Result<()> {
        let said = ask(self.redis, command)?.next().context("Redis says nothing")??;
        ensure!(said == "+OK", "{said}");
        Ok(())
    }
}

/// Whose rate is that of the CPU time.
fn sample(requests: u64, cpu: Duration, took: &[Duration]) -> Result<Sample> {
    ensure!(requests > 0, "nothing was answered");
    let mut took = took.to_vec();
    took.sort_unstable();
    let p50 = took.get(took.len() / 2).copied().unwrap_or_default();
    Ok(Sample { requests, elapsed: cpu, cpu, p50 })
}

fn sum(pids: &[u32]) -> Result<Duration> {
    pids.iter().map(|pid| cpu_time(*pid)).sum()
}

fn on(cpu: &str, program: &Command) -> Command {
    let mut pinned = command("taskset", ["-c", cpu]);
    pinned.arg(program.get_program()).args(program.get_args());
    pinned.env("FOREBAY_POOL_SECRET", "a secret of no worth: for the benchmark alone");
    pinned
}

/// One connection that asks again when it is answered.
fn look_up(gate: u16, requests: &[Vec<u8>], status: u16, until: Instant) -> Result<Vec<Duration>> {
    let mut connection = Connection::open(gate)?;
    let (mut took, mut next) = (Vec::new(), requests.iter().cycle());
    while let Some(request) = next.next().filter(|_| Instant::now() < until) {
        let began = Instant::now();
        connection.write(request)?;
        let answer = connection.read()?;
        ensure!(answer.status == status, "{answer:?}");
        took.push(began.elapsed());
    }
    Ok(took)
}

/// What a filter asks.
fn lookup(digest: &Digest, model: &str) -> Vec<u8> {
    let digest = digest.to_string();
    let headers =
        [("x-forebay-service", SERVICE), ("x-forebay-model", model), ("x-forebay-digest", &*digest)];
    request("GET", LOOKUP_PATH, &headers, b"")
}

fn decoded(body: Body) -> Result<Digest> {
    let path = InferPath { model: body.model(), version: "" };
    let asked = forebay_protocol::request::decode(&path, None, &body.bytes().into(), &Limits::default())?;
    Ok(digest(&Scope { service: SERVICE, tenant: None }, &asked)?)
}

/// One that nobody has asked.
fn digest_of(key: u32) -> Digest {
    let mut bytes = [0; 32];
    bytes[..4].copy_from_slice(&key.to_le_bytes());
    Digest(bytes)
}
