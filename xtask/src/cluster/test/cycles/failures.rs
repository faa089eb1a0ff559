//! What goes wrong while nothing is there: who scales is gone while requests wait, a gate is killed that holds some, a second trigger
//! can't be asked, a node is lost. What one gate held is lost with it; all else is answered.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use rig::http::Connection;

use super::client::{Asked, Values};
use super::replicas::Replicas;
use super::service::{GONE, PROMPT, Service};
use super::{KEDA, PATIENCE, keda};
use crate::cluster::await_it::until;
use crate::cluster::test::bed::Bed;
use crate::cluster::test::load::{Sent, told};
use crate::cluster::up::ready_nodes;

/// Requests that wait at a gate.
const HELD: usize = 20;
/// Longer than KEDA would take to put it to zero: the cooldown of the service, and two of its looks.
const NOT_TO_ZERO: Duration = Duration::from_secs(40);

struct Scene<'a> {
    service: Service<'a>,
    replicas: Replicas,
    values: Values,
}

/// # Errors
/// More is lost than what had to be.
pub(super) fn all(bed: &Bed<'_>) -> Result<String> {
    // All that there is one of stays where nothing happens.
    bed.kube.run("cordon node-2")?;
    let service = Service::install(bed, KEDA)?;
    bed.kube.run("uncordon node-2")?;
    service.change(TWO)?;
    let replicas = Replicas::watch(&service.bed)?;
    let scene = Scene { service, replicas, values: Values::new() };
    let mut found = Vec::new();
    for part in [killed, no_prometheus, node] {
        scene.replicas.until("none is there", PATIENCE, |seen| seen.wanted == 0 && seen.there == 0)?;
        scene.service.bed.run(GONE)?;
        let seen = part(&scene)?;
        println!("           {seen}");
        found.push(seen);
    }
    let Scene { service, .. } = scene;
    service.remove()?;
    Ok(found.join("; "))
}

const TWO: &str = "--set gate.replicas=2 --set front.replicas=2";

/// KEDA's operator is gone while two gates hold, and one of them is killed; then the operator is back.
fn killed(scene: &Scene<'_>) -> Result<String> {
    let bed = &scene.service.bed;
    keda::operators(bed, 0)?;
    let gates = scene.service.addresses("gate")?;
    let [(victim, first), (_, second)] = gates.as_slice() else { return Err(anyhow!("gates: {gates:?}")) };
    let (mut lost, mut kept) = (scene.begin(*first)?, scene.begin(*second)?);
    for (name, gate) in &gates {
        until("they are held", Duration::from_secs(30), || (held(*gate).ok()? == HELD).then_some(()))
            .with_context(|| format!("{name} holds {:?}", held(*gate)))?;
    }
    bed.kill(victim)?;
    let lost = ended(&mut lost);
    ensure!(lost.answered == 0, "a gate that was killed has answered: {}", told(&[("its own", lost)]));
    ensure!(held(*second)? == HELD, "the other gate holds no more what it held");
    let began = Instant::now();
    keda::operators(bed, 1)?;
    let kept = ended(&mut kept);
    ensure!(kept.failed.is_empty(), "{}", told(&[("of the other gate", kept)]));
    Ok(format!(
        "KEDA's operator gone and a gate killed: its {HELD} are lost, the other's {HELD} are answered {:.0} s after the operator is back",
        began.elapsed().as_secs_f64()
    ))
}

/// A second trigger asks a Prometheus that nobody has.
fn no_prometheus(scene: &Scene<'_>) -> Result<String> {
    scene.service.change(&format!("{TWO} --set scaling.prometheus=http://prometheus.monitoring.svc:9090"))?;
    let began = Instant::now();
    scene.one(scene.service.front()?).map_err(|why| anyhow!("a miss: {why}"))?;
    let took = began.elapsed();
    let zero = scene.replicas.until("none is wanted", NOT_TO_ZERO, |seen| seen.wanted == 0);
    let said = scene.service.bed.json("get scaledobjects.keda.sh forebay-backend")?;
    let conditions = said["status"]["conditions"].as_array().context("KEDA says nothing")?.iter();
    let ready =
        conditions.clone().find(|one| one["type"] == "Ready").context("KEDA says nothing of Ready")?;
    ensure!(zero.is_err(), "it went to zero though a trigger could not be asked: {ready}");
    scene.service.change(TWO)?;
    Ok(format!(
        "Prometheus is down: a miss is answered after {:.1} s, and it stays at one (Ready {}, {}) until that trigger is well or gone",
        took.as_secs_f64(),
        ready["status"],
        ready["reason"]
    ))
}

/// A node's power is cut while no backend is there.
fn node(scene: &Scene<'_>) -> Result<String> {
    let bed = &scene.service.bed;
    let (starter, place) = bed.starter()?;
    let (link, tools) = (format!("ip -n {} link set node-2", place.instance.control()), &place.parts.tools);
    let fronts = bed.pods("front")?;
    let (here, _) = fronts.iter().find(|(_, node)| node == "node-1").context("no front is on node-1")?;
    let addresses = scene.service.addresses("front")?;
    let (_, front) = addresses.iter().find(|(name, _)| name == here).context("the front has no address")?;
    let front = SocketAddr::new(*front, 8080);
    tools.run(&format!("{link} down"))?;
    bed.end_node(2)?;
    let began = Instant::now();
    let mut sent = Sent::default();
    sent.count(scene.one(front));
    let took = began.elapsed();
    until("the node is missed", Duration::from_mins(1), || {
        ready_nodes(&bed.kube).filter(|ready| *ready == 1)
    })?;
    let mut after = Sent::default();
    for _ in 0..HELD {
        after.count(scene.one(front));
    }
    ensure!(after.failed.is_empty(), "once the node is missed: {}", told(&[("misses", after)]));
    tools.run(&format!("{link} up"))?;
    starter.node(2, place.addresses)?;
    until("it is back", PATIENCE, || ready_nodes(&bed.kube).filter(|ready| *ready == 2))?;
    ensure!(sent.failed.is_empty(), "{}", told(&[("the first miss", sent)]));
    Ok(format!(
        "a node lost at zero: the miss at that moment is answered after {:.0} s, {HELD} more at once",
        took.as_secs_f64()
    ))
}

impl Scene<'_> {
    fn asked(&self) -> Asked {
        Asked { model: PROMPT, value: self.values.next() }
    }

    /// One that nobody has asked.
    fn one(&self, to: SocketAddr) -> Result<bool, String> {
        let asked = self.asked();
        let mut connection = asked.begin(to).map_err(|error| format!("lost: {}", error.kind()))?;
        asked.end(&mut connection)
    }

    /// As many as a gate is to hold, each on a connection of its own.
    fn begin(&self, gate: IpAddr) -> Result<Vec<(Asked, Connection)>> {
        let one = || {
            let asked = self.asked();
            Ok((asked, asked.begin(SocketAddr::new(gate, 8000))?))
        };
        (0..HELD).map(|_| one()).collect()
    }
}

/// Requests that wait at that gate.
fn held(gate: IpAddr) -> Result<usize> {
    let text = super::client::read(SocketAddr::new(gate, 8012), "/metrics")?;
    let line = text.lines().find_map(|line| line.strip_prefix("forebay_held_requests "));
    Ok(line.context("the gate does not say what it holds")?.trim().parse()?)
}

fn ended(all: &mut [(Asked, Connection)]) -> Sent {
    let mut sent = Sent::default();
    for (asked, connection) in all {
        sent.count(asked.end(connection));
    }
    sent
}
