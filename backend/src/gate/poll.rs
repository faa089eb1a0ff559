//! `POST /forebay/v2/poll`: which table a proxy has, and what it counted -> the table once there is a newer one. A poll is held
//! until then, until a service has no server alive any more, or has one again, or until its time is over: so proxies hear of a change at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{Extension, State};
use axum::response::{IntoResponse, Response};
use forebay_protocol::header::{X_FOREBAY_AWAY, X_FOREBAY_EPOCH, X_FOREBAY_NOW_MS};
use forebay_protocol::poll::{MAX_WAIT_MS, Poll, PollError};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::Gate;
use super::savings::Reported;
use crate::body::BodyError;
use crate::cache::live::Standing;
use crate::http::error::HttpError;
use crate::time::clock::now_ms;
use crate::trust::Peer;

/// An epoch of a proxy's that the pool must be asked after may take so long, whatever the proxy's patience.
const TRACE: Duration = Duration::from_secs(1);
/// How long a poll is held once the process is about to end: not at all would have proxies poll without a pause.
const AT_THE_END: Duration = Duration::from_millis(200);

/// Answers one poll: 200 with the table, 204 when there is no newer one, 503 when none is known.
pub(super) async fn poll(
    State(gate): State<Arc<Gate>>,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, HttpError> {
    let arrived = Instant::now();
    gate.admit(None, &headers, peer.as_deref())?;
    let body = gate.bodies.read(&headers, body).await?.held();
    let mut poll = Poll::parse(&body).map_err(|error| not_a_poll(&error))?;
    gate.savings.count(Reported::take(&mut poll, body)).await?;
    gate.sweep(arrived);
    // Nothing large is kept while it waits.
    drop(headers);
    // What anybody could make up acknowledges nothing, and nobody is asked after it.
    let known = gate.live.proven(poll.epoch, &poll.proof, arrived);
    let waiting = gate.proxies.polls(&poll.proxy, known)?;
    let wait = Duration::from_millis(poll.wait_ms.min(MAX_WAIT_MS));
    let answer = answer(&gate, known, arrived, wait).await;
    // Until here it is one that waits.
    drop(waiting);
    answer
}

async fn answer(gate: &Gate, known: u64, arrived: Instant, wait: Duration) -> Result<Response, HttpError> {
    let (mut epochs, away) = (gate.live.epochs(), gate.live.away());
    loop {
        epochs.borrow_and_update();
        let now = Instant::now();
        let (until, at_the_end) = match gate.live.standing(known, now) {
            Standing::Newer => return table(gate, now),
            Standing::Unknown => return Err(HttpError::NoGenerations),
            Standing::Same if gate.live.away() != away => return Ok(unchanged(gate, known)),
            Standing::Same => (arrived + wait, Ok(())),
            Standing::Untraced => (arrived + wait.max(TRACE), Err(HttpError::NoGenerations)),
        };
        let ends = gate.ending.is_cancelled();
        let until = if ends { until.min(arrived + AT_THE_END) } else { until };
        if now >= until {
            return at_the_end.map(|()| unchanged(gate, known));
        }
        // Silence of the pool is told as soon as it is one; the table may have been refreshed by then.
        let trusted = gate.live.trusted_until().map_or(until, |trusted| trusted + Duration::from_millis(1));
        let until = until.min(trusted.max(now + Duration::from_millis(1)));
        tokio::select! {
            _ = epochs.changed() => {}
            () = tokio::time::sleep_until(until.into()) => {}
            () = gate.ending.cancelled(), if !ends => {}
        }
    }
}

fn table(gate: &Gate, now: Instant) -> Result<Response, HttpError> {
    let (epoch, json) = gate.live.json(now).ok_or(HttpError::NoGenerations)?;
    let headers = [(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-store")];
    Ok((headers, [(X_FOREBAY_EPOCH, epoch.to_string())], away(gate), json).into_response())
}

fn unchanged(gate: &Gate, epoch: u64) -> Response {
    let said = [(X_FOREBAY_EPOCH, epoch.to_string()), (X_FOREBAY_NOW_MS, now_ms().to_string())];
    (StatusCode::NO_CONTENT, [(CACHE_CONTROL, "no-store")], said, away(gate)).into_response()
}

/// The services that are away, where there are any.
fn away(gate: &Gate) -> HeaderMap {
    let names = gate.live.away().join(",");
    let value = HeaderValue::from_str(&names).ok().filter(|_| !names.is_empty());
    value.map(|value| (HeaderName::from_static(X_FOREBAY_AWAY), value)).into_iter().collect()
}

fn not_a_poll(error: &PollError) -> HttpError {
    BodyError::Content { reason: error.to_string() }.into()
}
