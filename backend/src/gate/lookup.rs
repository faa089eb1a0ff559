//! `GET /forebay/v2/lookup`: service, tenant, model, version and digest -> a key for each live generation -> the first
//! fresh entry, or else the first that is stale and still of use, in one round trip to the pool.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Extension, State};
use axum::response::{IntoResponse, Response};
use forebay_protocol::digest::{Digest, Generation, Key};
use forebay_protocol::entry::Entry;
use forebay_protocol::header::{
    X_FOREBAY_DIGEST, X_FOREBAY_GENERATION, X_FOREBAY_MODEL, X_FOREBAY_SERVICE, X_FOREBAY_VERSION,
};
use forebay_protocol::lookups::Lookup;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::Gate;
use crate::body::BodyError;
use crate::cache::store::is_fresh;
use crate::http::error::HttpError;
use crate::http::single;
use crate::observe::trace::{Doing, Laps, Stage, Trace};
use crate::time::clock::now_ms;
use crate::trust::{Peer, Whose, directives};

/// Answers one lookup: 200 with the entry, 404 with the live generations, 400 for what can't be a lookup, 503 when it is not known
/// what is live. A caller that shows no credential is refused, and so is one that may not speak for the tenant.
pub(super) async fn lookup(
    State(gate): State<Arc<Gate>>,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
) -> Result<Response, HttpError> {
    let (began, laps) = (Instant::now(), Laps::begin());
    let asked = Asked::of_headers(&headers)?;
    gate.admit(Some(asked.service), &headers, peer.as_deref())?;
    let parent = gate.tracing.parent(&headers);
    let trace = gate.tracing.begin(parent.as_ref(), Doing::Lookup, asked.model, &laps);
    let whose = gate.trust.whose(asked.service, &headers, peer.as_deref());
    let (generations, found) =
        find(&gate, &asked, &whose, &trace).await.inspect_err(|error| trace.failed(error))?;
    asked.found(&gate, found.as_deref(), &trace, began);
    let since = Instant::now();
    let (status, generation, body) = match found {
        Some(entry) => (StatusCode::OK, hex(&entry.generation), entry.encode_plain()),
        None => (StatusCode::NOT_FOUND, listed(&generations), Vec::new()),
    };
    trace.goes_out(since);
    let fixed = [
        (CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf")),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    let generation = HeaderValue::from_str(&generation).unwrap_or(HeaderValue::from_static(""));
    let said = [(HeaderName::from_static(X_FOREBAY_GENERATION), generation)];
    Ok((status, fixed, said, body).into_response())
}

/// What is live of the model, and the entry of it that is fresh or of use.
async fn find(
    gate: &Gate,
    asked: &Asked<'_>,
    whose: &Whose,
    trace: &Trace,
) -> Result<(Vec<Generation>, Option<Arc<Entry>>), HttpError> {
    let began = Instant::now();
    let (generations, keys) = asked.keys(gate, whose, trace)?;
    let found = if asked.only_if_cached {
        gate.store.lookup_only(&keys).await
    } else {
        gate.store.lookup_before(&keys).await
    };
    trace.stage(Stage::Lookup, began);
    Ok((generations, found))
}

/// What a lookup asks for.
pub(super) struct Asked<'a> {
    pub(super) service: &'a str,
    pub(super) model: &'a str,
    version: &'a str,
    digest: Digest,
    only_if_cached: bool,
}

impl<'a> Asked<'a> {
    fn of_headers(headers: &'a HeaderMap) -> Result<Self, HttpError> {
        let digest = single(headers, X_FOREBAY_DIGEST)?;
        let digest = blake3::Hash::from_hex(digest).map_err(|_| HttpError::Header {
            name: X_FOREBAY_DIGEST,
            reason: "must be 64 hexadecimal digits",
        })?;
        Ok(Self {
            service: required(headers, X_FOREBAY_SERVICE)?,
            model: required(headers, X_FOREBAY_MODEL)?,
            version: single(headers, X_FOREBAY_VERSION)?,
            only_if_cached: directives(headers).only_if_cached,
            digest: Digest(*digest.as_bytes()),
        })
    }

    /// One of those that came together.
    pub(super) fn of_message(lookup: &'a Lookup) -> Result<Self, HttpError> {
        let lacks = |reason: &str| BodyError::Content { reason: format!("a lookup's {reason}") };
        let digest = <[u8; 32]>::try_from(&*lookup.digest).map_err(|_| lacks("digest must have 32 bytes"))?;
        if lookup.service.is_empty() || lookup.model.is_empty() {
            return Err(lacks("service or model is missing").into());
        }
        let Lookup { service, model, version, .. } = lookup;
        Ok(Self { service, model, version, digest: Digest(digest), only_if_cached: false })
    }

    /// What is live of the model, and where its answers to that request would be.
    pub(super) fn keys(
        &self,
        gate: &Gate,
        whose: &Whose,
        trace: &Trace,
    ) -> Result<(Vec<Generation>, Vec<Key>), HttpError> {
        trace.attribute("model_name", || self.model.to_owned());
        trace.attribute("service", || self.service.to_owned());
        let scope = whose.scope(self.service).map_err(|_| HttpError::Tenant)?;
        let live = gate.live.generations(&scope, self.model, self.version);
        let generations = live.ok_or(HttpError::NoGenerations)?;
        let digest = gate.live.digest(&self.digest);
        let keys = generations.iter().map(|generation| Key::derive(generation, &scope, &digest)).collect();
        Ok((generations, keys))
    }

    /// Tells what was found.
    pub(super) fn found(&self, gate: &Gate, found: Option<&Entry>, trace: &Trace, began: Instant) {
        gate.metrics.seconds.record(began.elapsed());
        let fresh = found.filter(|entry| is_fresh(entry, now_ms()));
        trace.attribute("found", || fresh.is_some().to_string());
        match (fresh, found) {
            (Some(entry), _) => {
                gate.metrics.hits.increment(1);
                gate.savings.learn(self.service, self.model, entry.max_age_s);
            }
            (None, Some(_)) => gate.metrics.stale.increment(1),
            (None, None) => gate.metrics.misses.increment(1),
        }
    }
}

fn required<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<&'a str, HttpError> {
    match single(headers, name)? {
        "" => Err(HttpError::Header { name, reason: "is missing" }),
        value => Ok(value),
    }
}

fn listed(generations: &[Generation]) -> String {
    generations.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

fn hex(generation: &[u8]) -> String {
    <[u8; 32]>::try_from(generation).map(|bytes| Generation(bytes).to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn a_lookup_is_read_as_the_protocol_fixes_it() {
        let golden = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../protocol/golden/2/lookups.json"));
        for vector in serde_json::from_str::<Vec<Value>>(golden).unwrap() {
            let mut headers = HeaderMap::new();
            for pair in vector["request"]["headers"].as_array().unwrap() {
                let name: HeaderName = pair[0].as_str().unwrap().parse().unwrap();
                headers.append(name, pair[1].as_str().unwrap().parse().unwrap());
            }
            let asked = Asked::of_headers(&headers).unwrap();
            let said = [asked.service, asked.model, asked.version].map(|text| Value::from(text.to_owned()));
            assert_eq!(said, ["service", "model", "version"].map(|name| vector[name].clone()));
            assert_eq!(asked.digest.to_string(), vector["digest"].as_str().unwrap());
            assert_eq!(asked.only_if_cached, vector["only_if_cached"] == true);
            let tenant = headers.get("x-forebay-tenant").map(|tenant| tenant.to_str().unwrap());
            assert_eq!(tenant, vector["tenant"].as_str(), "{}", vector["name"]);
        }
    }
}
