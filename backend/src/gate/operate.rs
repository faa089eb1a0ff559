//! What operators ask of a gate, by a token of theirs: `POST /forebay/v2/purge` raises a purge number, `GET` of it says who doesn't know
//! one yet, `GET /forebay/v2/stats` says what is live, who polls, and what was saved of each model.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use forebay_protocol::service;
use forebay_protocol::tenant::Tenant;
use http::HeaderMap;
use http::header::CACHE_CONTROL;
use metrics::counter;

use super::Gate;
use crate::body::BodyError;
use crate::cache::live::{Known, Name};
use crate::gate::spoken::{Lags, Purge, Purged, Stats};
use crate::http::error::HttpError;

/// Raises a number: what was kept before is found by nobody who knows it.
pub(super) async fn purge(
    State(gate): State<Arc<Gate>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, HttpError> {
    gate.admit_operator(&headers)?;
    let body = gate.bodies.read(&headers, body).await?.held();
    let (asked, name) = read(&body)?;
    // By its own table it is seen whether the pool has forgotten who must be told.
    let (epoch, _) = gate.live.models().ok_or(HttpError::NoGenerations)?;
    let raised = gate.registry.purge(name, epoch).await?;
    counter!("forebay_purges").increment(1);
    let Purge { service, model, tenant, digest } = &asked;
    let digest = digest.map(|digest| digest.to_string());
    tracing::info!(service, model, tenant, digest, number = raised.known.purged, "purged");
    let (copies, of) = raised.copies;
    let Known { epoch, purged: number } = raised.known;
    Ok(told(Purged { epoch, number, copies, of }))
}

/// Who does not know a purge yet, for one.
pub(super) async fn lags(
    State(gate): State<Arc<Gate>>,
    headers: HeaderMap,
    asked: Result<Query<Known>, QueryRejection>,
) -> Result<Response, HttpError> {
    gate.admit_operator(&headers)?;
    let Query(asked) = asked.map_err(|error| wrong(format!("{error}: epoch and number are expected")))?;
    Ok(told(Lags { lags: gate.registry.lags(asked).await }))
}

/// What is known of what is kept.
pub(super) async fn stats(State(gate): State<Arc<Gate>>, headers: HeaderMap) -> Result<Response, HttpError> {
    gate.admit_operator(&headers)?;
    let (epoch, live) = gate.live.models().ok_or(HttpError::NoGenerations)?;
    let (proxies, behind) = gate.proxies.count(epoch, std::time::Instant::now());
    let replicas = gate.live.replicas();
    let stats = Stats {
        epoch,
        purged: gate.registry.purged().mark(),
        proxies,
        behind,
        replicas: replicas.as_ref().clone(),
        live: live.as_ref().clone(),
        saved: gate.savings.saved(),
    };
    Ok(told(stats))
}

fn told(said: impl serde::Serialize) -> Response {
    ([(CACHE_CONTROL, "no-store")], Json(said)).into_response()
}

/// What is to be purged, as the registry names it.
pub(super) fn read(body: &[u8]) -> Result<(Purge, Name), HttpError> {
    let asked: Purge = serde_json::from_slice(body).map_err(|error| not_a_purge(&error))?;
    let name = name(&asked)?;
    Ok((asked, name))
}

fn name(asked: &Purge) -> Result<Name, HttpError> {
    if !service::is_name(&asked.service) {
        return Err(wrong(format!("service {:?}: {} are expected", asked.service, service::EXPECTED)));
    }
    if let Some(digest) = &asked.digest {
        if !asked.model.is_empty() || !asked.tenant.is_empty() {
            return Err(wrong(
                "a digest has its model and tenant in it: they are not said beside it".to_owned(),
            ));
        }
        return Ok(Name::request(digest));
    }
    let tenant = Some(&asked.tenant).filter(|tenant| !tenant.is_empty()).map(Tenant::parse).transpose();
    let tenant = tenant.map_err(|error| wrong(format!("tenant {:?}: {error}", asked.tenant)))?;
    Name::new(&asked.service, &asked.model, tenant.as_ref()).map_err(|error| wrong(error.to_string()))
}

fn wrong(reason: String) -> HttpError {
    BodyError::Content { reason }.into()
}

fn not_a_purge(error: &serde_json::Error) -> HttpError {
    let form = r#"{"service": "...", "model": "...", "tenant": "..."}, of which the last two may be missing, or a "digest" beside the service"#;
    wrong(format!("{error}: expected {form}"))
}
