//! Stale answers are made anew behind the requests that were given them. A request and its body enter; a callout to a backend leaves, from
//! the root context, which outlives the request; its answer enters L1 as any upstream's does. Of what is equal one at a time is
//! under way, and one that fails is not tried again at once: so no herd of them meets a backend.

use crate::acts::{Call, Ticket};
use crate::config::Refresh as Settings;
use crate::l1::AnswerKey;
use crate::memory::Held;
use crate::wanted::Wanted;
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
    /// Its body, as it came, and of its JSON the length that it said.
    pub body: Vec<u8>,
    /// See there.
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

    /// Does none wait to be sent?
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The next callout, with what it says of its tenant.
    pub fn next(&mut self, whose: impl Fn(&Wanted) -> Vec<(&'static str, String)>) -> Option<Call> {
        let settings = self.settings.as_ref()?;
        let mut refresh = self.waiting.pop_front()?;
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
        headers.extend(whose(&refresh.wanted).into_iter().map(|(name, value)| (Cow::Borrowed(name), value)));
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

    /// The one of that number has ended.
    pub fn take(&mut self, number: u32) -> Option<Refresh> {
        self.under_way.remove(&number)
    }

    /// It gave nothing that can be kept: others of its key wait.
    pub fn failed(&mut self, key: AnswerKey, now_ms: u64) {
        if self.failed.len() >= MOST_FAILURES {
            self.failed.retain(|_, until_ms| now_ms < *until_ms);
        }
        if self.failed.len() < MOST_FAILURES {
            self.failed.insert(key, now_ms.saturating_add(PAUSE_MS));
        }
    }
}
