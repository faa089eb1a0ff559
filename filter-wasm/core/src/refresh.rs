//! Stale answers are made anew, behind the requests that were given them or, of calls, before. A request and its body enter; a callout to a
//! backend leaves, from the root context, which outlives the request; its answer enters L1 as any upstream's does. Of what is equal one
//! at a time is under way, and one that fails is not tried again at once: so no herd of them meets a backend.
//!
//! A call may wait for it, since an error can't be replaced on its way to who called. The refresh leads the flight then, in the call's name:
//! its answer goes to all who wait; after an error they get what is stale.

use crate::acts::{Act, Acts, Call, Ticket};
use crate::cache_status::StaleFor;
use crate::config::Refresh as Settings;
use crate::counters::Event;
use crate::exchange::storable::{GRPC_STATUS, is_error, is_error_of_call, storable};
use crate::host::{Host, Of};
use crate::join::Outcome;
use crate::l1::{Answer, AnswerKey};
use crate::landing::Landed;
use crate::memory::Held;
use crate::wanted::Wanted;
use crate::worker::Worker;
use forebay_protocol::{call, header};
use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

/// Refreshes that wait to be sent or are under way, in one worker.
const MOST: usize = 64;
/// After one that failed the next one of its key waits so long, in milliseconds.
const PAUSE_MS: u64 = 1000;
/// Failures that are remembered.
const MOST_FAILURES: usize = 1024;

/// A request whose answer is made anew.
#[derive(Debug)]
pub struct Refresh {
    /// What it wants.
    pub wanted: Rc<Wanted>,
    /// Its body, as it came.
    pub body: Vec<u8>,
    /// Its `inference-header-content-length`, as it came; "" for none.
    pub header_length: Vec<u8>,
    /// How its message is compressed (`grpc-encoding`), as it came; "" for not at all.
    pub grpc_encoding: Vec<u8>,
    /// What the body takes of the worker's memory, and the answer to it.
    pub held: Held,
    /// Who waits for it, if anybody does.
    pub led: Option<Led>,
}

/// A call that leads a flight by a refresh.
#[derive(Clone, Copy, Debug)]
pub struct Led {
    /// Its context.
    pub context: u32,
    /// How long it may take, in milliseconds.
    pub within_ms: u64,
}

/// What came of one that failed lately.
#[derive(Clone, Copy, Debug)]
struct Failure {
    /// When the next one of its key may begin.
    until_ms: u64,
    /// The backend can't answer now; else its answer is one that is not kept.
    is_error: bool,
}

/// Those of one worker.
#[derive(Debug, Default)]
pub struct Refreshes {
    settings: Option<Settings>,
    waiting: VecDeque<Refresh>,
    under_way: HashMap<u32, Refresh>,
    failed: HashMap<AnswerKey, Failure>,
    sent: u32,
}

impl Refreshes {
    /// None; `settings` say where they go, if anywhere.
    pub fn new(settings: Option<Settings>) -> Self {
        Self { settings, ..Self::default() }
    }

    /// Is there a backend for them?
    pub fn reach(&self, is_call: bool) -> bool {
        self.settings.as_ref().is_some_and(|settings| settings.cluster(is_call).is_some())
    }

    /// Shall one of that key begin? Of those that nobody waits for there are not too many; the others are bounded by what they hold.
    fn wants(&self, key: &AnswerKey, is_awaited: bool, now_ms: u64) -> bool {
        let all = || self.waiting.iter().chain(self.under_way.values());
        let pauses = self.failed.get(key).is_some_and(|failure| now_ms < failure.until_ms);
        let has_place = is_awaited || all().filter(|refresh| refresh.led.is_none()).count() < MOST;
        !pauses && has_place && all().all(|refresh| refresh.wanted.key != *key)
    }

    /// One of that key that nobody waits for yet leads a flight from now on. Returns whether there is one.
    fn lead(&mut self, key: &AnswerKey, led: Led) -> bool {
        let mut all = self.waiting.iter_mut().chain(self.under_way.values_mut());
        let found = all.find(|refresh| refresh.wanted.key == *key && refresh.led.is_none());
        found.map(|refresh| refresh.led = Some(led)).is_some()
    }

    /// Did the backend just fail to make that answer anew?
    pub fn has_failed(&self, key: &AnswerKey, now_ms: u64) -> bool {
        self.failed.get(key).is_some_and(|failure| failure.is_error && now_ms < failure.until_ms)
    }

    /// The callout of one that waited.
    fn send(&mut self, mut refresh: Refresh, identity: Vec<(&'static str, String)>) -> Option<Call> {
        let settings = self.settings.as_ref()?;
        let incoming = &refresh.wanted.incoming;
        let is_call = incoming.path.is_call();
        let cluster = settings.cluster(is_call)?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let mut headers: Vec<(Cow<'static, str>, String)> = vec![
            ("content-type".into(), text(&incoming.content_type)),
            (header::INFERENCE_HEADER_CONTENT_LENGTH.into(), text(&refresh.header_length)),
            (call::ENCODING.into(), text(&refresh.grpc_encoding)),
            ("accept".into(), text(&incoming.accept)),
            ("accept-encoding".into(), text(&incoming.accept_encoding)),
            ("te".into(), if is_call { "trailers".to_owned() } else { String::new() }),
        ];
        headers.extend(identity.into_iter().map(|(name, value)| (name.into(), value)));
        headers.extend(settings.headers.iter().map(|(name, value)| (name.clone().into(), value.clone())));
        headers.retain(|(_, value)| !value.is_empty());
        self.sent = self.sent.wrapping_add(1);
        let call = Call {
            ticket: Ticket::Refresh(self.sent),
            cluster: cluster.to_owned(),
            authority: settings.authority(is_call).to_owned(),
            method: "POST",
            path: incoming.path.text().to_owned().into(),
            headers,
            body: std::mem::take(&mut refresh.body),
            timeout_ms: refresh
                .led
                .map_or(settings.timeout_ms, |led| led.within_ms.clamp(1, settings.timeout_ms)),
        };
        self.under_way.insert(self.sent, refresh);
        Some(call)
    }

    /// Forgets which have failed.
    pub(crate) fn forget(&mut self) {
        self.failed.clear();
    }

    /// It gave nothing that can be kept: others of its key wait.
    fn failed(&mut self, key: AnswerKey, is_error: bool, now_ms: u64) {
        if self.failed.len() >= MOST_FAILURES {
            self.failed.retain(|_, failure| now_ms < failure.until_ms);
        }
        if self.failed.len() < MOST_FAILURES {
            self.failed.insert(key, Failure { until_ms: now_ms.saturating_add(PAUSE_MS), is_error });
        }
    }
}

impl Worker {
    /// Has the answer to the callback's own request made anew, in the name of who leads by it, if anybody. Not if that is done already, or
    /// there is no room for its body.
    pub(crate) fn begin_refresh(
        &mut self,
        host: &dyn Host,
        (wanted, led): (&Rc<Wanted>, Option<Led>),
        now_ms: u64,
        acts: &mut Acts,
    ) -> bool {
        if let Some(led) = led
            && self.refreshes.lead(&wanted.key, led)
        {
            return true;
        }
        if !self.refreshes.wants(&wanted.key, led.is_some(), now_ms) {
            return false;
        }
        let (body, held) = (host.body(Of::Request, self.config.max_body_bytes), self.memory.hold());
        let Some(body) = body.filter(|body| !body.is_empty() && held.grow_to(body.len())) else {
            return false;
        };
        let headers = host.headers(Of::Request);
        let copy = |name| headers.first(name).unwrap_or_default().to_vec();
        let (header_length, grpc_encoding) =
            (copy(header::INFERENCE_HEADER_CONTENT_LENGTH), copy(call::ENCODING));
        let refresh = Refresh { wanted: wanted.clone(), body, header_length, grpc_encoding, held, led };
        self.refreshes.waiting.push_back(refresh);
        self.wake(acts);
        true
    }

    /// Has the next one sent when the root context comes again.
    pub(crate) fn refresh_soon(&mut self, acts: &mut Acts) {
        if !self.refreshes.waiting.is_empty() {
            self.wake(acts);
        }
    }

    /// One at a time: a callout is the last act of a callback.
    pub(crate) fn send_refresh(&mut self, acts: &mut Acts) {
        let Some(refresh) = self.refreshes.waiting.pop_front() else { return };
        self.refresh_soon(acts);
        let wanted = refresh.wanted.clone();
        let identity: Vec<_> = self.identity(wanted.incoming.tenant.as_ref()).collect();
        let call = self.refreshes.send(refresh, identity);
        acts.list.extend(call.map(|call| Act::Call(Box::new(call))));
    }

    /// A refresh was answered with a body of that size, or (`None`) failed.
    pub(crate) fn refreshed(&mut self, host: &dyn Host, number: u32, body_size: Option<usize>) {
        let Some(refresh) = self.refreshes.under_way.remove(&number) else { return };
        let now_ms = host.now_ms();
        self.live.refresh(host);
        let answer = body_size.and_then(|size| self.made_anew(host, &refresh, size, now_ms)).map(Rc::new);
        let Refresh { wanted, held, led, .. } = refresh;
        let landed = if let Some(answer) = answer {
            self.counters.event(Event::Refreshed);
            self.l1.store(host, wanted.key, &answer, true);
            self.l1.alias(&wanted);
            led.map(|led| Landed::by_callout(wanted.key, answer, led.context, held))
        } else {
            let is_error = body_size.is_none()
                || is_error(&host.headers(Of::Call))
                || [Of::Call, Of::CallTrailers].iter().any(|of| is_error_of_call(&host.headers(*of)));
            self.counters.event(Event::RefreshFailed);
            self.refreshes.failed(wanted.key, is_error, now_ms);
            let stale = led.filter(|_| is_error).and_then(|_| self.instead_of_error(host, &wanted, now_ms));
            stale.map(|stale| Landed::stale(wanted.key, stale, StaleFor::Error, held))
        };
        if let Some(led) = led {
            // Whatever else it said, the upstream shall say itself to one of those who wait.
            let outcome = landed.map_or(Outcome::Failed, |landed| Outcome::Answer(Rc::new(landed)));
            self.finish(led.context, &wanted, outcome, now_ms);
        }
    }

    /// The answer to a refresh, with a body of that size, if it is one that is kept.
    fn made_anew(&self, host: &dyn Host, refresh: &Refresh, size: usize, now_ms: u64) -> Option<Answer> {
        let Refresh { wanted, held, .. } = refresh;
        let storable = storable(&host.headers(Of::Call), wanted, self.terms(&wanted.incoming)).ok()?;
        let body = host.body(Of::Call, size).filter(|_| held.grow_by(size))?;
        let is_call = wanted.incoming.path.is_call();
        let is_ok = !is_call || host.headers(Of::CallTrailers).first(GRPC_STATUS) == Some(b"0");
        let is_whole = is_ok && body.len() == size && storable.is_whole(&body);
        storable.answer(body, now_ms, is_call, self.room_to_inflate()).filter(|_| is_whole)
    }
}
