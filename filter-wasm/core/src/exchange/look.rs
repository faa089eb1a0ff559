//! The body is there: exact repeat? parse, digest, L1; else join, ask the gate, or go upstream.

use super::{Exchange, Going, State};
use crate::acts::{Act, Acts};
use crate::cache_status::{Bypass, CacheStatus, Detail, Fwd, Tier};
use crate::config::Mode;
use crate::counters::{Event, Result as Counted};
use crate::encoding;
use crate::gate::{Looked, Question, Unasked};
use crate::host::{Host, Of};
use crate::join::{Entered, Outcome};
use crate::l1::Answer;
use crate::landing::Landed;
use crate::reply::Reply;
use crate::wanted::{Incoming, Reading, Wanted};
use crate::worker::Worker;
use std::rc::Rc;

/// A kept answer that may be given.
struct Hit {
    answer: Rc<Answer>,
    tier: Tier,
    ttl_s: u64,
    now_ms: u64,
}

impl Exchange {
    pub(super) fn look(
        &mut self,
        worker: &mut Worker,
        host: &dyn Host,
        incoming: Box<Incoming>,
        size: usize,
    ) -> Acts {
        let Some(body) = host.body(Of::Request, size).filter(|body| body.len() == size) else {
            return self.bypass(worker, &incoming, Bypass::Malformed);
        };
        let service = incoming.route.service;
        let raw_key = incoming.raw_key(worker.service(service), &body);
        let now_ms = host.now_ms();
        if incoming.looks_up()
            && incoming.route.mode == Mode::On
            && let Some(answer) = worker.l1.repeat(&raw_key)
            && let Ok(ttl_s) = worker.rules(service, now_ms).usable(&incoming, &answer)
        {
            let hit = Hit { answer, tier: Tier::Raw, ttl_s, now_ms };
            return self.answer(worker, service, "", hit);
        }
        let reading =
            Reading { config: &worker.config, service: worker.service(service), epoch: worker.live.epoch() };
        match Wanted::read(incoming, raw_key, body, reading) {
            Ok(wanted) => self.look_up(worker, host, wanted, now_ms),
            Err((incoming, why)) => self.bypass(worker, &incoming, why),
        }
    }

    /// L1 by digest, then join.
    fn look_up(&mut self, worker: &mut Worker, host: &dyn Host, wanted: Wanted, now_ms: u64) -> Acts {
        let wanted = Rc::new(wanted);
        let mut going =
            Going { wanted: wanted.clone(), forward: Fwd::Miss.into(), leads: false, shadow: None };
        if !wanted.incoming.looks_up() {
            going.forward = Fwd::Request.into();
            return self.forward(worker, going);
        }
        if let Some((answer, tier)) = worker.l1.find(host, &wanted.key) {
            let service = wanted.incoming.route.service;
            match worker.rules(service, now_ms).usable(&wanted.incoming, &answer) {
                Ok(ttl_s) if !going.is_shadow() => {
                    if let Some(raw_key) = wanted.raw_key {
                        worker.l1.alias(raw_key, wanted.key);
                    }
                    return self.answer(worker, service, wanted.id(), Hit { answer, tier, ttl_s, now_ms });
                }
                Ok(_) => going.shadow = Some(answer),
                Err(forward) => going.forward = forward,
            }
        }
        if !going.is_shadow() && !wanted.incoming.directives.only_if_cached {
            match worker.join.enter(wanted.flight, self.context, &wanted, wanted.body_bytes, now_ms) {
                Entered::Leads => going.leads = true,
                Entered::Alone(why) => going.forward.detail = Some(why),
                Entered::Waits(seat) => return self.wait(worker, going, seat),
            }
        }
        self.ask(worker, going, now_ms)
    }

    /// Answers from the cache.
    fn answer(&mut self, worker: &mut Worker, service: u16, id: &str, hit: Hit) -> Acts {
        let Hit { answer, tier, ttl_s, now_ms } = hit;
        worker.counters.request(service, Counted::Hit(tier));
        let reply =
            Reply::Kept { answer, id: id.to_owned(), status: CacheStatus::Hit { ttl_s, tier }, now_ms };
        Acts::hold().and(Act::Answer { context: self.context, reply })
    }

    /// The L2 callout, where there is a gate to ask and it is worth asking.
    fn ask(&mut self, worker: &mut Worker, going: Going, now_ms: u64) -> Acts {
        let wanted = going.wanted.clone();
        let (Some(parsed), None) = (&wanted.parsed, &going.shadow) else {
            return self.forward(worker, going);
        };
        let service = worker.services.get(usize::from(wanted.incoming.route.service));
        let path = wanted.incoming.path.infer();
        let question = Question {
            service: service.map_or("", String::as_str),
            tenant: wanted.incoming.tenant.as_ref(),
            model: path.model,
            version: path.version,
            digest: &parsed.digest,
        };
        match worker.gate.as_mut().map(|gate| gate.ask(&question, now_ms)) {
            Some(Ok(call)) => {
                self.state = State::Asking(going);
                return Acts::hold().and(Act::Call(Box::new(call)));
            }
            Some(Err(Unasked::BreakerOpen)) => worker.counters.event(Event::GateSkipped),
            Some(Err(Unasked::SkippedModel)) | None => {}
        }
        self.forward(worker, going)
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
        let entry = match worker.gate.as_mut().map(|gate| gate.answered(host, body_size, now_ms)) {
            Some(Looked::Entry(entry)) => entry,
            Some(Looked::Miss) | None => return self.forward(worker, going),
            Some(Looked::Failed) => {
                worker.counters.event(Event::GateFailed);
                going.forward.detail = Some(Detail::GateFailed);
                return self.forward(worker, going);
            }
        };
        let wanted = going.wanted.clone();
        let service = wanted.incoming.route.service;
        let wants = wanted.parsed.as_ref().map(|parsed| &parsed.wants);
        let answer = wants.and_then(|wants| encoding::from_entry(&entry, wants, now_ms)).map(Rc::new);
        let usable = answer.and_then(|answer| {
            let ttl_s = worker.rules(service, now_ms).usable(&wanted.incoming, &answer).ok()?;
            Some((ttl_s, answer))
        });
        let Some((ttl_s, answer)) = usable else {
            return self.forward(worker, going);
        };
        if let Some(raw_key) = wanted.raw_key {
            worker.l1.alias(raw_key, wanted.key);
        }
        worker.l1.store(host, wanted.key, &answer);
        if going.is_shadow() {
            going.shadow = Some(answer);
            return self.forward(worker, going);
        }
        if going.leads {
            let landed = Rc::new(Landed::new(wanted.key, answer.clone(), Some(entry)));
            worker.finish(self.context, &wanted, Outcome::Answer(landed), now_ms);
        }
        self.answer(worker, service, wanted.id(), Hit { answer, tier: Tier::L2, ttl_s, now_ms })
    }
}
