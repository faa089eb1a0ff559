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

use bytes::Bytes;

use super::board::{At, Board, BoardError};
use super::random;
use super::steps::{Known, PATIENCE, Raised, Read, Reader, Said, Stands, Steps, Word};
use crate::cache::live::heard::{Heard, outdated};
use crate::cache::live::ledger::{self, Book, Fields, Note, Written};
use crate::cache::live::purges::{Full, Name};
use crate::cache::live::reports::{Fate, REMEMBERED};
use crate::cache::pool::PoolError;
use crate::cache::pool::memcached::wire::{self, If, Reply};
use crate::cache::pool::memcached::{Memcached, astray};
use clock::TierClock;
use records::Records;

/// The board's name, behind the prefix. The 3 is the version of what is in it.
const BOARD: &str = "3:board";
/// Who polls no more and says nothing is forgotten after it; the board is written anew long before.
const KEPT: Duration = Duration::from_hours(30 * 24);
/// After a step that another one came before, up to so many microseconds pass before it is taken again.
const LONGEST_PAUSE_US: u64 = 8000;

/// A registry in Memcached.
#[derive(Clone)]
pub(crate) struct MemcachedSteps {
    memcached: Memcached,
    seen: Arc<Mutex<Seen>>,
}

/// What one process has seen of the tier.
struct Seen {
    clock: TierClock,
    records: Records,
}

/// Where another value may be written, and by which connection: a server that started again counts values anew.
#[derive(Clone, Copy)]
struct Place {
    when: If,
    by: u64,
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
        let seen = Seen { clock: TierClock::new(), records: Records::default() };
        Self { memcached, seen: Arc::new(Mutex::new(seen)) }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask(&self, commands: Vec<u8>, replies: usize) -> Result<Vec<Reply>, PoolError> {
        Ok(self.memcached.home.ask(commands, replies, PATIENCE, None).await?.0)
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
        if self.seen().clock.is_due(asked) {
            let (lines, connection) =
                self.memcached.home.ask(b"stats\r\n".to_vec(), 1, PATIENCE, None).await?;
            let seconds = lines.into_iter().find_map(|line| match line {
                Reply::Stat { name, value } if name == "time" => value.parse().ok(),
                _ => None,
            });
            let seconds = seconds.ok_or(StepError::NoTime)?;
            let answered = Instant::now();
            let mut seen = self.seen();
            seen.clock.heard(seconds, (asked, answered), connection);
            let now_us = seen.clock.now_us(answered);
            drop(seen);
            crate::time::clock::heard(now_us.unwrap_or_default() / 1000, answered);
        }
        let us = self.seen().clock.step_us(Instant::now()).ok_or(StepError::NoTime)?;
        Ok(At { us, run: 0 })
    }

    /// Takes a step, as one for all: what it comes to, and the board after it.
    async fn step<T>(&self, take: impl Fn(&mut Board, At) -> T) -> Result<(T, Board), PoolError> {
        let steps = async {
            loop {
                let mut at = self.at().await?;
                let (before, place) = self.board().await?;
                at.run = before.as_ref().and_then(Board::run).unwrap_or_else(random);
                let mut board = before.clone().unwrap_or_else(|| Board::begin(at));
                let taken = take(&mut board, at);
                if before.as_ref() == Some(&board) || self.write(&board, place).await? {
                    return Ok((taken, board));
                }
                tokio::time::sleep(Duration::from_micros(random() % LONGEST_PAUSE_US)).await;
            }
        };
        tokio::time::timeout(PATIENCE, steps).await.unwrap_or(Err(PoolError::Timeout(PATIENCE)))
    }

    /// What is under that name, if there is anything, and when another value may take its place.
    async fn value(&self, name: &str) -> Result<(Option<Bytes>, Place), PoolError> {
        let (mut commands, opaque) = (Vec::new(), random());
        wire::get(&mut commands, name, opaque);
        let (mut replies, by) = self.memcached.home.ask(commands, 1, PATIENCE, None).await?;
        // The link reads as many as it is told.
        match replies.pop().unwrap_or(Reply::Missing) {
            Reply::Missing => Ok((None, Place { when: If::Missing, by })),
            Reply::Value { bytes, unique, opaque: Some(of), .. } if of == opaque => {
                Ok((Some(bytes), Place { when: If::Unique(unique), by }))
            }
            other => Err(astray(other)),
        }
    }

    /// Writes what takes a value's place; whether it was, for nobody else had.
    async fn replace(
        &self,
        name: &str,
        value: &[u8],
        kept: Duration,
        place: Place,
    ) -> Result<bool, PoolError> {
        let mut commands = Vec::new();
        wire::set(&mut commands, name, value, kept, place.when);
        let (mut replies, _) = self.memcached.home.ask(commands, 1, PATIENCE, Some(place.by)).await?;
        match replies.pop().unwrap_or(Reply::NotStored) {
            Reply::Done => Ok(true),
            Reply::Exists | Reply::Missing | Reply::NotStored => Ok(false),
            other => Err(astray(other)),
        }
    }

    /// The board, if there is one.
    async fn board(&self) -> Result<(Option<Board>, Place), PoolError> {
        let (bytes, place) = self.value(&self.memcached.names.of(BOARD)).await?;
        let none = |error: &BoardError| {
            let line =
                format!("what was said is forgotten, for what the pool has of it can't be read: {error}");
            self.memcached.home.complain(&line);
        };
        let board = bytes.and_then(|bytes| Board::decode(&bytes).inspect_err(none).ok());
        Ok((board, place))
    }

    async fn write(&self, board: &Board, place: Place) -> Result<bool, PoolError> {
        let (bytes, most) = (board.encode(), self.memcached.home.max_bytes());
        if bytes.len() > most {
            return Err(StepError::Full(bytes.len(), most).into());
        }
        self.replace(&self.memcached.names.of(BOARD), &bytes, KEPT, place).await
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

#[cfg(test)]
impl MemcachedSteps {
    /// It is that time from now on.
    pub(in crate::cache::live) fn set_time(&self, us: u64) {
        self.seen().clock.fixed_us = Some(us);
    }

    /// Knows no records any more.
    pub(in crate::cache::live) fn forget_records(&self) {
        self.seen().records = Records::default();
    }

    /// The board as it is.
    pub(in crate::cache::live) async fn board_now(&self) -> Option<Board> {
        self.board().await.unwrap().0
    }
}

impl Steps for MemcachedSteps {
    async fn say(&self, word: &Word<'_>) -> Result<Said, PoolError> {
        // Whoever sees the beat must find the record.
        if !self.say_record(word).await? {
            return Ok(Said { epoch: word.known, record: Stands::Lacking, purges: None });
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

    async fn behind(&self, known: Known) -> Result<(u64, String), PoolError> {
        Ok(self.step(|board, at| board.behind(known, at)).await?.0)
    }

    /// It has no copies.
    async fn raise(
        &self,
        names: &[(Name, Option<u64>)],
        known: u64,
    ) -> Result<Result<Raised, Full>, PoolError> {
        let (raised, _) = self.step(|board, at| board.raise(names, known, at)).await?;
        Ok(raised.map(|known| Raised { known, copies: (0, 0) }))
    }

    async fn peek(&self) -> Result<(u64, Vec<Heard>), PoolError> {
        let now_ms = self.at().await?.ms();
        let heard = match self.board().await? {
            (Some(board), _) => self.heard(&board).await?,
            (None, _) => None,
        };
        Ok((now_ms, heard.unwrap_or_default()))
    }

    async fn note(&self, book: Book, service: &str, notes: &[Note]) -> Result<Fields, PoolError> {
        let name = self.memcached.names.of(&book.name(&super::steps::digest(service)));
        let taken = async {
            loop {
                let (bytes, place) = self.value(&name).await?;
                let mut fields = bytes.map(|bytes| Written::read(&bytes)).unwrap_or_default();
                ledger::take(&mut fields, notes);
                let is_done = notes.is_empty()
                    || self.replace(&name, &Written::write(&fields), book.kept(), place).await?;
                if is_done {
                    return Ok(fields);
                }
            }
        };
        tokio::time::timeout(PATIENCE, taken).await.unwrap_or(Err(PoolError::Timeout(PATIENCE)))
    }

    async fn sweep(&self) -> Result<(), PoolError> {
        let (now_ms, heard) = self.peek().await?;
        let gone = outdated(&heard, now_ms);
        if !gone.is_empty() {
            self.step(|board, _| board.sweep(&gone)).await?;
        }
        Ok(())
    }

    async fn report(&self, who: String, seq: u64) -> Result<Fate, PoolError> {
        let name = self.memcached.names.of(&format!("2:report:{}", super::steps::digest(&who)));
        let counted = async {
            loop {
                let (bytes, place) = self.value(&name).await?;
                let last =
                    bytes.and_then(|bytes| std::str::from_utf8(&bytes).ok()?.parse().ok()).unwrap_or(0);
                // One that comes again is remembered from now on.
                let newest = seq.max(last).to_string();
                if self.replace(&name, newest.as_bytes(), REMEMBERED, place).await? {
                    return Ok(if seq > last { Fate::New } else { Fate::Known });
                }
            }
        };
        tokio::time::timeout(PATIENCE, counted).await.unwrap_or(Err(PoolError::Timeout(PATIENCE)))
    }

    fn complain(&self, line: &str) {
        self.memcached.home.complain(line);
    }
}
