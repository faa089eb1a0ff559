//! Whether a miss is looked up in L2, and what a lookup comes to. The miss enters, and what became of those before it: the gate's
//! answers, what a backend's answers say of the pool, and that there was no backend; to ask or not comes out. What the gate found
//! enters; an answer comes out, or why there is none.

use crate::cache_status::{Detail, Forward, Fwd, StaleFor};
use crate::config::{Ask, Mode};
use crate::counters::Event;
use crate::encoding;
use crate::exchange::Going;
use crate::exchange::storable::GRPC_STATUS;
use crate::gate::{Looked, Question};
use crate::host::{Headers, Host};
use crate::join::Outcome;
use crate::l1::Answer;
use crate::landing::Landed;
use crate::memory::Held;
use crate::wanted::Wanted;
use crate::worker::Worker;
use forebay_protocol::freshness::{Stale, Usable};
use forebay_protocol::header;
use std::rc::Rc;

/// Envoy's response flags of a request that met no backend: UH, UF and UO, as bits of `response.flags`.
const NO_BACKEND: i64 = 1 << 1 | 1 << 5 | 1 << 7;
/// A call's status of the same.
const UNAVAILABLE: &[u8] = b"14";

/// A miss that is looked up.
#[derive(Clone, Debug)]
pub(crate) struct Asker {
    /// Whose request it is.
    pub(crate) context: u32,
    pub(crate) wanted: Rc<Wanted>,
    /// When it was complete.
    pub(crate) since_ms: u64,
    /// It leads a flight: others wait for it.
    pub(crate) leads: bool,
    /// Why it goes upstream, if it does.
    pub(crate) forward: Forward,
}

/// What a lookup comes to.
pub(crate) enum Found {
    /// An answer, and for how many seconds it is fresh.
    Fresh(Rc<Answer>, u64),
    /// An answer that is not fresh any more and is given all the same; why, and since when in seconds.
    Stale(Rc<Answer>, StaleFor, u64),
    /// None: why it goes upstream.
    Nothing(Forward),
}

/// What is asked of the gate for a request to one of those services; `None` of one that has no digest.
pub(crate) fn question<'a>(services: &'a [String], wanted: &'a Wanted) -> Option<Question<'a>> {
    let (incoming, path) = (&wanted.incoming, wanted.incoming.path.infer());
    Some(Question {
        service: services.get(usize::from(incoming.route.service)).map_or("", String::as_str),
        tenant: incoming.tenant.as_ref(),
        model: path.model,
        version: path.version,
        digest: wanted.digest()?,
        traceparent: &incoming.traceparent,
        only_if_cached: incoming.directives.only_if_cached,
    })
}

impl Worker {
    /// What a lookup comes to for who had it made: what was found is kept, and given to those who wait for it. `held` holds it.
    pub(crate) fn looked(&mut self, host: &dyn Host, asker: &Asker, looked: Looked, held: Held) -> Found {
        self.found(host, asker, looked, held).unwrap_or_else(Found::Nothing)
    }

    fn found(
        &mut self,
        host: &dyn Host,
        asker: &Asker,
        looked: Looked,
        held: Held,
    ) -> Result<Found, Forward> {
        let wanted = &asker.wanted;
        let why = |why| Forward { detail: Some(why), ..asker.forward };
        let entry = match looked {
            Looked::Entry(entry) => entry,
            Looked::Miss => {
                self.learn_of_pool(wanted, None);
                return Err(asker.forward);
            }
            unheard => {
                let (event, detail) = match unheard {
                    Looked::UnknownFormat => (Event::GateUnknownFormat, Detail::UnknownFormat),
                    Looked::OutOfMemory => (Event::OutOfMemory, Detail::OutOfMemory),
                    Looked::Refused => (Event::GateRefused, Detail::GateRefused),
                    _ => (Event::GateFailed, Detail::GateFailed),
                };
                self.counters.event(event);
                return Err(why(detail));
            }
        };
        if !held.fits(encoding::most_bytes(&entry)) {
            self.counters.event(Event::OutOfMemory);
            return Err(why(Detail::OutOfMemory));
        }
        let wants = wanted.parsed.as_ref().map(|parsed| parsed.wants.clone()).ok_or(asker.forward)?;
        let answer = encoding::from_entry(&entry, &wants, self.live.skew_ms()).map(Rc::new);
        let (answer, now_ms) = (answer.ok_or(asker.forward)?, host.now_ms());
        let rules = self.rules(wanted.incoming.route.service, now_ms);
        let usable = rules.suits(wanted, &answer);
        let stale = if usable.is_err() { rules.stale(wanted, &answer) } else { None };
        if usable.is_err() && stale.is_none() {
            self.learn_of_pool(wanted, None);
            return Err(asker.forward);
        }
        if !held.grow_by(answer.bytes()) {
            self.counters.event(Event::OutOfMemory);
            return Err(why(Detail::OutOfMemory));
        }
        self.l1.alias(wanted);
        // Whoever asked the pool first, it was not this request: it is used again.
        self.l1.store(host, wanted.key, &answer, true);
        let (cost_us, key) = (entry.cost_us, wanted.key);
        let (found, landed) = match (usable, stale) {
            (Ok(Usable { ttl_s, .. }), _) => {
                let landed = Landed::of_entry(key, answer.clone(), (wants, entry), held);
                (Found::Fresh(answer, ttl_s), Some(Outcome::Answer(Rc::new(landed))))
            }
            (Err(_), Some(stale)) => self.found_stale(host, asker, answer, (stale, held)),
            (Err(why), None) => (Found::Nothing(why), None),
        };
        self.learn_of_pool(wanted, (!matches!(found, Found::Nothing(..))).then_some(cost_us));
        if let Some(outcome) = landed.filter(|_| asker.leads) {
            self.finish(asker.context, wanted, outcome, now_ms);
        }
        Ok(found)
    }

    /// What is made of an answer of the pool's that is not fresh any more, and how the flight ends by it, if it does. (One that is made anew
    /// meanwhile is none of it: who has waited for a lookup is sent upstream for that, and those after it find it here.)
    fn found_stale(
        &mut self,
        host: &dyn Host,
        asker: &Asker,
        answer: Rc<Answer>,
        (stale, held): (Stale, Held),
    ) -> (Found, Option<Outcome<Rc<Landed>>>) {
        let wanted = &asker.wanted;
        if stale.if_error && self.lacks_backend(host, wanted.incoming.route.service, host.now_ms()) {
            let why = StaleFor::NoBackend;
            let landed = Landed::stale(wanted.key, answer.clone(), why, held);
            return (Found::Stale(answer, why, stale.stale_s), Some(Outcome::Answer(Rc::new(landed))));
        }
        if stale.is_accepted {
            return (Found::Stale(answer, StaleFor::MaxStale, stale.stale_s), Some(Outcome::Failed));
        }
        if stale.if_error && wanted.incoming.route.mode == Mode::On {
            wanted.stale.replace(Some(answer));
        }
        (Found::Nothing(Fwd::Stale.into()), None)
    }

    /// Is it worth to ask the gate for it? Always where nothing else may answer, where no backend is known to be there, and of models
    /// whose backends come and go; never of a model that a table which is believed doesn't list.
    pub(crate) fn should_ask(&mut self, host: &dyn Host, wanted: &Wanted, now_ms: u64) -> bool {
        let Some(settings) = &self.config.gate else { return true };
        let (incoming, number) = (&wanted.incoming, wanted.incoming.route.service);
        let (service, path) = (self.service(number), incoming.path.infer());
        if settings.ask == Ask::Always
            || incoming.directives.only_if_cached
            || self.config.backends.is_on_demand(service, path.model)
        {
            return true;
        }
        self.live.may_have(incoming.asked(service), now_ms, settings.stale_ms)
            && (self.worth.asks((number, path.model), now_ms)
                || self.live.is_away(host, self.service(number)))
    }

    /// The pool had an entry that took so many microseconds to compute, or (`None`) had nothing: so a lookup found out, or the backend.
    pub(crate) fn learn_of_pool(&mut self, wanted: &Wanted, cost_us: Option<u64>) {
        let of = (wanted.incoming.route.service, wanted.incoming.path.infer().model);
        self.worth.found(of, cost_us.map(|cost_us| (cost_us, wanted.body_bytes)));
    }

    /// What the answer to a miss says: that there is no backend, or, of one that was not looked up, whether the pool had it.
    pub(crate) fn learn(&mut self, host: &dyn Host, headers: &Headers, going: &Going, now_ms: u64) {
        if headers.number::<u16>(":status") == Some(503) || headers.first(GRPC_STATUS) == Some(UNAVAILABLE) {
            let flags = host.property(&["response", "flags"]);
            let flags = flags.and_then(|flags| Some(i64::from_le_bytes(*flags.first_chunk()?)));
            if flags.is_some_and(|flags| flags & NO_BACKEND != 0) {
                self.worth.met_no_backend(going.wanted.incoming.route.service, now_ms);
            }
            return;
        }
        let mut said = headers.values(header::CACHE_STATUS);
        if !going.is_asked
            && let Some(said) = said.find(|said| said.starts_with(header::BY_SERVE.as_bytes()))
        {
            let cost_us = headers.number(header::X_FOREBAY_COST_US).unwrap_or(0);
            let is_hit = said == header::HIT_BY_SERVE.as_bytes();
            self.learn_of_pool(&going.wanted, is_hit.then_some(cost_us));
        }
    }

    /// Is no backend of the service there, as far as is known?
    pub(crate) fn lacks_backend(&self, host: &dyn Host, service: u16, now_ms: u64) -> bool {
        self.worth.lacks_backend(service, now_ms) || self.live.is_away(host, self.service(service))
    }
}
