//! From a leader's answer to those who waited for it: in the encoding that each wants, a batch a callback of the root context.

use crate::acts::{Act, Acts};
use crate::cache_status::{CacheStatus, Detail, Forward, Fwd, StaleFor, Tier};
use crate::counters::{Event, Result as Counted};
use crate::encoding;
use crate::host::Host;
use crate::join::{BATCH, Outcome, Release, Seat};
use crate::l1::{Answer, AnswerKey};
use crate::memory::Held;
use crate::reply::Reply;
use crate::usable::Rules;
use crate::wanted::Wanted;
use crate::worker::{Answered, Worker};
use forebay_protocol::entry::Entry;
use forebay_protocol::poll;
use forebay_protocol::wants::Wants;
use std::cell::RefCell;
use std::rc::Rc;

/// An answer that others wait for. From the pool it is canonical and can be had in every encoding; else it is bytes in the encoding of
/// the one who asked, and is given to those who want the same.
pub struct Landed {
    key: AnswerKey,
    answer: Rc<Answer>,
    source: Source,
    /// What was made of the entry so far.
    forms: RefCell<Vec<(Wants, Rc<Answer>)>>,
    /// What all of it takes of the worker's memory.
    held: Held,
}

/// Where an answer has come from.
enum Source {
    /// The upstream, to a request that went there.
    Upstream,
    /// The upstream, to a callout in the name of that context.
    Callout(u32),
    /// It was kept, is stale, and the upstream has failed, or is not there.
    Stale(StaleFor),
    /// The pool.
    Pool(Box<Entry>),
}

impl Landed {
    /// The upstream's `answer`, as it is kept under `key`; `held` holds its bytes.
    pub fn new(key: AnswerKey, answer: Rc<Answer>, held: Held) -> Self {
        Self { key, answer, source: Source::Upstream, forms: RefCell::default(), held }
    }

    /// The same, to a callout that was made in the name of `context`, which waits with the others.
    pub fn by_callout(key: AnswerKey, answer: Rc<Answer>, context: u32, held: Held) -> Self {
        Self { source: Source::Callout(context), ..Self::new(key, answer, held) }
    }

    /// The stale `answer` that is given, and why.
    pub fn stale(key: AnswerKey, answer: Rc<Answer>, why: StaleFor, held: Held) -> Self {
        Self { source: Source::Stale(why), ..Self::new(key, answer, held) }
    }

    /// The `answer` that was made of the pool's entry for who wants it so; `held` holds the bytes of both.
    pub fn of_entry(
        key: AnswerKey,
        answer: Rc<Answer>,
        (wants, entry): (Wants, Box<Entry>),
        held: Held,
    ) -> Self {
        let forms = RefCell::new(vec![(wants, answer.clone())]);
        Self { key, answer, source: Source::Pool(entry), forms, held }
    }

    /// Might it be given to `wanted`?
    fn suits(&self, wanted: &Wanted, rules: &Rules<'_>) -> bool {
        match self.source {
            Source::Pool(_) => rules.suits(wanted, &self.answer).is_ok(),
            Source::Upstream | Source::Callout(_) => {
                self.key == wanted.key && rules.suits(wanted, &self.answer).is_ok()
            }
            Source::Stale(_) => {
                self.key == wanted.key
                    && rules.stale(wanted, &self.answer).is_some_and(|stale| stale.if_error)
            }
        }
    }

    /// As `wanted` wants it; each form is made once.
    ///
    /// # Errors
    /// It has no such form, which is for the upstream to say; or there is no room for one more.
    fn encoded(&self, wanted: &Wanted, skew_ms: i64) -> Result<Rc<Answer>, Detail> {
        if self.key == wanted.key {
            return Ok(self.answer.clone());
        }
        let (Some(parsed), Source::Pool(entry)) = (&wanted.parsed, &self.source) else {
            return Err(Detail::Unsuited);
        };
        let mut forms = self.forms.borrow_mut();
        if let Some((_, answer)) = forms.iter().find(|(wants, _)| *wants == parsed.wants) {
            return Ok(answer.clone());
        }
        if !self.held.fits(encoding::most_bytes(entry)) {
            return Err(Detail::OutOfMemory);
        }
        let answer = encoding::from_entry(entry, &parsed.wants, skew_ms).ok_or(Detail::Unsuited)?;
        if !self.held.grow_by(answer.bytes()) {
            return Err(Detail::OutOfMemory);
        }
        let answer = Rc::new(answer);
        forms.push((parsed.wants.clone(), answer.clone()));
        Ok(answer)
    }
}

impl Worker {
    /// The request of `context`, which leads the flight of `wanted`, has ended.
    pub fn finish(&mut self, context: u32, wanted: &Wanted, outcome: Outcome<Rc<Landed>>, now_ms: u64) {
        let landed = if let Outcome::Answer(landed) = &outcome { Some(landed.clone()) } else { None };
        let service = self.services.get(usize::from(wanted.incoming.route.service));
        let service = service.map_or("", String::as_str);
        let just_came = landed
            .as_ref()
            .is_some_and(|landed| matches!(landed.source, Source::Upstream | Source::Callout(_)));
        let rules = Rules { config: &self.config, live: &self.live, service, now_ms, just_came };
        let suits =
            |waiting: &Rc<Wanted>| landed.as_ref().is_some_and(|landed| landed.suits(waiting, &rules));
        self.join.finish(&wanted.flight, context, outcome, suits, now_ms);
    }

    /// Has waiters that are due released by the root context, and lookups that wait for each other sent. A stream's own callbacks may
    /// not do it: proxy-wasm's hosts stop the stream in whose callback a reply is asked for, whoever the reply is for.
    pub fn release_soon(&mut self, acts: &mut Acts) {
        if self.join.has_due() || self.batches.is_due() {
            self.wake(acts);
        }
    }

    /// Releases waiters that are due: a batch now, and the rest when woken. In the root context's callbacks only.
    pub fn release(&mut self, host: &dyn Host, acts: &mut Acts) {
        self.woken = false;
        for _ in 0..BATCH {
            let Some((seat, release)) = self.join.next_due() else { return };
            let (act, counted, why) = self.released(host, &seat, release);
            self.count(seat.claim.incoming.route.service, counted, why);
            acts.push(act);
        }
        self.release_soon(acts);
    }

    fn released(
        &mut self,
        host: &dyn Host,
        seat: &Seat<Rc<Wanted>>,
        release: Release<Rc<Landed>>,
    ) -> (Act, Counted, &'static str) {
        let (wanted, context) = (&seat.claim, seat.context);
        wanted.body.let_go();
        let why = match release {
            Release::Late => {
                if let Some(answer) = self.instead_of_error(host, wanted, host.now_ms()) {
                    let landed =
                        Landed::stale(wanted.key, answer.clone(), StaleFor::Error, self.memory.hold());
                    return self.answered(host, seat, &landed, answer);
                }
                let why = Detail::WaitedTooLong;
                let status = CacheStatus::Miss { forward: why.into(), stored: false, not_stored: None };
                return (Act::Answer { context, reply: Reply::Late { status } }, Counted::Late, why.text());
            }
            Release::Answer(landed) => {
                let why = match landed.encoded(wanted, self.live.skew_ms()) {
                    Ok(answer) => {
                        return self.answered(host, seat, &landed, answer);
                    }
                    Err(why) => why,
                };
                if why == Detail::OutOfMemory {
                    self.counters.event(Event::OutOfMemory);
                }
                seat.send_alone(why);
                self.counters.event(Event::Freed);
                why
            }
            Release::Lead(why) => {
                self.counters.event(Event::Promoted);
                why
            }
            Release::Alone(why) => {
                self.counters.event(Event::Freed);
                why
            }
        };
        (Act::Resume { context }, Counted::Miss, why.text())
    }

    /// What came of the leader's request came of the waiter's: a hit where the pool answered, an answer of the upstream's, which one of them
    /// may have had made, or what is stale instead of an error.
    fn answered(
        &mut self,
        host: &dyn Host,
        seat: &Seat<Rc<Wanted>>,
        landed: &Landed,
        answer: Rc<Answer>,
    ) -> (Act, Counted, &'static str) {
        let (wanted, now_ms) = (&seat.claim, host.now_ms());
        let (told, counted, status, why) = match landed.source {
            Source::Pool(_) => {
                let usable = answer.stored().usable(&wanted.incoming.directives, now_ms);
                let (tier, ttl_s) = (Tier::L2, usable.map_or(0, |it| it.ttl_s));
                (tier.as_told(), Counted::Hit(tier), CacheStatus::Hit { ttl_s, tier }, "")
            }
            Source::Callout(context) if context == seat.context => {
                let forward = Forward::from(Fwd::Stale);
                let status = CacheStatus::Miss { forward, stored: true, not_stored: None };
                (poll::Tier::Upstream, Counted::Miss, status, forward.text())
            }
            Source::Upstream | Source::Callout(_) => {
                (poll::Tier::Collapsed, Counted::Collapsed, CacheStatus::Collapsed, "")
            }
            Source::Stale(why) => {
                if why == StaleFor::Error {
                    self.counters.event(Event::StaleIfError);
                }
                let tier = Tier::Vm;
                (tier.as_told(), Counted::Stale, CacheStatus::Stale { why, stale_s: 0 }, why.text())
            }
        };
        let times = (seat.since_ms(), now_ms);
        (self.give((seat.context, wanted), answer, (status, told), times), counted, why)
    }

    /// Answers the held request of `context`, which is not the callback's own. It has waited since `since_ms`.
    pub(crate) fn give(
        &mut self,
        (context, wanted): (u32, &Wanted),
        answer: Rc<Answer>,
        (status, tier): (CacheStatus, poll::Tier),
        (since_ms, now_ms): (u64, u64),
    ) -> Act {
        let (bytes, cost_us) = (answer.body.len(), answer.cost_us);
        let answered = Answered { tier, bytes, cost_us, since_ms, at_ms: now_ms };
        self.tell(&wanted.incoming, wanted.digest(), answered);
        let reply = Reply::Kept { answer, id: wanted.id().to_owned(), status, now_ms };
        if wanted.incoming.path.is_call() {
            wanted.reply.replace(Some(reply));
            return Act::AnswerByRoute { context };
        }
        Act::Answer { context, reply }
    }
}
