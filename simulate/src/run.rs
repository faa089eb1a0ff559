//! Records enter one after another, with what they set going in between; an outcome leaves.

mod flights;
mod window;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::hash::BuildHasherDefault;

use crate::fleet::{Fleet, Flight};
use crate::hpa::{Controller, Hpa};
use crate::outcome::{Outcome, Step};
use crate::policy::{Policy, Scaling, Setup};
use crate::tier::{Eviction, KeyHasher, Tier, mixed};
use crate::trace::{Model, Record, What};
use flights::{Asked, Flying};
use window::Window;

const SECOND: u64 = 1_000_000;

/// What happens beside records; equal times in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Done(u32, Flight),
    Ready(u32),
    Sync,
}

/// Runs a day under one policy. Records must be in order, and their models in the list.
pub fn run(
    models: &[Model],
    records: impl IntoIterator<Item = Record>,
    setup: &Setup,
    policy: &Policy,
) -> Outcome {
    let mut run = Run::new(models, setup, policy);
    for record in records {
        run.until(record.at_us);
        run.record(&record);
    }
    run.end()
}

struct Run<'a> {
    models: &'a [Model],
    setup: &'a Setup,
    policy: &'a Policy,
    now_us: u64,
    events: BinaryHeap<Reverse<(u64, Event)>>,
    /// By model.
    generations: Vec<u64>,
    l1: Vec<Tier>,
    pool: Option<Tier>,
    flights: HashMap<u64, Flight, BuildHasherDefault<KeyHasher>>,
    flying: Vec<Option<Flying>>,
    free: Vec<Flight>,
    held: VecDeque<Flight>,
    fleet: Fleet,
    controller: Controller,
    missed: Window,
    /// When something was under way last.
    active_us: u64,
    present: u64,
    outcome: Outcome,
}

impl<'a> Run<'a> {
    fn new(models: &'a [Model], setup: &'a Setup, policy: &'a Policy) -> Self {
        let (ready, window_s) = match &policy.scaling {
            Scaling::Always(replicas) => (*replicas, 1),
            Scaling::Hpa { hpa, window_s } => (hpa.min, *window_s),
            Scaling::Zero { window_s, .. } => (0, *window_s),
        };
        let cache = &setup.cache;
        let l1 = |_| Tier::new(cache.l1_bytes, Eviction::Memory);
        let proxies = if policy.cached && cache.l1_bytes > 0 { cache.proxies } else { 0 };
        let mut run = Self {
            models,
            setup,
            policy,
            now_us: 0,
            events: BinaryHeap::new(),
            generations: vec![0; models.len()],
            l1: (0..proxies).map(l1).collect(),
            pool: (policy.cached && cache.pool_bytes > 0).then(|| Tier::new(cache.pool_bytes, cache.pool)),
            flights: HashMap::default(),
            flying: Vec::new(),
            free: Vec::new(),
            held: VecDeque::new(),
            fleet: Fleet::new(&setup.replica, ready),
            controller: Controller::default(),
            missed: Window::new(window_s),
            active_us: 0,
            present: 0,
            outcome: Outcome::new(),
        };
        if let Some(hpa) = run.hpa() {
            run.events.push(Reverse((u64::from(hpa.sync_s.max(1)) * SECOND, Event::Sync)));
        }
        run
    }

    fn hpa(&self) -> Option<&'a Hpa> {
        match &self.policy.scaling {
            Scaling::Always(_) => None,
            Scaling::Hpa { hpa, .. } | Scaling::Zero { hpa, .. } => Some(hpa),
        }
    }

    /// All that happens before that time, or at it.
    fn until(&mut self, at_us: u64) {
        while let Some(Reverse((due_us, event))) = self.events.peek().copied() {
            if due_us > at_us {
                break;
            }
            self.events.pop();
            self.pass(due_us);
            self.happen(event);
        }
        self.pass(at_us);
    }

    /// Time goes on, with as many as there are.
    fn pass(&mut self, at_us: u64) {
        let there = self.fleet.there();
        self.outcome.most_replicas = self.outcome.most_replicas.max(u32::try_from(there).unwrap_or(u32::MAX));
        let replicas = there as f64;
        self.outcome.present_us += u128::from(at_us - self.now_us) * u128::from(self.present);
        while self.now_us < at_us {
            let step_us = self.setup.step_us.max(1);
            let next_us = at_us.min((self.now_us / step_us + 1) * step_us);
            let part = (next_us - self.now_us) as f64 / step_us as f64;
            self.outcome.step(self.now_us, step_us).replicas += replicas * part;
            self.now_us = next_us;
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Done(replica, flight) => {
                if let Some(begun) = self.fleet.done(self.now_us, replica) {
                    self.begin(begun);
                }
                self.answer(flight);
                self.hand_over();
            }
            Event::Ready(replica) => {
                if self.fleet.ready(replica) {
                    self.hand_over();
                }
            }
            Event::Sync => self.sync(),
        }
    }

    fn record(&mut self, record: &Record) {
        let model = record.model as usize;
        match record.what {
            What::Rollout => self.generations[model] += 1,
            What::Asked { key, cost_us, bytes } => {
                let key = mixed(key, u64::from(record.model) << 32 | self.generations[model]);
                let proxy = self.outcome.counts.asked % u64::from(self.setup.cache.proxies.max(1));
                let asked = Asked { at_us: self.now_us, proxy: u32::try_from(proxy).unwrap_or(0) };
                self.outcome.counts.asked += 1;
                self.step().asked += 1;
                // Nothing is kept of what nobody knows how long it is fresh.
                let max_age_s = self.models[model].max_age_s.unwrap_or(0);
                let is_kept = self.policy.cached && max_age_s > 0;
                if !(is_kept && (self.found(key, &asked) || self.joins(key, asked))) {
                    let flying = Flying {
                        key,
                        max_age_s,
                        cost_us,
                        bytes,
                        first: asked,
                        others: Vec::new(),
                        held: false,
                    };
                    self.fly(flying, is_kept);
                }
            }
        }
    }

    fn step(&mut self) -> &mut Step {
        self.outcome.step(self.now_us, self.setup.step_us)
    }

    /// Answers from a cache, if one has it.
    fn found(&mut self, key: u64, asked: &Asked) -> bool {
        let (now_ms, latency) = (self.now_us / 1000, &self.setup.latency);
        let l1 = self.l1.get_mut(asked.proxy as usize);
        if l1.is_some_and(|l1| l1.get(key, now_ms).is_some()) {
            self.outcome.counts.l1 += 1;
            note(&mut self.outcome.latency, latency.proxy_us);
            return true;
        }
        let Some(found) = self.pool.as_mut().and_then(|pool| pool.get(key, now_ms)) else { return false };
        if let Some(l1) = self.l1.get_mut(asked.proxy as usize) {
            l1.put(key, found.created_ms, found.max_age_s, found.bytes);
        }
        self.outcome.counts.pool += 1;
        note(&mut self.outcome.latency, latency.proxy_us + latency.pool_us);
        true
    }

    /// Waits with an equal one, if there is one under way.
    fn joins(&mut self, key: u64, asked: Asked) -> bool {
        let flight = self.flights.get(&key).copied();
        let flying = flight.and_then(|flight| self.flying[flight as usize].as_mut());
        let Some(flying) = flying else { return false };
        flying.others.push(asked);
        self.outcome.counts.held += u64::from(flying.held);
        self.present += 1;
        true
    }

    fn sync(&mut self) {
        let Some(hpa) = self.hpa() else { return };
        let current = self.fleet.wanted();
        let metric = self.missed.per_second(self.now_us);
        if let Scaling::Zero { cooldown_s, .. } = &self.policy.scaling {
            if self.present > 0 {
                self.active_us = self.now_us;
            }
            let idle_us = self.now_us - self.active_us;
            if current > 0 && idle_us >= u64::from(*cooldown_s) * SECOND {
                self.scale(0);
            } else if current > 0 {
                let one = Hpa { min: hpa.min.max(1), ..hpa.clone() };
                let wanted = self.controller.sync(&one, self.now_us, current, metric);
                self.scale(wanted);
            }
        } else {
            let wanted = self.controller.sync(hpa, self.now_us, current, metric);
            self.scale(wanted);
        }
        self.events.push(Reverse((self.now_us + u64::from(hpa.sync_s.max(1)) * SECOND, Event::Sync)));
    }

    fn scale(&mut self, wanted: u32) {
        for replica in self.fleet.scale(self.now_us, wanted) {
            let ready_us = self.now_us + self.setup.replica.cold_start_us;
            self.events.push(Reverse((ready_us, Event::Ready(replica))));
        }
    }

    /// What is under way is answered, and all is summed up.
    fn end(mut self) -> Outcome {
        while self.present > 0 {
            let Some(Reverse((due_us, event))) = self.events.pop() else { break };
            self.pass(due_us);
            self.happen(event);
        }
        self.fleet.pass(self.now_us);
        self.outcome.end_us = self.now_us;
        self.outcome.replica_us = self.fleet.alive_us();
        self.outcome.starts = self.fleet.starts;
        self.outcome
    }
}

fn note(histogram: &mut hdrhistogram::Histogram<u64>, us: u64) {
    histogram.saturating_record(us.max(1));
}

#[cfg(test)]
mod tests;
