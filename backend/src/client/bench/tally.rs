//! What became of requests: latencies, failures by kind, caches' words. Threads have a tally each; one of all leaves.

mod caches;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::client::connection::{Answer, ConnectionError};
pub(super) use caches::Caches;

/// Latencies are told apart by three digits, from a microsecond to an hour.
const DIGITS: u8 = 3;
const SHORTEST_NS: u64 = 1_000;
const LONGEST_NS: u64 = 3_600_000_000_000;
/// A request that is sent so long after it was due is told of.
pub(super) const LATE: Duration = Duration::from_millis(1);

/// Failures of one kind.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Failures {
    pub(super) count: u64,
    /// What the first of them said.
    pub(super) first: String,
}

/// When a request was due, sent and over.
#[derive(Clone, Copy)]
pub(super) struct Times {
    pub(super) due: Instant,
    pub(super) sent: Instant,
    pub(super) over: Instant,
}

pub(super) struct Tally {
    /// Latency of good answers, from when their requests were due, in nanoseconds.
    pub(super) latencies: Histogram<u64>,
    pub(super) failures: BTreeMap<String, Failures>,
    pub(super) caches: Caches,
    pub(super) late: u64,
    pub(super) latest: Duration,
    pub(super) unsent: u64,
    pub(super) reconnected: u64,
    pub(super) bytes_sent: u64,
    pub(super) bytes_received: u64,
    /// Whatever was sent, that of the warm-up too.
    pub(super) all: u64,
    pub(super) last: Option<Instant>,
}

impl Tally {
    pub(super) fn new() -> Self {
        Self {
            latencies: Histogram::new_with_bounds(SHORTEST_NS, LONGEST_NS, DIGITS)
                .expect("these bounds are right"),
            failures: BTreeMap::new(),
            caches: Caches::default(),
            late: 0,
            latest: Duration::ZERO,
            unsent: 0,
            reconnected: 0,
            bytes_sent: 0,
            bytes_received: 0,
            all: 0,
            last: None,
        }
    }

    /// Counts a request that counts.
    pub(super) fn add(
        &mut self,
        times: Times,
        sent_bytes: usize,
        outcome: &Result<Answer<'_>, ConnectionError>,
    ) {
        let lateness = times.sent.saturating_duration_since(times.due);
        self.late += u64::from(lateness > LATE);
        self.latest = self.latest.max(lateness);
        self.last = self.last.max(Some(times.over));
        self.bytes_sent += sent_bytes as u64;
        match outcome {
            Ok(answer) if answer.status.is_good() => {
                self.bytes_received += answer.body.len() as u64;
                let took = times.over.saturating_duration_since(times.due).as_nanos();
                self.latencies.saturating_record(u64::try_from(took).unwrap_or(u64::MAX));
                self.caches.add(answer.cache_status);
            }
            Ok(answer) => self.fail(&answer.status.to_string(), || answer.error()),
            Err(error) => self.fail(error.kind(), || error.to_string()),
        }
    }

    fn fail(&mut self, kind: &str, said: impl FnOnce() -> String) {
        if let Some(failures) = self.failures.get_mut(kind) {
            failures.count += 1;
        } else {
            self.failures.insert(kind.to_owned(), Failures { count: 1, first: said() });
        }
    }

    /// Takes another's counts.
    pub(super) fn join(&mut self, other: Self) {
        self.latencies.add(other.latencies).expect("all have the same bounds");
        for (kind, failures) in other.failures {
            let own = self.failures.entry(kind).or_insert(Failures { count: 0, first: failures.first });
            own.count += failures.count;
        }
        self.caches.join(other.caches);
        self.late += other.late;
        self.latest = self.latest.max(other.latest);
        self.unsent += other.unsent;
        self.reconnected += other.reconnected;
        self.bytes_sent += other.bytes_sent;
        self.bytes_received += other.bytes_received;
        self.all += other.all;
        self.last = self.last.max(other.last);
    }
}
