//! Laws of the table, played: two servers that load, unload, die and come back, two gates, three proxies, answers that are late,
//! lost or out of order, partitions, gates that start again, and a Redis that fails over without its last writes. No real time.
//!
//! 1. The epochs of a proxy only grow.
//! 2. A proxy that has the table of a load, or one made after it, never again takes a table with what that load replaced.
//! 3. When a load has answered that all know, no proxy and no gate that trusts its table has what it replaced; but for a while
//!    after a failover, which may have lost who polls without losing an epoch.

mod scripts;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use forebay_protocol::digest::Generation;
use forebay_protocol::generations::LiveModel;
use proptest::prelude::*;

use super::board::Board;
use super::heard::{Record, Served, live_models, outdated};
use super::millis;
use super::proxies::{LEASE, Proxies};
use super::script::{self, Read, Reader, Stands};
use super::table::{LiveTable, Standing};

/// A proxy's own: the longest that it trusts a table after it asked for it.
const PROXY_TRUST_MS: u64 = 5000;
/// Some time in the past.
const START_MS: u64 = 1_700_000_000_000;

/// What happens next.
#[derive(Debug, Clone, Copy)]
enum Event {
    /// Time passes, in ms.
    Wait(u16),
    /// A server replaces its model.
    Load(u8),
    Unload(u8),
    /// A server's heartbeat; its answer may be lost.
    Beat(u8, bool),
    /// A server dies, and another is there in its place, with the same model or none.
    Die(u8),
    Leave(u8),
    Sweep,
    /// A gate asks the pool; the answer is under way.
    Ask(u8),
    /// It comes, or not.
    Hear(u8, bool),
    /// A gate is started again.
    Restart(u8),
    /// A proxy polls a gate; the answer is under way.
    Poll(u8, u8),
    /// One of the answers to a proxy comes.
    Answer(u8, u8),
    /// A proxy is started again.
    Renew(u8),
    /// The replica of the pool has all that was written.
    Replicate,
    /// The replica takes over; its clock differs by so many ms.
    FailOver(i16),
    /// The pool starts again, empty.
    Flush,
    /// A gate and the pool don't reach each other, or do again.
    Part(u8),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (1_u16..4000).prop_map(Event::Wait),
        3 => (0_u8..2).prop_map(Event::Load),
        1 => (0_u8..2).prop_map(Event::Unload),
        8 => (0_u8..2, prop::bool::weighted(0.9)).prop_map(|(i, heard)| Event::Beat(i, heard)),
        1 => (0_u8..2).prop_map(Event::Die),
        1 => (0_u8..2).prop_map(Event::Leave),
        1 => Just(Event::Sweep),
        12 => (0_u8..2).prop_map(Event::Ask),
        12 => (0_u8..2, prop::bool::weighted(0.9)).prop_map(|(g, comes)| Event::Hear(g, comes)),
        1 => (0_u8..2).prop_map(Event::Restart),
        12 => (0_u8..3, 0_u8..2).prop_map(|(p, g)| Event::Poll(p, g)),
        12 => (0_u8..3, any::<u8>()).prop_map(|(p, which)| Event::Answer(p, which)),
        1 => (0_u8..3).prop_map(Event::Renew),
        2 => Just(Event::Replicate),
        1 => (-1000_i16..1000).prop_map(Event::FailOver),
        1 => Just(Event::Flush),
        1 => (0_u8..2).prop_map(Event::Part),
    ]
}

/// Epochs that a table takes into account.
type Lineage = Arc<BTreeSet<u64>>;
type Models = Arc<Vec<LiveModel>>;

/// What a gate told: the epoch, the models, and what they take into account.
type Told = (u64, Models, Lineage);

struct Server {
    instance: String,
    record: Record,
    known: u64,
    /// As the server knows it: the epoch by which its record is known.
    told: Option<u64>,
    /// What its record replaced, if that is to be followed.
    replaced: Vec<Generation>,
    said_digest: String,
    gone: bool,
}

struct Gate {
    name: String,
    table: LiveTable,
    proxies: Arc<Proxies>,
    signature: String,
    parted: bool,
    /// An answer under way: what was asked, and what comes.
    hearing: Option<(Asked, Read, Lineage)>,
    models: Models,
    lineage: Lineage,
}

struct Asked {
    at: Instant,
    known: Vec<u64>,
    proxies: Vec<(String, u64)>,
}

struct Proxy {
    name: String,
    epoch: u64,
    models: Models,
    /// Until when it trusts its table, in ms.
    trusts_until: u64,
    /// Answers under way, each with when it was asked for; nothing in it when there was none newer.
    answers: Vec<(u64, Option<Told>)>,
    /// What it must not take any more.
    forbidden: BTreeSet<[u8; 32]>,
}

struct World {
    start: Instant,
    now_ms: u64,
    board: Board,
    replica: Board,
    skew_ms: i64,
    failed_over_ms: u64,
    servers: Vec<Server>,
    gates: Vec<Gate>,
    proxies: Vec<Proxy>,
    /// Loads: their epochs and what they replaced.
    loads: BTreeMap<u64, Vec<Generation>>,
    names: u64,
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            start: Instant::now(),
            now_ms: START_MS,
            board: Board::default(),
            replica: Board::default(),
            skew_ms: 0,
            failed_over_ms: 0,
            servers: Vec::new(),
            gates: Vec::new(),
            proxies: Vec::new(),
            loads: BTreeMap::new(),
            names: 0,
        };
        for _ in 0..2 {
            let server = world.server();
            world.servers.push(server);
            let gate = world.gate();
            world.gates.push(gate);
        }
        for _ in 0..3 {
            let proxy = world.proxy();
            world.proxies.push(proxy);
        }
        world
    }

    fn number(&mut self) -> u64 {
        self.names += 1;
        self.names
    }

    fn served(&mut self) -> Vec<Served> {
        let mut generation = [0; 32];
        generation[..8].copy_from_slice(&self.number().to_le_bytes());
        vec![Served { model: "m".into(), version: String::new(), generation: Generation(generation) }]
    }

    fn server(&mut self) -> Server {
        let models = self.served();
        Server {
            instance: format!("server {}", self.number()),
            record: Record::empty("s").then(models),
            known: 0,
            told: None,
            replaced: Vec::new(),
            said_digest: String::new(),
            gone: false,
        }
    }

    fn gate(&mut self) -> Gate {
        Gate {
            name: format!("gate {}", self.number()),
            table: LiveTable::new(false),
            proxies: Arc::default(),
            signature: String::new(),
            parted: false,
            hearing: None,
            models: Arc::default(),
            lineage: Arc::default(),
        }
    }

    fn proxy(&mut self) -> Proxy {
        Proxy {
            name: format!("proxy {}", self.number()),
            epoch: 0,
            models: Arc::default(),
            trusts_until: 0,
            answers: Vec::new(),
            forbidden: BTreeSet::new(),
        }
    }

    fn instant(&self) -> Instant {
        self.start + Duration::from_millis(self.now_ms - START_MS)
    }

    fn redis_us(&self) -> u64 {
        self.now_ms.saturating_add_signed(self.skew_ms) * 1000
    }

    fn happens(&mut self, event: Event) -> Result<(), TestCaseError> {
        match event {
            Event::Wait(ms) => self.now_ms += u64::from(ms),
            Event::Load(i) => {
                let models = self.served();
                self.change(usize::from(i), models);
            }
            Event::Unload(i) => self.change(usize::from(i), Vec::new()),
            Event::Beat(i, heard) => self.beat(usize::from(i), heard)?,
            Event::Die(i) => {
                let next = self.server();
                self.servers[usize::from(i)] = next;
            }
            Event::Leave(i) => {
                self.servers[usize::from(i)].gone = true;
                self.beat(usize::from(i), true)?;
                let next = self.server();
                self.servers[usize::from(i)] = next;
            }
            Event::Sweep => {
                let heard = self.board.heard();
                let gone = outdated(&heard, self.redis_us() / 1000);
                self.board.sweep(&gone);
            }
            Event::Ask(g) => self.ask(usize::from(g)),
            Event::Hear(g, comes) => self.hear(usize::from(g), comes),
            Event::Restart(g) => {
                let next = self.gate();
                self.gates[usize::from(g)] = next;
            }
            Event::Poll(p, g) => self.poll(usize::from(p), usize::from(g)),
            Event::Answer(p, which) => self.answer(usize::from(p), usize::from(which))?,
            Event::Renew(p) => {
                let next = self.proxy();
                self.proxies[usize::from(p)] = next;
            }
            Event::Replicate => self.replica = self.board.clone(),
            Event::FailOver(skew_ms) => {
                self.board = self.replica.clone();
                self.skew_ms = i64::from(skew_ms);
                self.failed_over_ms = self.now_ms;
            }
            Event::Flush => self.board = Board::default(),
            Event::Part(g) => {
                let gate = &mut self.gates[usize::from(g)];
                gate.parted = !gate.parted;
            }
        }
        Ok(())
    }

    fn change(&mut self, i: usize, models: Vec<Served>) {
        let server = &mut self.servers[i];
        server.replaced.extend(server.record.models.iter().map(|served| served.generation));
        server.record = server.record.then(models);
        server.told = None;
    }

    fn beat(&mut self, i: usize, heard: bool) -> Result<(), TestCaseError> {
        let now_us = self.redis_us();
        let server = &mut self.servers[i];
        let text = script::text(&server.record);
        let digest = script::digest(&text);
        let short = if server.said_digest == digest { "" } else { text.as_str() };
        let mut said = self.board.say(&server.instance, server.gone, (&digest, short), server.known, now_us);
        if said.record == Stands::Lacking {
            if !heard {
                return Ok(());
            }
            server.known = said.epoch;
            said = self.board.say(&server.instance, server.gone, (&digest, &text), server.known, now_us);
        }
        if said.record == Stands::Written {
            // What nobody else serves is gone with this epoch.
            let live = live_models(&self.board.heard(), now_us / 1000);
            let is_live = |g: &Generation| live.iter().any(|row| row.generations.contains(g));
            let replaced = server.replaced.iter().filter(|g| !is_live(g)).copied();
            self.loads.entry(said.epoch).or_default().extend(replaced);
        }
        if heard {
            server.known = said.epoch;
            server.said_digest = digest;
            if server.told.is_none() || said.record == Stands::Written {
                server.told = Some(said.epoch);
            }
            self.check_settled(i)?;
        }
        Ok(())
    }

    /// The third law, as of now.
    fn check_settled(&mut self, i: usize) -> Result<(), TestCaseError> {
        let now_us = self.redis_us();
        let Some(epoch) = self.servers[i].told else { return Ok(()) };
        if self.now_ms - self.failed_over_ms <= millis(LEASE) {
            return Ok(());
        }
        if self.board.behind(epoch, millis(LEASE), now_us) > 0 {
            return Ok(());
        }
        let Some(replaced) = self.loads.get(&epoch) else { return Ok(()) };
        let lists =
            |models: &Models| models.iter().any(|row| row.generations.iter().any(|g| replaced.contains(g)));
        for proxy in self.proxies.iter().filter(|proxy| proxy.trusts_until >= self.now_ms) {
            prop_assert!(!lists(&proxy.models), "{} has what {epoch} replaced", proxy.name);
        }
        for gate in &self.gates {
            let trusted = gate.table.json(self.instant()).is_some();
            prop_assert!(!trusted || !lists(&gate.models), "{} has what {epoch} replaced", gate.name);
        }
        Ok(())
    }

    fn ask(&mut self, g: usize) {
        let (now_us, at) = (self.redis_us(), self.instant());
        let gate = &mut self.gates[g];
        if gate.parted || gate.hearing.is_some() {
            return;
        }
        let (known, proxies) = (gate.table.untraced(), gate.proxies.to_say(at));
        let reader = Reader {
            gate: &gate.name,
            epoch: gate.table.epoch(),
            signature: &gate.signature,
            known: &known,
            proxies: &proxies,
        };
        let read = self.board.read(&reader, now_us);
        let lineage = Arc::new(self.board.epochs.clone());
        gate.hearing = Some((Asked { at, known, proxies }, read, lineage));
    }

    fn hear(&mut self, g: usize, comes: bool) {
        let now = self.instant();
        let gate = &mut self.gates[g];
        let Some((asked, read, lineage)) = gate.hearing.take() else { return };
        // Longer than its patience it doesn't wait.
        if !comes || now.duration_since(asked.at) > script::PATIENCE {
            return;
        }
        gate.proxies.said(&asked.proxies, asked.at);
        let models = read.heard.map(|heard| live_models(&heard, read.now_ms));
        if let Some(models) = &models {
            gate.models = Arc::new(models.clone());
        }
        gate.table.set(read.epoch, models, asked.at, &asked.known);
        gate.signature = read.signature;
        gate.lineage = lineage;
    }

    fn poll(&mut self, p: usize, g: usize) {
        let now = self.instant();
        let (gate, proxy) = (&mut self.gates[g], &mut self.proxies[p]);
        // There is room for so many.
        let _ = gate.proxies.hear(&proxy.name, proxy.epoch, now);
        let answer = match gate.table.standing(proxy.epoch, now) {
            Standing::Newer => Some(Some((gate.table.epoch(), gate.models.clone(), gate.lineage.clone()))),
            Standing::Same => Some(None),
            Standing::Untraced | Standing::Unknown => None,
        };
        gate.proxies.answered(&proxy.name, now);
        proxy.answers.extend(answer.map(|answer| (self.now_ms, answer)));
    }

    fn answer(&mut self, p: usize, which: usize) -> Result<(), TestCaseError> {
        let proxy = &mut self.proxies[p];
        if proxy.answers.is_empty() {
            return Ok(());
        }
        let (asked_ms, answer) = proxy.answers.swap_remove(which % proxy.answers.len());
        let Some((epoch, models, lineage)) = answer else {
            proxy.trusts_until = proxy.trusts_until.max(asked_ms + PROXY_TRUST_MS);
            return Ok(());
        };
        if epoch <= proxy.epoch {
            return Ok(());
        }
        let taken = models.iter().flat_map(|row| row.generations.iter());
        for generation in taken {
            let forbidden = proxy.forbidden.contains(&generation.0);
            prop_assert!(!forbidden, "{} takes {generation} by {epoch} again", proxy.name);
        }
        let past = self.loads.iter().filter(|(load, _)| lineage.contains(load));
        proxy.forbidden.extend(past.flat_map(|(_, replaced)| replaced).map(|generation| generation.0));
        (proxy.epoch, proxy.models) = (epoch, models);
        proxy.trusts_until = proxy.trusts_until.max(asked_ms + PROXY_TRUST_MS);
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_laws_hold(events in prop::collection::vec(event(), 1..250)) {
        let mut world = World::new();
        for event in events {
            world.happens(event)?;
        }
    }
}

/// A world in which nothing goes wrong, so that the laws are not kept by doing nothing.
#[test]
fn a_load_reaches_every_proxy_and_then_all_know() {
    let mut world = World::new();
    let round = |world: &mut World| {
        for event in [Event::Ask(0), Event::Hear(0, true), Event::Ask(1), Event::Hear(1, true)] {
            world.happens(event).unwrap();
        }
        for p in 0..3 {
            world.happens(Event::Poll(p, p % 2)).unwrap();
            world.happens(Event::Answer(p, 0)).unwrap();
        }
        world.happens(Event::Wait(100)).unwrap();
    };
    world.happens(Event::Beat(0, true)).unwrap();
    (0..3).for_each(|_| round(&mut world));
    let old = world.servers[0].record.models[0].generation;
    assert!(world.proxies.iter().all(|proxy| proxy.models[0].generations == [old]));
    world.happens(Event::Load(0)).unwrap();
    world.happens(Event::Beat(0, true)).unwrap();
    let epoch = world.servers[0].told.unwrap();
    let behind = |world: &mut World| world.board.behind(epoch, millis(LEASE), world.redis_us());
    assert!(behind(&mut world) > 0);
    // A pool that is new may be one that forgot.
    (0..110).for_each(|_| round(&mut world));
    assert_eq!(behind(&mut world), 0);
    assert!(world.proxies.iter().all(|proxy| proxy.models[0].generations != [old]));
}
