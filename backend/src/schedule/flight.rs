//! Coalescing: requests that want the same result at the same time enter a flight; one of them leads, which is to look it up or to
//! compute it, the others wait for what the flight lands with. The words are the filter's; there the same is done for answers in
//! flight through a proxy.
//!
//! Who leads holds the [`Lead`], and hands it on to what computes: the result lands from there, whoever has left meanwhile. A lead
//! that is dropped is given to the one that waits longest, so there is one for as long as somebody waits, and never two.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::QueueLimits;

/// What flies.
pub(crate) trait Sought {
    /// Says which results are the same.
    type Key: Hash + Eq + Copy;
    /// What one wants of a result.
    type Want;
    type Found: Clone;

    /// Whether that result will do.
    fn takes(want: &Self::Want, found: &Self::Found) -> bool;
}

/// The flights of one version of a model.
pub(crate) struct Flights<S: Sought> {
    state: Mutex<State<S>>,
    limits: QueueLimits,
}

struct State<S: Sought> {
    /// Each has a lead.
    flights: HashMap<S::Key, Flight<S>>,
    /// All who are in a flight, leaders too, and the bytes of their requests.
    seats: usize,
    bytes: usize,
    /// Counts those who came.
    numbers: u64,
}

struct Flight<S: Sought> {
    /// What it landed with last: some took it, the one that leads now did not.
    landed: Option<S::Found>,
    /// In the order in which they came.
    waiting: BTreeMap<u64, Waiting<S>>,
}

struct Waiting<S: Sought> {
    want: S::Want,
    tell: oneshot::Sender<Told<S>>,
}

/// What one who waits is told, once.
pub(crate) enum Told<S: Sought> {
    /// Another one's result, which it takes.
    Landed(S::Found),
    /// It leads now: who led before gave up.
    Leads(Lead<S>),
}

/// One's part in a flight when it enters.
pub(crate) enum Part<S: Sought> {
    /// There is what it takes.
    Has(S::Found),
    Leads(Lead<S>),
    /// It will be told.
    Waits(oneshot::Receiver<Told<S>>),
}

impl<S: Sought> Flights<S> {
    /// Nobody flies. `limits` bounds those who do.
    pub(crate) fn new(limits: QueueLimits) -> Self {
        let state = State { flights: HashMap::new(), seats: 0, bytes: 0, numbers: 0 };
        Self { state: Mutex::new(state), limits }
    }

    /// A seat in the flight to the result of `key`, for a request of `bytes`, and its part; `None` when too many fly already.
    pub(crate) fn enter(
        self: &Arc<Self>,
        key: S::Key,
        want: S::Want,
        bytes: usize,
    ) -> Option<(Seat<S>, Part<S>)> {
        let mut state = self.lock();
        let total = state.bytes.saturating_add(bytes);
        if state.seats >= self.limits.requests || total > self.limits.bytes {
            return None;
        }
        state.seats += 1;
        state.bytes = total;
        state.numbers += 1;
        let number = state.numbers;
        let part = match state.flights.get_mut(&key) {
            None => {
                state.flights.insert(key, Flight { landed: None, waiting: BTreeMap::new() });
                Part::Leads(Lead { flights: Some(self.clone()), key })
            }
            Some(flight) => {
                if let Some(landed) = flight.landed.as_ref().filter(|landed| S::takes(&want, landed)) {
                    Part::Has(landed.clone())
                } else {
                    let (tell, told) = oneshot::channel();
                    flight.waiting.insert(number, Waiting { want, tell });
                    Part::Waits(told)
                }
            }
        };
        Some((Seat { flights: self.clone(), key, number, bytes }, part))
    }

    /// Gives a value to all who take it.
    fn land(&self, key: S::Key, value: &S::Found) {
        let mut state = self.lock();
        let Some(flight) = state.flights.get_mut(&key) else { return };
        flight.landed = Some(value.clone());
        let takers: Vec<_> = flight.waiting.extract_if(.., |_, waits| S::takes(&waits.want, value)).collect();
        drop(state);
        for (_, Waiting { tell, .. }) in takers {
            // It may be leaving.
            let _ = tell.send(Told::Landed(value.clone()));
        }
    }

    /// Gives the lead to the one that waits longest, or ends the flight.
    fn promote(self: &Arc<Self>, key: S::Key) {
        loop {
            let mut state = self.lock();
            let Some(flight) = state.flights.get_mut(&key) else { return };
            let Some((_, Waiting { tell, .. })) = flight.waiting.pop_first() else {
                state.flights.remove(&key);
                return;
            };
            drop(state);
            let lead = Lead { flights: Some(self.clone()), key };
            match tell.send(Told::Leads(lead)) {
                // It has left: the lead is still this one's.
                Err(Told::Leads(mut back)) => drop(back.flights.take()),
                _ => return,
            }
        }
    }

    /// The state is whole after a panic too: no change of it is left half done.
    fn lock(&self) -> MutexGuard<'_, State<S>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to get a flight's result. Dropping it is giving up, or having landed.
pub(crate) struct Lead<S: Sought> {
    /// `None` once another one has it.
    flights: Option<Arc<Flights<S>>>,
    key: S::Key,
}

impl<S: Sought> Lead<S> {
    /// Lands with that: all who take it have it, and so will who comes before the lead is dropped.
    pub(crate) fn land(&self, value: &S::Found) {
        if let Some(flights) = &self.flights {
            flights.land(self.key, value);
        }
    }
}

impl<S: Sought> Drop for Lead<S> {
    fn drop(&mut self) {
        if let Some(flights) = self.flights.take() {
            flights.promote(self.key);
        }
    }
}

/// A request's place in a flight. Dropping it is leaving.
pub(crate) struct Seat<S: Sought> {
    flights: Arc<Flights<S>>,
    key: S::Key,
    number: u64,
    bytes: usize,
}

impl<S: Sought> Drop for Seat<S> {
    fn drop(&mut self) {
        let mut state = self.flights.lock();
        state.seats -= 1;
        state.bytes -= self.bytes;
        let flight = state.flights.get_mut(&self.key);
        let waits = flight.and_then(|flight| flight.waiting.remove(&self.number));
        drop(state);
        drop(waits);
    }
}

#[cfg(test)]
mod laws;
#[cfg(test)]
mod tests;
