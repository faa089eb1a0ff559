//! Coalescing inside one worker: requests that ask the same enter, one of them leads, the others wait, and releases leave, a batch
//! a time.
//!
//! Pure bookkeeping, of whatever waits (`W`) and whatever answers it (`A`). There is one [`Flight`] for what is asked, and one
//! [`Seat`] for who waits: it lies in its flight's queue or among those that are due, and the request that waits holds it too,
//! so each sees what became of the other. The worker carries releases out.
//!
//! A flight ends as its [`Outcome`] says. Only an answer that is by its nature nobody else's frees all who wait. When a leader
//! fails, goes away or takes too long, **one** is promoted and the others go on waiting; when that one brings nothing either, two
//! are, then four, and so on: an upstream in trouble gets few requests at first and never a crowd at once, and where it fails
//! always, the last of many hears so after a few rounds and not after as many as there are waiters. The first of a round that
//! succeeds answers all who wait. The same happens with those whom an answer does not suit (another encoding, too old). And
//! nobody waits for ever: who has waited twice [`config::Join::timeout_ms`] goes upstream on its own. So that these are no crowd
//! either where leaders hang, rounds follow each other sooner as that time comes near ([`Flight::is_due`]).

use crate::cache_status::Detail;
use crate::config;
use quick_cache::unsync::Cache;
use std::cell::Cell;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

/// Most requests of a kind that one callback lets go: of those that wait for an equal one, for a lookup, or for their bodies. More than
/// about 300 overflow the stack (measured).
pub const BATCH: usize = 64;
/// The part of the timeout that lies at least between two rounds while the first ones hang: with a dozen of them, the most waiters
/// that there are by default have been sent.
const ROUNDS_A_TIMEOUT: u64 = 12;
/// How long a key whose answer could not be shared is not coalesced again, in milliseconds.
const REMEMBER_MS: u64 = 10_000;
/// Most such keys remembered at once.
const REMEMBERED_KEYS: usize = 4096;

/// What is asked, in whatever encoding, and of which set of live generations: who asks after a change of models does not get an
/// answer from before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FlightKey {
    /// The digest, or a raw key where none can be had.
    pub what: [u8; 32],
    /// The epoch of the live generations.
    pub epoch: u64,
}

/// What entering a flight comes to.
#[derive(Clone, Debug)]
pub enum Entered<W> {
    /// The first one: goes on, and must [`Join::finish`].
    Leads,
    /// Waits for the leader; must [`Join::leave`] when it ends.
    Waits(Rc<Seat<W>>),
    /// Goes on alone, for the reason given: its answer is nobody else's.
    Alone(Detail),
}

/// How a leader ends.
#[derive(Clone, Debug)]
pub enum Outcome<A> {
    /// With an answer for those whom it suits.
    Answer(A),
    /// Without one, which may be its own fault (gone, broken off, an error status): the next one takes over.
    Failed,
    /// With an answer that is nobody else's: each goes upstream on its own, and the key is not coalesced for a while.
    Unshareable,
}

/// What a waiter is released for.
#[derive(Clone, Debug)]
pub enum Release<A> {
    /// To be answered.
    Answer(A),
    /// To go upstream as the new leader.
    Lead(Detail),
    /// To go upstream on its own.
    Alone(Detail),
    /// To be told that its own time is over.
    Late,
}

/// How a waiter stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// In its flight's queue.
    Waits,
    /// To be released, when its turn comes.
    Due,
    /// Released: it was answered, or told that its time is over.
    Answered,
    /// Released: it was sent upstream and leads.
    Leads(Detail),
    /// Released: it was sent upstream on its own.
    Alone(Detail),
    /// It has ended.
    Left,
}

/// A request that waits.
#[derive(Debug)]
pub struct Seat<W> {
    /// Whose request it is.
    pub context: u32,
    /// What it waits with.
    pub claim: W,
    key: FlightKey,
    bytes: usize,
    /// Since when it waits.
    since_ms: Cell<u64>,
    standing: Cell<Standing>,
}

impl<W> Seat<W> {
    /// How it stands now.
    pub fn standing(&self) -> Standing {
        self.standing.get()
    }

    /// Since when it waits.
    pub fn since_ms(&self) -> u64 {
        self.since_ms.get()
    }

    /// It was to be answered, but can't be: it goes upstream on its own.
    pub fn send_alone(&self, why: Detail) {
        self.standing.set(Standing::Alone(why));
    }
}

/// One question under way.
struct Flight<W> {
    /// Who leads it and has not ended: the first one, later a round of those who waited. Never empty between two calls.
    leaders: Vec<u32>,
    /// Since when they lead.
    since_ms: u64,
    /// How many lead next.
    next_round: usize,
    /// Who waits, the longest first.
    queue: VecDeque<Rc<Seat<W>>>,
}

impl<W> Flight<W> {
    /// Is it time for the next round, though the leaders have not ended? When they have had their time; and in the end as soon as
    /// rounds that double reach all before the first of those who wait has waited twice that time.
    fn is_due(&self, timeout_ms: u64, now_ms: u64) -> bool {
        let Some(first) = self.queue.front() else { return false };
        let led_ms = now_ms.saturating_sub(self.since_ms);
        let left_ms =
            timeout_ms.saturating_mul(2).saturating_sub(now_ms.saturating_sub(first.since_ms.get()));
        let step_ms = timeout_ms / ROUNDS_A_TIMEOUT;
        // 1 + 2 + 4 ... of the next round's size.
        let rounds = (self.queue.len() / self.next_round.max(1)).saturating_add(1).ilog2().saturating_add(1);
        let begins_late = left_ms <= step_ms.saturating_mul(u64::from(rounds));
        led_ms >= timeout_ms || (begins_late && led_ms >= step_ms)
    }
}

/// The flights of one worker.
pub struct Join<W, A> {
    flights: HashMap<FlightKey, Flight<W>>,
    due: VecDeque<(Rc<Seat<W>>, Release<A>)>,
    waiting: usize,
    waiting_bytes: usize,
    unshareable: Cache<FlightKey, u64>,
    bounds: config::Join,
}

impl<W: Clone, A: Clone> Join<W, A> {
    /// Nobody waits.
    pub fn new(bounds: config::Join) -> Self {
        Self {
            flights: HashMap::new(),
            due: VecDeque::new(),
            waiting: 0,
            waiting_bytes: 0,
            unshareable: Cache::new(REMEMBERED_KEYS),
            bounds,
        }
    }

    /// The request of `context`, with a body of `bytes`, asks `key`. Where it waits, it does so with `claim`.
    pub fn enter(
        &mut self,
        key: FlightKey,
        context: u32,
        claim: &W,
        bytes: usize,
        now_ms: u64,
    ) -> Entered<W> {
        if self.unshareable.get(&key).is_some_and(|until| now_ms < *until) {
            return Entered::Alone(Detail::Unshareable);
        }
        let Some(flight) = self.flights.get_mut(&key) else {
            let queue = VecDeque::new();
            let flight = Flight { leaders: vec![context], since_ms: now_ms, next_round: 1, queue };
            self.flights.insert(key, flight);
            return Entered::Leads;
        };
        let waiting_bytes = self.waiting_bytes.saturating_add(bytes);
        if self.waiting >= self.bounds.max_waiters || waiting_bytes > self.bounds.max_waiter_bytes {
            return Entered::Alone(Detail::TooManyWaiters);
        }
        let (since_ms, standing) = (Cell::new(now_ms), Cell::new(Standing::Waits));
        let seat = Rc::new(Seat { context, claim: claim.clone(), key, bytes, since_ms, standing });
        flight.queue.push_back(seat.clone());
        self.waiting = self.waiting.saturating_add(1);
        self.waiting_bytes = waiting_bytes;
        Entered::Waits(seat)
    }

    /// Forgets which keys' answers could not be shared.
    pub fn forget(&mut self) {
        self.unshareable.clear();
    }

    /// Does anybody wait for what is asked?
    pub fn is_awaited(&self, key: &FlightKey) -> bool {
        self.flights.get(key).is_some_and(|flight| !flight.queue.is_empty())
    }

    /// The request of `context`, which leads or has led `key`, has ended. `suits` says whom an answer can be given to.
    pub fn finish(
        &mut self,
        key: &FlightKey,
        context: u32,
        outcome: Outcome<A>,
        suits: impl Fn(&W) -> bool,
        now_ms: u64,
    ) {
        let Some(flight) = self.flights.get_mut(key) else { return };
        let led = flight.leaders.len();
        flight.leaders.retain(|leader| *leader != context);
        let leads = flight.leaders.len() < led;
        match outcome {
            // Late or not, it answers what was asked: those who were to be sent upstream and were not yet too.
            Outcome::Answer(answer) => {
                for (seat, release) in &mut self.due {
                    if seat.key == *key && !matches!(release, Release::Answer(_)) && suits(&seat.claim) {
                        flight.leaders.retain(|leader| *leader != seat.context);
                        *release = Release::Answer(answer.clone());
                    }
                }
                let (suited, rest) = flight.queue.drain(..).partition(|seat| suits(&seat.claim));
                flight.queue = rest;
                let suited: VecDeque<_> = suited;
                for seat in suited {
                    make_due(&mut self.due, seat, Release::Answer(answer.clone()));
                }
                if flight.leaders.is_empty() {
                    self.promote(key, Detail::Unsuited, now_ms);
                }
            }
            Outcome::Failed if flight.leaders.is_empty() => self.promote(key, Detail::Promoted, now_ms),
            Outcome::Unshareable if leads => {
                self.unshareable.insert(*key, now_ms.saturating_add(REMEMBER_MS));
                for seat in self.flights.remove(key).into_iter().flat_map(|flight| flight.queue) {
                    make_due(&mut self.due, seat, Release::Alone(Detail::Unshareable));
                }
            }
            Outcome::Failed | Outcome::Unshareable => {}
        }
    }

    /// The flight has no leaders any more: the next in line lead, twice as many as before; without one it is over.
    fn promote(&mut self, key: &FlightKey, why: Detail, now_ms: u64) {
        let Some(flight) = self.flights.get_mut(key) else { return };
        if flight.queue.is_empty() {
            self.flights.remove(key);
            return;
        }
        let round = flight.next_round.min(flight.queue.len());
        flight.next_round = flight.next_round.saturating_mul(2);
        flight.since_ms = now_ms;
        flight.leaders.clear();
        for next in flight.queue.drain(..round) {
            flight.leaders.push(next.context);
            make_due(&mut self.due, next, Release::Lead(why));
        }
    }

    /// The waiting request has ended, in whatever standing.
    pub fn leave(&mut self, seat: &Rc<Seat<W>>, now_ms: u64) {
        match seat.standing.replace(Standing::Left) {
            Standing::Waits => {
                if let Some(flight) = self.flights.get_mut(&seat.key) {
                    flight.queue.retain(|waiting| !Rc::ptr_eq(waiting, seat));
                }
                self.uncount(seat);
            }
            Standing::Due => {
                self.due.retain(|(due, _)| !Rc::ptr_eq(due, seat));
                self.uncount(seat);
                self.finish(&seat.key, seat.context, Outcome::Failed, |_| false, now_ms);
            }
            Standing::Leads(_) => {
                self.finish(&seat.key, seat.context, Outcome::Failed, |_| false, now_ms);
            }
            Standing::Answered | Standing::Alone(_) | Standing::Left => {}
        }
    }

    /// Whose own time is over is told so (`is_late`), and who has waited for two leaders' time goes upstream on its own. Where it is time
    /// for a next round, it is sent after the leaders; what these still bring counts for all.
    pub fn expire(&mut self, now_ms: u64, is_late: impl Fn(&W) -> bool) {
        let timeout_ms = self.bounds.timeout_ms;
        let mut expired = Vec::new();
        for (key, flight) in &mut self.flights {
            // A clock that was set back must not make a leader immortal.
            flight.since_ms = flight.since_ms.min(now_ms);
            let has_waited = |seat: &Seat<W>| {
                seat.since_ms.set(seat.since_ms.get().min(now_ms));
                now_ms.saturating_sub(seat.since_ms.get()) >= timeout_ms.saturating_mul(2)
            };
            let is_over = |seat: &Seat<W>| has_waited(seat) || is_late(&seat.claim);
            if flight.queue.iter().any(|seat| is_over(seat)) {
                let (over, rest) = flight.queue.drain(..).partition(|seat| is_over(seat));
                flight.queue = rest;
                let over: VecDeque<Rc<Seat<W>>> = over;
                for seat in over {
                    let alone = Release::Alone(Detail::WaitedTooLong);
                    let release = if is_late(&seat.claim) { Release::Late } else { alone };
                    make_due(&mut self.due, seat, release);
                }
            }
            if flight.is_due(timeout_ms, now_ms) {
                expired.push(*key);
            }
        }
        for key in expired {
            self.promote(&key, Detail::WaitedTooLong, now_ms);
        }
    }

    /// The next waiter to release, and what for; it stands so from here on.
    pub fn next_due(&mut self) -> Option<(Rc<Seat<W>>, Release<A>)> {
        let (seat, release) = self.due.pop_front()?;
        seat.standing.set(match release {
            Release::Answer(_) | Release::Late => Standing::Answered,
            Release::Lead(why) => Standing::Leads(why),
            Release::Alone(why) => Standing::Alone(why),
        });
        self.uncount(&seat);
        Some((seat, release))
    }

    fn uncount(&mut self, seat: &Seat<W>) {
        self.waiting = self.waiting.saturating_sub(1);
        self.waiting_bytes = self.waiting_bytes.saturating_sub(seat.bytes);
    }

    /// Is anybody due?
    pub fn has_due(&self) -> bool {
        !self.due.is_empty()
    }

    /// How many wait or are due.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// Bytes of the bodies that wait with them.
    pub fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }
}

fn make_due<W, A>(due: &mut VecDeque<(Rc<Seat<W>>, Release<A>)>, seat: Rc<Seat<W>>, release: Release<A>) {
    seat.standing.set(Standing::Due);
    due.push_back((seat, release));
}

#[cfg(test)]
mod laws;
#[cfg(test)]
mod tests;
