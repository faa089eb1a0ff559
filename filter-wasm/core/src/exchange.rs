//! One request and its answer: the proxy's callbacks enter, in the order in which it makes them; `Continue` or `Pause` leaves.
//!
//! ```text
//! New ──headers──► Passing (not ours)
//!     └──────────► Reading ──body──► Done     (answered from L1)
//!                     ├────────────► Waiting  (an equal request leads) ──► Done | Forwarding
//!                     ├────────────► Asking   (callout to the gate)    ──► Done | Forwarding
//!                     └────────────► Forwarding ──response──► Storing ──► Done
//! ```

mod look;
mod read;
mod store;

use crate::cache_status::{Bypass, CacheStatus};
use crate::config::Mode;
use crate::counters::{Event, Result as Counted};
use crate::host::Host;
use crate::join::Release;
use crate::l1::{Answer, AnswerKey};
use crate::worker::{RouteSettings, Worker};
use forebay_protocol::cache_control::RequestDirectives;
use forebay_protocol::digest::Digest;
use forebay_protocol::header;
use forebay_protocol::tenant::Tenant;
use forebay_protocol::wants::Wants;
use std::rc::Rc;
use store::Collecting;

/// What the proxy shall do with the stream after a callback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Go on to the next filter.
    Continue,
    /// Hold; the filter resumes or answers later.
    Pause,
}

/// What the headers said, kept until the body is there.
struct Incoming {
    route: RouteSettings,
    tenant: Option<Tenant>,
    accept_encoding: Vec<u8>,
    path: String,
    content_type: Vec<u8>,
    header_length_raw: Vec<u8>,
    header_length: Option<usize>,
    accept: Vec<u8>,
    directives: RequestDirectives,
}

/// A request that is understood well enough to be looked up and stored.
struct Wanted {
    incoming: Incoming,
    /// Where its answer is kept.
    key: AnswerKey,
    /// The exact request, to find it without parsing the next time; `None` when it has an id.
    raw_key: Option<AnswerKey>,
    /// Size of its body, which waits with it.
    body_bytes: usize,
    /// What was parsed; `None` for JSON too large to parse here.
    parsed: Option<Parsed>,
    /// Why it goes upstream, if it does.
    fwd: &'static str,
    detail: Option<&'static str>,
    /// It leads a flight: others wait for it.
    leads: bool,
    /// Shadow mode: what would have been answered.
    shadow: Option<Rc<Answer>>,
}

struct Parsed {
    digest: Digest,
    wants: Wants,
    id: String,
}

impl Wanted {
    fn id(&self) -> &str {
        self.parsed.as_ref().map_or("", |parsed| &parsed.id)
    }
}

enum State {
    New,
    Passing(Option<CacheStatus>),
    Reading(Box<Incoming>),
    Waiting(Box<Wanted>),
    Asking(Box<Wanted>, u32),
    Forwarding(Box<Wanted>),
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
    pub fn on_request_headers(&mut self, worker: &mut Worker, host: &dyn Host, end_of_stream: bool) -> Flow {
        self.read_headers(worker, host, end_of_stream)
    }

    /// `size` bytes of the body are buffered.
    pub fn on_request_body(
        &mut self,
        worker: &mut Worker,
        host: &dyn Host,
        size: usize,
        end_of_stream: bool,
    ) -> Flow {
        let State::Reading(incoming) = &self.state else { return self.held() };
        if size > worker.config.max_body_bytes {
            let (service, tenant) = (incoming.route.service, incoming.tenant.clone());
            return self.bypass(worker, host, service, tenant.as_ref(), Bypass::BodyTooLarge);
        }
        if end_of_stream { self.look(worker, host, size) } else { Flow::Pause }
    }

    /// The request ends with trailers: the body before them is all there is. `size` is the size last told.
    pub fn on_request_trailers(&mut self, worker: &mut Worker, host: &dyn Host, size: usize) -> Flow {
        if matches!(self.state, State::Reading(_)) { self.look(worker, host, size) } else { self.held() }
    }

    /// The gate answered this request's callout with a body of that size, or (`None`) failed to.
    pub fn on_call_response(
        &mut self,
        worker: &mut Worker,
        host: &dyn Host,
        token: u32,
        body_size: Option<usize>,
    ) {
        match std::mem::replace(&mut self.state, State::Done) {
            State::Asking(wanted, asked) if asked == token => self.looked_up(worker, host, wanted, body_size),
            other => self.state = other,
        }
    }

    /// The response's headers are there: the upstream's, or a local reply's.
    pub fn on_response_headers(&mut self, worker: &mut Worker, host: &dyn Host, end_of_stream: bool) {
        match std::mem::replace(&mut self.state, State::Done) {
            State::Passing(Some(status)) => {
                host.add_response_header(header::CACHE_STATUS, &status.to_string());
            }
            State::Forwarding(wanted) => self.response_begins(worker, host, wanted, end_of_stream),
            State::Waiting(wanted) => self.released(worker, host, wanted, end_of_stream),
            // A local reply while the request was still on hold here: the proxy gave up on it.
            State::Asking(wanted, _) => self.abandon(worker, host, &wanted),
            _ => {}
        }
    }

    /// `size` bytes of the response's body pass by.
    pub fn on_response_body(
        &mut self,
        worker: &mut Worker,
        host: &dyn Host,
        size: usize,
        end_of_stream: bool,
    ) {
        if matches!(self.state, State::Storing(_)) {
            self.collect(worker, host, size, end_of_stream);
        }
    }

    /// The response ends with trailers.
    pub fn on_response_trailers(&mut self, worker: &mut Worker, host: &dyn Host) {
        if matches!(self.state, State::Storing(_)) {
            self.collect(worker, host, 0, true);
        }
    }

    /// The stream is over, in whatever state it was.
    pub fn on_end(&mut self, worker: &mut Worker, host: &dyn Host) {
        match std::mem::replace(&mut self.state, State::Done) {
            State::Waiting(wanted) => match worker.join.take_release(self.context) {
                Some(Release::Lead) => {
                    worker.join.abandon(&wanted.key, self.context);
                    worker.release_soon(host);
                }
                Some(_) => {}
                None => {
                    worker.join.leave(self.context);
                    worker.release_soon(host);
                }
            },
            State::Asking(wanted, _) | State::Forwarding(wanted) => self.abandon(worker, host, &wanted),
            State::Storing(collecting) => self.abandon(worker, host, &collecting.wanted),
            _ => {}
        }
    }

    /// More of a request on which was decided already: held while waiting or asking, let through otherwise.
    fn held(&self) -> Flow {
        match self.state {
            State::Waiting(_) | State::Asking(..) => Flow::Pause,
            _ => Flow::Continue,
        }
    }

    /// Lets the request through unlooked-at.
    fn bypass(
        &mut self,
        worker: &mut Worker,
        host: &dyn Host,
        service: u16,
        tenant: Option<&Tenant>,
        why: Bypass,
    ) -> Flow {
        worker.counters.request(service, Counted::Bypass);
        worker.identify(host, tenant);
        self.state = State::Passing(Some(CacheStatus::Bypass(why)));
        Flow::Continue
    }

    /// What the waiter was released for, seen when its response begins.
    fn released(
        &mut self,
        worker: &mut Worker,
        host: &dyn Host,
        mut wanted: Box<Wanted>,
        end_of_stream: bool,
    ) {
        let service = wanted.incoming.route.service;
        match worker.join.take_release(self.context) {
            Some(Release::Answer(_)) => return worker.counters.request(service, Counted::Collapsed),
            Some(Release::Lead) => {
                wanted.leads = true;
                wanted.detail = Some("promoted");
            }
            Some(Release::Alone(why)) => wanted.detail = Some(why),
            // Never released, and yet a response: the proxy gave up on it.
            None => return worker.join.leave(self.context),
        }
        worker.counters.request(service, Counted::Miss);
        self.response_begins(worker, host, wanted, end_of_stream);
    }

    /// A leader that has nothing to show: the next one takes over.
    fn abandon(&self, worker: &mut Worker, host: &dyn Host, wanted: &Wanted) {
        if wanted.leads {
            worker.join.abandon(&wanted.key, self.context);
            worker.release_soon(host);
        }
    }

    fn is_shadow(wanted: &Wanted) -> bool {
        wanted.incoming.route.mode == Mode::Shadow
    }

    /// Counts a shadow comparison.
    fn compare(worker: &mut Worker, shadow: &Answer, answer: &Answer) {
        let same = shadow.body == answer.body && shadow.header_length == answer.header_length;
        worker.counters.event(if same { Event::ShadowMatch } else { Event::ShadowMismatch });
    }
}
