//! Coalescing: requests that want the same result at the same time enter, one of them leads and computes, the others wait
//! for what it lands with. The words are the filter's; there the same is done for answers in flight through a proxy.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use metrics::Gauge;
use tokio::sync::OnceCell;

use crate::schedule::QueueLimits;
use crate::statistics::Gauged;

/// The flights of one version of a model. `K` says which results are the same, `T` is a result.
pub(crate) struct Flights<K, T> {
    state: Mutex<State<K, T>>,
    limits: QueueLimits,
    waiters: Gauge,
}

struct State<K, T> {
    flights: HashMap<K, Flight<T>>,
    /// All who are in a flight, leaders too, and the bytes of their requests.
    seats: usize,
    bytes: usize,
}

struct Flight<T> {
    landing: Arc<Landing<T>>,
    seats: usize,
}

/// What a flight lands with; `None` where the leader failed, for that may be the leader's own fault.
type Landing<T> = OnceCell<Option<T>>;

/// What a flight came to for one who was in it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Landed<T, E> {
    /// It led, and this is what it computed.
    Led(Result<T, E>),
    /// Another one computed this.
    Collapsed(T),
    /// The leader failed; each is on its own now.
    Failed,
}

impl<K: Hash + Eq + Copy, T: Clone> Flights<K, T> {
    /// Nobody flies. `limits` bounds those who do, and `waiters` shows how many of them wait.
    pub(crate) fn new(limits: QueueLimits, waiters: Gauge) -> Self {
        let state = State { flights: HashMap::new(), seats: 0, bytes: 0 };
        Self { state: Mutex::new(state), limits, waiters }
    }

    /// A seat in the flight to the result of `key`, for a request of `bytes`; `None` when too many fly already.
    pub(crate) fn enter(&self, key: K, bytes: usize) -> Option<Seat<'_, K, T>> {
        let mut state = self.lock();
        let total = state.bytes.saturating_add(bytes);
        if state.seats >= self.limits.requests || total > self.limits.bytes {
            return None;
        }
        state.seats += 1;
        state.bytes = total;
        // One that has landed takes nobody more aboard: its result grows old.
        let open = state.flights.get_mut(&key).filter(|flight| !flight.landing.initialized());
        let landing = if let Some(flight) = open {
            flight.seats += 1;
            flight.landing.clone()
        } else {
            let landing = Arc::<Landing<T>>::default();
            state.flights.insert(key, Flight { landing: landing.clone(), seats: 1 });
            landing
        };
        Some(Seat { flights: self, key, bytes, landing })
    }

    /// The state is whole after a panic too: no change of it is left half done.
    fn lock(&self) -> MutexGuard<'_, State<K, T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request's part in a flight. Dropping it is leaving.
pub(crate) struct Seat<'a, K: Hash + Eq + Copy, T: Clone> {
    flights: &'a Flights<K, T>,
    key: K,
    bytes: usize,
    landing: Arc<Landing<T>>,
}

impl<K: Hash + Eq + Copy, T: Clone> Seat<'_, K, T> {
    /// Computes if this request leads, and waits for the one that leads if it doesn't. A leader that is dropped is followed
    /// by the one that waits longest.
    pub(crate) async fn land<E>(self, compute: impl Future<Output = Result<T, E>>) -> Landed<T, E> {
        let waits = Gauged::by_one(&self.flights.waiters);
        let mut own = None;
        let lead = async {
            drop(waits);
            let computed = compute.await;
            let shared = computed.as_ref().ok().cloned();
            own = Some(computed);
            shared
        };
        let shared = self.landing.get_or_init(|| lead).await.clone();
        match (own, shared) {
            (Some(computed), _) => Landed::Led(computed),
            (None, Some(shared)) => Landed::Collapsed(shared),
            (None, None) => Landed::Failed,
        }
    }
}

impl<K: Hash + Eq + Copy, T: Clone> Drop for Seat<'_, K, T> {
    fn drop(&mut self) {
        let mut state = self.flights.lock();
        state.seats -= 1;
        state.bytes -= self.bytes;
        let own = |flight: &&mut Flight<T>| Arc::ptr_eq(&flight.landing, &self.landing);
        if let Some(flight) = state.flights.get_mut(&self.key).filter(own) {
            flight.seats -= 1;
            if flight.seats == 0 || flight.landing.initialized() {
                state.flights.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::Poll;

    use futures_util::poll;
    use tokio::sync::oneshot;

    use super::*;

    const LIMITS: QueueLimits = QueueLimits { requests: 4, bytes: 100 };

    fn flights() -> Flights<u8, u32> {
        Flights::new(LIMITS, Gauge::noop())
    }

    /// Computes nothing: whoever gets here should have waited.
    fn never() -> Result<u32, ()> {
        unreachable!("one computes already")
    }

    async fn told(answer: oneshot::Receiver<Result<u32, ()>>) -> Result<u32, ()> {
        answer.await.unwrap()
    }

    fn is_empty(flights: &Flights<u8, u32>) -> bool {
        let state = flights.lock();
        state.flights.is_empty() && state.seats == 0 && state.bytes == 0
    }

    #[tokio::test]
    async fn all_get_what_the_leader_computed_and_the_next_request_computes_again() {
        let flights = flights();
        let (tell, answer) = oneshot::channel();
        let mut leads = pin!(flights.enter(1, 10).unwrap().land(told(answer)));
        let mut waits = pin!(flights.enter(1, 10).unwrap().land(async { never() }));
        assert!(poll!(leads.as_mut()).is_pending() && poll!(waits.as_mut()).is_pending());
        tell.send(Ok(7)).unwrap();
        assert_eq!(leads.await, Landed::Led(Ok(7)));
        assert_eq!(flights.enter(1, 10).unwrap().land(async { Ok::<_, ()>(8) }).await, Landed::Led(Ok(8)));
        assert_eq!(waits.await, Landed::Collapsed(7));
        assert!(is_empty(&flights));
    }

    #[tokio::test]
    async fn who_waits_takes_over_from_a_leader_that_left() {
        let flights = flights();
        let (_tell, answer) = oneshot::channel();
        let mut leads = Box::pin(flights.enter(1, 10).unwrap().land(told(answer)));
        let mut waits = pin!(flights.enter(1, 10).unwrap().land(async { Ok::<_, ()>(9) }));
        assert!(poll!(leads.as_mut()).is_pending() && poll!(waits.as_mut()).is_pending());
        drop(leads);
        assert_eq!(waits.await, Landed::Led(Ok(9)));
        assert!(is_empty(&flights));
    }

    #[tokio::test]
    async fn a_leaders_failure_is_its_own() {
        let flights = flights();
        let (tell, answer) = oneshot::channel();
        let mut leads = pin!(flights.enter(1, 10).unwrap().land(told(answer)));
        let mut waits = pin!(flights.enter(1, 10).unwrap().land(async { never() }));
        assert!(poll!(leads.as_mut()).is_pending() && poll!(waits.as_mut()).is_pending());
        tell.send(Err(())).unwrap();
        assert_eq!(leads.await, Landed::Led(Err(())));
        assert_eq!(poll!(waits), Poll::Ready(Landed::Failed));
        assert!(is_empty(&flights));
    }

    #[test]
    fn those_who_fly_are_bounded_in_count_and_bytes() {
        let flights = flights();
        let seats: Vec<_> = (0..4).map(|_| flights.enter(1, 1).unwrap()).collect();
        assert!(flights.enter(2, 1).is_none(), "four fly");
        drop(seats);
        let _large = flights.enter(1, 90).unwrap();
        assert!(flights.enter(2, 11).is_none(), "a byte too many");
        assert!(flights.enter(2, 10).is_some());
    }
}
