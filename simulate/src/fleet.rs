//! Replicas: cold, ready or draining, each with a queue and sessions. Flights enter, and leave when they are computed; how long replicas
//! are there is counted.

use std::collections::VecDeque;

use crate::policy::Replica as Setting;

/// A flight's place.
pub(crate) type Flight = u32;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Made, and not ready yet.
    Cold,
    Ready,
    /// Takes nothing new, and goes when it is idle.
    Draining,
    Gone,
}

#[derive(Debug)]
struct Replica {
    state: State,
    queue: VecDeque<Flight>,
    /// Flights that are computed.
    busy: u32,
}

/// What begins to be computed: by which replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Begun {
    pub(crate) replica: u32,
    pub(crate) flight: Flight,
}

/// What came of a flight that was brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    Begun(Begun),
    Queued,
    /// Each that is ready has as many waiting as may be.
    Full,
    /// None is ready.
    None,
}

/// All replicas that there ever were: those that are gone keep their numbers.
#[derive(Debug)]
pub(crate) struct Fleet {
    setting: Setting,
    replicas: Vec<Replica>,
    /// The numbers of those that are there.
    there: Vec<u32>,
    /// Replica microseconds until `since_us`.
    alive_us: u128,
    since_us: u64,
    pub(crate) starts: u64,
}

impl Fleet {
    pub(crate) fn new(setting: &Setting, ready: u32) -> Self {
        let mut fleet = Self {
            setting: setting.clone(),
            replicas: Vec::new(),
            there: Vec::new(),
            alive_us: 0,
            since_us: 0,
            starts: 0,
        };
        for _ in 0..ready {
            let number = fleet.add();
            fleet.replicas[number as usize].state = State::Ready;
        }
        fleet
    }

    fn add(&mut self) -> u32 {
        let number = u32::try_from(self.replicas.len()).unwrap_or(u32::MAX);
        self.replicas.push(Replica { state: State::Cold, queue: VecDeque::new(), busy: 0 });
        self.there.push(number);
        number
    }

    /// Counts the time until now.
    pub(crate) fn pass(&mut self, now_us: u64) {
        self.alive_us += u128::from(now_us - self.since_us) * self.there.len() as u128;
        self.since_us = now_us;
    }

    /// Replica microseconds until the last change.
    pub(crate) fn alive_us(&self) -> u128 {
        self.alive_us
    }

    /// How many are there, those that go included.
    pub(crate) fn there(&self) -> usize {
        self.there.len()
    }

    /// How many the scaler counts: cold and ready.
    pub(crate) fn wanted(&self) -> u32 {
        let counted = self
            .there
            .iter()
            .filter(|number| matches!(self.replicas[**number as usize].state, State::Cold | State::Ready));
        u32::try_from(counted.count()).unwrap_or(u32::MAX)
    }

    /// Makes there be so many. Those that are made leave: each is ready after its cold start.
    pub(crate) fn scale(&mut self, now_us: u64, wanted: u32) -> Vec<u32> {
        self.pass(now_us);
        let current = self.wanted();
        let made: Vec<u32> = (current..wanted).map(|_| self.add()).collect();
        self.starts += made.len() as u64;
        for _ in wanted..current {
            // As a ReplicaSet does: first one that is not ready, then the youngest.
            let state = |number: u32| self.replicas[number as usize].state;
            let last =
                |wanted: State| self.there.iter().rev().copied().find(|number| state(*number) == wanted);
            let Some(victim) = last(State::Cold).or_else(|| last(State::Ready)) else { break };
            self.replicas[victim as usize].state = State::Draining;
            self.let_go(victim);
        }
        made
    }

    fn let_go(&mut self, number: u32) {
        let replica = &mut self.replicas[number as usize];
        if replica.state == State::Draining && replica.busy == 0 && replica.queue.is_empty() {
            replica.state = State::Gone;
            self.there.retain(|other| *other != number);
        }
    }

    /// A replica's cold start is over. Whether it takes requests from now on: one that was to go does not.
    pub(crate) fn ready(&mut self, number: u32) -> bool {
        let replica = &mut self.replicas[number as usize];
        let is_new = replica.state == State::Cold;
        if is_new {
            replica.state = State::Ready;
        }
        is_new
    }

    /// Brings a flight to the ready replica that has the fewest.
    pub(crate) fn bring(&mut self, flight: Flight) -> Taken {
        let load = |number: &u32| {
            let replica = &self.replicas[*number as usize];
            (replica.state == State::Ready).then_some(replica.busy as usize + replica.queue.len())
        };
        let ready = self.there.iter().filter_map(|number| Some((load(number)?, *number)));
        let Some((_, number)) = ready.min() else { return Taken::None };
        let replica = &mut self.replicas[number as usize];
        if replica.busy < self.setting.instances {
            replica.busy += 1;
            return Taken::Begun(Begun { replica: number, flight });
        }
        if replica.queue.len() >= self.setting.max_queue {
            return Taken::Full;
        }
        replica.queue.push_back(flight);
        Taken::Queued
    }

    /// One of a replica's flights is computed; the next of its queue may begin.
    pub(crate) fn done(&mut self, now_us: u64, number: u32) -> Option<Begun> {
        let replica = &mut self.replicas[number as usize];
        let next = replica.queue.pop_front();
        if next.is_none() {
            replica.busy -= 1;
            self.pass(now_us);
            self.let_go(number);
        }
        next.map(|flight| Begun { replica: number, flight })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fleet(ready: u32) -> Fleet {
        Fleet::new(&Setting { instances: 1, cold_start_us: 10, max_queue: 1 }, ready)
    }

    #[test]
    fn a_flight_goes_where_the_fewest_are_and_no_further_than_the_queue() {
        let mut fleet = fleet(2);
        assert_eq!(fleet.bring(0), Taken::Begun(Begun { replica: 0, flight: 0 }));
        assert_eq!(fleet.bring(1), Taken::Begun(Begun { replica: 1, flight: 1 }));
        assert_eq!(
            [fleet.bring(2), fleet.bring(3), fleet.bring(4)],
            [Taken::Queued, Taken::Queued, Taken::Full]
        );
        assert_eq!(fleet.done(5, 0), Some(Begun { replica: 0, flight: 2 }));
        assert_eq!(fleet.done(6, 0), None);
    }

    #[test]
    fn one_that_goes_ends_what_it_has_and_is_counted_until_then() {
        let mut fleet = fleet(1);
        fleet.bring(0);
        fleet.bring(1);
        fleet.scale(10, 0);
        assert_eq!((fleet.bring(2), fleet.wanted(), fleet.there()), (Taken::None, 0, 1));
        assert!(fleet.done(20, 0).is_some());
        assert_eq!((fleet.done(30, 0), fleet.there(), fleet.alive_us()), (None, 0, 30));
    }

    #[test]
    fn what_is_cold_goes_first_and_is_never_ready() {
        let mut fleet = fleet(1);
        let made = fleet.scale(0, 3);
        assert_eq!((made.len(), fleet.starts), (2, 2));
        fleet.scale(5, 2);
        assert!(fleet.ready(made[0]) && !fleet.ready(made[1]));
        fleet.scale(8, 1);
        assert_eq!(fleet.wanted(), 1);
        assert!(matches!(fleet.bring(0), Taken::Begun(Begun { replica: 0, .. })));
    }
}
