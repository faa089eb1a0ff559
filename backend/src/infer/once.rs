//! A request whose answer others may share -> the pool, or an equal request of the moment, or a session. Equal requests enter a
//! flight before the pool is asked: one of them asks it, and computes what is not there; each looks itself whether the result is
//! what it wants. What is not there is computed by the one of all servers that holds the lease; the others wait, each with one request
//! of a flight. Next: `work` computes, and lands the result.

use std::sync::Arc;
use std::time::{Duration, Instant};

use forebay_protocol::cache_control::RequestDirectives;
use forebay_protocol::digest::Key;
use forebay_protocol::entry::Entry;
use forebay_protocol::manner::Manner;
use metrics::counter;

use super::work::Asked;
use super::{InferError, Miss, Outcome, Source};
use crate::cache::pool::Claim;
use crate::cache::store::{self, Store};
use crate::engine::EngineError;
use crate::models::Version;
use crate::observe::statistics::Gauged;
use crate::observe::trace::{Stage, Trace};
use crate::schedule::RunError;
use crate::schedule::answers::{Done, Found, Landed, Same, age_s};
use crate::schedule::flight::{Part, Told};
use crate::schedule::given::Given;
use crate::time::backoff::backoff;
use crate::time::clock::now_ms;

/// The shortest and longest pause before it is looked again whether another server is done: what is waited in vain is in proportion to
/// what is waited at all.
const PAUSES: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(50));
/// So long another server is waited for at most: whoever can write to the tier can put a mark there.
const LONGEST: Duration = Duration::from_secs(10);

/// A request that may be answered from the pool.
pub(super) struct Lookup<'a> {
    pub(super) version: &'a Version,
    /// `None`: nothing of the version is kept.
    pub(super) store: Option<&'a Store>,
    pub(super) key: Key,
    pub(super) directives: &'a RequestDirectives,
    pub(super) trace: &'a Trace,
}

impl Lookup<'_> {
    /// The pool's answer.
    pub(super) async fn answer(&self) -> Option<Outcome> {
        let began = Instant::now();
        self.take(self.ask().await, began)
    }

    async fn ask(&self) -> Option<Arc<Entry>> {
        let keys = std::slice::from_ref(&self.key);
        if self.directives.only_if_cached {
            self.store?.lookup_only(keys).await
        } else {
            self.store?.lookup(keys).await
        }
    }

    /// The pool's entry, or nothing; and when that was asked for which had this answer. Where nothing is, what was `asked` may have the
    /// lease of it, and may have waited.
    async fn claim(&self, asked: &mut Asked) -> (Instant, Option<Arc<Entry>>) {
        let (since, mut pauses) = (Instant::now(), backoff(PAUSES));
        let Some(store) = self.store else { return (since, None) };
        let mut waits = None;
        loop {
            let began = Instant::now();
            let (outcome, entry, lease) = match store.claim(self.key).await {
                Claim::Held if since.elapsed() < LONGEST => {
                    waits.get_or_insert_with(|| Gauged::by_one(&self.version.statistics.waiters));
                    pauses.pause().await;
                    continue;
                }
                Claim::Held => ("late", None, None),
                Claim::Found(entry) => ("found", Some(entry), None),
                Claim::Lease(lease) => ("passed_on", None, Some(lease)),
                Claim::Free => ("in_vain", None, None),
            };
            if waits.is_some() {
                counter!("forebay_lease_waits", "outcome" => outcome).increment(1);
                self.trace.stage(Stage::Wait, since);
                asked.since.get_or_insert(since);
            }
            asked.lease = lease;
            return (began, entry);
        }
    }

    /// The answer from an entry that a lookup gave which began then, if it is what the request wants.
    fn take(&self, entry: Option<Arc<Entry>>, began: Instant) -> Option<Outcome> {
        let outcome = entry.and_then(|entry| self.hit(entry, began));
        if outcome.is_none() && self.store.is_some() {
            self.version.statistics.missed(began.elapsed());
            self.trace.stage(Stage::Lookup, began);
        }
        outcome
    }

    fn hit(&self, entry: Arc<Entry>, began: Instant) -> Option<Outcome> {
        let age_s = age_s(&entry, self.directives).filter(|_| entry.response.is_some())?;
        let cost_us = entry.cost_us;
        self.version.statistics.hit(began.elapsed(), cost_us);
        self.trace.stage(Stage::Lookup, began);
        Some((Given::Kept(entry), cost_us, Source::Pool { age_s }))
    }

    /// The answer from what another request found or computed, for one that came then.
    ///
    /// # Errors
    /// `Run` with what any request gets that has these tensors.
    fn share(&self, landed: Landed, since: Instant) -> Result<Outcome, InferError> {
        self.trace.follows(landed.by);
        match landed.found {
            Found::Kept(entry) => {
                // It was what the request wants a moment ago.
                let age_s = store::age_s(&entry, now_ms());
                let cost_us = entry.cost_us;
                self.version.statistics.hit(since.elapsed(), cost_us);
                Ok((Given::Kept(entry), cost_us, Source::Pool { age_s }))
            }
            Found::Computed(done) => {
                self.version.statistics.collapsed(done.cost_us);
                Ok((done.response, done.cost_us, Source::Collapsed))
            }
            Found::Refused(reason) => Err(RunError::Engine(EngineError::BadInput(reason)).into()),
        }
    }

    /// Answers from the pool, with an equal request, or by a session.
    ///
    /// # Errors
    /// As [`Asked::compute`]. What failed for another request and may succeed for this one is tried again.
    pub(super) async fn or_compute(&self, mut asked: Asked) -> Result<Outcome, InferError> {
        let since = Instant::now();
        // What is at hand needs no flight, which would have to be entered and left.
        let at_hand = self.store.and_then(|store| store.at_hand(std::slice::from_ref(&self.key)));
        if let Some(outcome) = at_hand.and_then(|entry| self.hit(entry, since)) {
            return Ok(outcome);
        }
        let same = Same { key: self.key, manner: asked.manner };
        let entered = self.version.flights.enter(same, *self.directives, asked.bytes());
        // It leaves when this ends, however it does.
        let (_seat, part) = entered.map_or((None, None), |(seat, part)| (Some(seat), Some(part)));
        let lead = match part {
            // Too many fly: it is on its own.
            None => None,
            Some(Part::Has(landed)) => return self.share(landed, since),
            Some(Part::Leads(lead)) => Some(lead),
            Some(Part::Waits(told)) => {
                let waits = Gauged::by_one(&self.version.statistics.waiters);
                let told = told.await.map_err(|_| InferError::Lost)?;
                drop(waits);
                self.trace.stage(Stage::Wait, since);
                match told {
                    Told::Landed(landed) => return self.share(landed, since),
                    Told::Leads(lead) => {
                        asked.since = Some(since);
                        Some(lead)
                    }
                }
            }
        };
        let (began, entry) = match lead.as_ref().filter(|_| asked.manner == Manner::default()) {
            Some(_) => self.claim(&mut asked).await,
            // One that is urgent, or has little time, waits for nobody.
            None => (Instant::now(), self.ask().await),
        };
        if let (Some(lead), Some(entry)) = (&lead, &entry) {
            lead.land(&Landed { found: Found::Kept(entry.clone()), by: self.trace.span() });
        }
        if let Some(outcome) = self.take(entry, began) {
            return Ok(outcome);
        }
        asked.lead = lead;
        let Done { response, cost_us, stored } = asked.compute().await?;
        let miss = if self.store.is_some() { Miss::Absent } else { Miss::Off };
        Ok((response, cost_us, Source::Session { miss, stored }))
    }
}
