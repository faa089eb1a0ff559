//! What waits for the sessions of one version, as pure code: requests and the time enter, the next batch leaves. No
//! clock, no threads, no answers: those are `worker`'s.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::batching::Batching;
use super::{QueueError, QueueLimits};

/// A request as the queue sees it.
#[derive(Debug)]
pub(super) struct Waiting<T> {
    pub(super) item: T,
    pub(super) bytes: usize,
    /// Rows of the batch that it is.
    pub(super) rows: u64,
    /// Requests with the same shapes run together; `None` runs alone.
    pub(super) shapes: Option<Box<[i64]>>,
    pub(super) since: Instant,
    /// From then on it isn't run, whatever the level's policy.
    pub(super) deadline: Option<Instant>,
    /// How long it asks to wait at most.
    pub(super) timeout: Option<Duration>,
    pub(super) priority: u64,
}

/// Where a request waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    level: usize,
    /// Counts the requests of the queue from 0.
    pub(super) number: u64,
    /// When the queue gives it up; `None` is never.
    pub(super) expires: Option<Instant>,
}

/// A request that left the queue to be run.
#[derive(Debug)]
pub(super) struct Taken<T> {
    pub(super) number: u64,
    pub(super) waiting: Waiting<T>,
}

/// What a session that is free does now.
#[derive(Debug)]
pub(super) enum Next<T> {
    /// Run the batch.
    Run,
    /// Refuse this one, whose time is over, and ask again.
    Expired(Taken<T>),
    /// Ask again then, or when something came.
    Wait(Instant),
    /// Ask again when something came.
    Idle,
}

/// The requests that wait, by level and arrival.
pub(super) struct Queue<T> {
    batching: Batching,
    limits: QueueLimits,
    levels: Vec<Level<T>>,
    requests: usize,
    bytes: usize,
    numbers: u64,
}

struct Level<T> {
    /// By number.
    waiting: BTreeMap<u64, Held<T>>,
    /// Those whose time is over and that run when nobody else of the level waits.
    delayed: BTreeMap<u64, Held<T>>,
    /// When which of `waiting` is delayed.
    delays: BTreeSet<(Instant, u64)>,
    /// When which request is given up.
    expires: BTreeSet<(Instant, u64)>,
}

struct Held<T> {
    waiting: Waiting<T>,
    delays: Option<Instant>,
    expires: Option<Instant>,
}

impl<T> Queue<T> {
    pub(super) fn new(batching: Batching, limits: QueueLimits) -> Self {
        let levels = batching.levels.iter().map(|_| Level::default()).collect();
        Self { batching, limits, levels, requests: 0, bytes: 0, numbers: 0 }
    }

    /// Takes a request in.
    ///
    /// # Errors
    /// When the queue or the level is full; the request is dropped then.
    pub(super) fn push(&mut self, waiting: Waiting<T>) -> Result<Place, QueueError> {
        let level = self.batching.level(waiting.priority);
        let policy = self.batching.levels[level];
        let here = &mut self.levels[level];
        if self.requests >= self.limits.requests {
            return Err(QueueError::Requests { limit: self.limits.requests });
        }
        if self.bytes.saturating_add(waiting.bytes) > self.limits.bytes {
            return Err(QueueError::Bytes { limit: self.limits.bytes });
        }
        if policy.most_requests > 0 && here.waiting.len() + here.delayed.len() >= policy.most_requests {
            return Err(QueueError::Level { limit: policy.most_requests });
        }
        let number = self.numbers;
        self.numbers += 1;
        self.requests += 1;
        self.bytes += waiting.bytes;
        let over = policy.timeout(waiting.timeout).and_then(|timeout| waiting.since.checked_add(timeout));
        let (delays, expires) = if policy.delays {
            (over, waiting.deadline)
        } else {
            (None, over.into_iter().chain(waiting.deadline).min())
        };
        here.delays.extend(delays.map(|at| (at, number)));
        here.expires.extend(expires.map(|at| (at, number)));
        here.waiting.insert(number, Held { waiting, delays, expires });
        Ok(Place { level, number, expires })
    }

    /// How many requests wait.
    pub(super) fn requests(&self) -> usize {
        self.requests
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.requests == 0
    }

    /// Takes a request out that nobody waits for any more; `None` when it left already.
    pub(super) fn withdraw(&mut self, place: Place) -> Option<Waiting<T>> {
        self.remove(place.level, place.number)
    }

    /// Takes all out.
    pub(super) fn drain(&mut self) -> Vec<Taken<T>> {
        std::iter::from_fn(|| self.pop()).collect()
    }

    /// What a free session does now. The batch, if there is one, is appended to `batch`.
    pub(super) fn next(&mut self, now: Instant, batch: &mut Vec<Taken<T>>) -> Next<T> {
        for level in 0..self.levels.len() {
            if let Some(number) = self.levels[level].first_expired(now)
                && let Some(waiting) = self.remove(level, number)
            {
                return Next::Expired(Taken { number, waiting });
            }
            self.levels[level].delay(now);
        }
        let Some(found) = self.candidate() else { return Next::Idle };
        let until = found.since.checked_add(self.batching.delay).unwrap_or(now);
        let count = match found.preferred {
            _ if found.is_whole => found.count,
            Some(count) if now < until || self.batching.delay.is_zero() => count,
            _ if now < until => return Next::Wait(until),
            _ => found.count,
        };
        for _ in 0..count {
            batch.extend(self.pop());
        }
        Next::Run
    }

    /// The longest batch that starts with the request that is next.
    fn candidate(&self) -> Option<Candidate> {
        let mut waiting =
            self.levels.iter().flat_map(|level| level.waiting.values().chain(level.delayed.values()));
        let first = &waiting.next()?.waiting;
        let most = self.batching.most_rows;
        let mut found = Candidate { count: 1, preferred: None, since: first.since, is_whole: false };
        let mut rows = first.rows;
        found.is_whole = first.shapes.is_none() || rows >= most;
        if self.batching.preferred.contains(&rows) {
            found.preferred = Some(1);
        }
        for Held { waiting: next, .. } in waiting {
            if found.is_whole {
                break;
            }
            let with_next = rows.saturating_add(next.rows);
            if next.shapes != first.shapes || with_next > most {
                found.is_whole = true;
                break;
            }
            rows = with_next;
            found.count += 1;
            found.since = found.since.min(next.since);
            found.is_whole = rows == most;
            if self.batching.preferred.contains(&rows) {
                found.preferred = Some(found.count);
            }
        }
        Some(found)
    }

    /// The request that is next: levels in their order, in each by arrival, the delayed last.
    fn pop(&mut self) -> Option<Taken<T>> {
        let next = |(level, here): (usize, &Level<T>)| {
            let first = here.waiting.first_key_value().or_else(|| here.delayed.first_key_value());
            first.map(|(&number, _)| (level, number))
        };
        let (level, number) = self.levels.iter().enumerate().find_map(next)?;
        self.remove(level, number).map(|waiting| Taken { number, waiting })
    }

    fn remove(&mut self, level: usize, number: u64) -> Option<Waiting<T>> {
        let here = self.levels.get_mut(level)?;
        let held = here.waiting.remove(&number).or_else(|| here.delayed.remove(&number))?;
        held.delays.inspect(|&at| _ = here.delays.remove(&(at, number)));
        held.expires.inspect(|&at| _ = here.expires.remove(&(at, number)));
        self.requests -= 1;
        self.bytes -= held.waiting.bytes;
        Some(held.waiting)
    }
}

/// What could run now.
struct Candidate {
    /// Requests.
    count: usize,
    /// As many as make the largest batch of a preferred size.
    preferred: Option<usize>,
    /// When the oldest of them came.
    since: Instant,
    /// Nothing could be added to it.
    is_whole: bool,
}

impl<T> Level<T> {
    fn first_expired(&self, now: Instant) -> Option<u64> {
        self.expires.first().filter(|(at, _)| *at <= now).map(|&(_, number)| number)
    }

    /// Puts those behind whose time is over.
    fn delay(&mut self, now: Instant) {
        while let Some(&(at, number)) = self.delays.first().filter(|(at, _)| *at <= now) {
            self.delays.remove(&(at, number));
            let held = self.waiting.remove(&number);
            self.delayed.extend(held.map(|held| (number, held)));
        }
    }
}

impl<T> Default for Level<T> {
    fn default() -> Self {
        Self {
            waiting: BTreeMap::new(),
            delayed: BTreeMap::new(),
            delays: BTreeSet::new(),
            expires: BTreeSet::new(),
        }
    }
}

#[cfg(test)]
mod laws;
#[cfg(test)]
mod tests;
