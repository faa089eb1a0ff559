//! The upstream's answer: judged when its headers come, collected chunk by chunk as it streams to the client, stored at its
//! end, and given to those who wait.

use super::{Exchange, State, Wanted};
use crate::cache_status::CacheStatus;
use crate::counters::Event;
use crate::host::{Headers, Host, first, values};
use crate::join::Outcome;
use crate::l1::Answer;
use crate::worker::Worker;
use forebay_protocol::cache_control::{Freshness, ResponseDirectives};
use forebay_protocol::digest::Generation;
use forebay_protocol::{header, request, response};
use std::rc::Rc;

/// An answer on its way through.
pub(super) struct Collecting {
    pub(super) wanted: Box<Wanted>,
    generation: Option<Generation>,
    created_ms: u64,
    /// When its headers came.
    begun_ms: u64,
    freshness: Freshness,
    header_length: Option<usize>,
    content_length: Option<usize>,
    body: Vec<u8>,
}

/// What the headers of a storable answer say.
struct Storable {
    generation: Option<Generation>,
    age_s: u64,
    freshness: Freshness,
    header_length: Option<usize>,
    content_length: Option<usize>,
}

impl Exchange {
    pub(super) fn response_begins(
        &mut self,
        worker: &mut Worker,
        host: &dyn Host,
        wanted: Box<Wanted>,
        end_of_stream: bool,
    ) {
        let headers = host.response_headers();
        let storable = storable(&headers, worker.config.gate.is_some(), worker.l1.max_entry_bytes())
            .and_then(|storable| if end_of_stream { Err("empty") } else { Ok(storable) });
        let stored = storable.as_ref().is_ok_and(|storable| storable.content_length.is_some());
        let detail = wanted.detail.or(storable.as_ref().err().copied());
        let status = CacheStatus::Miss { fwd: wanted.fwd, stored, detail };
        host.add_response_header(header::CACHE_STATUS, &status.to_string());
        match storable {
            Ok(Storable { generation, age_s, freshness, header_length, content_length }) => {
                let begun_ms = host.now_ms();
                self.state = State::Storing(Box::new(Collecting {
                    generation,
                    created_ms: begun_ms.saturating_sub(age_s.saturating_mul(1000)),
                    begun_ms,
                    freshness,
                    header_length,
                    content_length,
                    body: Vec::with_capacity(content_length.unwrap_or(0)),
                    wanted,
                }));
            }
            Err(_) => self.give_up(worker, host, &wanted),
        }
    }

    pub(super) fn collect(&mut self, worker: &mut Worker, host: &dyn Host, size: usize, end_of_stream: bool) {
        let State::Storing(mut collecting) = std::mem::replace(&mut self.state, State::Done) else { return };
        let chunk = if size > 0 { host.response_chunk(size) } else { Some(Vec::new()) };
        let fits = |chunk: &Vec<u8>| {
            chunk.len() == size && collecting.body.len().saturating_add(size) <= worker.l1.max_entry_bytes()
        };
        let Some(chunk) = chunk.filter(fits) else {
            return self.give_up(worker, host, &collecting.wanted);
        };
        collecting.body.extend_from_slice(&chunk);
        if end_of_stream {
            self.store(worker, host, *collecting);
        } else {
            self.state = State::Storing(collecting);
        }
    }

    /// The answer is complete.
    fn store(&mut self, worker: &mut Worker, host: &dyn Host, collecting: Collecting) {
        let Collecting {
            wanted,
            generation,
            created_ms,
            begun_ms,
            freshness,
            header_length,
            content_length,
            body,
        } = collecting;
        let whole = content_length.is_none_or(|length| length == body.len());
        let verbatim = wanted.parsed.is_none();
        let json = body.get(..header_length.unwrap_or(body.len())).unwrap_or_default();
        // Looking for the text is many times faster than reading the JSON, and most answers have no id.
        let encoded = if verbatim || memchr::memmem::find(json, b"\"id\"").is_none() {
            Some(response::Encoded { header_length, body })
        } else {
            response::without_id(&body, header_length).ok()
        };
        let Some(encoded) = encoded.filter(|_| whole) else {
            return self.give_up(worker, host, &wanted);
        };
        let answer = Rc::new(Answer {
            generation,
            created_ms,
            stored_ms: begun_ms,
            max_age_s: freshness.max_age_s,
            header_length: encoded.header_length,
            verbatim,
            body: encoded.body,
        });
        if let Some(shadow) = &wanted.shadow {
            Self::compare(worker, shadow, &answer);
        }
        worker.l1.store(host, wanted.key, &answer);
        if let Some(raw_key) = wanted.raw_key.filter(|raw_key| *raw_key != wanted.key) {
            worker.l1.alias(raw_key, wanted.key);
        }
        worker.counters.event(Event::Stored);
        self.finish(worker, host, &wanted, &Outcome::Answer(answer));
    }

    /// Nothing to store, and nothing to share.
    fn give_up(&mut self, worker: &mut Worker, host: &dyn Host, wanted: &Wanted) {
        worker.counters.event(Event::NotStored);
        self.finish(worker, host, wanted, &Outcome::Unshareable);
    }

    fn finish(&mut self, worker: &mut Worker, host: &dyn Host, wanted: &Wanted, outcome: &Outcome) {
        self.state = State::Done;
        if wanted.leads {
            worker.join.finish(&wanted.key, self.context, outcome, host.now_ms());
            worker.release_soon(host);
        }
    }
}

/// May this answer be stored, going by its headers? If not, the reason.
fn storable(headers: &Headers, needs_generation: bool, max_bytes: usize) -> Result<Storable, &'static str> {
    if first(headers, ":status") != Some(b"200") {
        return Err("status");
    }
    let directives = ResponseDirectives::parse(values(headers, "cache-control")).ok_or("uncacheable")?;
    if values(headers, "content-encoding").any(|encoding| !encoding.eq_ignore_ascii_case(b"identity")) {
        return Err("content-encoding");
    }
    if first(headers, "vary").is_some() || first(headers, "set-cookie").is_some() {
        return Err("varies");
    }
    let header_length = request::header_length(values(headers, header::INFERENCE_HEADER_CONTENT_LENGTH))
        .map_err(|_| "ambiguous-headers")?;
    let content_length = number(headers, "content-length").and_then(|length| usize::try_from(length).ok());
    if content_length.is_some_and(|length| length > max_bytes) {
        return Err("answer-too-large");
    }
    let generation = first(headers, header::X_FOREBAY_GENERATION)
        .and_then(|value| std::str::from_utf8(value).ok()?.parse::<Generation>().ok());
    if needs_generation && generation.is_none() {
        return Err("no-generation");
    }
    let age_s = number(headers, header::AGE).unwrap_or(0);
    Ok(Storable { generation, age_s, freshness: directives.freshness, header_length, content_length })
}

fn number(headers: &Headers, name: &str) -> Option<u64> {
    std::str::from_utf8(first(headers, name)?).ok()?.parse().ok()
}
