//! `POST /forebay/v2/lookups`: lookups that a filter sends together -> what comes of each, in one round trip to the pool. Each is
//! admitted, traced and counted as it would be by itself (`lookup`).

use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::{Extension, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use forebay_protocol::digest::Key;
use forebay_protocol::entry::Entry;
use forebay_protocol::lookups::{FULL_BYTES, LATER, Lookup, Lookups, Outcome, Outcomes};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};
use prost::Message as _;

use super::Gate;
use super::lookup::Asked;
use crate::body::BodyError;
use crate::http::error::HttpError;
use crate::observe::trace::{Doing, Laps, Stage, Trace};
use crate::trust::{Peer, Sender};

/// Answers them: 200 with what came of each, 400 for what can't be lookups. A caller that shows no credential is refused.
pub(super) async fn lookups(
    State(gate): State<Arc<Gate>>,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, HttpError> {
    let (began, laps) = (Instant::now(), Laps::begin());
    gate.admit(None, &headers, peer.as_deref())?;
    let body = gate.bodies.read(&headers, body).await?.held();
    let lookups = Lookups::parse(body).map_err(|error| BodyError::Content { reason: error.to_string() })?;
    let sender = gate.trust.sender(&headers, peer.as_deref());
    let (mut asked, mut keys) = (Vec::new(), Vec::new());
    for lookup in &lookups.lookups {
        let (one, of_one) = One::begin(&gate, lookup, &sender, &laps);
        asked.push(one);
        keys.push(of_one);
    }
    let since = Instant::now();
    let found = gate.store.lookup_each_before(&keys, FULL_BYTES).await;
    for one in &asked {
        one.trace.stage(Stage::Lookup, since);
    }
    let mut bytes = 0;
    let mut found = found.into_iter();
    let outcomes = asked.into_iter().map(|one| {
        // What was not read, or has no room in the answer any more, is asked again.
        let read = found.next().filter(|found| found.is_none() || bytes < FULL_BYTES);
        let later = Outcome { status: LATER, entry: Bytes::new() };
        let outcome = match read {
            None if one.asked.is_ok() => later,
            read => one.ends(&gate, read.flatten().as_deref(), began),
        };
        bytes += outcome.entry.len();
        outcome
    });
    let told = Outcomes { outcomes: outcomes.collect() }.encode_to_vec();
    Ok(([(CONTENT_TYPE, "application/x-protobuf"), (CACHE_CONTROL, "no-store")], told).into_response())
}

/// One of them.
struct One<'a> {
    /// What it asks for, or why it can't.
    asked: Result<Asked<'a>, HttpError>,
    trace: Trace,
}

impl<'a> One<'a> {
    /// It, and where its answers would be.
    fn begin(gate: &Gate, lookup: &'a Lookup, sender: &Sender, laps: &Laps) -> (Self, Vec<Key>) {
        let parent = gate.tracing.parent_of(&lookup.traceparent);
        let trace = gate.tracing.begin(parent.as_ref(), Doing::Lookup, &lookup.model, laps);
        let keys = Asked::of_message(lookup).and_then(|asked| {
            if !gate.trust.admits_sender(asked.service, sender) {
                return Err(HttpError::Credential);
            }
            let whose = gate.trust.whose_of(asked.service, &lookup.tenant, sender);
            let (_, keys) = asked.keys(gate, &whose, &trace)?;
            Ok((asked, keys))
        });
        match keys {
            Ok((asked, keys)) => (Self { asked: Ok(asked), trace }, keys),
            Err(error) => {
                trace.failed(&error);
                (Self { asked: Err(error), trace }, Vec::new())
            }
        }
    }

    /// What came of it.
    fn ends(self, gate: &Gate, found: Option<&Entry>, began: Instant) -> Outcome {
        let asked = match self.asked {
            Ok(asked) => asked,
            Err(error) => return Outcome { status: error.status().as_u16().into(), entry: Bytes::new() },
        };
        asked.found(gate, found, &self.trace, began);
        let status = if found.is_some() { StatusCode::OK } else { StatusCode::NOT_FOUND };
        Outcome {
            status: status.as_u16().into(),
            entry: found.map(Entry::encode_plain).unwrap_or_default().into(),
        }
    }
}
