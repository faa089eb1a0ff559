//! The upstream's answer: judged when its headers come, collected chunk by chunk as it streams to the client, stored at its
//! end, and given to those who wait.

use super::storable::{GRPC_STATUS, Storable, is_error, storable};
use super::{Exchange, Going, State};
use crate::acts::{Act, Acts};
use crate::cache_status::{CacheStatus, NotStored, StaleFor};
use crate::counters::Event;
use crate::host::{Host, Of};
use crate::join::Outcome;
use crate::landing::Landed;
use crate::memory::Held;
use crate::reply::Reply;
use crate::worker::{Answered, Worker};
use forebay_protocol::{header, poll};
use std::rc::Rc;

/// An answer on its way through.
pub(super) struct Collecting {
    pub(super) going: Going,
    storable: Storable,
    /// When its headers came.
    begun_ms: u64,
    body: Vec<u8>,
    /// What `body` takes of the worker's memory.
    held: Held,
    /// The status of a call came, and it is OK.
    is_ok: bool,
}

/// Memory is reserved for a declared length once this part of it has come. A length alone reserves nothing.
const COME_PART: usize = 4;

impl Collecting {
    /// The answer is over.
    pub(super) fn hear_trailers(&mut self, host: &dyn Host) {
        self.is_ok = host.headers(Of::ResponseTrailers).first(GRPC_STATUS) == Some(b"0");
    }

    /// Takes what came, if there is room. The first chunk is the body, without a copy; with more of them it grows, as it is counted.
    fn take(&mut self, chunk: Vec<u8>) -> bool {
        let bytes = self.body.len().saturating_add(chunk.len());
        if self.body.is_empty() {
            self.body = chunk;
            return self.held.grow_to(self.body.capacity());
        }
        if bytes > self.body.capacity() {
            let declared = self
                .storable
                .content_length
                .filter(|length| (bytes..=bytes.saturating_mul(COME_PART)).contains(length));
            let capacity = declared.unwrap_or_else(|| bytes.next_power_of_two());
            if !self.held.grow_to(capacity) {
                return false;
            }
            self.body.reserve_exact(capacity.saturating_sub(self.body.len()));
        }
        self.body.extend_from_slice(&chunk);
        true
    }
}

impl Exchange {
    pub(super) fn response_begins(
        &mut self,
        worker: &mut Worker,
        host: &dyn Host,
        going: Going,
        end_of_stream: bool,
    ) -> Acts {
        let headers = host.headers(Of::Response);
        let storable = storable(&headers, &going.wanted, worker.terms(&going.wanted.incoming))
            .and_then(|storable| if end_of_stream { Err(NotStored::Empty) } else { Ok(storable) });
        let status = CacheStatus::Miss {
            forward: going.forward,
            stored: storable.as_ref().is_ok_and(|storable| storable.content_length.is_some()),
            not_stored: storable.as_ref().err().copied(),
        };
        let now_ms = worker.now_ms(host);
        let told = Answered {
            since_ms: going.since_ms,
            tier: poll::Tier::Upstream,
            bytes: headers.number("content-length").unwrap_or(0),
            cost_us: headers.number(header::X_FOREBAY_COST_US).unwrap_or(0),
            at_ms: now_ms,
        };
        worker.tell(&going.wanted.incoming, going.wanted.digest(), told);
        worker.learn(host, &headers, &going, now_ms);
        if is_error(&headers)
            && !going.wanted.incoming.path.is_call()
            && let Some(answer) = worker.instead_of_error(host, &going.wanted, now_ms)
        {
            self.give_up(worker, host, &going, Outcome::Failed);
            worker.counters.event(Event::StaleIfError);
            let status = CacheStatus::Stale { why: StaleFor::Error, stale_s: 0 };
            let reply = Reply::Kept { answer, id: going.wanted.id().to_owned(), status, now_ms };
            return Acts::hold().and(Act::Answer { context: self.context, reply });
        }
        match storable {
            Ok(storable) => {
                self.state = State::Storing(Box::new(Collecting {
                    begun_ms: now_ms,
                    body: Vec::new(),
                    held: worker.memory.hold(),
                    is_ok: false,
                    storable,
                    going,
                }));
            }
            // An error may be this request's own, or pass.
            Err(NotStored::Status) => self.give_up(worker, host, &going, Outcome::Failed),
            Err(_) => self.give_up(worker, host, &going, Outcome::Unshareable),
        }
        Acts::go().and(status.tell(&headers))
    }

    pub(super) fn collect(
        &mut self,
        worker: &mut Worker,
        host: &dyn Host,
        mut collecting: Box<Collecting>,
        size: usize,
        end_of_stream: bool,
    ) {
        if collecting.body.len().saturating_add(size) > worker.l1.max_entry_bytes() {
            return self.give_up(worker, host, &collecting.going, Outcome::Unshareable);
        }
        if size > 0 {
            let chunk = host.body(Of::Response, size).filter(|chunk| chunk.len() == size);
            let Some(chunk) = chunk else {
                return self.give_up(worker, host, &collecting.going, Outcome::Failed);
            };
            if !collecting.take(chunk) {
                worker.counters.event(Event::OutOfMemory);
                return self.give_up(worker, host, &collecting.going, Outcome::Failed);
            }
        }
        if end_of_stream {
            self.store(worker, host, *collecting);
        } else {
            self.state = State::Storing(collecting);
        }
    }

    /// The answer is complete.
    fn store(&mut self, worker: &mut Worker, host: &dyn Host, collecting: Collecting) {
        let Collecting { going, storable, begun_ms, mut body, held, is_ok } = collecting;
        body.shrink_to_fit();
        let wanted = going.wanted.clone();
        let is_call = wanted.incoming.path.is_call();
        if !storable.is_whole(&body) || (is_call && !is_ok) {
            return self.give_up(worker, host, &going, Outcome::Failed);
        }
        let begun_ms = worker.clock.at_most(begun_ms);
        let Some(answer) = storable.answer(body, begun_ms, is_call, worker.room_to_inflate()) else {
            return self.give_up(worker, host, &going, Outcome::Unshareable);
        };
        let answer = Rc::new(answer);
        if let Some(shadow) = &going.shadow {
            let same = shadow.body == answer.body && shadow.header_length == answer.header_length;
            worker.counters.event(if same { Event::ShadowMatch } else { Event::ShadowMismatch });
        }
        // Whoever waits for it uses it again.
        let is_known = going.is_known || worker.join.is_awaited(&wanted.flight);
        worker.l1.store(host, wanted.key, &answer, is_known);
        worker.l1.alias(&wanted);
        worker.counters.event(Event::Stored);
        if going.leads {
            let landed = Rc::new(Landed::new(wanted.key, answer, held));
            worker.finish(self.context, &wanted, Outcome::Answer(landed), host.now_ms());
        }
    }

    /// Nothing to store, and nothing to share.
    fn give_up(&self, worker: &mut Worker, host: &dyn Host, going: &Going, outcome: Outcome<Rc<Landed>>) {
        worker.counters.event(Event::NotStored);
        if going.leads {
            worker.finish(self.context, &going.wanted, outcome, host.now_ms());
        }
    }
}
