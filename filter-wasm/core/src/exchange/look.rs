//! The body is there: exact repeat? parse, digest, L1; else join, ask the gate, or go upstream.

use super::{Exchange, Going, State, route};
use crate::acts::{Act, Acts};
use crate::arriving::Arriving;
use crate::asking::{Found, question};
use crate::cache_status::{Bypass, CacheStatus, Detail, Fwd, StaleFor, Tier};
use crate::config::Mode;
use crate::counters::{Event, Result as Counted};
use crate::gate::{self, Unasked};
use crate::host::{Host, Of};
use crate::join::Entered;
use crate::l1::repeats::Repeat;
use crate::l1::{Answer, Missing};
use crate::reply::Reply;
use crate::wanted::{Incoming, Reading, Wanted};
use crate::worker::{Answered, Worker};
use forebay_protocol::digest::{Digest, raw_key};
use forebay_protocol::freshness::Usable;
use std::rc::Rc;

/// A kept answer that may be given.
struct Hit {
    answer: Rc<Answer>,
    tier: Tier,
    /// How it is told.
    status: CacheStatus,
    /// When its request was complete.
    since_ms: u64,
    now_ms: u64,
}

impl Hit {
    /// Of one that is fresh.
    fn fresh(answer: Rc<Answer>, tier: Tier, ttl_s: u64, (since_ms, now_ms): (u64, u64)) -> Self {
        Self { answer, tier, status: CacheStatus::Hit { ttl_s, tier }, since_ms, now_ms }
    }
}

impl Exchange {
    pub(super) fn look(
        &mut self,
        worker: &mut Worker,
        host: &dyn Host,
        mut incoming: Box<Incoming>,
        arriving: Rc<Arriving>,
        size: usize,
    ) -> Acts {
        let Some(body) = host.body(Of::Request, size).filter(|body| body.len() == size) else {
            return self.bypass(worker, arriving.service, Bypass::Malformed);
        };
        let room = worker.room_to_inflate();
        match incoming.open(body, room) {
            Ok((id, body)) => {
                let told = route::told(worker, &incoming);
                told.before(self.look_at(worker, host, incoming, arriving, (id, body)))
            }
            Err(why) => {
                let told = route::told_early(worker, host, &mut incoming, size);
                told.before(self.bypass(worker, arriving.service, why))
            }
        }
    }

    /// An exact repeat is answered unparsed.
    fn look_at(
        &mut self,
        worker: &mut Worker,
        host: &dyn Host,
        incoming: Box<Incoming>,
        arriving: Rc<Arriving>,
        (id, body): (String, Vec<u8>),
    ) -> Acts {
        let service = incoming.route.service;
        let now_ms = worker.now_ms(host);
        if worker.gate.is_some() {
            worker.live.refresh(host);
        }
        let name = worker.services.get(usize::from(service)).map_or("", String::as_str);
        let parts = incoming.raw_parts(name, &body);
        let repeat = worker.l1.repeats.look(&parts);
        let key = match repeat {
            Repeat::Kept(key) => Some(key),
            Repeat::Maybe(_) => Some(raw_key(&parts)),
            Repeat::First => None,
        };
        if let Some(key) = key
            && incoming.looks_up()
            && incoming.route.mode == Mode::On
            && let rules = worker.rules(service, now_ms)
            && let Some((answer, digest, Usable { ttl_s, .. })) =
                worker
                    .l1
                    .repeat(host, &key, |answer, digest| rules.usable(&incoming, (digest, &id), answer).ok())
        {
            if let Repeat::Maybe(fingerprint) = repeat {
                worker.l1.repeats.keep(fingerprint, &parts, key);
            }
            let hit = Hit::fresh(answer, Tier::Raw, ttl_s, (now_ms, now_ms));
            return self.answer(worker, &incoming, (digest.as_ref(), &id), hit);
        }
        let reading =
            Reading { config: &worker.config, service: worker.service(service), epoch: worker.live.epoch() };
        let held = Rc::into_inner(arriving).map_or_else(|| worker.memory.hold(), |arriving| arriving.held);
        match Wanted::read(*incoming, key, (id, body, held), reading) {
            Ok(wanted) => self.look_up(worker, host, &Rc::new(wanted), now_ms),
            Err(why) => self.bypass(worker, service, why),
        }
    }

    /// L1 by digest, then join.
    fn look_up(&mut self, worker: &mut Worker, host: &dyn Host, wanted: &Rc<Wanted>, now_ms: u64) -> Acts {
        let mut going = Going::new(wanted.clone(), now_ms);
        if !wanted.incoming.looks_up() {
            going.forward = Fwd::Request.into();
            let acts = self.forward(worker, host, going);
            return route::meet(worker, wanted, acts);
        }
        match worker.find(host, wanted, now_ms) {
            Ok((answer, tier, Usable { ttl_s, .. })) if !going.is_shadow() => {
                worker.l1.alias(wanted);
                let hit = Hit::fresh(answer, tier, ttl_s, (now_ms, now_ms));
                return self.answer(worker, &wanted.incoming, (wanted.digest(), wanted.id()), hit);
            }
            Ok((answer, ..)) => going.shadow = Some(answer),
            Err(Missing { refused, is_known }) => {
                going.is_known = is_known;
                if let Some((answer, why)) = refused {
                    going.forward = why;
                    if let Some(acts) = self.answer_stale(worker, host, &mut going, answer) {
                        return acts;
                    }
                }
            }
        }
        let acts = self.join_or_ask(worker, host, going, now_ms);
        route::meet(worker, wanted, acts)
    }

    /// Answers with what is not fresh any more, where that may be; a new one is made behind it. Else it may be given instead of an error.
    fn answer_stale(
        &mut self,
        worker: &mut Worker,
        host: &dyn Host,
        going: &mut Going,
        answer: Rc<Answer>,
    ) -> Option<Acts> {
        let (wanted, now_ms) = (going.wanted.clone(), going.since_ms);
        let (incoming, service) = (&wanted.incoming, wanted.incoming.route.service);
        let stale = worker.rules(service, now_ms).stale(&wanted, &answer).filter(|_| !going.is_shadow())?;
        let model = incoming.path.infer().model;
        let is_elsewhere = worker.config.backends.is_on_demand(worker.service(service), model);
        let revalidates =
            stale.while_revalidate && !is_elsewhere && worker.refreshes.reach(incoming.path.is_call());
        let lacks_backend = worker.lacks_backend(host, service, now_ms);
        let has_failed = incoming.path.is_call() && worker.refreshes.has_failed(&wanted.key, now_ms);
        let why = if lacks_backend && (stale.if_error || revalidates) {
            StaleFor::NoBackend
        } else if revalidates {
            StaleFor::Revalidation
        } else if stale.is_accepted {
            StaleFor::MaxStale
        } else if stale.if_error && has_failed {
            StaleFor::Error
        } else {
            wanted.stale.replace(stale.if_error.then_some(answer));
            return None;
        };
        let mut acts = Acts::go();
        if revalidates && !lacks_backend {
            worker.begin_refresh(host, (&wanted, None), now_ms, &mut acts);
        }
        if why == StaleFor::Error {
            worker.counters.event(Event::StaleIfError);
        }
        let status = CacheStatus::Stale { why, stale_s: stale.stale_s };
        let hit = Hit { answer, tier: Tier::Vm, status, since_ms: now_ms, now_ms };
        Some(acts.before(self.answer(worker, incoming, (wanted.digest(), wanted.id()), hit)))
    }

    /// Nothing is kept for it: it waits for an equal one, or asks the gate.
    fn join_or_ask(&mut self, worker: &mut Worker, host: &dyn Host, mut going: Going, now_ms: u64) -> Acts {
        let wanted = going.wanted.clone();
        // Whether it waits or asks, its body stays where it is meanwhile. What came in pieces is counted already.
        if !wanted.body.grow_to(wanted.body_bytes) {
            return self.forward_without_room(worker, host, going);
        }
        let joins = !going.is_shadow() && !wanted.incoming.restricted;
        if joins && !wanted.incoming.directives.only_if_cached {
            match worker.join.enter(wanted.flight, self.context, &wanted, wanted.body_bytes, now_ms) {
                Entered::Leads => going.leads = true,
                Entered::Alone(why) => going.forward.detail = Some(why),
                Entered::Waits(seat) => {
                    self.state = State::Waiting(going, seat);
                    return Acts::hold();
                }
            }
        }
        self.ask(worker, host, going, now_ms)
    }

    fn forward_without_room(&mut self, worker: &mut Worker, host: &dyn Host, mut going: Going) -> Acts {
        worker.counters.event(Event::OutOfMemory);
        going.forward.detail = Some(Detail::OutOfMemory);
        self.forward(worker, host, going)
    }

    /// Answers from the cache, with the client's id.
    fn answer(
        &mut self,
        worker: &mut Worker,
        incoming: &Incoming,
        (digest, id): (Option<&Digest>, &str),
        hit: Hit,
    ) -> Acts {
        let Hit { answer, tier, status, since_ms, now_ms } = hit;
        match status {
            CacheStatus::Stale { why, .. } => {
                worker.count(incoming.route.service, Counted::Stale, why.text());
            }
            _ => worker.count(incoming.route.service, Counted::Hit(tier), ""),
        }
        let answered = Answered {
            since_ms,
            tier: tier.as_told(),
            bytes: answer.body.len(),
            cost_us: answer.cost_us,
            at_ms: now_ms,
        };
        worker.tell(incoming, digest, answered);
        let reply = Reply::Kept { answer, id: id.to_owned(), status, now_ms };
        self.reply(reply, incoming.path.is_call())
    }

    /// A lookup in L2, where there is a gate to ask and it is worth asking.
    fn ask(&mut self, worker: &mut Worker, host: &dyn Host, mut going: Going, now_ms: u64) -> Acts {
        let wanted = going.wanted.clone();
        let (Some(_), None) = (wanted.digest(), &going.shadow) else {
            return self.forward(worker, host, going);
        };
        if !worker.should_ask(host, &wanted, now_ms) {
            worker.counters.event(Event::LookupSpared);
            going.forward.detail = going.forward.detail.or(Some(Detail::NotAsked));
            return self.forward(worker, host, going);
        }
        let question = question(&worker.services, &wanted);
        match question.zip(worker.gate.as_mut()).map(|(question, gate)| gate.admits(&question, now_ms)) {
            Some(Ok(())) => return self.ask_gate(worker, host, going, now_ms),
            Some(Err(Unasked::BreakerOpen)) => worker.counters.event(Event::GateSkipped),
            Some(Err(Unasked::SkippedModel)) | None => {}
        }
        self.forward(worker, host, going)
    }

    /// A callout of its own, or its place among those that go together. Who has more time than others goes alone, and so do who goes on
    /// in any case and who goes upstream by a callout, which takes the body.
    fn ask_gate(&mut self, worker: &mut Worker, host: &dyn Host, mut going: Going, now_ms: u64) -> Acts {
        going.is_asked = true;
        let goes_alone = going.wanted.incoming.directives.only_if_cached
            || going.is_shadow()
            || going.goes_by_callout(worker);
        if !goes_alone && worker.batches.takes(now_ms) {
            let batched = worker.batches.wait(going.asker(self.context));
            self.state = State::Batched(going, batched);
            return Acts::hold();
        }
        let question = question(&worker.services, &going.wanted);
        let call = question.zip(worker.gate.as_ref()).map(|(question, gate)| gate.ask(&question));
        let Some(call) = call else { return self.forward(worker, host, going) };
        // One that has more time is not waited for.
        let is_counted = !going.wanted.incoming.directives.only_if_cached;
        self.state = State::Asking(going, is_counted.then(|| worker.batches.begin()));
        Acts::hold().and(Act::Call(Box::new(call)))
    }

    /// The gate's answer: an entry to answer from, or on to the upstream.
    pub(super) fn looked_up(
        &mut self,
        worker: &mut Worker,
        host: &dyn Host,
        mut going: Going,
        body_size: Option<usize>,
    ) -> Acts {
        let now_ms = host.now_ms();
        worker.live.refresh(host);
        let (wanted, held) = (going.wanted.clone(), worker.memory.hold());
        let looked = gate::answered(host, body_size, &held);
        if let Some(gate) = &mut worker.gate {
            gate.did(&looked, wanted.incoming.directives.only_if_cached, now_ms);
        }
        match worker.looked(host, &going.asker(self.context), looked, held) {
            Found::Fresh(answer, _) if going.is_shadow() => going.shadow = Some(answer),
            Found::Fresh(answer, ttl_s) => {
                let hit = Hit::fresh(answer, Tier::L2, ttl_s, (going.since_ms, now_ms));
                return self.answer(worker, &wanted.incoming, (wanted.digest(), wanted.id()), hit);
            }
            Found::Stale(answer, why, stale_s) if !going.is_shadow() => {
                let status = CacheStatus::Stale { why, stale_s };
                let hit = Hit { answer, tier: Tier::L2, status, since_ms: going.since_ms, now_ms };
                return self.answer(worker, &wanted.incoming, (wanted.digest(), wanted.id()), hit);
            }
            Found::Stale(..) => {}
            Found::Nothing(why) => going.forward = why,
        }
        self.forward(worker, host, going)
    }
}
