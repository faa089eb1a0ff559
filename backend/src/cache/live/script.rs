//! The scripts by which Redis counts epochs: each is one step for all who say and hear. Their values enter, typed answers leave.

use std::sync::LazyLock;
use std::time::Instant;

use ::redis::{Cmd, FromRedisValue};

use super::heard::{ALIVE, Heard, Record};
use super::millis;
use super::proxies::LEASE;
use super::reports::{self, Fate};
use crate::cache::pool::{Link, PoolError};
use crate::time::clock;

/// As the scripts know them: beats, records, state, epochs, proxies, gates, reports, reporters. The 2 is the version of what is in
/// them.
const KEYS: [&str; 8] = [
    "forebay:2:beats",
    "forebay:2:records",
    "forebay:2:state",
    "forebay:2:epochs",
    "forebay:2:proxies",
    "forebay:2:gates",
    "forebay:2:reports",
    "forebay:2:reporters",
];
/// Epochs that are remembered. Whoever knows an older one has not asked for so many changes.
pub(super) const KEPT_EPOCHS: usize = 4096;
/// A call may take so long.
pub(crate) const PATIENCE: std::time::Duration = std::time::Duration::from_secs(1);

/// The time, and which Redis it is, as far as its user may know.
const NOW: &str = "
local time = redis.call('TIME')
local now_us = time[1] * 1000000 + time[2]
local info = redis.pcall('INFO', 'replication')
local run = type(info) == 'string' and string.match(info, 'master_replid:(%x+)') or ''
";

/// One step.
pub(super) struct Step(String);

/// What to do.
static SAY: LazyLock<Step> = LazyLock::new(|| Step::new(NOW, include_str!("say.lua")));
static READ: LazyLock<Step> = LazyLock::new(|| Step::new(NOW, include_str!("read.lua")));
static BEHIND: LazyLock<Step> = LazyLock::new(|| Step::new(NOW, include_str!("behind.lua")));
static REPORT: LazyLock<Step> = LazyLock::new(|| Step::new(NOW, include_str!("report.lua")));
static PEEK: LazyLock<Step> = LazyLock::new(|| Step::new(NOW, include_str!("peek.lua")));
static SWEEP: LazyLock<Step> = LazyLock::new(|| Step::new(NOW, include_str!("sweep.lua")));

impl Step {
    /// `now` sets the time and the run, the rest follows it.
    pub(super) fn new(now: &str, rest: &str) -> Self {
        let (alive, lease) = (millis(ALIVE), millis(LEASE));
        let bounds = format!("local ALIVE_MS, LEASE_MS, KEPT_EPOCHS = {alive}, {lease}, {KEPT_EPOCHS}\n");
        Self([now, &bounds, include_str!("count.lua"), rest].concat())
    }

    /// Runs it. It goes along each time, a few kilobytes: Redis knows it again by its digest.
    async fn run<T: FromRedisValue>(&self, link: &Link, arguments: &[String]) -> Result<T, PoolError> {
        let mut commands = ::redis::pipe();
        commands.add_command(self.command(arguments));
        let (answer,): (T,) = link.query(&commands, PATIENCE).await?;
        Ok(answer)
    }

    pub(super) fn command(&self, arguments: &[String]) -> Cmd {
        let mut command = ::redis::cmd("EVAL");
        command.arg(&self.0).arg(KEYS.len()).arg(&KEYS).arg(arguments);
        command
    }
}

/// The answer to what was said.
pub(super) struct Said {
    pub(super) epoch: u64,
    pub(super) record: Stands,
}

/// What the pool has of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stands {
    /// Another one or none: it must be said, not just its digest.
    Lacking,
    /// It had another one or none until now.
    Written,
    /// It had it already.
    Known,
}

impl Stands {
    pub(super) fn of(word: &str) -> Self {
        match word {
            "lacking" => Self::Lacking,
            "written" => Self::Written,
            _ => Self::Known,
        }
    }
}

/// What an instance says.
#[derive(Clone, Copy)]
pub(super) struct Word<'a> {
    pub(super) instance: &'a str,
    /// It leaves.
    pub(super) left: bool,
    pub(super) digest: &'a str,
    /// Nothing where the pool should have it.
    pub(super) record: &'a str,
    /// The epoch of the last answer.
    pub(super) known: u64,
    /// It has spoken before, and never got an answer.
    pub(super) unanswered: bool,
}

impl Word<'_> {
    pub(super) fn arguments(&self) -> [String; 6] {
        let state = if self.left { "l" } else { "h" };
        let unanswered = if self.unanswered { "1" } else { "0" };
        let known = self.known.to_string();
        [self.instance, state, self.digest, self.record, &known, unanswered].map(str::to_owned)
    }
}

/// Says that an instance is there, or that it leaves, with its record or, where that is known, with its digest alone.
pub(super) async fn say(link: &Link, word: &Word<'_>) -> Result<Said, PoolError> {
    let asked = Instant::now();
    let (epoch, now_ms, stands): (u64, u64, String) = SAY.run(link, &word.arguments()).await?;
    clock::heard(now_ms, asked);
    Ok(Said { epoch, record: Stands::of(&stands) })
}

/// What a gate tells when it reads.
pub(super) struct Reader<'a> {
    pub(super) gate: &'a str,
    /// The epoch and the signature of its table.
    pub(super) epoch: u64,
    pub(super) signature: &'a str,
    /// Epochs that its proxies know and it doesn't.
    pub(super) known: &'a [u64],
    /// Proxies and the epochs that they have.
    pub(super) proxies: &'a [(String, u64)],
}

/// What it hears.
pub(super) struct Read {
    pub(super) epoch: u64,
    pub(super) signature: String,
    pub(super) now_ms: u64,
    /// Nothing when the signature is the reader's.
    pub(super) heard: Option<Vec<Heard>>,
}

pub(super) async fn read(link: &Link, reader: &Reader<'_>) -> Result<Read, PoolError> {
    let asked = Instant::now();
    let answer: ReadAnswer = READ.run(link, &reader.arguments()).await?;
    clock::heard(answer.2, asked);
    Ok(Read::of(answer, reader.signature))
}

pub(super) type ReadAnswer = (u64, String, u64, Vec<(String, String)>, Vec<(String, String)>);

impl Reader<'_> {
    pub(super) fn arguments(&self) -> Vec<String> {
        let mut known = self.known.to_vec();
        known.push(self.epoch);
        let head = [self.gate.to_owned(), self.epoch.to_string(), self.signature.to_owned()];
        let proxies = self.proxies.iter().flat_map(|(name, epoch)| [name.clone(), epoch.to_string()]);
        head.into_iter()
            .chain([known.len().to_string()])
            .chain(known.iter().map(u64::to_string))
            .chain(proxies)
            .collect()
    }
}

impl Read {
    pub(super) fn of((epoch, signature, now_ms, beats, records): ReadAnswer, known: &str) -> Self {
        let heard = (signature != known).then(|| heard(&beats, &records));
        Self { epoch, signature, now_ms, heard }
    }
}

/// The time and what all have said, for one who is no gate.
pub(super) async fn peek(link: &Link) -> Result<(u64, Vec<Heard>), PoolError> {
    let (now_ms, beats, records): (u64, Vec<_>, Vec<_>) = PEEK.run(link, &[]).await?;
    Ok((now_ms, heard(&beats, &records)))
}

/// How many gates and proxies don't have that epoch, and one of them.
pub(super) async fn behind(link: &Link, epoch: u64) -> Result<(u64, String), PoolError> {
    BEHIND.run(link, &[epoch.to_string()]).await
}

/// What is to be done with a report.
pub(super) async fn report(link: &Link, who: String, seq: u64) -> Result<Fate, PoolError> {
    let word: String = REPORT.run(link, &reported(who, seq)).await?;
    Ok(Fate::of(&word))
}

pub(super) fn reported(who: String, seq: u64) -> [String; 4] {
    [who, seq.to_string(), millis(reports::REMEMBERED).to_string(), reports::MOST.to_string()]
}

/// Has instances forgotten that were not heard of since.
pub(super) async fn sweep(link: &Link, gone: &[&Heard]) -> Result<(), PoolError> {
    let arguments: Vec<String> = gone.iter().flat_map(|of| [of.instance.clone(), beat(of)]).collect();
    let _: u64 = SWEEP.run(link, &arguments).await?;
    Ok(())
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
pub(super) fn beat(of: &Heard) -> String {
    let Heard { order, changed, beat_ms, left, record, .. } = of;
    let state = if *left { "l" } else { "h" };
    format!("{order} {changed} {beat_ms} {state} {}", digest(&text(record)))
}

/// A record as it is said.
pub(super) fn text(record: &Record) -> String {
    // Strings, numbers and hexadecimal digits: nothing that JSON can't say.
    serde_json::to_string(record).unwrap_or_default()
}

pub(super) fn digest(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_hex()[..32].to_owned()
}
