//! Requests that only a replica can answer: equal ones as one flight, begun, queued, held or refused; and what is kept of its answer.

use super::{Event, Reverse, Run, note};
use crate::fleet::{Begun, Flight, Taken};

/// A request that waits for an answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    pub(super) at_us: u64,
    pub(super) proxy: u32,
}

/// Equal requests under way, and what is computed for them.
#[derive(Debug)]
pub(super) struct Flying {
    pub(super) key: u64,
    pub(super) max_age_s: u32,
    pub(super) cost_us: u32,
    pub(super) bytes: u32,
    pub(super) first: Asked,
    pub(super) others: Vec<Asked>,
    /// Did the gate hold it?
    pub(super) held: bool,
}

impl Run<'_> {
    /// Only a replica can answer it.
    pub(super) fn fly(&mut self, flying: Flying, is_joined: bool) {
        self.step().missed += 1;
        self.missed.add(self.now_us, u64::from(flying.cost_us));
        self.active_us = self.now_us;
        self.present += 1;
        let key = flying.key;
        let flight = if let Some(flight) = self.free.pop() {
            self.flying[flight as usize] = Some(flying);
            flight
        } else {
            self.flying.push(Some(flying));
            u32::try_from(self.flying.len() - 1).unwrap_or(u32::MAX)
        };
        if is_joined {
            self.flights.insert(key, flight);
        }
        match self.fleet.bring(flight) {
            Taken::Begun(begun) => self.begin(begun),
            Taken::Queued => {}
            Taken::Full => self.refuse(flight),
            Taken::None => self.hold(flight),
        }
    }

    pub(super) fn begin(&mut self, begun: Begun) {
        let Some(flying) = &self.flying[begun.flight as usize] else { return };
        let done_us = self.now_us + u64::from(flying.cost_us);
        self.events.push(Reverse((done_us, Event::Done(begun.replica, begun.flight))));
    }

    /// The gate holds it until a replica is ready, and wakes one if none is on its way.
    fn hold(&mut self, flight: Flight) {
        self.expire();
        if self.held.len() >= self.setup.gate.most_held {
            return self.refuse(flight);
        }
        if let Some(flying) = &mut self.flying[flight as usize] {
            flying.held = true;
        }
        self.outcome.counts.held += 1;
        self.held.push_back(flight);
        if self.fleet.wanted() == 0 {
            self.outcome.wakes += 1;
            self.scale(1);
        }
    }

    /// Gives up what was held for too long.
    fn expire(&mut self) {
        while let Some(flight) = self.held.front().copied() {
            let since_us = self.flying[flight as usize].as_ref().map_or(0, |flying| flying.first.at_us);
            if self.now_us - since_us <= self.setup.gate.hold_us {
                break;
            }
            self.held.pop_front();
            let count = self.take(flight).map_or(0, |flying| self.leave(&flying));
            self.outcome.counts.expired += count;
        }
    }

    /// Brings what is held to those that are ready, as much as they take.
    pub(super) fn hand_over(&mut self) {
        self.expire();
        while let Some(flight) = self.held.front().copied() {
            match self.fleet.bring(flight) {
                Taken::Begun(begun) => self.begin(begun),
                Taken::Queued => {}
                Taken::Full | Taken::None => break,
            }
            self.held.pop_front();
        }
    }

    fn refuse(&mut self, flight: Flight) {
        let count = self.take(flight).map_or(0, |flying| self.leave(&flying));
        self.outcome.counts.refused += count;
    }

    fn take(&mut self, flight: Flight) -> Option<Flying> {
        let flying = self.flying[flight as usize].take()?;
        self.free.push(flight);
        self.flights.remove(&flying.key);
        Some(flying)
    }

    /// All that wait for it leave. How many they are.
    fn leave(&mut self, flying: &Flying) -> u64 {
        let mut count = 0;
        for asked in std::iter::once(&flying.first).chain(&flying.others) {
            self.outcome.inside_us += u128::from(self.now_us - asked.at_us);
            count += 1;
        }
        self.present -= count;
        count
    }

    pub(super) fn answer(&mut self, flight: Flight) {
        let Some(flying) = self.take(flight) else { return };
        let (now_ms, cost_us) = (self.now_us / 1000, u64::from(flying.cost_us));
        self.outcome.compute_us += u128::from(cost_us);
        self.outcome.busy_us += cost_us as f64 / f64::from(self.setup.replica.instances.max(1));
        self.active_us = self.now_us;
        self.outcome.counts.computed += 1;
        self.outcome.counts.joined += flying.others.len() as u64;
        let is_kept = self.policy.cached && flying.max_age_s > 0;
        if let Some(pool) = self.pool.as_mut().filter(|_| is_kept) {
            pool.put(flying.key, now_ms, flying.max_age_s, flying.bytes);
        }
        let latency = &self.setup.latency;
        let pool_us = if self.pool.is_some() && is_kept { latency.pool_us } else { 0 };
        for asked in std::iter::once(&flying.first).chain(&flying.others) {
            if let Some(l1) = self.l1.get_mut(asked.proxy as usize).filter(|_| is_kept) {
                l1.put(flying.key, now_ms, flying.max_age_s, flying.bytes);
            }
            let took_us = self.now_us - asked.at_us + latency.proxy_us + pool_us + latency.replica_us;
            note(&mut self.outcome.latency, took_us);
            note(&mut self.outcome.missed, took_us);
        }
        self.leave(&flying);
    }
}
