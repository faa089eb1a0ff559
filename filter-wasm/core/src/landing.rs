//! From a leader's answer to those who waited for it: in the encoding that each wants, a batch a callback of the root context.

use crate::acts::{Act, Acts};
use crate::cache_status::{CacheStatus, Detail};
use crate::counters::{Event, Result as Counted};
use crate::encoding;
use crate::host::Host;
use crate::join::{BATCH, Outcome, Release, Seat};
use crate::l1::{Answer, AnswerKey};
use crate::reply::Reply;
use crate::usable::Rules;
use crate::wanted::Wanted;
use crate::worker::Worker;
use forebay_protocol::entry::Entry;
use std::cell::RefCell;
use std::rc::Rc;

/// An answer that others wait for. From the pool it is canonical and can be had in every encoding; from the upstream it is bytes in
/// the encoding of the one who asked, and is given to those who want the same.
pub struct Landed {
    answer: Rc<Answer>,
    entry: Option<Box<Entry>>,
    forms: RefCell<Vec<(AnswerKey, Rc<Answer>)>>,
}

impl Landed {
    /// `answer`, as it is kept under `key`; made of `entry` when the pool gave it.
    pub fn new(key: AnswerKey, answer: Rc<Answer>, entry: Option<Box<Entry>>) -> Self {
        let forms = RefCell::new(vec![(key, answer.clone())]);
        Self { answer, entry, forms }
    }

    /// Might it be given to `wanted`?
    fn suits(&self, wanted: &Wanted, rules: &Rules<'_>) -> bool {
        let has_form = self.entry.is_some() || self.form(&wanted.key).is_some();
        has_form && rules.usable(&wanted.incoming, &self.answer).is_ok()
    }

    fn form(&self, key: &AnswerKey) -> Option<Rc<Answer>> {
        let forms = self.forms.borrow();
        forms.iter().find(|(form, _)| form == key).map(|(_, answer)| answer.clone())
    }

    /// As `wanted` wants it; each form is made once. `None`: it has no such form, which is for the upstream to say.
    fn encoded(&self, wanted: &Wanted, now_ms: u64) -> Option<Rc<Answer>> {
        if let Some(answer) = self.form(&wanted.key) {
            return Some(answer);
        }
        let wants = &wanted.parsed.as_ref()?.wants;
        let answer = Rc::new(encoding::from_entry(self.entry.as_ref()?, wants, now_ms)?);
        self.forms.borrow_mut().push((wanted.key, answer.clone()));
        Some(answer)
    }
}

impl Worker {
    /// The request of `context`, which leads the flight of `wanted`, has ended.
    pub fn finish(&mut self, context: u32, wanted: &Wanted, outcome: Outcome<Rc<Landed>>, now_ms: u64) {
        let landed = if let Outcome::Answer(landed) = &outcome { Some(landed.clone()) } else { None };
        let service = self.services.get(usize::from(wanted.incoming.route.service));
        let service = service.map_or("", String::as_str);
        let rules = Rules { config: &self.config, live: &self.live, service, now_ms };
        let suits =
            |waiting: &Rc<Wanted>| landed.as_ref().is_some_and(|landed| landed.suits(waiting, &rules));
        self.join.finish(&wanted.flight, context, outcome, suits, now_ms);
    }

    /// Has waiters that are due released by the root context. A stream's own callbacks may not do it: proxy-wasm's hosts stop
    /// the stream in whose callback a reply is asked for, whoever the reply is for.
    pub fn release_soon(&mut self, acts: &mut Acts) {
        if self.join.has_due() && !std::mem::replace(&mut self.woken, true) {
            acts.push(Act::Wake);
        }
    }

    /// Releases waiters that are due: a batch now, and the rest when woken. In the root context's callbacks only.
    pub fn release(&mut self, host: &dyn Host, acts: &mut Acts) {
        self.woken = false;
        for _ in 0..BATCH {
            let Some((seat, release)) = self.join.next_due() else { return };
            let (act, counted) = self.released(host, &seat, release);
            self.counters.request(seat.claim.incoming.route.service, counted);
            acts.push(act);
        }
        self.release_soon(acts);
    }

    fn released(
        &mut self,
        host: &dyn Host,
        seat: &Seat<Rc<Wanted>>,
        release: Release<Rc<Landed>>,
    ) -> (Act, Counted) {
        let (wanted, context) = (&seat.claim, seat.context);
        match release {
            Release::Answer(landed) => {
                let now_ms = host.now_ms();
                if let Some(answer) = landed.encoded(wanted, now_ms) {
                    let reply = Reply::Kept {
                        answer,
                        id: wanted.id().to_owned(),
                        status: CacheStatus::Collapsed,
                        now_ms,
                    };
                    return (Act::Answer { context, reply }, Counted::Collapsed);
                }
                seat.send_alone(Detail::Unsuited);
                self.counters.event(Event::Freed);
            }
            Release::Lead(_) => self.counters.event(Event::Promoted),
            Release::Alone(_) => self.counters.event(Event::Freed),
        }
        (Act::Resume { context }, Counted::Miss)
    }
}
