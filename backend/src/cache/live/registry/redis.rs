//! The steps in Redis: scripts, each of which Redis takes as one. Their values enter, typed answers leave.

mod words;

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use ::redis::{Cmd, FromRedisValue};

use super::steps::{KEPT_EPOCHS, Known, PATIENCE, Raised, Read, Reader, Said, Steps, Word};
use crate::cache::live::heard::{ALIVE, Heard, outdated};
use crate::cache::live::ledger::{Book, Fields, Note};
use crate::cache::live::millis;
use crate::cache::live::proxies::LEASE;
use crate::cache::live::purges::{Full, Name};
use crate::cache::live::reports::Fate;
use crate::cache::pool::{Link, Names, PoolError, Redis};
use crate::time::clock;
use words::heard;
pub(in crate::cache::live) use words::{
    BehindAnswer, RaiseAnswer, ReadAnswer, SayAnswer, raised, reported, swept,
};

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

    /// Where the clock was set nobody knows who was heard of lately, and who was told before may be forgotten.
    async fn behind(&self, known: Known) -> Result<(u64, String), PoolError> {
        let asked = Instant::now();
        let (count, one, now_ms): BehindAnswer =
            BEHIND.run(self, &self.generations, &known.arguments()).await?;
        clock::heard(now_ms, asked);
        if count == 0 && clock::was_set_within(LEASE) {
            return Ok((1, "whoever was told before the pool's clock was set".to_owned()));
        }
        Ok((count, one))
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
