//! Lookups that go to the gate together, where that is cheaper: a call to it costs the proxy and the gate many times what a lookup in it
//! does. While [`ALONE`] calls of this worker are under way, a miss that is to be looked up waits; when one of them ends, those that wait
//! leave in one message, from the root context. What came of them enters there, and answers each or sends it upstream.
//!
//! Who waits does so within its lookup's deadline: a message has what is left of it for the longest of them.

use crate::acts::{Act, Acts, Call};
use crate::asking::{Asker, Found, question};
use crate::cache_status::{CacheStatus, Detail, Forward, Tier};
use crate::counters::{Event, Result as Counted};
use crate::gate::{self, Looked};
use crate::host::Host;
use crate::join::BATCH;
use crate::memory::Held;
use crate::worker::Worker;
use std::cell::Cell;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

/// Calls to the gate that one worker may have under way before lookups wait for each other. Measured on 2026-12-01 by `cargo xtask bench
/// --only "among others"`: answers of the pool at 16 and 64 connections cost 0.55 and 0.51 of what they do alone with 1, 0.70 and 0.55
/// with 2, 0.86 and 0.73 with 4. With 1 each second one would wait for another's whole way where there are but two.
pub(crate) const ALONE: usize = 2;
/// After a gate that takes no batches all go alone for so long, in milliseconds.
const UNHEARD_MS: u64 = 60_000;

/// A lookup that goes with others.
#[derive(Debug)]
pub(crate) struct Batched {
    asker: Asker,
    standing: Cell<Standing>,
}

/// How it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// To be sent, or under way.
    Waits,
    /// It was answered.
    Answered,
    /// It was sent upstream, and why.
    Goes(Forward),
    /// Its request has ended.
    Left,
}

/// A call to the gate that is under way, until it is dropped.
#[derive(Debug)]
pub(crate) struct UnderWay {
    /// All of the worker's have it.
    _calls: Rc<()>,
}

/// Those of one worker.
#[derive(Debug)]
pub(crate) struct Batches {
    most: usize,
    calls: Rc<()>,
    waiting: VecDeque<Rc<Batched>>,
    sent: HashMap<u32, (Vec<Rc<Batched>>, UnderWay)>,
    number: u32,
    /// Until when the gate takes none.
    unheard_ms: u64,
}

impl Batched {
    /// How it stands now.
    pub(crate) fn standing(&self) -> Standing {
        self.standing.get()
    }

    /// Its request has ended, and cares no more.
    pub(crate) fn leave(&self) {
        self.standing.set(Standing::Left);
    }

    fn waits(&self) -> bool {
        self.standing() == Standing::Waits
    }
}

impl Batches {
    /// None yet, of so many lookups at most.
    pub(crate) fn new(most: usize) -> Self {
        Self {
            most,
            calls: Rc::default(),
            waiting: VecDeque::new(),
            sent: HashMap::new(),
            number: 0,
            unheard_ms: 0,
        }
    }

    /// A call begins.
    pub(crate) fn begin(&self) -> UnderWay {
        UnderWay { _calls: self.calls.clone() }
    }

    /// May no more calls begin now?
    fn is_full(&self) -> bool {
        Rc::strong_count(&self.calls) > ALONE
    }

    /// Does a lookup go with others now?
    pub(crate) fn takes(&self, now_ms: u64) -> bool {
        let is_heard = now_ms >= self.unheard_ms || self.unheard_ms.saturating_sub(now_ms) > UNHEARD_MS;
        self.most > 1 && self.is_full() && is_heard
    }

    /// It waits.
    pub(crate) fn wait(&mut self, asker: Asker) -> Rc<Batched> {
        let batched = Rc::new(Batched { asker, standing: Cell::new(Standing::Waits) });
        self.waiting.push_back(batched.clone());
        batched
    }

    /// Is it time for some to be sent?
    pub(crate) fn is_due(&self) -> bool {
        !self.is_full() && !self.waiting.is_empty()
    }
}

impl Worker {
    /// The next message, where it is time for one. Whose deadline is over already goes upstream, and so do all where the gate is left alone
    /// by now; no more of them than a callback may let go.
    pub(crate) fn send_batch(&mut self, now_ms: u64, acts: &mut Acts) -> Option<Call> {
        let timeout_ms = self.gate.as_ref()?.timeout_ms();
        if !self.batches.is_due() {
            return None;
        }
        let rests = self.gate.as_mut()?.rests(now_ms);
        let (mut batch, mut waited_ms) = (Vec::new(), 0);
        for _ in 0..BATCH {
            if batch.len() >= self.batches.most {
                break;
            }
            let Some(next) = self.batches.waiting.pop_front() else { break };
            let next_ms = now_ms.saturating_sub(next.asker.since_ms);
            match next.standing() {
                Standing::Waits if rests => {
                    self.counters.event(Event::GateSkipped);
                    self.send_upstream(&next, next.asker.forward, acts);
                }
                Standing::Waits if next_ms >= timeout_ms => {
                    self.counters.event(Event::GateFailed);
                    let why = Forward { detail: Some(Detail::GateFailed), ..next.asker.forward };
                    self.send_upstream(&next, why, acts);
                }
                Standing::Waits => {
                    waited_ms = next_ms.max(waited_ms);
                    batch.push(next);
                }
                _ => {}
            }
        }
        if batch.is_empty() {
            return None;
        }
        let questions = batch.iter().filter_map(|batched| question(&self.services, &batched.asker.wanted));
        let number = self.batches.number.wrapping_add(1);
        let call = self.gate.as_ref()?.ask_together(number, questions, waited_ms);
        self.batches.number = number;
        self.batches.sent.insert(number, (batch, self.batches.begin()));
        Some(call)
    }

    /// A message was answered with a body of that size, or (`None`) failed.
    pub(crate) fn batch_ends(
        &mut self,
        host: &dyn Host,
        number: u32,
        body_size: Option<usize>,
        acts: &mut Acts,
    ) {
        let Some((batch, under_way)) = self.batches.sent.remove(&number) else { return };
        drop(under_way);
        let now_ms = host.now_ms();
        self.live.refresh(host);
        let looked = gate::answered_together(host, body_size, batch.len(), &self.memory);
        if let Some(gate) = &mut self.gate {
            gate.did(together(&looked), false, now_ms);
        }
        match looked {
            Ok(all) => {
                // Those of which the answer says nothing are the first of the next one.
                for (batched, (looked, held)) in batch.into_iter().zip(all).rev() {
                    match looked {
                        _ if !batched.waits() => {}
                        None => self.batches.waiting.push_front(batched),
                        Some(looked) => {
                            self.counters.event(Event::LookupBatched);
                            let found = self.looked(host, &batched.asker, looked, held);
                            self.batched_ends(&batched, found, now_ms, acts);
                        }
                    }
                }
            }
            Err(why) => {
                if why == Looked::UnknownFormat {
                    self.batches.unheard_ms = now_ms.saturating_add(UNHEARD_MS);
                }
                for batched in batch.iter().filter(|batched| batched.waits()) {
                    let found = self.looked(host, &batched.asker, why.clone(), self.memory.hold());
                    self.batched_ends(batched, found, now_ms, acts);
                }
            }
        }
        let call = self.send_batch(now_ms, acts);
        self.release_soon(acts);
        acts.list.extend(call.map(|call| Act::Call(Box::new(call))));
    }

    fn batched_ends(&mut self, batched: &Batched, found: Found, now_ms: u64, acts: &mut Acts) {
        let Asker { context, wanted, since_ms, .. } = &batched.asker;
        let tier = Tier::L2;
        let (answer, status, counted, why) = match found {
            Found::Fresh(answer, ttl_s) => (answer, CacheStatus::Hit { ttl_s, tier }, Counted::Hit(tier), ""),
            Found::Stale(answer, why, stale_s) => {
                (answer, CacheStatus::Stale { why, stale_s }, Counted::Stale, why.text())
            }
            Found::Nothing(why) => return self.send_upstream(batched, why, acts),
        };
        batched.standing.set(Standing::Answered);
        wanted.body.let_go();
        self.count(wanted.incoming.route.service, counted, why);
        acts.push(self.give((*context, wanted), answer, (status, tier.as_told()), (*since_ms, now_ms)));
    }

    fn send_upstream(&mut self, batched: &Batched, why: Forward, acts: &mut Acts) {
        let Asker { context, wanted, .. } = &batched.asker;
        batched.standing.set(Standing::Goes(why));
        wanted.body.let_go();
        self.count(wanted.incoming.route.service, Counted::Miss, why.text());
        acts.push(Act::Resume { context: *context });
    }
}

/// How a gate did that was asked so: it failed where it could say nothing of any.
fn together(looked: &Result<Vec<(Option<Looked>, Held)>, Looked>) -> &Looked {
    match looked {
        Err(why) => why,
        Ok(all)
            if all.iter().any(|(looked, _)| matches!(looked, Some(looked) if *looked != Looked::Failed)) =>
        {
            &Looked::Miss
        }
        Ok(_) => &Looked::Failed,
    }
}
