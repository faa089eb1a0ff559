//! The gate: what is asked for enters, the lookup's callout leaves; its answer enters, an entry or none leaves. Behind a breaker,
//! so that a gate that is down costs nothing. The poll for live generations is [`crate::live`]'s.

mod breaker;

use crate::acts::{Call, Ticket};
use crate::config;
use crate::host::{Host, Of};
use crate::memory::{Held, Memory};
use breaker::Breaker;
use bytes::Bytes;
use forebay_protocol::digest::Digest;
use forebay_protocol::entry::{Entry, EntryError};
use forebay_protocol::lookups::{LATER, Lookup, Lookups, Outcome, Outcomes};
use forebay_protocol::tenant::Tenant;
use forebay_protocol::{gate, header};
use prost::Message as _;
use std::borrow::Cow;

/// What a lookup asks for.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The service.
    pub service: &'a str,
    /// Who may share results; `None` without tenants.
    pub tenant: Option<&'a Tenant>,
    /// The model's name.
    pub model: &'a str,
    /// The requested version, or "".
    pub version: &'a str,
    /// The request.
    pub digest: &'a Digest,
    /// The trace that it is of, or "".
    pub traceparent: &'a [u8],
    /// Nothing but the cache may answer (`only-if-cached`).
    pub only_if_cached: bool,
}

/// Milliseconds that such a lookup may take, if the settings don't give it more: an upstream, which would be faster, is not asked, so a
/// gate that is late for once is better than none.
const ONLY_IF_CACHED_MS: u64 = 1000;

/// Why the gate is not asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unasked {
    /// The model is never looked up in L2: so the settings say, or its name can't be sent.
    SkippedModel,
    /// The breaker is open.
    BreakerOpen,
}

/// What a lookup comes to.
#[derive(Clone, Debug, PartialEq)]
pub enum Looked {
    /// The pool has it. Whether it may be given is still to be seen.
    Entry(Box<Entry>),
    /// The pool does not have it.
    Miss,
    /// Gate and filter are of different versions, and don't understand each other.
    UnknownFormat,
    /// The pool has it, and there is no room for it here.
    OutOfMemory,
    /// The gate does not let this proxy ask, or not for this tenant. It is well: others may ask.
    Refused,
    /// The gate could not say.
    Failed,
}

/// The gate, as one worker knows it.
pub struct Gate {
    settings: config::Gate,
    breaker: Breaker,
}

impl Gate {
    /// A gate that is believed to be well.
    pub fn new(settings: config::Gate) -> Self {
        Self { settings, breaker: Breaker::default() }
    }

    /// May that be asked now?
    ///
    /// # Errors
    /// [`Unasked`]: it is not worth asking.
    pub fn admits(&mut self, question: &Question<'_>, now_ms: u64) -> Result<(), Unasked> {
        let is_skipped = self.settings.skip_models.iter().any(|model| model == question.model);
        if is_skipped || ![question.model, question.version].into_iter().all(is_field_value) {
            return Err(Unasked::SkippedModel);
        }
        if !question.only_if_cached && self.rests(now_ms) {
            return Err(Unasked::BreakerOpen);
        }
        Ok(())
    }

    /// Is it left alone now? An open breaker says no once each time it has waited.
    pub fn rests(&mut self, now_ms: u64) -> bool {
        !self.breaker.admits(now_ms)
    }

    /// The lookup to send.
    pub fn ask(&self, question: &Question<'_>) -> Call {
        let mut headers: Vec<(Cow<'static, str>, String)> = vec![
            (header::X_FOREBAY_SERVICE.into(), question.service.to_owned()),
            (header::X_FOREBAY_TENANT.into(), question.tenant.map_or("", Tenant::as_str).to_owned()),
            (header::X_FOREBAY_MODEL.into(), question.model.to_owned()),
            (header::X_FOREBAY_VERSION.into(), question.version.to_owned()),
            (header::X_FOREBAY_DIGEST.into(), question.digest.to_string()),
            (header::TRACEPARENT.into(), String::from_utf8_lossy(question.traceparent).into_owned()),
        ];
        headers.retain(|(_, value)| !value.is_empty());
        let mut timeout_ms = self.settings.timeout_ms;
        if question.only_if_cached {
            headers.push((header::CACHE_CONTROL.into(), "only-if-cached".to_owned()));
            timeout_ms = timeout_ms.max(ONLY_IF_CACHED_MS);
        }
        Call { headers, ..self.call(Ticket::Lookup, "GET", gate::LOOKUP_PATH, timeout_ms) }
    }

    /// Lookups that go together, of which the first has waited for so long.
    pub fn ask_together<'a>(
        &self,
        number: u32,
        questions: impl Iterator<Item = Question<'a>>,
        waited_ms: u64,
    ) -> Call {
        let lookups = Lookups { lookups: questions.map(lookup).collect() };
        let timeout_ms = self.settings.timeout_ms.saturating_sub(waited_ms).max(1);
        let call = self.call(Ticket::Lookups(number), "POST", gate::LOOKUPS_PATH, timeout_ms);
        Call { body: lookups.encode_to_vec(), ..call }
    }

    /// A lookup's deadline, in milliseconds.
    pub fn timeout_ms(&self) -> u64 {
        self.settings.timeout_ms
    }

    fn call(&self, ticket: Ticket, method: &'static str, path: &'static str, timeout_ms: u64) -> Call {
        Call {
            ticket,
            cluster: self.settings.cluster.clone(),
            authority: self.settings.authority().to_owned(),
            method,
            path: path.into(),
            headers: Vec::new(),
            body: Vec::new(),
            timeout_ms,
        }
    }

    /// How the gate did. A lookup of what only the cache may answer says nothing: it had more time than the others have.
    pub fn did(&mut self, looked: &Looked, only_if_cached: bool, now_ms: u64) {
        match looked {
            _ if only_if_cached => {}
            Looked::Failed => self.breaker.failed(now_ms),
            _ => self.breaker.succeeded(),
        }
    }
}

/// What a lookup came to that was answered with a body of that size, or (`None`) failed. What came is held, if there is room.
pub fn answered(host: &dyn Host, body_size: Option<usize>, held: &Held) -> Looked {
    body_size.map_or(Looked::Failed, |size| looked(host, size, held))
}

/// What came of that many lookups that went together, of each with what it holds; `None`: it was not made, for the answer was full.
///
/// # Errors
/// None of them was heard, and why: [`Looked::Failed`] and the like.
pub fn answered_together(
    host: &dyn Host,
    body_size: Option<usize>,
    lookups: usize,
    memory: &Memory,
) -> Result<Vec<(Option<Looked>, Held)>, Looked> {
    let size = body_size.ok_or(Looked::Failed)?;
    let headers = host.headers(Of::Call);
    match headers.number::<u16>(":status") {
        Some(200) if headers.number(header::X_FOREBAY_FORMAT) == Some(gate::FORMAT) => {}
        // One that knows single lookups only.
        Some(200 | 404 | 405) => return Err(Looked::UnknownFormat),
        Some(400..=499) => return Err(Looked::Refused),
        _ => return Err(Looked::Failed),
    }
    let all = memory.hold();
    let body = Some(size).filter(|size| all.grow_by(*size)).ok_or(Looked::OutOfMemory)?;
    let body = host.body(Of::Call, body).ok_or(Looked::Failed)?;
    let outcomes = Outcomes::parse(body.into(), lookups).ok_or(Looked::Failed)?;
    Ok(outcomes
        .into_iter()
        .map(|Outcome { status, entry }| {
            let held = memory.hold();
            let looked = match u16::try_from(status) {
                _ if status == LATER => None,
                // A copy: what one of them keeps shall not keep all.
                Ok(200) if held.grow_by(entry.len()) => Some(opened(Bytes::copy_from_slice(&entry))),
                Ok(status) => Some(of_status(status)),
                Err(_) => Some(Looked::Failed),
            };
            (looked, held)
        })
        .collect())
}

fn lookup(question: Question<'_>) -> Lookup {
    Lookup {
        service: question.service.to_owned(),
        tenant: question.tenant.map_or("", Tenant::as_str).to_owned(),
        model: question.model.to_owned(),
        version: question.version.to_owned(),
        digest: Bytes::copy_from_slice(&question.digest.0),
        traceparent: String::from_utf8_lossy(question.traceparent).into_owned(),
    }
}

/// Does a header arrive with that value? What is escaped in a path may be anything.
fn is_field_value(text: &str) -> bool {
    text.trim_ascii() == text && !text.contains(char::is_control)
}

fn looked(host: &dyn Host, size: usize, held: &Held) -> Looked {
    let headers = host.headers(Of::Call);
    let status = headers.number::<u16>(":status");
    if matches!(status, Some(200 | 404)) && headers.number(header::X_FOREBAY_FORMAT) != Some(gate::FORMAT) {
        return Looked::UnknownFormat;
    }
    match status {
        Some(200) if held.grow_by(size) => {
            host.body(Of::Call, size).map_or(Looked::Miss, |body| opened(body.into()))
        }
        status => status.map_or(Looked::Failed, of_status),
    }
}

/// What bytes are in place of an entry.
fn opened(bytes: Bytes) -> Looked {
    match Entry::decode_plain(bytes) {
        Ok(entry) => Looked::Entry(Box::new(entry)),
        Err(EntryError::UnknownVersion(_)) => Looked::UnknownFormat,
        Err(_) => Looked::Miss,
    }
}

/// What a status says where no entry can be had.
fn of_status(status: u16) -> Looked {
    match status {
        200 => Looked::OutOfMemory,
        404 => Looked::Miss,
        400..=499 => Looked::Refused,
        _ => Looked::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::double::Double;
    use crate::memory::Memory;

    const DIGEST: Digest = Digest([7; 32]);
    const QUESTION: Question<'_> = Question {
        service: "demo",
        tenant: None,
        model: "m",
        version: "",
        digest: &DIGEST,
        traceparent: b"",
        only_if_cached: false,
    };

    fn gate(json: &str) -> Gate {
        Gate::new(serde_json::from_str(json).unwrap())
    }

    fn held() -> Held {
        Memory::new(1 << 20).hold()
    }

    fn told(status: &str, body: &[u8]) -> Double {
        let host = Double::default();
        host.shows(Of::Call, &[(":status", status), ("x-forebay-format", "2")], body);
        host
    }

    #[test]
    fn a_lookup_is_what_the_protocol_fixes() {
        let golden = include_str!("../../../protocol/golden/2/lookups.json");
        for vector in serde_json::from_str::<Vec<serde_json::Value>>(golden).unwrap() {
            let text = |name: &str| vector[name].as_str().unwrap_or_default();
            let digest = Digest(blake3::Hash::from_hex(text("digest")).unwrap().into());
            let tenant = vector["tenant"].as_str().map(|tenant| Tenant::parse(tenant).unwrap());
            let question = Question {
                service: text("service"),
                tenant: tenant.as_ref(),
                model: text("model"),
                version: text("version"),
                digest: &digest,
                traceparent: b"",
                only_if_cached: vector["only_if_cached"] == true,
            };
            let call = gate(r#"{"cluster": "g", "timeout_ms": 3}"#).ask(&question);
            let timeout_ms = if question.only_if_cached { ONLY_IF_CACHED_MS } else { 3 };
            assert_eq!(
                (call.ticket, call.cluster.as_str(), call.timeout_ms),
                (Ticket::Lookup, "g", timeout_ms)
            );
            let sent = serde_json::json!({"method": call.method, "path": call.path, "headers": call.headers});
            assert_eq!(sent, vector["request"], "{}", vector["name"]);
        }
    }

    #[test]
    fn a_gate_that_does_not_name_its_format_is_of_another_version() {
        for status in ["200", "404"] {
            let host = Double::default();
            host.shows(Of::Call, &[(":status", status)], b"FBP2");
            assert_eq!(answered(&host, Some(4), &held()), Looked::UnknownFormat, "{status}");
        }
    }

    #[test]
    fn skipped_models_and_an_open_breaker_ask_nobody() {
        let mut skips = gate(r#"{"cluster": "g", "skip_models": ["m"]}"#);
        assert_eq!(skips.admits(&QUESTION, 0), Err(Unasked::SkippedModel));
        let mut broken = gate(r#"{"cluster": "g"}"#);
        for _ in 0..5 {
            assert!(broken.admits(&QUESTION, 0).is_ok());
            let looked = answered(&Double::default(), None, &held());
            assert_eq!(looked, Looked::Failed);
            broken.did(&looked, false, 0);
        }
        assert_eq!(broken.admits(&QUESTION, 1), Err(Unasked::BreakerOpen));
    }

    #[test]
    fn what_only_the_cache_may_answer_is_asked_in_any_case_and_says_nothing_of_the_others() {
        let only = Question { only_if_cached: true, ..QUESTION };
        let mut gate = gate(r#"{"cluster": "g"}"#);
        for _ in 0..20 {
            gate.did(&Looked::Failed, true, 0);
        }
        assert!(gate.admits(&QUESTION, 0).is_ok(), "it failed for those alone that had more time");
        for _ in 0..5 {
            gate.did(&Looked::Failed, false, 0);
        }
        assert!(gate.admits(&only, 1).is_ok());
        gate.did(&Looked::Miss, true, 1);
        assert_eq!(gate.admits(&QUESTION, 1), Err(Unasked::BreakerOpen), "it answered, but slowly perhaps");
    }

    #[test]
    fn an_entry_for_which_there_is_no_room_is_not_read_and_no_failure() {
        let mut gate = gate(r#"{"cluster": "g"}"#);
        let held = Memory::new(3).hold();
        for _ in 0..20 {
            let looked = answered(&told("200", b"FBP2"), Some(4), &held);
            assert_eq!(looked, Looked::OutOfMemory);
            gate.did(&looked, false, 0);
        }
        assert!(gate.admits(&QUESTION, 1).is_ok());
    }

    #[test]
    fn what_the_gate_says_is_told_apart() {
        for (status, body, looked) in [
            ("404", &b""[..], Looked::Miss),
            ("200", b"\xff\xff", Looked::Miss),
            ("503", b"", Looked::Failed),
            ("200", b"FBP3", Looked::UnknownFormat),
            ("401", b"", Looked::Refused),
            ("403", b"", Looked::Refused),
            ("\u{fffd}", b"", Looked::Failed),
        ] {
            assert_eq!(answered(&told(status, body), Some(body.len()), &held()), looked, "{status}");
        }
    }
}
