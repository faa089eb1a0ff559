//! V2 over HTTP, and over [`grpc`]: how a request reads and how an answer is written, in headers and bytes. The stages know requests
//! by digest and answers as [`Answer`]; what either looks like to a client is known here alone.
//!
//! ```text
//! read        a request's body -> digest, wanted encoding, id
//! keep        the upstream's bytes -> bytes to keep, without an id
//! from_entry  the pool's entry -> an answer in the wanted encoding
//! send        a reply -> status, headers, body
//! ```

pub mod grpc;

use crate::cache_status::Bypass;
use crate::l1::Answer;
use crate::reply::Reply;
use bytes::Bytes;
use forebay_protocol::cache_control::ResponseDirectives;
use forebay_protocol::digest::{Digest, Scope, Uncacheable, digest};
use forebay_protocol::entry::{Entry, Field};
use forebay_protocol::fields;
use forebay_protocol::limits::Limits;
use forebay_protocol::manner::Manner;
use forebay_protocol::messages::ModelInferRequest;
use forebay_protocol::path::InferPath;
use forebay_protocol::response::Encoded;
use forebay_protocol::wants::{Form, Wants};
use forebay_protocol::{call, header, request, response};

const CACHE_CONTROL: &str = "cache-control";

/// A request that was parsed.
#[derive(Clone, Debug)]
pub struct Parsed {
    /// What is asked.
    pub digest: Digest,
    /// In which encoding.
    pub wants: Wants,
    /// The client's id; "" for none.
    pub id: String,
}

impl Parsed {
    /// Bytes of what has no fixed size.
    pub fn bytes(&self) -> usize {
        let outputs = self.wants.outputs.iter();
        let names = outputs.map(|wanted| size_of_val(wanted).saturating_add(wanted.0.len()));
        names.fold(self.id.len(), usize::saturating_add)
    }
}

/// Reads a request.
///
/// # Errors
/// [`Bypass`]: it is not understood without doubt, or not for a cache.
pub fn read(
    scope: &Scope<'_>,
    path: &InferPath<'_>,
    header_length: Option<usize>,
    body: Vec<u8>,
    max_body_bytes: usize,
) -> Result<Parsed, Bypass> {
    let limits = Limits { max_body_bytes, ..Limits::default() };
    let request =
        request::decode(path, header_length, &Bytes::from(body), &limits).map_err(|_| Bypass::Malformed)?;
    parsed(scope, &request, Wants::of(&request))
}

fn parsed(scope: &Scope<'_>, request: &ModelInferRequest, wants: Wants) -> Result<Parsed, Bypass> {
    Manner::of(request).map_err(|_| Bypass::Malformed)?;
    let digest = digest(scope, request).map_err(|why| match why {
        Uncacheable::SharedMemory => Bypass::SharedMemory,
        Uncacheable::Sequence => Bypass::Sequence,
        Uncacheable::NotCanonical { .. } => Bypass::Malformed,
    })?;
    Ok(Parsed { digest, wants, id: request.id.clone() })
}

/// Bytes of the upstream's, as they are kept: without an id, unless `verbatim`. `None`: they are not an answer.
pub fn keep(body: Vec<u8>, header_length: Option<usize>, verbatim: bool) -> Option<Encoded> {
    let json = body.get(..header_length.unwrap_or(body.len())).unwrap_or_default();
    // Looking for the text is many times faster than reading the JSON, and most answers have no id. A name may be escaped.
    let has_none =
        || memchr::memmem::find(json, b"\"id\"").is_none() && memchr::memchr(b'\\', json).is_none();
    if verbatim || has_none() {
        return Some(Encoded { header_length, body });
    }
    response::without_id(&body, header_length).ok()
}

/// Room that [`from_entry`] may need, in bytes: a value of one byte is five of JSON (`-128,`, `false`) and a comma.
pub fn most_bytes(entry: &Entry) -> usize {
    let outputs = entry.response.iter().flat_map(|response| &response.raw_output_contents);
    outputs.map(Bytes::len).fold(0, usize::saturating_add).saturating_mul(6)
}

/// An entry of the pool, encoded as a request wants it; `None` when it can't be. Its times are the pool's: `skew_ms` is how far
/// that clock is ahead of this one.
pub fn from_entry(entry: &Entry, wants: &Wants, skew_ms: i64) -> Option<Answer> {
    let encoded = response::encode(entry.response.as_ref()?, wants, "").ok()?;
    let kept = entry.fields.iter().filter(|field| !fields::is_of_encoding(&field.name));
    let mut kept: Vec<Field> = kept.cloned().collect();
    let cache_control = kept.iter().filter(|field| field.name == CACHE_CONTROL).map(|field| &field.value[..]);
    let said = ResponseDirectives::parse(cache_control);
    if said.is_none() {
        kept.retain(|field| field.name != CACHE_CONTROL);
        kept.push(field(CACHE_CONTROL, format!("max-age={}", entry.max_age_s)));
    }
    let is_message = wants.default == Form::Message;
    let content_type = if is_message { call::CONTENT_TYPE } else { encoded.content_type() };
    kept.push(field("content-type", content_type.to_owned()));
    Some(Answer {
        generation: entry.generation(),
        is_said_so: false,
        created_ms: entry.created_ms.saturating_add_signed(skew_ms.saturating_neg()),
        freshness: entry.freshness(),
        cost_us: entry.cost_us,
        with_authorization: said.is_some_and(|said| said.with_authorization),
        fields: kept,
        header_length: encoded.header_length,
        verbatim: false,
        body: encoded.body,
    })
}

/// A field as text: the proxy's interface takes nothing else, and what is none was not stored.
fn text(field: &Field) -> (&str, &str) {
    (&field.name, std::str::from_utf8(&field.value).unwrap_or_default())
}

fn field(name: &str, value: String) -> Field {
    Field { name: name.to_owned(), value: value.into() }
}

/// What the proxy is asked to answer with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Local<'a> {
    /// Over HTTP: status, headers, body.
    Http(u32, Vec<(&'a str, &'a str)>, &'a [u8]),
    /// Over gRPC: `DEADLINE_EXCEEDED`, with that message and metadata.
    Late(&'a str, Vec<(&'a str, &'a str)>),
}

/// Writes `reply`, to be handed to the proxy. (Kept answers to calls are written by [`grpc`].)
pub fn send(reply: &Reply, write: impl FnOnce(Local<'_>)) {
    const LATE: &str = "the call's time was over while it waited for an equal one";
    const UNSATISFIABLE: &str = "no fresh result is cached, and the request says only-if-cached";
    match reply {
        Reply::Kept { answer, id, status, now_ms } => {
            send_kept(answer, id, &status.to_string(), *now_ms, write);
        }
        Reply::Unsatisfiable { status, is_call } => {
            let status = status.to_string();
            let mut headers = vec![(header::CACHE_STATUS, status.as_str())];
            if *is_call {
                return write(Local::Late(UNSATISFIABLE, headers));
            }
            headers.push(("content-type", header::CONTENT_TYPE_JSON));
            write(Local::Http(504, headers, &response::error_body(UNSATISFIABLE)));
        }
        Reply::Late { status } => {
            write(Local::Late(LATE, vec![(header::CACHE_STATUS, status.to_string().as_str())]));
        }
    }
}

fn send_kept(answer: &Answer, id: &str, status: &str, now_ms: u64, write: impl FnOnce(Local<'_>)) {
    let with_id = (!id.is_empty() && !answer.verbatim)
        .then(|| response::with_id(&answer.body, answer.header_length, id));
    let (body, header_length) = match &with_id {
        Some(encoded) => (encoded.body.as_slice(), encoded.header_length),
        None => (answer.body.as_slice(), answer.header_length),
    };
    let header_length = header_length.map(|length| length.to_string());
    let said = Said::of(answer, now_ms);
    let mut headers = said.headers(answer, status);
    if let Some(length) = &header_length {
        headers.push((header::INFERENCE_HEADER_CONTENT_LENGTH, length));
    }
    write(Local::Http(200, headers, body));
}

/// What a hit says of its answer, whatever the encoding.
struct Said {
    age: String,
    generation: Option<String>,
}

impl Said {
    fn of(answer: &Answer, now_ms: u64) -> Self {
        Self {
            age: answer.age_s(now_ms).to_string(),
            // The operator's word is nobody else's.
            generation: answer.generation.as_ref().filter(|_| !answer.is_said_so).map(ToString::to_string),
        }
    }

    /// With the fields that are kept with the answer.
    fn headers<'a>(&'a self, answer: &'a Answer, status: &'a str) -> Vec<(&'a str, &'a str)> {
        let mut headers: Vec<(&str, &str)> = answer.fields.iter().map(text).collect();
        headers.extend([(header::AGE, self.age.as_str()), (header::CACHE_STATUS, status)]);
        headers.extend(self.generation.iter().map(|it| (header::X_FOREBAY_GENERATION, it.as_str())));
        headers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_id_is_kept_however_its_name_is_written() {
        for name in ["id", "\\u0069d", "i\\u0064"] {
            let body = format!(r#"{{"model_name":"m","{name}":"mine","outputs":[]}}"#);
            let kept = keep(body.into_bytes(), None, false).unwrap();
            let text = String::from_utf8(kept.body).unwrap();
            assert!(!text.contains("mine") && text.contains("outputs"), "{name}: {text}");
        }
        let escaped = br#"{"model_name":"m","outputs":[{"name":"a\\b"}]}"#.to_vec();
        assert_eq!(keep(escaped.clone(), None, false).unwrap().body, escaped);
    }
}
