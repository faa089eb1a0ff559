//! May an upstream's answer be stored, going by its headers? They enter; what they say of it leaves, or why it may not.

use crate::cache_status::NotStored;
use crate::config::Policy;
use crate::encoding;
use crate::host::Headers;
use crate::l1::Answer;
use crate::wanted::{Incoming, Wanted};
use crate::worker::Worker;
use forebay_protocol::cache_control::{Freshness, ResponseDirectives};
use forebay_protocol::digest::Generation;
use forebay_protocol::entry::Field;
use forebay_protocol::field_value::{age, content_length, members};
use forebay_protocol::response::Encoded;
use forebay_protocol::{fields, header, request};

/// What the headers of a storable answer say.
pub(crate) struct Storable {
    generation: Option<Generation>,
    /// That is the operator's word, and so is the freshness.
    is_said_so: bool,
    age_s: u32,
    freshness: Freshness,
    with_authorization: bool,
    cost_us: u64,
    fields: Vec<Field>,
    header_length: Option<usize>,
    pub(super) content_length: Option<usize>,
    /// It is kept as it comes: its bytes are encoded, or were asked for by a request too large to parse.
    verbatim: bool,
}

impl Storable {
    /// Is that all of its body, as far as it says?
    pub(crate) fn is_whole(&self, body: &[u8]) -> bool {
        self.content_length.is_none_or(|length| length == body.len())
    }

    /// The answer, with a whole body, whose headers came then. `None`: the body can't be kept. `room` is what a compressed message may
    /// be inflated to.
    pub(crate) fn answer(self, body: Vec<u8>, begun_ms: u64, is_call: bool, room: usize) -> Option<Answer> {
        let encoded = if is_call {
            encoding::grpc::keep(body, room).map(|body| Encoded { header_length: None, body })
        } else {
            encoding::keep(body, self.header_length, self.verbatim)
        }?;
        Some(Answer {
            generation: self.generation,
            is_said_so: self.is_said_so,
            created_ms: begun_ms.saturating_sub(u64::from(self.age_s).saturating_mul(1000)),
            freshness: self.freshness,
            cost_us: self.cost_us,
            with_authorization: self.with_authorization,
            fields: self.fields,
            header_length: encoded.header_length,
            verbatim: self.verbatim,
            body: encoded.body,
        })
    }
}

/// A call's status: before its message where there is none, behind it else.
pub(crate) const GRPC_STATUS: &str = "grpc-status";

/// Does the upstream, or the proxy in its place, say that it can't answer now (RFC 5861, 4)?
pub(crate) fn is_error(headers: &Headers) -> bool {
    matches!(headers.number::<u16>(":status"), Some(500 | 502..=504))
}

/// The same of a call's status: `UNKNOWN`, `DEADLINE_EXCEEDED`, `RESOURCE_EXHAUSTED`, `INTERNAL` and `UNAVAILABLE`.
pub(crate) fn is_error_of_call(headers: &Headers) -> bool {
    matches!(headers.number::<u8>(GRPC_STATUS), Some(2 | 4 | 8 | 13 | 14))
}

/// By what an answer is judged.
#[derive(Clone, Copy)]
pub(crate) struct Terms<'a> {
    /// It must say its generation, or the operator must.
    pub(crate) needs_generation: bool,
    pub(crate) max_bytes: usize,
    /// What the operator says of its model.
    pub(crate) policy: Option<&'a Policy>,
}

impl Terms<'_> {
    /// The operator's policy, of an upstream that says nothing itself.
    fn policy_for(&self, headers: &Headers) -> Option<&Policy> {
        let says = |name| headers.first(name).is_some();
        self.policy.filter(|_| !says("cache-control") && !says(header::X_FOREBAY_GENERATION))
    }
}

impl Worker {
    /// By what the answer to a request is judged.
    pub(crate) fn terms(&self, incoming: &Incoming) -> Terms<'_> {
        let (service, model) = (self.service(incoming.route.service), incoming.path.infer().model);
        Terms {
            needs_generation: self.config.gate.is_some(),
            max_bytes: self.l1.max_entry_bytes(),
            policy: self.config.policies.of(service, model),
        }
    }
}

/// Reads them.
pub(crate) fn storable(headers: &Headers, wanted: &Wanted, terms: Terms<'_>) -> Result<Storable, NotStored> {
    // What has a status before its message has none.
    let failed = |status: &[u8]| status != b"0";
    if headers.first(":status") != Some(b"200") || headers.values(GRPC_STATUS).any(failed) {
        return Err(NotStored::Status);
    }
    let policy = terms.policy_for(headers);
    let directives = match policy {
        Some(policy) => ResponseDirectives { freshness: policy.freshness(), with_authorization: false },
        None => ResponseDirectives::parse(headers.values("cache-control")).ok_or(NotStored::Uncacheable)?,
    };
    if wanted.incoming.restricted && !directives.with_authorization {
        return Err(NotStored::Authorized);
    }
    let encoded =
        headers.values("content-encoding").any(|encoding| !encoding.eq_ignore_ascii_case(b"identity"));
    if encoded && !wanted.id().is_empty() {
        return Err(NotStored::Encoded);
    }
    if headers.values("vary").any(varies) {
        return Err(NotStored::Varies);
    }
    let header_length = request::header_length(headers.values(header::INFERENCE_HEADER_CONTENT_LENGTH))
        .map_err(|_| NotStored::AmbiguousHeaders)?;
    let content_length = content_length(headers.values("content-length"));
    if content_length.is_some_and(|length| length > terms.max_bytes) {
        return Err(NotStored::TooLarge);
    }
    let said_so = policy.map(|policy| *policy.generation());
    let is_said_so = said_so.is_some();
    let generation = said_so.or_else(|| headers.number(header::X_FOREBAY_GENERATION));
    if terms.needs_generation && generation.is_none() {
        return Err(NotStored::NoGeneration);
    }
    // A name that is no text is not among those that pass, and what its value means nobody here knows.
    if headers.iter().any(|(name, _)| std::str::from_utf8(name).is_err()) {
        return Err(NotStored::Fields);
    }
    let pairs = headers.iter().map(|(name, value)| (std::str::from_utf8(name).unwrap_or_default(), value));
    let fields = fields::kept(pairs).map_err(|_| NotStored::Fields)?;
    // The proxy's interface takes no other back.
    if fields.iter().any(|field| std::str::from_utf8(&field.value).is_err()) {
        return Err(NotStored::Fields);
    }
    Ok(Storable {
        generation,
        is_said_so,
        age_s: age(headers.values(header::AGE)),
        freshness: directives.freshness.within(wanted.incoming.directives.ttl),
        with_authorization: directives.with_authorization,
        cost_us: headers.number(header::X_FOREBAY_COST_US).unwrap_or(0),
        fields,
        header_length,
        content_length,
        verbatim: encoded || wanted.parsed.is_none(),
    })
}

/// Does the answer vary with more than what its key holds, `Accept-Encoding`?
fn varies(value: &[u8]) -> bool {
    let held = |name: &&[u8]| name.eq_ignore_ascii_case(b"accept-encoding");
    !members(value).is_ok_and(|names| names.iter().all(held))
}
