//! The steps in Redis: scripts, each of which Redis takes as one. Their values enter, typed answers leave.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use ::redis::{Cmd, FromRedisValue};

use super::steps::{
    KEPT_EPOCHS, Known, PATIENCE, Raised, Read, Reader, Said, Stands, Steps, Word, digest, text,
};
use crate::cache::live::heard::{ALIVE, Heard, Record, outdated};
use crate::cache::live::ledger::{Book, Fields, Note};
use crate::cache::live::millis;
use crate::cache::live::proxies::LEASE;
use crate::cache::live::purges::{self, Full, Name, Purges};
use crate::cache::live::reports::{self, Fate};
use crate::cache::pool::{Link, Names, PoolError, Redis};
use crate::time::clock;

/// As the scripts know them, behind the prefix. The 3 is the version of what is in them.
const KEYS: [&str; 10] = [
    "3:beats",
    "3:records",
    "3:state",
    "3:epochs",
    "3:proxies",
    "3:gates",
    "3:reports",
    "3:reporters",
    "3:servers",
    "3:purges",
];
/// Copies are waited for so long.
const COPIED: Duration = Duration::from_millis(500);
/// The time, and which Redis it is, as far as its user may know.
const NOW: &str = "
local time = redis.call('TIME')
local now_us = time[1] * 1000000 + time[2]
local info = redis.pcall('INFO', 'replication')
local run = type(info) == 'string' and string.match(info, 'master_replid:(%x+)') or ''
";

/// One step.
pub(in crate::cache::live) struct Step(String);

/// What to do.
static SAY: LazyLock<Step> = LazyLock::new(|| Step::new(NOW, include_str!("redis/say.lua")));
static READ: LazyLock<Step> = LazyLock::new(|| Step::new(NOW, include_str!("redis/read.lua")));
static BEHIND: LazyLock<Step> = LazyLock::new(|| Step::new(NOW, include_str!("redis/behind.lua")));
static RAISE: LazyLock<Step> = LazyLock::new(|| Step::new(NOW, include_str!("redis/raise.lua")));
static REPORT: LazyLock<Step> = LazyLock::new(|| Step::new(NOW, include_str!("redis/report.lua")));
static PEEK: LazyLock<Step> = LazyLock::new(|| Step::new(NOW, include_str!("redis/peek.lua")));
static SWEEP: LazyLock<Step> = LazyLock::new(|| Step::new(NOW, include_str!("redis/sweep.lua")));

impl Step {
    /// `now` sets the time and the run, the rest follows it.
    pub(in crate::cache::live) fn new(now: &str, rest: &str) -> Self {
        let (alive, lease) = (millis(ALIVE), millis(LEASE));
        let bounds = format!("local ALIVE_MS, LEASE_MS, KEPT_EPOCHS = {alive}, {lease}, {KEPT_EPOCHS}\n");
        Self([now, &bounds, include_str!("redis/count.lua"), rest].concat())
    }

    /// Runs it. It goes along each time, a few kilobytes: Redis knows it again by its digest.
    async fn run<T: FromRedisValue>(
        &self,
        redis: &Redis,
        link: &Link,
        arguments: &[String],
    ) -> Result<T, PoolError> {
        link.ask(&self.command(&keys(&redis.names, redis.is_cluster()), arguments), PATIENCE).await
    }

    pub(in crate::cache::live) fn command(&self, names: &[String], arguments: &[String]) -> Cmd {
        let mut command = ::redis::cmd("EVAL");
        command.arg(&self.0).arg(names.len()).arg(names).arg(arguments);
        command
    }
}

/// What the scripts touch, in the order in which they know it.
pub(in crate::cache::live) fn keys(names: &Names, is_cluster: bool) -> [String; 10] {
    KEYS.map(|key| if is_cluster { names.together(key) } else { names.of(key) })
}

impl Stands {
    pub(in crate::cache::live) fn of(word: &str) -> Self {
        match word {
            "lacking" => Self::Lacking,
            "written" => Self::Written,
            _ => Self::Known,
        }
    }
}

impl Fate {
    pub(in crate::cache::live) fn of(word: &str) -> Self {
        match word {
            "new" => Self::New,
            "known" => Self::Known,
            _ => Self::Dropped,
        }
    }
}

impl Word<'_> {
    pub(in crate::cache::live) fn arguments(&self) -> [String; 7] {
        let state = if self.left { "l" } else { "h" };
        let unanswered = if self.unanswered { "1" } else { "0" };
        let (known, purged) = (self.known.to_string(), self.purged.to_string());
        [self.instance, state, self.digest, self.record, &known, unanswered, &purged].map(str::to_owned)
    }
}

impl Redis {
    /// How many copies there are, as far as its user may know.
    async fn replicas(&self) -> Result<u64, PoolError> {
        let mut info = ::redis::cmd("INFO");
        info.arg("replication");
        let info: String = match self.generations.ask(&info, PATIENCE).await {
            Err(PoolError::Failed(_)) => return Ok(0),
            info => info?,
        };
        let count = info.lines().find_map(|line| line.strip_prefix("connected_slaves:"));
        Ok(count.and_then(|count| count.trim().parse().ok()).unwrap_or(0))
    }
}

impl Steps for Redis {
    async fn say(&self, word: &Word<'_>) -> Result<Said, PoolError> {
        let asked = Instant::now();
        let answer: SayAnswer = SAY.run(self, &self.generations, &word.arguments()).await?;
        clock::heard(answer.1, asked);
        Ok(Said::of(answer, word.purged))
    }

    async fn read(&self, reader: &Reader<'_>) -> Result<Read, PoolError> {
        let asked = Instant::now();
        let answer: ReadAnswer = READ.run(self, &self.generations, &reader.arguments()).await?;
        clock::heard(answer.2, asked);
        Ok(Read::of(answer, reader))
    }

    async fn behind(&self, known: Known) -> Result<(u64, String), PoolError> {
        BEHIND.run(self, &self.generations, &known.arguments()).await
    }

    /// A failover may take what a copy lacks, so the copies are waited for, where there is one server: of a cluster's nodes it isn't known
    /// which has it.
    async fn raise(
        &self,
        names: &[(Name, Option<u64>)],
        known: u64,
    ) -> Result<Result<Raised, Full>, PoolError> {
        let names = raised(names, known);
        let copies = if self.is_cluster() { 0 } else { self.replicas().await? };
        if copies == 0 {
            let answer: RaiseAnswer = RAISE.run(self, &self.generations, &names).await?;
            return Ok(Known::of(answer).map(|known| Raised { known, copies: (0, 0) }));
        }
        let mut commands = ::redis::pipe();
        commands.add_command(RAISE.command(&keys(&self.names, false), &names));
        commands.cmd("WAIT").arg(copies).arg(millis(COPIED));
        let answers: (RaiseAnswer, u64) = self.generations.query(&commands, PATIENCE).await?;
        Ok(Known::of(answers.0).map(|known| Raised { known, copies: (answers.1, copies) }))
    }

    async fn peek(&self) -> Result<(u64, Vec<Heard>), PoolError> {
        let (now_ms, beats, records): (u64, Vec<_>, Vec<_>) = PEEK.run(self, &self.generations, &[]).await?;
        Ok((now_ms, heard(&beats, &records)))
    }

    async fn note(&self, book: Book, service: &str, notes: &[Note]) -> Result<Fields, PoolError> {
        let name = self.names.of(&book.name(service));
        let mut commands = ::redis::pipe();
        commands.atomic();
        for note in notes {
            match note {
                Note::Put { field, text } => commands.cmd("HSET").arg(&name).arg(field).arg(text).ignore(),
                Note::Add { field, more } => {
                    commands.cmd("HINCRBY").arg(&name).arg(field).arg(*more).ignore()
                }
                Note::Drop { field } => commands.cmd("HDEL").arg(&name).arg(field).ignore(),
            };
        }
        if !notes.is_empty() {
            commands.cmd("PEXPIRE").arg(&name).arg(millis(book.kept())).ignore();
        }
        commands.cmd("HGETALL").arg(&name);
        let (fields,): (Fields,) = self.generations.query(&commands, PATIENCE).await?;
        Ok(fields)
    }

    async fn sweep(&self) -> Result<(), PoolError> {
        let (now_ms, heard) = self.peek().await?;
        let gone = outdated(&heard, now_ms);
        if gone.is_empty() {
            return Ok(());
        }
        let _: u64 = SWEEP.run(self, &self.generations, &swept(&gone)).await?;
        Ok(())
    }

    async fn report(&self, who: String, seq: u64) -> Result<Fate, PoolError> {
        let word: String = REPORT.run(self, &self.writes, &reported(who, seq)).await?;
        Ok(Fate::of(&word))
    }

    fn complain(&self, line: &str) {
        Self::complain(self, line);
    }
}

type Pairs = Vec<(String, String)>;
pub(in crate::cache::live) type ReadAnswer = (u64, String, u64, Pairs, Pairs, u64, Pairs);
pub(in crate::cache::live) type SayAnswer = (u64, u64, String, u64, Pairs);
pub(in crate::cache::live) type RaiseAnswer = (u64, u64, String);

/// Names and the numbers that they are known to have had, as the script takes them.
pub(in crate::cache::live) fn raised(names: &[(Name, Option<u64>)], known: u64) -> Vec<String> {
    let had = |number: &Option<u64>| number.map(|number| number.to_string()).unwrap_or_default();
    let twos = names.iter().flat_map(|(name, number)| [name.text(), had(number)]);
    [known.to_string(), purges::MOST.to_string()].into_iter().chain(twos).collect()
}

impl Known {
    pub(in crate::cache::live) fn arguments(self) -> [String; 2] {
        [self.epoch.to_string(), self.purged.to_string()]
    }

    pub(in crate::cache::live) fn of((epoch, purged, done): RaiseAnswer) -> Result<Self, Full> {
        if done == "full" { Err(Full) } else { Ok(Self { epoch, purged }) }
    }
}

impl Said {
    pub(in crate::cache::live) fn of((epoch, _, stands, purged, numbers): SayAnswer, known: u64) -> Self {
        Self { epoch, record: Stands::of(&stands), purges: purges_of(purged, numbers, known) }
    }
}

/// The numbers, where they were told: to who knew another highest one.
fn purges_of(purged: u64, numbers: Pairs, known: u64) -> Option<Purges> {
    let number = |(name, number): (String, String)| Some((name, number.parse().ok()?));
    (purged != known).then(|| Purges::of(purged, numbers.into_iter().filter_map(number)))
}

impl Reader<'_> {
    pub(in crate::cache::live) fn arguments(&self) -> Vec<String> {
        let mut known = self.known.to_vec();
        known.push(self.epoch);
        let purged = self.purged.to_string();
        let head = [self.gate.to_owned(), self.epoch.to_string(), self.signature.to_owned(), purged];
        let proxies = self.proxies.iter().flat_map(|(name, epoch)| [name.clone(), epoch.to_string()]);
        head.into_iter()
            .chain([known.len().to_string()])
            .chain(known.iter().map(u64::to_string))
            .chain(proxies)
            .collect()
    }
}

impl Read {
    pub(in crate::cache::live) fn of(
        (epoch, signature, now_ms, beats, records, purged, numbers): ReadAnswer,
        reader: &Reader<'_>,
    ) -> Self {
        let heard = (signature != reader.signature).then(|| heard(&beats, &records));
        Self { epoch, signature, now_ms, heard, purges: purges_of(purged, numbers, reader.purged) }
    }
}

pub(in crate::cache::live) fn reported(who: String, seq: u64) -> [String; 4] {
    [who, seq.to_string(), millis(reports::REMEMBERED).to_string(), reports::MOST.to_string()]
}

/// Instances that are to be forgotten if they were not heard of since.
pub(in crate::cache::live) fn swept(gone: &[&Heard]) -> Vec<String> {
    gone.iter().flat_map(|of| [of.instance.clone(), beat(of)]).collect()
}

/// Beats and records by instance -> what was heard. What can't be read was said by another release: it is left alone, and what that
/// one serves is live for nobody here.
fn heard(beats: &[(String, String)], records: &[(String, String)]) -> Vec<Heard> {
    let record = |instance: &str| {
        let (_, record) = records.iter().find(|(of, _)| of == instance)?;
        let unread =
            |error| tracing::warn!("what server {instance} serves is not taken into account: {error}");
        Record::read(record).map_err(unread).ok()
    };
    let one = |(instance, beat): &(String, String)| {
        let mut words = beat.split(' ');
        let mut number = || words.next()?.parse::<u64>().ok();
        let (order, changed, beat_ms) = (number()?, number()?, number()?);
        let left = words.next()? == "l";
        let record = record(instance)?;
        Some(Heard { instance: instance.clone(), order, changed, beat_ms, left, record })
    };
    beats.iter().filter_map(one).collect()
}

/// A beat as the scripts write it.
fn beat(of: &Heard) -> String {
    let Heard { order, changed, beat_ms, left, record, .. } = of;
    let state = if *left { "l" } else { "h" };
    format!("{order} {changed} {beat_ms} {state} {}", digest(&text(record)))
}
