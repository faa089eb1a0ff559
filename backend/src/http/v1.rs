//! `KServe`'s V1 protocol: `POST /v1/models/m:predict` with rows (`instances`) or columns (`inputs`) of plain JSON -> the
//! request that V2's body with these numbers is -> `infer` -> `predictions`, one a row.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use forebay_protocol::header::CONTENT_TYPE_JSON;
use forebay_protocol::path;
use forebay_protocol::predict::{self, Input};
use http::header::{ALLOW, CONTENT_TYPE};
use http::{Method, Uri};
use serde_json::{Value, json};

use super::error::HttpError;
use super::v2::InferRoutes;
use crate::infer::headers;
use crate::models::UnknownModel;
use crate::observe::trace::{Laps, Stage};

/// What a model's path ends with when it is to predict. A colon that is escaped is of the name.
const PREDICT: &str = ":predict";
/// What stands before a model's name.
const MODELS: &str = "/v1/models/";

/// Models and predictions.
pub(crate) fn routes(state: Arc<InferRoutes>) -> Router {
    Router::new()
        .route("/v1/models", get(models))
        .route("/v1/models/{model}", get(ready).post(predict).fallback(not_allowed))
        .with_state(state)
}

async fn models(State(routes): State<Arc<InferRoutes>>) -> Result<Json<Value>, HttpError> {
    let models = &routes.inference.models;
    if !models.is_open() {
        // No models at all would be another answer.
        return Err(UnknownModel::Starting.into());
    }
    let set = models.current();
    let mut names: Vec<&String> = set.models.keys().collect();
    names.sort_unstable();
    Ok(Json(json!({ "models": names })))
}

async fn ready(
    State(routes): State<Arc<InferRoutes>>,
    method: Method,
    uri: Uri,
) -> Result<Response, HttpError> {
    if uri.path().ends_with(PREDICT) {
        return Ok(not_allowed(method, uri).await);
    }
    let model = path::decoded(uri.path().strip_prefix(MODELS).unwrap_or_default())?;
    routes.inference.models.find(&model, "")?;
    Ok(Json(json!({ "name": model, "ready": true })).into_response())
}

/// One route takes two paths, which don't take the same methods.
async fn not_allowed(method: Method, uri: Uri) -> Response {
    let allowed = if uri.path().ends_with(PREDICT) { "POST" } else { "GET,HEAD" };
    let error = HttpError::Method { path: uri.path().to_owned(), method };
    ([(ALLOW, allowed)], error).into_response()
}

async fn predict(State(routes): State<Arc<InferRoutes>>, request: Request) -> Result<Response, HttpError> {
    let mut laps = Laps::begin();
    let (head, body) = request.into_parts();
    let path = head.uri.path();
    let segment = path.strip_prefix(MODELS).unwrap_or_default();
    let Some(model) = segment.strip_suffix(PREDICT) else {
        if segment.contains(':') {
            return Err(HttpError::NoSuchPath { path: path.to_owned() });
        }
        // A model itself is only asked whether it is ready.
        return Ok(not_allowed(head.method, head.uri).await);
    };
    let model = &*path::decoded(model)?;
    let body = routes.bodies.read(&head.headers, body).await?.held();
    laps.end(Stage::Read);
    let version = routes.inference.models.find(model, "")?;
    let inputs = version.signature.inputs.iter();
    let inputs: Vec<Input<'_>> = inputs
        .map(|spec| Input { name: &spec.name, datatype: spec.datatype, is_optional: spec.is_optional })
        .collect();
    let mut request = predict::decode(model, &inputs, &body, &routes.limits)?;
    routes.bodies.budget.charge().tensors(&mut request, &body)?;
    laps.end(Stage::Decode);
    let caller = routes.inference.caller(&head.headers, &head.extensions, None);
    let answer = routes.inference.answer(request, &caller, &laps).await?;
    let since = Instant::now();
    let predictions = predict::encode(&answer.response)?;
    answer.trace.goes_out(since);
    Ok((headers::of(&answer), [(CONTENT_TYPE, CONTENT_TYPE_JSON)], predictions).into_response())
}
