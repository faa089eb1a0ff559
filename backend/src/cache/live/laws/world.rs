//! Who plays: servers, gates and proxies as they are, with the pool as `board` has it.

mod polls;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use forebay_protocol::digest::Generation;
use forebay_protocol::generations::LiveModel;
use proptest::prelude::*;

use super::Event;
use crate::cache::PoolSecret;
use crate::cache::live::heard::{Record, Served, live_models, outdated};
use crate::cache::live::millis;
use crate::cache::live::proxies::{LEASE, Proxies};
use crate::cache::live::purges::{Name, Purged};
use crate::cache::live::registry::board::{At, Board};
use crate::cache::live::registry::steps::{self, Known, Read, Reader, Stands, Word};
use crate::cache::live::table::{LiveTable, Standing};

/// A proxy's own: the longest that it trusts a table after it asked for it.
const PROXY_TRUST_MS: u64 = 5000;
/// Some time in the past.
const START_MS: u64 = 1_700_000_000_000;

/// What is purged in this world.
fn all() -> Name {
    Name::new("s", "", None).unwrap()
}

/// Whoever remembers a purge number that the pool lost says it again.
fn say_lost(board: &mut Board, lost: Vec<(Name, u64)>, at: At) {
    let lost: Vec<_> = lost.into_iter().map(|(name, number)| (name, Some(number))).collect();
    if !lost.is_empty() {
        board.raise(&lost, 0, at).unwrap();
    }
}

impl Gate {
    fn number(&self) -> u64 {
        self.purged.now().number("s", "m", None)
    }
}

/// Epochs that a table takes into account.
type Lineage = Arc<BTreeSet<u64>>;
type Models = Arc<Vec<LiveModel>>;

/// What a gate told: the epoch, the models, what they take into account, and by which purge number.
type Told = (u64, Models, Lineage, u64);

pub(super) struct Server {
    instance: String,
    pub(super) record: Record,
    pub(super) known: u64,
    unanswered: bool,
    /// As the server knows it: the epoch by which its record is known.
    pub(super) told: Option<u64>,
    /// What its record replaced, if that is to be followed.
    replaced: Vec<Generation>,
    said_digest: String,
    gone: bool,
    purged: Purged,
    /// Until when it goes by that, in ms.
    trusts_until: u64,
}

/// A purge of all, and whether the pool lost writes since, or somebody who knew of it is gone: who comes after both may know of none.
struct Purge {
    known: Known,
    lost: bool,
    forgotten: bool,
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
    purged: Purged,
}

struct Asked {
    at: Instant,
    known: Vec<u64>,
    proxies: Vec<(String, u64)>,
}

pub(super) struct Proxy {
    name: String,
    epoch: u64,
    pub(super) models: Models,
    /// Until when it trusts its table, in ms.
    trusts_until: u64,
    /// Answers under way, each with when it was asked for and by which epoch; nothing in it when there was none newer.
    answers: Vec<(u64, u64, Option<Told>)>,
    /// What it must not take any more.
    forbidden: BTreeSet<[u8; 32]>,
    /// By which purge number it goes.
    purged: u64,
}

pub(super) struct World {
    start: Instant,
    now_ms: u64,
    pub(super) board: Board,
    replica: Board,
    skew_ms: i64,
    /// Which Redis it is that answers.
    run: u64,
    /// It is Memcached: what is lost is noticed by its place alone.
    forgetful: bool,
    pub(super) servers: Vec<Server>,
    gates: Vec<Gate>,
    pub(super) proxies: Vec<Proxy>,
    /// Epochs that gates told, in their order.
    given: Vec<u64>,
    /// Loads: their epochs and what they replaced.
    loads: BTreeMap<u64, Vec<Generation>>,
    purges: Vec<Purge>,
    names: u64,
}

impl World {
    pub(super) fn new() -> Self {
        Self::of(false)
    }

    /// With Memcached, where a gate writes seldom and records are lost by themselves.
    pub(super) fn of(forgetful: bool) -> Self {
        let mut world = Self {
            forgetful,
            start: Instant::now(),
            now_ms: START_MS,
            board: Board::default(),
            replica: Board::default(),
            skew_ms: 0,
            run: 0,
            servers: Vec::new(),
            gates: Vec::new(),
            proxies: Vec::new(),
            given: Vec::new(),
            loads: BTreeMap::new(),
            purges: Vec::new(),
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
            unanswered: false,
            told: None,
            replaced: Vec::new(),
            said_digest: String::new(),
            gone: false,
            purged: Purged::shared(),
            trusts_until: 0,
        }
    }

    fn gate(&mut self) -> Gate {
        Gate {
            name: format!("gate {}", self.number()),
            table: LiveTable::of_pool(PoolSecret::of(b"the secret of all")),
            proxies: Arc::default(),
            signature: String::new(),
            parted: false,
            hearing: None,
            models: Arc::default(),
            lineage: Arc::default(),
            purged: Purged::shared(),
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
            purged: 0,
        }
    }

    fn instant(&self) -> Instant {
        self.start + Duration::from_millis(self.now_ms - START_MS)
    }

    pub(super) fn at(&self) -> At {
        let run = self.board.run().filter(|_| self.forgetful).unwrap_or(self.run);
        At { us: self.now_ms.saturating_add_signed(self.skew_ms) * 1000, run }
    }

    pub(super) fn behind(&mut self, epoch: u64) -> u64 {
        let at = self.at();
        self.board.behind(Known { epoch, purged: 0 }, at).0
    }

    /// Everything is purged, by way of a gate that has a table.
    pub(super) fn purge(&mut self, g: usize) {
        let (at, now, gate) = (self.at(), self.instant(), &self.gates[g]);
        if gate.parted || gate.table.json(now).is_none() {
            return;
        }
        let known = self.board.raise(&[(all(), None)], gate.table.epoch(), at).unwrap();
        self.purges.push(Purge { known, lost: false, forgotten: false });
    }

    /// Whether all know of the last purge.
    pub(super) fn is_purged(&mut self) -> bool {
        let (at, known) = (self.at(), self.purges.last().unwrap().known);
        self.board.behind(known, at).0 == 0
    }

    /// The purge number by which everybody goes.
    pub(super) fn known_by_all(&self) -> u64 {
        let servers = self.servers.iter().map(|server| server.purged.now().number("s", "m", None));
        let gates = self.gates.iter().map(Gate::number);
        servers.chain(gates).chain(self.proxies.iter().map(|proxy| proxy.purged)).min().unwrap()
    }

    /// The fifth law, as of now.
    pub(super) fn check_purged(&mut self) -> Result<(), TestCaseError> {
        let (at, now) = (self.at(), self.instant());
        for Purge { known, .. } in self.purges.iter().filter(|purge| !(purge.lost && purge.forgotten)) {
            if self.board.behind(*known, at).0 > 0 {
                continue;
            }
            let number = known.purged;
            let trusting = |proxy: &&Proxy| proxy.trusts_until >= self.now_ms && !proxy.models.is_empty();
            for proxy in self.proxies.iter().filter(trusting) {
                prop_assert!(proxy.purged >= number, "{} has what {number} purged", proxy.name);
            }
            for gate in &self.gates {
                let trusted = gate.table.json(now).is_some() && !gate.models.is_empty();
                prop_assert!(!trusted || gate.number() >= number, "{} has what {number} purged", gate.name);
            }
            for server in self.servers.iter().filter(|server| server.trusts_until > self.now_ms) {
                let has = server.purged.now().number("s", "m", None);
                prop_assert!(has >= number, "{} has what {number} purged", server.instance);
            }
        }
        Ok(())
    }

    fn lost(&mut self) {
        self.purges.iter_mut().for_each(|purge| purge.lost = true);
    }

    fn forgotten(&mut self) {
        self.purges.iter_mut().for_each(|purge| purge.forgotten = true);
    }

    pub(super) fn happens(&mut self, event: Event) -> Result<(), TestCaseError> {
        match event {
            Event::Wait(ms) => self.now_ms += u64::from(ms),
            Event::Load(i) => {
                let models = self.served();
                self.change(usize::from(i), models);
            }
            Event::Unload(i) => self.change(usize::from(i), Vec::new()),
            Event::Beat(i, heard) => self.beat(usize::from(i), heard)?,
            Event::Purge(g) => self.purge(usize::from(g)),
            Event::CheckPurged => self.check_purged()?,
            Event::Die(i) => {
                self.forgotten();
                let next = self.server();
                self.servers[usize::from(i)] = next;
            }
            Event::Leave(i) => {
                self.forgotten();
                self.servers[usize::from(i)].gone = true;
                self.beat(usize::from(i), true)?;
                let next = self.server();
                self.servers[usize::from(i)] = next;
            }
            Event::Sweep => {
                let heard = self.board.heard();
                let gone = outdated(&heard, self.at().ms());
                self.board.sweep(&gone);
            }
            Event::Ask(g) => self.ask(usize::from(g)),
            Event::Hear(g, comes) => self.hear(usize::from(g), comes),
            Event::Restart(g) => {
                self.forgotten();
                let next = self.gate();
                self.gates[usize::from(g)] = next;
            }
            Event::Poll(p, g) => self.poll(usize::from(p), usize::from(g)),
            Event::Answer(p, which) => self.answer(usize::from(p), usize::from(which))?,
            Event::Renew(p) => {
                let next = self.proxy();
                self.proxies[usize::from(p)] = next;
            }
            Event::Replay(g, which) => self.replay(usize::from(g), usize::from(which)),
            Event::Replicate => self.replica = self.board.clone(),
            Event::FailOver(skew_ms) => {
                self.lost();
                self.skew_ms = i64::from(skew_ms);
                self.run += 1;
                self.now_ms += 1;
                // Memcached has no replicas.
                self.board = if self.forgetful {
                    Board::begin(At { run: self.run, ..self.at() })
                } else {
                    self.replica.clone()
                };
            }
            Event::Flush => {
                self.lost();
                self.board = Board::default();
                // No two Redis give out an epoch in one microsecond.
                self.now_ms += 1;
                if self.forgetful {
                    self.run += 1;
                    self.board = Board::begin(At { run: self.run, ..self.at() });
                }
            }
            Event::LoseRecord(i) => {
                let (at, record) = (self.at(), steps::text(&self.servers[usize::from(i)].record));
                self.board.lose(&steps::digest(&record), at);
            }
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
        let at = self.at();
        let server = &mut self.servers[i];
        let text = steps::text(&server.record);
        let digest = steps::digest(&text);
        let short = if server.said_digest == digest { "" } else { text.as_str() };
        let word = Word {
            instance: &server.instance,
            left: server.gone,
            digest: &digest,
            record: short,
            known: server.known,
            unanswered: server.unanswered,
            purged: server.purged.now().mark(),
        };
        let mut said = self.board.say(&word, at);
        if said.record == Stands::Lacking {
            if !heard {
                server.unanswered |= server.known == 0;
                return Ok(());
            }
            (server.known, server.unanswered) = (said.epoch, false);
            said = self.board.say(&Word { record: &text, known: said.epoch, unanswered: false, ..word }, at);
        }
        if said.record == Stands::Written {
            // What nobody else serves is gone with this epoch.
            let live = live_models(&self.board.heard(), at.ms());
            let is_live = |g: &Generation| live.iter().any(|row| row.generations.contains(g));
            let replaced = server.replaced.iter().filter(|g| !is_live(g)).copied();
            self.loads.entry(said.epoch).or_default().extend(replaced);
        }
        if heard {
            (server.known, server.unanswered) = (said.epoch, false);
            server.trusts_until = self.now_ms + millis(LEASE);
            let lost = server.purged.heard(said.purges, self.start);
            say_lost(&mut self.board, lost, at);
            server.said_digest = digest;
            if server.told.is_none() || said.record == Stands::Written {
                server.told = Some(said.epoch);
            }
            return self.check_settled(i);
        }
        server.unanswered |= server.known == 0;
        Ok(())
    }

    /// The third law, as of now.
    fn check_settled(&mut self, i: usize) -> Result<(), TestCaseError> {
        let Some(epoch) = self.servers[i].told else { return Ok(()) };
        if self.behind(epoch) > 0 {
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
}
