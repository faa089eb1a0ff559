//! The steps by which servers and gates that share a registry meet in it: each is one for all who take any. What one says enters,
//! typed answers leave; how a step is one, is the tier's matter.

use std::time::Duration;

use serde::Deserialize;

use crate::cache::live::heard::{Heard, Record};
use crate::cache::live::ledger::{Book, Fields, Note};
use crate::cache::live::purges::{Full, Name, Purges};
use crate::cache::live::reports::Fate;
use crate::cache::pool::PoolError;

/// Epochs that are remembered. Whoever knows an older one has not asked for so many changes.
pub(in crate::cache::live) const KEPT_EPOCHS: usize = 4096;
/// A step may take so long.
pub(in crate::cache::live) const PATIENCE: Duration = Duration::from_secs(1);

/// A tier in which a registry is.
pub(crate) trait Steps: Send + Sync + 'static {
    /// Says that an instance is there, or that it leaves, with its record or, where that is known, with its digest alone.
    fn say(&self, word: &Word<'_>) -> impl Future<Output = Result<Said, PoolError>> + Send;

    /// What a gate tells, and hears.
    fn read(&self, reader: &Reader<'_>) -> impl Future<Output = Result<Read, PoolError>> + Send;

    /// How many gates and proxies don't have that epoch, and servers that purge number, and one of them.
    fn behind(&self, known: Known) -> impl Future<Output = Result<(u64, String), PoolError>> + Send;

    /// Gives names higher numbers: each that has none as high as it is said with. The epoch is one that the caller knows.
    fn raise(
        &self,
        names: &[(Name, Option<u64>)],
        known: u64,
    ) -> impl Future<Output = Result<Result<Raised, Full>, PoolError>> + Send;

    /// The time in ms, and what was heard; changes nothing.
    fn peek(&self) -> impl Future<Output = Result<(u64, Vec<Heard>), PoolError>> + Send;

    /// Makes changes in a ledger of a service, and reads it.
    fn note(
        &self,
        book: Book,
        service: &str,
        notes: &[Note],
    ) -> impl Future<Output = Result<Fields, PoolError>> + Send;

    /// Has instances forgotten that are outdated.
    fn sweep(&self) -> impl Future<Output = Result<(), PoolError>> + Send;

    /// What is to be done with a report.
    fn report(&self, who: String, seq: u64) -> impl Future<Output = Result<Fate, PoolError>> + Send;

    /// Logs what went wrong; one line a second at most.
    fn complain(&self, line: &str);
}

/// What is to be known: the epoch, and the highest purge number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(crate) struct Known {
    pub(crate) epoch: u64,
    #[serde(rename = "number")]
    pub(crate) purged: u64,
}

/// What numbers were raised to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Raised {
    pub(crate) known: Known,
    /// How many copies of the tier have it, of how many.
    pub(crate) copies: (u64, u64),
}

/// The answer to what was said.
pub(crate) struct Said {
    pub(in crate::cache::live) epoch: u64,
    pub(in crate::cache::live) record: Stands,
    /// Nothing when the highest number is the one that was said.
    pub(in crate::cache::live) purges: Option<Purges>,
}

/// What the registry has of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stands {
    /// Another one or none: it must be said, not just its digest.
    Lacking,
    /// It had another one or none until now.
    Written,
    /// It had it already.
    Known,
}

/// What an instance says.
#[derive(Clone, Copy)]
pub(crate) struct Word<'a> {
    pub(in crate::cache::live) instance: &'a str,
    /// It leaves.
    pub(in crate::cache::live) left: bool,
    pub(in crate::cache::live) digest: &'a str,
    /// Nothing where the registry should have it.
    pub(in crate::cache::live) record: &'a str,
    /// The epoch of the last answer.
    pub(in crate::cache::live) known: u64,
    /// It has spoken before, and never got an answer.
    pub(in crate::cache::live) unanswered: bool,
    /// The highest purge number that it knows.
    pub(in crate::cache::live) purged: u64,
}

/// What a gate tells when it reads.
pub(crate) struct Reader<'a> {
    pub(in crate::cache::live) gate: &'a str,
    /// The epoch and the signature of its table.
    pub(in crate::cache::live) epoch: u64,
    pub(in crate::cache::live) signature: &'a str,
    /// The highest purge number that its table takes into account.
    pub(in crate::cache::live) purged: u64,
    /// Epochs that its proxies know and it doesn't.
    pub(in crate::cache::live) known: &'a [u64],
    /// Proxies and the epochs that they have.
    pub(in crate::cache::live) proxies: &'a [(String, u64)],
}

/// What it hears.
pub(crate) struct Read {
    pub(in crate::cache::live) epoch: u64,
    pub(in crate::cache::live) signature: String,
    pub(in crate::cache::live) now_ms: u64,
    /// Nothing when the signature is the reader's.
    pub(in crate::cache::live) heard: Option<Vec<Heard>>,
    /// Nothing when the highest number is the reader's.
    pub(in crate::cache::live) purges: Option<Purges>,
}

/// A record as it is said.
pub(in crate::cache::live) fn text(record: &Record) -> String {
    // Strings, numbers and hexadecimal digits: nothing that JSON can't say.
    serde_json::to_string(record).unwrap_or_default()
}

pub(in crate::cache::live) fn digest(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_hex()[..32].to_owned()
}
