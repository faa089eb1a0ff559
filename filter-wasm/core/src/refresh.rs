//! Stale answers are made anew behind the requests that were given them. A request and its body enter; a callout to a backend leaves, from
//! the root context, which outlives the request; its answer enters L1 as any upstream's does. Of what is equal one at a time is
//! under way, and one that fails is not tried again at once: so no herd of them meets a backend.

use crate::acts::{Act, Acts, Call, Ticket};
use crate::config::Refresh as Settings;
use crate::counters::Event;
use crate::exchange::storable::{GRPC_STATUS, storable};
use crate::host::{Host, Of};
use crate::l1::AnswerKey;
use crate::memory::Held;
use crate::wanted::Wanted;
use crate::worker::Worker;
use forebay_protocol::header;
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
    /// What the body takes of the worker's memory, and the answer to it.
    pub held: Held,
}

/// Those of one worker.
#[derive(Debug, Default)]
pub struct Refreshes {
    settings: Option<Settings>,
    waiting: VecDeque<Refresh>,
    under_way: HashMap<u32, Refresh>,
    /// Keys that failed, and when they may be tried again.
    failed: HashMap<AnswerKey, u64>,
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

    /// Shall one of that key begin?
    pub fn wants(&self, key: &AnswerKey, now_ms: u64) -> bool {
        let all = || self.waiting.iter().chain(self.under_way.values());
        let pauses = self.failed.get(key).is_some_and(|until_ms| now_ms < *until_ms);
        !pauses && all().count() < MOST && all().all(|refresh| refresh.wanted.key != *key)
    }

    /// Begins one: it is sent when the root context comes.
    pub fn begin(&mut self, refresh: Refresh) {
        self.waiting.push_back(refresh);
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
            timeout_ms: settings.timeout_ms,
        };
        self.under_way.insert(self.sent, refresh);
        Some(call)
    }

    /// Forgets which have failed.
    pub(crate) fn forget(&mut self) {
        self.failed.clear();
    }

    /// It gave nothing that can be kept: others of its key wait.
    fn failed(&mut self, key: AnswerKey, now_ms: u64) {
        if self.failed.len() >= MOST_FAILURES {
            self.failed.retain(|_, until_ms| now_ms < *until_ms);
        }
        if self.failed.len() < MOST_FAILURES {
            self.failed.insert(key, now_ms.saturating_add(PAUSE_MS));
        }
    }
}

impl Worker {
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
        let (wanted, now_ms) = (refresh.wanted, host.now_ms());
        let answer = body_size.and_then(|size| {
            let headers = host.headers(Of::Call);
            let storable = storable(&headers, &wanted, self.terms(&wanted.incoming)).ok()?;
            let body = host.body(Of::Call, size).filter(|_| refresh.held.grow_by(size))?;
            let is_call = wanted.incoming.path.is_call();
            let is_ok = !is_call || host.headers(Of::CallTrailers).first(GRPC_STATUS) == Some(b"0");
            let is_whole = is_ok && body.len() == size && storable.is_whole(&body);
            storable.answer(body, now_ms, is_call, self.room_to_inflate()).filter(|_| is_whole)
        });
        let Some(answer) = answer else {
            self.counters.event(Event::RefreshFailed);
            return self.refreshes.failed(wanted.key, now_ms);
        };
        self.counters.event(Event::Refreshed);
        self.l1.store(host, wanted.key, &Rc::new(answer), true);
        self.l1.alias(&wanted);
    }
}
