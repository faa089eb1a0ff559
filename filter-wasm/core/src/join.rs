//! Coalescing inside one worker: requests that want the same answer in the same form enter, one of them leads, the others
//! wait, and releases leave in batches.
//!
//! Pure bookkeeping: who leads which flight, who waits since when, who is due for what. The worker carries releases out.

use crate::config;
use crate::l1::{Answer, AnswerKey};
use quick_cache::unsync::Cache;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

/// Most releases in one callback. More than about 300 overflow the stack (measured).
pub const BATCH: usize = 64;
/// How long a key whose answer could not be shared is not coalesced again, in milliseconds.
const REMEMBER_MS: u64 = 10_000;
/// Most such keys remembered at once.
const REMEMBERED_KEYS: usize = 4096;

/// What entering a flight comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entered {
    /// The first one: goes on, and must [`Join::finish`] or [`Join::leave`].
    Leads,
    /// Waits for the leader.
    Waits,
    /// Goes on alone, for the reason given: its answer is nobody else's.
    Alone(&'static str),
}

/// How a flight ends.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// With an answer for all.
    Answer(Rc<Answer>),
    /// Without: each goes upstream on its own, and the key is not coalesced for a while.
    Unshareable,
}

/// What a waiter is released for.
#[derive(Clone, Debug)]
pub enum Release {
    /// To be answered, with its own id.
    Answer(Rc<Answer>),
    /// To go upstream as the new leader: the old one went away.
    Lead,
    /// To go upstream on its own.
    Alone(&'static str),
}

struct Flight {
    leader: u32,
    queue: VecDeque<u32>,
}

struct Waiter {
    key: AnswerKey,
    id: String,
    bytes: usize,
    since_ms: u64,
    due: Option<Release>,
}

/// The flights and waiters of one worker.
pub struct Join {
    flights: HashMap<AnswerKey, Flight>,
    waiters: HashMap<u32, Waiter>,
    waiting_bytes: usize,
    due: VecDeque<u32>,
    /// Released, and not heard of since: what the waiter's own next callback is to know.
    released: HashMap<u32, Release>,
    unshareable: Cache<AnswerKey, u64>,
    bounds: config::Join,
}

impl Join {
    /// Nobody waits.
    pub fn new(bounds: config::Join) -> Self {
        Self {
            flights: HashMap::new(),
            waiters: HashMap::new(),
            waiting_bytes: 0,
            due: VecDeque::new(),
            released: HashMap::new(),
            unshareable: Cache::new(REMEMBERED_KEYS),
            bounds,
        }
    }

    /// The request of `context`, with `id` and a body of `bytes`, wants the answer under `key`.
    pub fn enter(&mut self, key: AnswerKey, context: u32, id: &str, bytes: usize, now_ms: u64) -> Entered {
        if self.unshareable.get(&key).is_some_and(|until| now_ms < *until) {
            return Entered::Alone("unshareable");
        }
        let waiting = self.waiters.len();
        let waiting_bytes = self.waiting_bytes.saturating_add(bytes);
        let Some(flight) = self.flights.get_mut(&key) else {
            self.flights.insert(key, Flight { leader: context, queue: VecDeque::new() });
            return Entered::Leads;
        };
        if waiting >= self.bounds.max_waiters || waiting_bytes > self.bounds.max_waiter_bytes {
            return Entered::Alone("too-many-waiters");
        }
        flight.queue.push_back(context);
        self.waiting_bytes = waiting_bytes;
        self.waiters.insert(context, Waiter { key, id: id.to_owned(), bytes, since_ms: now_ms, due: None });
        Entered::Waits
    }

    /// The leader's flight has ended: all who wait become due.
    pub fn finish(&mut self, key: &AnswerKey, leader: u32, outcome: &Outcome, now_ms: u64) {
        if self.flights.get(key).is_none_or(|flight| flight.leader != leader) {
            return;
        }
        let Some(flight) = self.flights.remove(key) else { return };
        let release = match outcome {
            Outcome::Answer(answer) => Release::Answer(answer.clone()),
            Outcome::Unshareable => {
                self.unshareable.insert(*key, now_ms.saturating_add(REMEMBER_MS));
                Release::Alone("unshareable")
            }
        };
        for context in flight.queue {
            self.make_due(context, release.clone());
        }
    }

    /// The leader went away with nothing to show: the next one takes over.
    pub fn abandon(&mut self, key: &AnswerKey, leader: u32) {
        let Some(flight) = self.flights.get_mut(key).filter(|flight| flight.leader == leader) else { return };
        match flight.queue.pop_front() {
            Some(next) => {
                flight.leader = next;
                self.make_due(next, Release::Lead);
            }
            None => {
                self.flights.remove(key);
            }
        }
    }

    /// The waiting request of `context` has ended (its client went away).
    pub fn leave(&mut self, context: u32) {
        self.released.remove(&context);
        let Some(waiter) = self.waiters.remove(&context) else { return };
        self.waiting_bytes = self.waiting_bytes.saturating_sub(waiter.bytes);
        self.due.retain(|due| *due != context);
        match waiter.due {
            Some(Release::Lead) => self.abandon(&waiter.key, context),
            Some(_) => {}
            None => {
                if let Some(flight) = self.flights.get_mut(&waiter.key) {
                    flight.queue.retain(|waiting| *waiting != context);
                }
            }
        }
    }

    /// Makes due all who have waited for too long.
    pub fn expire(&mut self, now_ms: u64) {
        let timeout_ms = self.bounds.timeout_ms;
        let waited =
            |waiter: &Waiter| waiter.due.is_none() && now_ms.saturating_sub(waiter.since_ms) >= timeout_ms;
        let expired: Vec<u32> =
            self.waiters.iter().filter(|(_, w)| waited(w)).map(|(context, _)| *context).collect();
        for context in expired {
            if let Some(flight) =
                self.waiters.get(&context).and_then(|waiter| self.flights.get_mut(&waiter.key))
            {
                flight.queue.retain(|waiting| *waiting != context);
            }
            self.make_due(context, Release::Alone("waited-too-long"));
        }
    }

    fn make_due(&mut self, context: u32, release: Release) {
        if let Some(waiter) = self.waiters.get_mut(&context) {
            waiter.due = Some(release);
            self.due.push_back(context);
        }
    }

    /// The next waiter to release: its context, its id, and what for.
    pub fn next_due(&mut self) -> Option<(u32, String, Release)> {
        loop {
            let context = self.due.pop_front()?;
            let Some(waiter) = self.waiters.remove(&context) else { continue };
            self.waiting_bytes = self.waiting_bytes.saturating_sub(waiter.bytes);
            let Some(release) = waiter.due else { continue };
            self.released.insert(context, release.clone());
            return Some((context, waiter.id, release));
        }
    }

    /// Is anybody due?
    pub fn has_due(&self) -> bool {
        !self.due.is_empty()
    }

    /// What the waiter of `context` was released for; told once.
    pub fn take_release(&mut self, context: u32) -> Option<Release> {
        self.released.remove(&context)
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.waiters.len()
    }

    /// Bytes of the bodies that wait.
    pub fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: AnswerKey = [7; 32];

    fn join() -> Join {
        Join::new(config::Join { max_waiters: 3, max_waiter_bytes: 100, timeout_ms: 1000 })
    }

    fn answer() -> Outcome {
        Outcome::Answer(Rc::new(Answer {
            generation: None,
            created_ms: 0,
            stored_ms: 0,
            max_age_s: 1,
            header_length: None,
            verbatim: false,
            body: Vec::new(),
        }))
    }

    fn led_by_1_with_waiters(waiters: &[u32]) -> Join {
        let mut join = join();
        assert_eq!(join.enter(KEY, 1, "", 10, 0), Entered::Leads);
        for context in waiters {
            assert_eq!(join.enter(KEY, *context, "", 10, 0), Entered::Waits);
        }
        join
    }

    fn due(join: &mut Join) -> Vec<(u32, &'static str)> {
        std::iter::from_fn(|| join.next_due())
            .map(|(context, _, release)| match release {
                Release::Answer(_) => (context, "answer"),
                Release::Lead => (context, "lead"),
                Release::Alone(why) => (context, why),
            })
            .collect()
    }

    #[test]
    fn the_leaders_answer_goes_to_all_in_order() {
        let mut join = led_by_1_with_waiters(&[2, 3]);
        join.finish(&KEY, 1, &answer(), 0);
        assert_eq!(due(&mut join), [(2, "answer"), (3, "answer")]);
        assert_eq!((join.waiting(), join.waiting_bytes()), (0, 0));
        assert_eq!(join.enter(KEY, 4, "", 10, 0), Entered::Leads);
    }

    #[test]
    fn an_unshareable_answer_frees_all_and_is_remembered() {
        let mut join = led_by_1_with_waiters(&[2]);
        join.finish(&KEY, 1, &Outcome::Unshareable, 0);
        assert_eq!(due(&mut join), [(2, "unshareable")]);
        assert_eq!(join.enter(KEY, 3, "", 10, REMEMBER_MS - 1), Entered::Alone("unshareable"));
        assert_eq!(join.enter(KEY, 3, "", 10, REMEMBER_MS), Entered::Leads);
    }

    #[test]
    fn a_lost_leader_is_followed_by_the_next_in_line_even_when_that_one_goes_too() {
        let mut join = led_by_1_with_waiters(&[2, 3]);
        join.abandon(&KEY, 1);
        join.leave(2);
        assert_eq!(due(&mut join), [(3, "lead")]);
        join.finish(&KEY, 1, &answer(), 0);
        join.finish(&KEY, 3, &answer(), 0);
        assert!(matches!(join.take_release(3), Some(Release::Lead)));
        assert_eq!(join.enter(KEY, 4, "", 10, 0), Entered::Leads);
    }

    #[test]
    fn waiters_are_bounded_in_count_and_bytes() {
        let mut join = led_by_1_with_waiters(&[2, 3, 4]);
        assert_eq!(join.enter(KEY, 5, "", 0, 0), Entered::Alone("too-many-waiters"));
        let mut join = led_by_1_with_waiters(&[2]);
        assert_eq!(join.enter(KEY, 3, "", 91, 0), Entered::Alone("too-many-waiters"));
    }

    #[test]
    fn a_waiter_that_left_is_not_released() {
        let mut join = led_by_1_with_waiters(&[2, 3]);
        join.leave(2);
        join.finish(&KEY, 1, &answer(), 0);
        join.leave(3);
        assert_eq!(due(&mut join), []);
        assert_eq!((join.waiting(), join.waiting_bytes()), (0, 0));
    }

    #[test]
    fn one_who_waited_too_long_goes_alone_and_the_flight_goes_on() {
        let mut join = led_by_1_with_waiters(&[2]);
        join.expire(999);
        assert!(!join.has_due());
        join.expire(1000);
        assert_eq!(due(&mut join), [(2, "waited-too-long")]);
        assert_eq!(join.enter(KEY, 3, "", 10, 1000), Entered::Waits);
    }
}
