//! What the server and its models say of themselves: `/v2`, a model's metadata, configuration and readiness, as
//! Triton answers.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::StatusCode;
use serde::Serialize;

use super::error::HttpError;
use crate::models::Models;
use crate::proto;
use crate::signature::TensorSpec;

/// V2 extensions that this server has.
const EXTENSIONS: [&str; 2] = ["binary_tensor_data", "model_configuration"];

#[derive(Serialize)]
struct Server {
    name: &'static str,
    version: &'static str,
    extensions: [&'static str; 2],
}

#[derive(Serialize)]
struct ModelMetadata<'a> {
    name: &'a str,
    versions: Vec<String>,
    platform: &'static str,
    inputs: Vec<TensorMetadata<'a>>,
    outputs: Vec<TensorMetadata<'a>>,
}

#[derive(Serialize)]
struct TensorMetadata<'a> {
    name: &'a str,
    datatype: &'static str,
    shape: &'a [i64],
}

impl<'a> From<&'a TensorSpec> for TensorMetadata<'a> {
    fn from(spec: &'a TensorSpec) -> Self {
        Self { name: &spec.name, datatype: spec.datatype.as_str(), shape: &spec.shape }
    }
}

/// The routes of metadata.
pub(crate) fn routes(models: Arc<Models>) -> Router {
    Router::new()
        .route("/v2", get(server))
        .route("/v2/", get(server))
        .route("/v2/models/{model}", get(model))
        .route("/v2/models/{model}/versions/{version}", get(version))
        .route("/v2/models/{model}/config", get(model_config))
        .route("/v2/models/{model}/versions/{version}/config", get(version_config))
        .route("/v2/models/{model}/ready", get(model_ready))
        .route("/v2/models/{model}/versions/{version}/ready", get(version_ready))
        .with_state(models)
}

async fn server() -> Json<Server> {
    Json(Server { name: "forebay", version: env!("CARGO_PKG_VERSION"), extensions: EXTENSIONS })
}

async fn model(State(models): State<Arc<Models>>, Path(model): Path<String>) -> Result<Response, HttpError> {
    describe(&models, &model, "")
}

async fn version(
    State(models): State<Arc<Models>>,
    Path((model, version)): Path<(String, String)>,
) -> Result<Response, HttpError> {
    describe(&models, &model, &version)
}

fn describe(models: &Models, name: &str, asked: &str) -> Result<Response, HttpError> {
    let version = models.find(name, asked)?;
    let metadata = ModelMetadata {
        name,
        versions: models.versions(name)?,
        platform: version.platform,
        inputs: version.signature.inputs.iter().map(Into::into).collect(),
        outputs: version.signature.outputs.iter().map(Into::into).collect(),
    };
    Ok(Json(metadata).into_response())
}

async fn model_config(
    State(models): State<Arc<Models>>,
    Path(model): Path<String>,
) -> Result<Response, HttpError> {
    config(&models, &model, "")
}

async fn version_config(
    State(models): State<Arc<Models>>,
    Path((model, version)): Path<(String, String)>,
) -> Result<Response, HttpError> {
    config(&models, &model, &version)
}

fn config(models: &Models, name: &str, asked: &str) -> Result<Response, HttpError> {
    let version = models.find(name, asked)?;
    Ok(Json(proto::to_json("ModelConfig", &version.config)).into_response())
}

async fn model_ready(
    State(models): State<Arc<Models>>,
    Path(model): Path<String>,
) -> Result<StatusCode, HttpError> {
    models.find(&model, "")?;
    Ok(StatusCode::OK)
}

async fn version_ready(
    State(models): State<Arc<Models>>,
    Path((model, version)): Path<(String, String)>,
) -> Result<StatusCode, HttpError> {
    models.find(&model, &version)?;
    Ok(StatusCode::OK)
}
