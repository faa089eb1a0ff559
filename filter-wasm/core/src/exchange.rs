//! One request and its answer: the proxy's callbacks enter, in the order in which it makes them; [`Acts`] leave.
//!
//! ```text
//! New ──headers──► Passing (not ours)
//!     ├──────────► Calling ──body──► Passing  (gRPC, not looked up, whose model says which backends compute it)
//!     └──────────► Reading ──body──► Done     (answered from L1)
//!                     ├────────────► Passing  (too large, too slow, or no room for what came)
//!                     ├────────────► Waiting  (an equal one leads, or a callout) ──► Done | Storing
//!                     ├────────────► Asking   (callout to the gate)    ──► Done | Forwarding
//!                     ├────────────► Batched  (callout with others)    ──► Done | Storing
//!                     └────────────► Forwarding ──response──► Storing ──► Done
//! ```
//!
//! Where a request over HTTP is answered and done, a call is `Answering`: it goes on to a route that answers in the filter's place, and
//! what that answers with is replaced.

mod answer;
mod look;
mod read;
mod route;
pub(crate) mod storable;
mod store;
mod upstream;

pub use read::BUFFERED;

use crate::acts::{Act, Acts, Ticket};
use crate::arriving::Arriving;
use crate::asking::Asker;
use crate::batched::{self, Batched, UnderWay};
use crate::cache_status::{Bypass, CacheStatus, Forward, Fwd};
use crate::config::Mode;
use crate::host::{Host, Of};
use crate::join::{Outcome, Seat, Standing};
use crate::l1::Answer;
use crate::reply::Reply;
use crate::wanted::{Incoming, Wanted};
use crate::worker::Worker;
use answer::Begun;
use route::Calling;
use std::rc::Rc;
use store::Collecting;

/// A request under way: what it wants, and what is known of its course.
pub(crate) struct Going {
    pub(crate) wanted: Rc<Wanted>,
    /// When it was complete.
    since_ms: u64,
    /// Why it goes upstream, if it does.
    forward: Forward,
    /// It leads a flight: others wait for it.
    leads: bool,
    /// Shadow mode: what would have been answered.
    shadow: Option<Rc<Answer>>,
    /// Some worker of this proxy has had an answer to it before.
    is_known: bool,
    /// The gate was asked.
    pub(crate) is_asked: bool,
}

impl Going {
    fn new(wanted: Rc<Wanted>, since_ms: u64) -> Self {
        Self {
            wanted,
            since_ms,
            forward: Fwd::Miss.into(),
            leads: false,
            shadow: None,
            is_known: false,
            is_asked: false,
        }
    }

    /// As the one who has a lookup made.
    fn asker(&self, context: u32) -> Asker {
        let &Self { since_ms, leads, forward, .. } = self;
        Asker { context, wanted: self.wanted.clone(), since_ms, leads, forward }
    }

    fn is_shadow(&self) -> bool {
        self.wanted.incoming.route.mode == Mode::Shadow
    }
}

enum State {
    New,
    Passing(Option<CacheStatus>),
    Calling(Calling),
    Reading(Box<Incoming>, Rc<Arriving>),
    Waiting(Going, Rc<Seat<Rc<Wanted>>>),
    /// Counted among the calls under way, if it is one of those that others wait for.
    Asking(Going, Option<UnderWay>),
    Batched(Going, Rc<Batched>),
    Answering(Begun, Reply),
    Forwarding(Going),
    Storing(Box<Collecting>),
    Done,
}

/// One request and its answer.
pub struct Exchange {
    context: u32,
    state: State,
}

impl Exchange {
    /// A new stream.
    pub fn new(context: u32) -> Self {
        Self { context, state: State::New }
    }

    /// The request's headers are there.
    pub fn on_request_headers(&mut self, worker: &mut Worker, host: &dyn Host, end_of_stream: bool) -> Acts {
        self.read_headers(worker, host, end_of_stream)
    }

    /// `size` bytes of the body are buffered.
    pub fn on_request_body(
        &mut self,
        worker: &mut Worker,
        host: &dyn Host,
        size: usize,
        end_of_stream: bool,
    ) -> Acts {
        match self.take() {
            State::Reading(_, arriving) if size > worker.config.max_body_bytes => {
                self.bypass(worker, arriving.service, Bypass::BodyTooLarge)
            }
            // What is complete waits for nothing more: whether there is room to hold it, it asks when it has to.
            State::Reading(incoming, arriving) if end_of_stream => {
                self.look(worker, host, incoming, arriving, size)
            }
            State::Reading(mut incoming, arriving) => {
                let told = route::told_early(worker, host, &mut incoming, size);
                if !arriving.held.grow_to(size) {
                    return told.before(self.bypass(worker, arriving.service, Bypass::OutOfMemory));
                }
                self.state = State::Reading(incoming, arriving);
                told.before(Acts::hold())
            }
            State::Calling(calling) => self.calls(worker, host, calling, (size, end_of_stream)),
            decided => self.decided(decided),
        }
    }

    /// The request ends with trailers: the body before them is all there is. `size` is the size last told.
    pub fn on_request_trailers(&mut self, worker: &mut Worker, host: &dyn Host, size: usize) -> Acts {
        match self.take() {
            State::Reading(incoming, arriving) => self.look(worker, host, incoming, arriving, size),
            State::Calling(calling) => self.calls(worker, host, calling, (size, true)),
            decided => self.decided(decided),
        }
    }

    /// A callout of this request was answered with a body of that size, or (`None`) failed. Continue: the request is resumed.
    pub fn on_call_response(
        &mut self,
        worker: &mut Worker,
        host: &dyn Host,
        ticket: Ticket,
        body_size: Option<usize>,
    ) -> Acts {
        let mut acts = match (self.take(), ticket) {
            (State::Asking(going, under_way), Ticket::Lookup) => {
                drop(under_way);
                self.looked_up(worker, host, going, body_size)
            }
            (other, _) => {
                self.state = other;
                Acts::hold()
            }
        };
        worker.release_soon(&mut acts);
        acts
    }

    /// The response's headers are there: the upstream's, or a local reply's.
    pub fn on_response_headers(&mut self, worker: &mut Worker, host: &dyn Host, end_of_stream: bool) -> Acts {
        let mut acts = match self.take() {
            State::Passing(Some(status)) => Acts::go().and(status.tell(&host.headers(Of::Response))),
            State::Forwarding(going) => self.response_begins(worker, host, going, end_of_stream),
            State::Waiting(going, seat) => self.released(worker, host, going, &seat, end_of_stream),
            State::Answering(_, reply) => self.begin_answer(worker, host, reply, end_of_stream),
            // A local reply while the request was still on hold here: the proxy gave up on it.
            State::Asking(going, _) => self.lost(worker, host, &going),
            State::Batched(going, batched) => self.batch_ended(worker, host, going, &batched, end_of_stream),
            _ => Acts::go(),
        };
        worker.release_soon(&mut acts);
        acts
    }

    /// `size` bytes of the response's body pass by.
    pub fn on_response_body(
        &mut self,
        worker: &mut Worker,
        host: &dyn Host,
        size: usize,
        end_of_stream: bool,
    ) -> Acts {
        let mut acts = Acts::go();
        match self.take() {
            State::Storing(collecting) => self.collect(worker, host, collecting, size, end_of_stream),
            State::Answering(Begun::Begun, reply) => acts.push(Act::FillReply { reply, size }),
            other => self.state = other,
        }
        worker.release_soon(&mut acts);
        acts
    }

    /// The response ends with trailers.
    pub fn on_response_trailers(&mut self, worker: &mut Worker, host: &dyn Host) -> Acts {
        if let State::Storing(collecting) = &mut self.state {
            collecting.hear_trailers(host);
        }
        self.on_response_body(worker, host, 0, true)
    }

    /// The stream is over, in whatever state it was.
    pub fn on_end(&mut self, worker: &mut Worker, host: &dyn Host) -> Acts {
        let mut acts = match self.take() {
            State::Waiting(_, seat) => {
                worker.join.leave(&seat, host.now_ms());
                Acts::go()
            }
            State::Batched(going, batched) => {
                batched.leave();
                self.lost(worker, host, &going)
            }
            State::Asking(going, _) | State::Forwarding(going) => self.lost(worker, host, &going),
            State::Storing(collecting) => self.lost(worker, host, &collecting.going),
            _ => Acts::go(),
        };
        worker.release_soon(&mut acts);
        acts
    }

    fn take(&mut self) -> State {
        match std::mem::replace(&mut self.state, State::Done) {
            // By the tick, meanwhile.
            State::Reading(_, arriving) if arriving.is_let_go() => {
                State::Passing(Some(CacheStatus::Bypass(Bypass::BodyTooSlow)))
            }
            state => state,
        }
    }

    /// More of a request on which was decided already: held while waiting or asking, let through otherwise.
    fn decided(&mut self, state: State) -> Acts {
        let held = matches!(state, State::Waiting(..) | State::Asking(..) | State::Batched(..));
        self.state = state;
        if held { Acts::hold() } else { Acts::go() }
    }

    /// What the waiter was released for, seen when its response begins.
    fn released(
        &mut self,
        worker: &mut Worker,
        host: &dyn Host,
        mut going: Going,
        seat: &Rc<Seat<Rc<Wanted>>>,
        end_of_stream: bool,
    ) -> Acts {
        match seat.standing() {
            Standing::Leads(why) => {
                going.leads = true;
                going.forward.detail = Some(why);
            }
            Standing::Alone(why) => going.forward.detail = Some(why),
            Standing::Answered => return self.begin_given(worker, host, &going, end_of_stream),
            // Never released, and yet a response: the proxy gave up on it.
            Standing::Waits | Standing::Due | Standing::Left => {
                worker.join.leave(seat, host.now_ms());
                return Acts::go();
            }
        }
        self.response_begins(worker, host, going, end_of_stream)
    }

    /// What came of a lookup that went with others, seen when its response begins.
    fn batch_ended(
        &mut self,
        worker: &mut Worker,
        host: &dyn Host,
        mut going: Going,
        batched: &Batched,
        end_of_stream: bool,
    ) -> Acts {
        match batched.standing() {
            batched::Standing::Goes(why) => {
                going.forward = why;
                self.response_begins(worker, host, going, end_of_stream)
            }
            batched::Standing::Answered => self.begin_given(worker, host, &going, end_of_stream),
            // The proxy gave up on it.
            batched::Standing::Waits | batched::Standing::Left => {
                batched.leave();
                self.lost(worker, host, &going)
            }
        }
    }

    /// The answer that the root context gave, where it goes by the route for hits.
    fn begin_given(
        &mut self,
        worker: &mut Worker,
        host: &dyn Host,
        going: &Going,
        end_of_stream: bool,
    ) -> Acts {
        let reply = going.wanted.reply.take();
        reply.map_or_else(Acts::go, |reply| self.begin_answer(worker, host, reply, end_of_stream))
    }

    /// A request that has nothing to show: when it leads, the next one takes over.
    fn lost(&self, worker: &mut Worker, host: &dyn Host, going: &Going) -> Acts {
        if going.leads {
            worker.finish(self.context, &going.wanted, Outcome::Failed, host.now_ms());
        }
        Acts::go()
    }
}

#[cfg(test)]
mod tests;
