//! What the server and its models say of themselves: `/v2`, a model's metadata, configuration, readiness and statistics, as
//! Triton answers.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::header::CONTENT_TYPE;

use super::error::HttpError;
use crate::infer::InferError;
use crate::models::Models;
use crate::models::metadata;
use crate::proto;
use crate::schedule::QueueError;

/// What all routes take and give.
const OPENAPI: &str = include_str!("../../openapi.json");

/// The routes of metadata.
pub(crate) fn routes(models: Arc<Models>) -> Router {
    Router::new()
        .route("/openapi.json", get(|| std::future::ready(([(CONTENT_TYPE, "application/json")], OPENAPI))))
        .route("/v2", get(server))
        .route("/v2/", get(server))
        .route("/v2/models/{model}", get(model))
        .route("/v2/models/{model}/versions/{version}", get(version))
        .route("/v2/models/{model}/config", get(model_config))
        .route("/v2/models/{model}/versions/{version}/config", get(version_config))
        .route("/v2/models/{model}/ready", get(model_ready))
        .route("/v2/models/{model}/versions/{version}/ready", get(version_ready))
        .route("/v2/models/stats", get(all_statistics))
        .route("/v2/models/{model}/stats", get(model_statistics))
        .route("/v2/models/{model}/versions/{version}/stats", get(version_statistics))
        .with_state(models)
}

async fn server() -> Json<serde_json::Value> {
    Json(proto::to_json("ServerMetadataResponse", &metadata::server()))
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
    let description = metadata::model(models, name, asked)?;
    Ok(Json(proto::to_json("ModelMetadataResponse", &description)).into_response())
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
) -> Result<Response, HttpError> {
    ready(&models, &model, "")
}

async fn version_ready(
    State(models): State<Arc<Models>>,
    Path((model, version)): Path<(String, String)>,
) -> Result<Response, HttpError> {
    ready(&models, &model, &version)
}

/// `KServe`'s clients read the body, Triton's the status.
fn ready(models: &Models, name: &str, asked: &str) -> Result<Response, HttpError> {
    if let Some(reason) = models.find(name, asked)?.why_away() {
        return Err(InferError::from(QueueError::Away { reason }).into());
    }
    Ok(Json(serde_json::json!({ "name": name, "ready": true })).into_response())
}

async fn all_statistics(State(models): State<Arc<Models>>) -> Result<Response, HttpError> {
    statistics(&models, "", "")
}

async fn model_statistics(
    State(models): State<Arc<Models>>,
    Path(model): Path<String>,
) -> Result<Response, HttpError> {
    statistics(&models, &model, "")
}

async fn version_statistics(
    State(models): State<Arc<Models>>,
    Path((model, version)): Path<(String, String)>,
) -> Result<Response, HttpError> {
    statistics(&models, &model, &version)
}

fn statistics(models: &Models, name: &str, asked: &str) -> Result<Response, HttpError> {
    let statistics = metadata::statistics(models, name, asked)?;
    Ok(Json(proto::to_json("ModelStatisticsResponse", &statistics)).into_response())
}
