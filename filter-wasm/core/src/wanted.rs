//! What a request wants. Its headers enter as [`Incoming`]; with its body it is understood, and leaves as [`Wanted`]: under which
//! keys its answer is kept, and which flight it belongs to.

use crate::cache_status::Bypass;
use crate::config::Config;
use crate::encoding::{self, Parsed};
use crate::join::FlightKey;
use crate::l1::{Answer, AnswerKey, answer_key};
use crate::live::Asked;
use crate::memory::Held;
use crate::reply::Reply;
use crate::worker::RouteSettings;
use forebay_protocol::cache_control::RequestDirectives;
use forebay_protocol::call::{self, message};
use forebay_protocol::digest::{Digest, RawKeyParts, Scope, raw_key};
use forebay_protocol::limits::Limits;
use forebay_protocol::path::{InferPath, InferTarget};
use forebay_protocol::request;
use forebay_protocol::tenant::Tenant;
use std::borrow::Cow;
use std::cell::RefCell;
use std::ops::Range;
use std::rc::Rc;

/// An infer path, parsed once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelPath {
    text: String,
    model: Part,
    version: Part,
    has_query: bool,
    is_call: bool,
}

/// A name within a path.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    /// As it stands there.
    Plain(Range<usize>),
    /// Of what stands there escaped.
    Decoded(String),
}

/// What the headers said, kept until the body is there and as long as the answer is waited for.
#[derive(Debug)]
pub struct Incoming {
    /// What holds on its route.
    pub route: RouteSettings,
    /// Who may share results; `None` without tenants.
    pub tenant: Option<Tenant>,
    /// It carries what forbids shared caching, unless the answer allows it.
    pub restricted: bool,
    /// Which model.
    pub path: ModelPath,
    /// `content-type`, "" when there is none.
    pub content_type: Vec<u8>,
    /// `inference-header-content-length` as it came.
    pub header_length_raw: Vec<u8>,
    /// The same as a number.
    pub header_length: Option<usize>,
    /// All values of `accept`.
    pub accept: Vec<u8>,
    /// All values of `accept-encoding`.
    pub accept_encoding: Vec<u8>,
    /// `traceparent`, for the gate; "" when there is none that can be one.
    pub traceparent: Vec<u8>,
    /// `cache-control`.
    pub directives: RequestDirectives,
    /// Until when a call wants its answer.
    pub deadline: Option<Deadline>,
    /// Of a call: routes were told whom it asks.
    pub is_told: bool,
    /// What all this takes of the worker's memory, and what was parsed of the body later.
    pub held: Held,
}

/// When a call's time is over, in milliseconds by the worker's clock without its leaps.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    /// All of it.
    pub over_ms: u64,
    /// Three quarters: from here on it has what is stale rather than nothing in the end.
    pub soon_ms: u64,
}

impl Deadline {
    /// Of one that has so long from `now_ms` on.
    pub fn after(now_ms: u64, timeout_ms: u64) -> Self {
        let over_ms = now_ms.saturating_add(timeout_ms);
        Self { over_ms, soon_ms: over_ms.saturating_sub(timeout_ms / 4) }
    }
}

/// What a request under way takes beside its texts, in bytes: its context, its state, its tenant, and theirs of the allocator.
const OVERHEAD_BYTES: usize = 1024;

/// A request that is understood well enough to be looked up and stored.
#[derive(Debug)]
pub struct Wanted {
    /// What its headers said.
    pub incoming: Incoming,
    /// Where its answer is kept.
    pub key: AnswerKey,
    /// The exact request but for an id in front, to find it without parsing the next time; `None` when it has an id elsewhere, or came
    /// for the first time and is large.
    pub raw_key: Option<AnswerKey>,
    /// Which flight it belongs to: what is asked, in whatever encoding.
    pub flight: FlightKey,
    /// Size of its body, which waits with it.
    pub body_bytes: usize,
    /// What the body takes of the worker's memory until it goes on.
    pub body: Held,
    /// What was parsed; `None` for what is known by its bytes alone.
    pub parsed: Option<Parsed>,
    /// A call's, from whoever finds it until the proxy's answer comes by, to be made this one.
    pub reply: RefCell<Option<Reply>>,
    /// What it may have instead of an error: an answer that is not fresh any more.
    pub stale: RefCell<Option<Rc<Answer>>>,
}

impl ModelPath {
    /// The path of an infer route; `None` for others.
    pub fn parse(text: &str) -> Option<Self> {
        let InferTarget { model, version, has_query } = InferTarget::parse(text)?;
        let part = |name: Cow<'_, str>| match name {
            // A version that is not there is "", which lies anywhere.
            Cow::Borrowed("") => Part::Plain(0..0),
            Cow::Borrowed(name) => {
                let start = (name.as_ptr() as usize).saturating_sub(text.as_ptr() as usize);
                Part::Plain(start..start.saturating_add(name.len()))
            }
            Cow::Owned(name) => Part::Decoded(name),
        };
        Some(Self {
            model: part(model),
            version: part(version),
            has_query,
            is_call: false,
            text: text.to_owned(),
        })
    }

    /// The path of a call that asks for an inference, of whom its message says later.
    pub fn of_call() -> Self {
        let nobody = || Part::Plain(0..0);
        Self {
            model: nobody(),
            version: nobody(),
            has_query: false,
            is_call: true,
            text: call::INFER.to_owned(),
        }
    }

    /// Asked over gRPC.
    pub fn is_call(&self) -> bool {
        self.is_call
    }

    /// The whole path.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Its parts.
    pub fn infer(&self) -> InferPath<'_> {
        let part = |part| match part {
            &Part::Plain(Range { start, end }) => self.text.get(start..end).unwrap_or_default(),
            Part::Decoded(name) => name,
        };
        InferPath { model: part(&self.model), version: part(&self.version) }
    }
}

impl Incoming {
    /// To what an answer belongs that may be given to it.
    pub fn asked<'a>(&'a self, service: &'a str) -> Asked<'a> {
        let (path, tenant) = (self.path.infer(), self.tenant.as_ref());
        let tenant = tenant.map_or("", Tenant::as_str);
        Asked { service, model: path.model, version: path.version, tenant }
    }

    /// The request in its body, and its id, which was taken out of it where it comes first: requests that differ in nothing else are
    /// one to their raw key. Of a call it is the message, of at most `room` bytes, which says whom it asks.
    ///
    /// # Errors
    /// It is no message, or there is no room for it.
    pub fn open(&mut self, mut body: Vec<u8>, room: usize) -> Result<(String, Vec<u8>), Bypass> {
        if !self.path.is_call {
            return Ok((self.take_id(&mut body).unwrap_or_default(), body));
        }
        let mut message = encoding::grpc::open(body, room)?;
        let asked = message::asked(&message).ok_or(Bypass::Malformed)?;
        if asked.id.len() > Limits::default().max_id_bytes {
            return Err(Bypass::Malformed);
        }
        self.path.model = Part::Decoded(asked.model);
        self.path.version = Part::Decoded(asked.version);
        message.drain(asked.id_at);
        Ok((asked.id, message))
    }

    /// Holds what the headers said, if there is room.
    #[must_use]
    pub fn takes_room(&self) -> bool {
        let Self { path, content_type, header_length_raw, accept, accept_encoding, traceparent, .. } = self;
        let texts =
            [path.text.as_bytes(), content_type, header_length_raw, accept, accept_encoding, traceparent];
        let bytes = texts.into_iter().map(<[u8]>::len).fold(OVERHEAD_BYTES, usize::saturating_add);
        self.held.grow_by(bytes)
    }

    /// May a stored answer be given at all?
    pub fn looks_up(&self) -> bool {
        !self.directives.no_cache
    }

    /// Whose cache it is.
    pub fn scope<'a>(&'a self, service: &'a str) -> Scope<'a> {
        Scope { service, tenant: self.tenant.as_ref() }
    }

    /// Takes the id out of `body`, where it comes first in JSON. What the headers said of the body is then said of the rest.
    fn take_id(&mut self, body: &mut Vec<u8>) -> Option<String> {
        // With a query all is known by its bytes, and answers are kept with the id that they came with.
        if self.path.has_query {
            return None;
        }
        let id = request::take_id(body, self.header_length.unwrap_or(body.len()), &Limits::default())?;
        if let Some(length) = &mut self.header_length {
            *length = length.saturating_sub(id.len());
            self.header_length_raw = length.to_string().into_bytes();
        }
        Some(id)
    }

    /// This very request, bytes and all, as its raw key names it.
    pub fn raw_parts<'a>(&'a self, service: &'a str, body: &'a [u8]) -> RawKeyParts<'a> {
        RawKeyParts {
            scope: self.scope(service),
            path: self.path.text(),
            content_type: &self.content_type,
            header_length: &self.header_length_raw,
            accept: &self.accept,
            accept_encoding: &self.accept_encoding,
            body,
        }
    }
}

/// What a body is read with.
#[derive(Clone, Copy)]
pub struct Reading<'a> {
    /// The settings.
    pub config: &'a Config,
    /// The name of the service that is asked.
    pub service: &'a str,
    /// The epoch of the live generations: an answer computed before a change is not joined after it.
    pub epoch: u64,
}

impl Wanted {
    /// Parses and digests; what is not parsed (JSON over the limit, a body without JSON, a path with a query) keeps its raw key as
    /// the only name of its answer. `id` was taken out of the body, or is ""; `held` holds what of it was counted while it came.
    ///
    /// # Errors
    /// Why it passes unlooked-at.
    pub fn read(
        incoming: Incoming,
        raw_key: Option<AnswerKey>,
        (id, body, held): (String, Vec<u8>, Held),
        reading: Reading<'_>,
    ) -> Result<Self, Bypass> {
        let body_bytes = body.len().saturating_add(id.len());
        let understood = understand(&incoming, raw_key, body, reading)?;
        let (what, key, mut parsed) = match understood {
            Understood::Parsed(parsed) => {
                let key = answer_key(&parsed.digest, &parsed.wants, &incoming.accept_encoding);
                (parsed.digest.0, key, Some(parsed))
            }
            Understood::Exact(raw_key) => (raw_key, raw_key, None),
        };
        let repeatable = parsed.as_ref().is_none_or(|parsed| parsed.id.is_empty());
        if let Some(parsed) = parsed.as_mut().filter(|parsed| parsed.id.is_empty()) {
            parsed.id = id;
        }
        if !incoming.held.grow_by(parsed.as_ref().map_or(0, Parsed::bytes)) {
            return Err(Bypass::OutOfMemory);
        }
        Ok(Self {
            incoming,
            key,
            raw_key: raw_key.filter(|_| repeatable),
            flight: FlightKey { what, epoch: reading.epoch },
            body_bytes,
            body: held,
            parsed,
            reply: RefCell::default(),
            stale: RefCell::default(),
        })
    }

    /// What is asked, where it was parsed.
    pub fn digest(&self) -> Option<&Digest> {
        self.parsed.as_ref().map(|parsed| &parsed.digest)
    }

    /// Is its time over by then? What is stale it has earlier.
    pub fn is_late(&self, now_ms: u64) -> bool {
        self.incoming.deadline.is_some_and(|deadline| {
            let at_ms = if self.stale.borrow().is_some() { deadline.soon_ms } else { deadline.over_ms };
            now_ms >= at_ms
        })
    }

    /// The client's id; "" for none.
    pub fn id(&self) -> &str {
        self.parsed.as_ref().map_or("", |parsed| &parsed.id)
    }
}

/// By what a request is known.
enum Understood {
    /// What it asks.
    Parsed(Parsed),
    /// Its bytes, of which the raw key is: it is not parsed here.
    Exact(AnswerKey),
}

fn understand(
    incoming: &Incoming,
    key: Option<AnswerKey>,
    body: Vec<u8>,
    reading: Reading<'_>,
) -> Result<Understood, Bypass> {
    let Reading { config, service, .. } = reading;
    if incoming.path.is_call {
        let (scope, path) = (incoming.scope(service), incoming.path.infer());
        return encoding::grpc::read(&scope, &path, body, config.max_body_bytes).map(Understood::Parsed);
    }
    let exact = || Understood::Exact(key.unwrap_or_else(|| raw_key(&incoming.raw_parts(service, &body))));
    // Without JSON the tensor's shape is the model's to say; of a query nobody says what it does.
    if incoming.header_length == Some(0) || incoming.path.has_query {
        return Ok(exact());
    }
    let json_bytes = incoming.header_length.unwrap_or(body.len());
    if json_bytes > body.len() {
        return Err(Bypass::Malformed);
    }
    if json_bytes > config.max_json_bytes {
        let has_id = memchr::memmem::find(&body, b"\"id\"").is_some();
        return if has_id { Err(Bypass::JsonTooLarge) } else { Ok(exact()) };
    }
    let (scope, path) = (incoming.scope(service), incoming.path.infer());
    encoding::read(&scope, &path, incoming.header_length, body, config.max_body_bytes).map(Understood::Parsed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_keeps_its_parts() {
        for (text, model, version) in [
            ("/v2/models/m/infer", "m", ""),
            ("/v2/models/a.b/versions/3/infer", "a.b", "3"),
            ("/v2/models/v2/versions/models/infer", "v2", "models"),
            ("/v2/models/a%2Fb/versions/3/infer", "a/b", "3"),
            ("/v2/models/m/versions/%33/infer?x", "m", "3"),
        ] {
            let path = ModelPath::parse(text).unwrap();
            assert_eq!((path.text(), path.infer()), (text, InferPath { model, version }));
        }
        assert_eq!(ModelPath::parse("/v2/models/m"), None);
    }
}
