//! HTTP in front of an upstream. An inference of a model that is kept or joined is answered as `v2` does; a load or unload ends what is
//! known of the model first; health is this server's own; all else goes on as it came, and so do inferences that can't be read here
//! without doubt, or whose answer depends on more than themselves.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use axum::routing::{any, post};
use bytes::Bytes;
use forebay_protocol::header::INFERENCE_HEADER_CONTENT_LENGTH;
use forebay_protocol::path::InferTarget;
use forebay_protocol::request;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use http::request::Parts;
use http::{HeaderValue, StatusCode};
use serde_json::Value;

use super::coding;
use super::error::HttpError;
use super::restricted::restrict;
use super::v2::InferRoutes;
use crate::body::metered::Metered;
use crate::infer::{Bypass, Caller, InferError, Miss, headers, is_of_itself};
use crate::models::control::{ControlError, FILE};
use crate::models::front::{Change, Front};
use crate::observe::trace::{Laps, Stage};
use crate::settings::Restrictions;
use crate::upstream::{Protocol, passed};

/// What goes on as it came, by the parts of the protocol that it belongs to.
const PASSED: [&str; 27] = [
    "/v2",
    "/v2/",
    "/v2/models/{model}",
    "/v2/models/{model}/versions/{version}",
    "/v2/models/{model}/config",
    "/v2/models/{model}/versions/{version}/config",
    "/v2/models/{model}/ready",
    "/v2/models/{model}/versions/{version}/ready",
    "/v2/models/stats",
    "/v2/models/{model}/stats",
    "/v2/models/{model}/versions/{version}/stats",
    "/v2/models/{model}/trace/setting",
    "/v2/repository/index",
    "/v2/logging",
    "/v2/trace/setting",
    "/v2/systemsharedmemory/status",
    "/v2/systemsharedmemory/region/{region}/status",
    "/v2/systemsharedmemory/region/{region}/register",
    "/v2/systemsharedmemory/region/{region}/unregister",
    "/v2/systemsharedmemory/unregister",
    "/v2/cudasharedmemory/status",
    "/v2/cudasharedmemory/region/{region}/status",
    "/v2/cudasharedmemory/region/{region}/register",
    "/v2/cudasharedmemory/region/{region}/unregister",
    "/v2/cudasharedmemory/unregister",
    "/v1/models",
    "/v1/models/{model}",
];

/// What the routes need.
pub(crate) struct FrontRoutes {
    pub(crate) infer: InferRoutes,
    pub(crate) front: Arc<Front>,
}

/// Who went on, and what was read of its body.
struct Gone {
    head: Parts,
    body: Body,
    miss: Miss,
}

/// All of it. What is restricted can't be passed on by a path that nobody knows here.
pub(crate) fn routes(state: Arc<FrontRoutes>, health: Router, restrictions: Restrictions) -> Router {
    let inferences = Router::new()
        .route("/v2/models/{model}/infer", post(infer))
        .route("/v2/models/{model}/versions/{version}/infer", post(infer));
    let mut routes = coding::encoded(inferences)
        .route("/v2/repository/models/{model}/load", post(change))
        .route("/v2/repository/models/{model}/unload", post(change));
    for path in PASSED {
        routes = routes.route(path, any(pass));
    }
    let is_open = restrictions.is_empty();
    let routes = restrict(routes.with_state(state.clone()).merge(health), restrictions);
    if !is_open {
        return super::with_fallback(routes);
    }
    let others = any(pass).with_state(state);
    routes.fallback_service(others.clone()).method_not_allowed_fallback(others)
}

async fn pass(State(routes): State<Arc<FrontRoutes>>, request: Request) -> Result<Response, HttpError> {
    routes.pass(request).await
}

async fn infer(State(routes): State<Arc<FrontRoutes>>, request: Request) -> Result<Response, HttpError> {
    let (head, body) = request.into_parts();
    let mut caller = routes.infer.inference.caller(&head.headers, &head.extensions, None);
    caller.passed = passed(&head.headers);
    let gone = match routes.takes(&head, &caller) {
        Err(miss) => Gone { head, body, miss },
        Ok(()) => match routes.answer(head, body, &caller).await? {
            Ok(answer) => return Ok(answer),
            Err(gone) => gone,
        },
    };
    if caller.directives.only_if_cached {
        return Err(InferError::OnlyIfCached.into());
    }
    let mut answer = routes.pass(Request::from_parts(gone.head, gone.body)).await?;
    headers::passed(answer.headers_mut(), gone.miss);
    Ok(answer)
}

impl FrontRoutes {
    /// Whether an inference is answered here, as far as its head says.
    fn takes(&self, head: &Parts, caller: &Caller) -> Result<(), Miss> {
        let target = InferTarget::parse(head.uri.path()).ok_or(Miss::Off)?;
        let names = target.names();
        let version = self.front.models.find(names.model, names.version).map_err(|_| Miss::Off)?;
        if head.headers.contains_key(CONTENT_ENCODING) {
            return Err(Miss::Bypass(Bypass::Uncacheable));
        }
        self.infer.inference.takes(&version, caller).map_err(Miss::Bypass)
    }

    /// Answers an inference, or gives it back with all that it was.
    async fn answer(
        &self,
        head: Parts,
        body: Body,
        caller: &Caller,
    ) -> Result<Result<Response, Gone>, HttpError> {
        let mut laps = Laps::begin();
        let InferRoutes { bodies, limits, .. } = &self.infer;
        let body: Bytes = bodies.read(&head.headers, body).await?.held();
        laps.end(Stage::Read);
        let request = InferTarget::parse(head.uri.path()).and_then(|target| {
            let lengths = head.headers.get_all(INFERENCE_HEADER_CONTENT_LENGTH);
            let length = request::header_length(lengths.iter().map(HeaderValue::as_bytes)).ok()?;
            let is_raw = length == Some(0);
            let decoded = (!is_raw).then(|| request::decode(&target.names(), length, &body, limits));
            decoded?.ok().filter(is_of_itself)
        });
        if let Some(request) = request {
            return self.infer.answer(request, body, caller, laps).await.map(Ok);
        }
        let (body, miss) = (Body::from(body), Miss::Bypass(Bypass::Uncacheable));
        Ok(Err(Gone { head, body, miss }))
    }

    async fn pass(&self, request: Request) -> Result<Response, HttpError> {
        let upstream = &self.front.upstream;
        let least = self.infer.bodies.least;
        let request = request.map(|body| Body::new(Metered::new(body, least)));
        Ok(upstream.pass(Protocol::Http, request, Some(upstream.within())).await?)
    }
}

/// A load or an unload.
async fn change(
    State(routes): State<Arc<FrontRoutes>>,
    Path(model): Path<String>,
    request: Request,
) -> Result<Response, HttpError> {
    let (mut head, body) = request.into_parts();
    let body: Bytes = routes.infer.bodies.read(&head.headers, body).await?.held();
    for name in [CONTENT_ENCODING, CONTENT_LENGTH] {
        // It was inflated.
        head.headers.remove(name);
    }
    let change = Change { model, brings_files: brings_files(&body) };
    let upstream = routes.front.upstream.clone();
    let passing = async move {
        let request = Request::from_parts(head, Body::from(body));
        let answer = upstream.pass(Protocol::Http, request, Some(upstream.load_within())).await;
        let is_done = answer.as_ref().is_ok_and(|answer| answer.status() == StatusCode::OK);
        (answer, is_done)
    };
    let ended = |error: tokio::task::JoinError| ControlError::Ended { reason: error.to_string() };
    let (answer, told) = routes.front.change(change, passing).await.map_err(ended)?;
    let answer = answer?;
    if answer.status() == StatusCode::OK {
        told?;
    }
    Ok(answer)
}

/// Whether a load is of files that come with it. What can't be read may be.
fn brings_files(body: &[u8]) -> bool {
    if body.is_empty() {
        return false;
    }
    let Ok(Value::Object(asked)) = serde_json::from_slice(body) else { return true };
    match asked.get("parameters") {
        None => false,
        Some(Value::Object(parameters)) => parameters.keys().any(|name| name.starts_with(FILE)),
        Some(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_brings_files_where_it_says_so_or_can_not_be_read() {
        for body in
            ["", "{}", r#"{"parameters":{"config":"{}"}}"#, r#"{"parameters":{"unload_dependents":true}}"#]
        {
            assert!(!brings_files(body.as_bytes()), "{body}");
        }
        for body in [r#"{"parameters":{"file:1/model.onnx":"AA=="}}"#, "[]", "{", r#"{"parameters":[]}"#] {
            assert!(brings_files(body.as_bytes()), "{body}");
        }
    }
}
