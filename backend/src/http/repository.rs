//! The repository over HTTP: the index, loading and unloading by call, as in Triton's model repository extension. The
//! answers are `control`'s, given when everybody knows of the change.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::response::{AppendHeaders, IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use forebay_protocol::header::X_FOREBAY_SURGE;
use http::StatusCode;
use serde::Deserialize;

use super::error::HttpError;
use crate::body::Bodies;
use crate::body::BodyError;
use crate::models::control::{self, Brought, Control, Parameters};
use crate::proto::model_repository_parameter::ParameterChoice;
use crate::proto::{self, ModelRepositoryParameter};

/// What the routes need.
pub(crate) struct RepositoryRoutes {
    pub(crate) control: Arc<Control>,
    pub(crate) bodies: Bodies,
}

/// Index, load, unload.
pub(crate) fn routes(state: Arc<RepositoryRoutes>) -> Router {
    Router::new()
        .route("/v2/repository/index", post(index))
        .route("/v2/repository/models/{model}/load", post(load))
        .route("/v2/repository/models/{model}/unload", post(unload))
        .with_state(state)
}

/// Body of an index; an empty one is `{}`.
#[derive(Default, Deserialize)]
struct IndexRequest {
    #[serde(default)]
    ready: bool,
}

/// Body of a load or unload; an empty one is `{}`.
#[derive(Default, Deserialize)]
struct ChangeRequest {
    #[serde(default)]
    parameters: BTreeMap<String, serde_json::Value>,
}

async fn index(State(routes): State<Arc<RepositoryRoutes>>, request: Request) -> Result<Response, HttpError> {
    let (asked, _charge): (IndexRequest, _) = routes.bodies.read_json(request).await?;
    let index = routes.control.index(asked.ready).await?;
    // Triton leaves out what is empty: a model that was never asked for has its name only.
    let models = index.models.iter().map(|model| {
        let mut model = proto::to_json("RepositoryIndexResponse.ModelIndex", model);
        if let Some(fields) = model.as_object_mut() {
            fields.retain(|_, value| value != "");
        }
        model
    });
    Ok(Json(models.collect::<Vec<_>>()).into_response())
}

async fn load(
    State(routes): State<Arc<RepositoryRoutes>>,
    Path(model): Path<String>,
    request: Request,
) -> Result<impl IntoResponse, HttpError> {
    let (asked, charge): (ChangeRequest, _) = routes.bodies.read_json(request).await?;
    let brought = Brought::new(parameters(asked.parameters)?, charge)?;
    let surge = routes.control.load(model, brought).await?;
    routes.control.herald.settled().await?;
    Ok((StatusCode::OK, AppendHeaders(surge.map(|surge| (X_FOREBAY_SURGE, format!("{surge:.3}"))))))
}

/// `unload_dependents` is taken and means nothing: no model depends on another here.
async fn unload(
    State(routes): State<Arc<RepositoryRoutes>>,
    Path(model): Path<String>,
    request: Request,
) -> Result<StatusCode, HttpError> {
    let (asked, _charge): (ChangeRequest, _) = routes.bodies.read_json(request).await?;
    parameters(asked.parameters)?;
    routes.control.unload(model).await?;
    routes.control.herald.settled().await?;
    Ok(StatusCode::OK)
}

/// Files come in base64.
fn parameters(given: BTreeMap<String, serde_json::Value>) -> Result<Parameters, HttpError> {
    let choice = |name: &str, value: serde_json::Value| match value {
        serde_json::Value::String(text) if name.starts_with(control::FILE) => {
            let bytes = BASE64_STANDARD.decode(text).map_err(|error| format!("is not base64: {error}"))?;
            Ok(ParameterChoice::BytesParam(bytes))
        }
        serde_json::Value::String(text) => Ok(ParameterChoice::StringParam(text)),
        serde_json::Value::Bool(value) => Ok(ParameterChoice::BoolParam(value)),
        serde_json::Value::Number(number) => number
            .as_i64()
            .map(ParameterChoice::Int64Param)
            .ok_or_else(|| "must be a whole number of 64 bits".to_owned()),
        _ => Err("must be a string, a number or a boolean".to_owned()),
    };
    let parameter = |(name, value): (String, serde_json::Value)| match choice(&name, value) {
        Ok(choice) => Ok((name, ModelRepositoryParameter { parameter_choice: Some(choice) })),
        Err(reason) => Err(BodyError::Content { reason: format!("parameter {name:?} {reason}") }.into()),
    };
    given.into_iter().map(parameter).collect()
}
