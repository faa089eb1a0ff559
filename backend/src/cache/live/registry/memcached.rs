//! The steps in Memcached, which has no scripts: the `board` is an item of its first server. A step reads it, is taken on it here, and
//! writes it back if nobody else did meanwhile; else it is taken again. Records are items of their own, by their digests, so that
//! servers that serve the same share one; so are reports, by who reports.
//!
//! Memcached forgets. Where the board is gone, a new one is begun, by which nobody can know who was told, and on which is what those
//! say who are alive. A record that is gone is put back by a gate that has it. If none has, all that was said is forgotten: without
//! that record, what it buried would be live again.

mod clock;
mod records;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::board::{At, Board};
use super::random;
use super::steps::{PATIENCE, Read, Reader, Said, Stands, Steps, Word};
use crate::cache::live::heard::outdated;
use crate::cache::live::reports::{Fate, REMEMBERED};
use crate::cache::pool::PoolError;
use crate::cache::pool::memcached::wire::{self, If, Reply};
use crate::cache::pool::memcached::{Memcached, astray};
use clock::TierClock;
use records::Records;

/// The board's name. The 2 is the version of what is in it.
const BOARD: &str = "forebay:2:board";
/// Before each reporter's digest.
const REPORT_PREFIX: &str = "forebay:2:report:";
/// Who polls no more and says nothing is forgotten after it; the board is written anew long before.
const KEPT: Duration = Duration::from_hours(30 * 24);
/// After a step that another one came before, up to so many microseconds pass before it is taken again.
const LONGEST_PAUSE_US: u64 = 8000;

/// A registry in Memcached.
#[derive(Clone)]
pub(crate) struct MemcachedSteps {
    memcached: Memcached,
    known: Arc<Mutex<Known>>,
}

/// What one process knows of the tier.
struct Known {
    clock: TierClock,
    records: Records,
}

/// What keeps a step from being taken.
#[derive(Debug, thiserror::Error)]
enum StepError {
    #[error("it tells no time")]
    NoTime,
    #[error(
        "the board would have {0} bytes where an item has {1} at most: fewer proxies and servers can share it"
    )]
    Full(usize, usize),
    #[error("a record has {0} bytes where an item has {1} at most: a server serves too many models")]
    LongRecord(usize, usize),
    #[error("the records on the board have {0} bytes or more: {1} are the most")]
    LongRecords(usize, usize),
    #[error("records are lost again and again: it has too little memory")]
    Forgets,
}

impl From<StepError> for PoolError {
    fn from(error: StepError) -> Self {
        Self::Failed(Arc::new(error))
    }
}

impl MemcachedSteps {
    pub(crate) fn new(memcached: Memcached) -> Self {
        let known = Known { clock: TierClock::new(), records: Records::default() };
        Self { memcached, known: Arc::new(Mutex::new(known)) }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask(&self, commands: Vec<u8>, replies: usize) -> Result<Vec<Reply>, PoolError> {
        Ok(self.memcached.home.ask(commands, replies, PATIENCE).await?.0)
    }

    /// The one reply to a command.
    async fn ask_one(&self, commands: Vec<u8>) -> Result<Reply, PoolError> {
        let mut replies = self.ask(commands, 1).await?;
        // The link reads as many as it is told.
        Ok(replies.pop().unwrap_or(Reply::Missing))
    }

    /// The tier's time.
    async fn at(&self) -> Result<At, PoolError> {
        let asked = Instant::now();
        if self.known().clock.is_due(asked) {
            let (lines, connection) = self.memcached.home.ask(b"stats\r\n".to_vec(), 1, PATIENCE).await?;
            let seconds = lines.into_iter().find_map(|line| match line {
                Reply::Stat { name, value } if name == "time" => value.parse().ok(),
                _ => None,
            });
            let seconds = seconds.ok_or(StepError::NoTime)?;
            let answered = Instant::now();
            let mut known = self.known();
            known.clock.heard(seconds, (asked, answered), connection);
            let now_us = known.clock.now_us(answered);
            drop(known);
            crate::time::clock::heard(now_us.unwrap_or_default() / 1000, answered);
        }
        let us = self.known().clock.now_us(Instant::now()).ok_or(StepError::NoTime)?;
        // No two boards give out an epoch in one microsecond: the tier's time is coarser.
        Ok(At { us: us - us % 1000 + random() % 1000, run: 0 })
    }

    /// Takes a step, as one for all: what it comes to, and the board after it.
    async fn step<T>(&self, take: impl Fn(&mut Board, At) -> T) -> Result<(T, Board), PoolError> {
        let steps = async {
            loop {
                let mut at = self.at().await?;
                let (before, when) = self.board().await?;
                at.run = before.as_ref().and_then(Board::run).unwrap_or_else(random);
                let mut board = before.clone().unwrap_or_else(|| Board::begin(at));
                let taken = take(&mut board, at);
                if before.as_ref() == Some(&board) || self.write(&board, when).await? {
                    return Ok((taken, board));
                }
                tokio::time::sleep(Duration::from_micros(random() % LONGEST_PAUSE_US)).await;
            }
        };
        tokio::time::timeout(PATIENCE, steps).await.unwrap_or(Err(PoolError::Timeout(PATIENCE)))
    }

    /// The board, if there is one, and when another may take its place.
    async fn board(&self) -> Result<(Option<Board>, If), PoolError> {
        let (mut commands, opaque) = (Vec::new(), random());
        wire::get(&mut commands, BOARD, opaque);
        match self.ask_one(commands).await? {
            Reply::Missing => Ok((None, If::Missing)),
            Reply::Value { bytes, unique, opaque: Some(of) } if of == opaque => {
                let board = Board::decode(&bytes).inspect_err(|error| {
                    self.memcached
                        .home
                        .complain(&format!("what was said is forgotten: the board is none: {error}"));
                });
                Ok((board.ok(), If::Unique(unique)))
            }
            other => Err(astray(other)),
        }
    }

    /// Writes the board; whether it was, for nobody else had.
    async fn write(&self, board: &Board, when: If) -> Result<bool, PoolError> {
        let (bytes, most) = (board.encode(), self.memcached.home.max_bytes());
        if bytes.len() > most {
            return Err(StepError::Full(bytes.len(), most).into());
        }
        let mut commands = Vec::new();
        wire::set(&mut commands, BOARD, &bytes, KEPT, when);
        match self.ask_one(commands).await? {
            Reply::Done => Ok(true),
            Reply::Exists | Reply::Missing | Reply::NotStored => Ok(false),
            other => Err(astray(other)),
        }
    }

    /// What a gate tells and hears, once. A record that is lost costs all that was said.
    async fn read_once(&self, reader: &Reader<'_>) -> Result<Option<Read>, PoolError> {
        let (mut read, board) = self.step(|board, at| board.read_seldom(reader, at)).await?;
        self.keep_warm(&board).await?;
        if read.heard.is_some() {
            let Some(heard) = self.heard(&board).await? else { return Ok(None) };
            read.heard = Some(heard);
        }
        Ok(Some(read))
    }
}

impl Steps for MemcachedSteps {
    async fn say(&self, word: &Word<'_>) -> Result<Said, PoolError> {
        // Whoever sees the beat must find the record.
        if !self.say_record(word).await? {
            return Ok(Said { epoch: word.known, record: Stands::Lacking });
        }
        Ok(self.step(|board, at| board.say(word, at)).await?.0)
    }

    async fn read(&self, reader: &Reader<'_>) -> Result<Read, PoolError> {
        for _ in 0..3 {
            if let Some(read) = self.read_once(reader).await? {
                return Ok(read);
            }
        }
        Err(StepError::Forgets.into())
    }

    async fn behind(&self, epoch: u64) -> Result<(u64, String), PoolError> {
        Ok(self.step(|board, at| board.behind(epoch, at)).await?.0)
    }

    async fn sweep(&self) -> Result<(), PoolError> {
        let now_ms = self.at().await?.ms();
        let (Some(board), _) = self.board().await? else { return Ok(()) };
        let Some(heard) = self.heard(&board).await? else { return Ok(()) };
        let gone = outdated(&heard, now_ms);
        if !gone.is_empty() {
            self.step(|board, _| board.sweep(&gone)).await?;
        }
        Ok(())
    }

    async fn report(&self, who: String, seq: u64) -> Result<Fate, PoolError> {
        let name = format!("{REPORT_PREFIX}{}", super::steps::digest(&who));
        let counted = async {
            loop {
                let (mut commands, opaque) = (Vec::new(), random());
                wire::get(&mut commands, &name, opaque);
                let (last, when) = match self.ask_one(commands).await? {
                    Reply::Missing => (0, If::Missing),
                    Reply::Value { bytes, unique, opaque: Some(of) } if of == opaque => {
                        let last = std::str::from_utf8(&bytes).ok().and_then(|last| last.parse().ok());
                        (last.unwrap_or(0), If::Unique(unique))
                    }
                    other => return Err(astray(other)),
                };
                let mut commands = Vec::new();
                // One that comes again is remembered from now on.
                wire::set(&mut commands, &name, seq.max(last).to_string().as_bytes(), REMEMBERED, when);
                match self.ask_one(commands).await? {
                    Reply::Done => return Ok(if seq > last { Fate::New } else { Fate::Known }),
                    Reply::Exists | Reply::Missing | Reply::NotStored => {}
                    other => return Err(astray(other)),
                }
            }
        };
        tokio::time::timeout(PATIENCE, counted).await.unwrap_or(Err(PoolError::Timeout(PATIENCE)))
    }

    fn complain(&self, line: &str) {
        self.memcached.home.complain(line);
    }
}
