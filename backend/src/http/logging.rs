//! `/v2/logging` and `/v2/trace/setting`, as in Triton's extensions: JSON of flat settings -> the messages that gRPC has
//! too -> all settings as they are now.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Map, Value};

use super::error::HttpError;
use crate::body::Bodies;
use crate::body::BodyError;
use crate::models::Models;
use crate::observe::logs::Logs;
use crate::observe::trace::{TRACE_LEVEL, Tracing};
use crate::proto::log_settings_request::SettingValue as LogValue;
use crate::proto::log_settings_request::setting_value::ParameterChoice as Asked;
use crate::proto::log_settings_response::setting_value::ParameterChoice;
use crate::proto::trace_setting_request::SettingValue as TraceValue;
use crate::proto::{LogSettingsRequest, TraceSettingRequest};

/// What the routes need.
pub(crate) struct ObserveRoutes {
    pub(crate) logs: Logs,
    pub(crate) tracing: Tracing,
    pub(crate) models: Arc<Models>,
    pub(crate) bodies: Bodies,
}

/// Logging, and tracing of the server and of a model.
pub(crate) fn routes(state: Arc<ObserveRoutes>) -> Router {
    Router::new()
        .route("/v2/logging", get(logging).post(logging))
        .route("/v2/trace/setting", get(server_trace).post(server_trace))
        .route("/v2/models/{model}/trace/setting", get(model_trace).post(model_trace))
        .with_state(state)
}

async fn logging(
    State(routes): State<Arc<ObserveRoutes>>,
    request: Request,
) -> Result<Json<Value>, HttpError> {
    let (asked, _charge): (Map<String, Value>, _) = routes.bodies.read_json(request).await?;
    let choice = |value: &Value| match value {
        Value::Bool(value) => Some(Asked::BoolParam(*value)),
        Value::Number(number) => number.as_u64()?.try_into().ok().map(Asked::Uint32Param),
        Value::String(text) => Some(Asked::StringParam(text.clone())),
        _ => None,
    };
    let settings =
        asked.iter().map(|(name, value)| (name.clone(), LogValue { parameter_choice: choice(value) }));
    let told = routes.logs.settings(&LogSettingsRequest { settings: settings.collect() })?;
    let shown = told.settings.into_iter().map(|(name, setting)| {
        let value = match setting.parameter_choice {
            Some(ParameterChoice::BoolParam(value)) => value.into(),
            Some(ParameterChoice::Uint32Param(value)) => value.into(),
            Some(ParameterChoice::StringParam(text)) => text.into(),
            None => Value::Null,
        };
        (name, value)
    });
    Ok(Json(shown.collect::<Map<_, _>>().into()))
}

async fn server_trace(
    State(routes): State<Arc<ObserveRoutes>>,
    request: Request,
) -> Result<Json<Value>, HttpError> {
    trace_setting(&routes, String::new(), request).await
}

async fn model_trace(
    State(routes): State<Arc<ObserveRoutes>>,
    Path(model): Path<String>,
    request: Request,
) -> Result<Json<Value>, HttpError> {
    routes.models.find(&model, "")?;
    trace_setting(&routes, model, request).await
}

/// A setting is a text, a level several too, or null for the default.
async fn trace_setting(
    routes: &ObserveRoutes,
    model_name: String,
    request: Request,
) -> Result<Json<Value>, HttpError> {
    let (asked, _charge): (Map<String, Value>, _) = routes.bodies.read_json(request).await?;
    let setting = |(name, value): (String, Value)| {
        let texts = match value {
            Value::Null => Some(Vec::new()),
            Value::String(text) => Some(vec![text]),
            Value::Array(values) => values.iter().map(|value| value.as_str().map(str::to_owned)).collect(),
            _ => None,
        };
        let wrong = || BodyError::Content {
            reason: format!("trace setting {name:?} must be a string, several, or null"),
        };
        Ok((name.clone(), TraceValue { value: texts.ok_or_else(wrong)? }))
    };
    let settings = asked.into_iter().map(setting).collect::<Result<_, HttpError>>()?;
    let told = routes.tracing.settings(&TraceSettingRequest { settings, model_name })?;
    let shown = told.settings.into_iter().map(|(name, setting)| {
        let value = if name == TRACE_LEVEL { setting.value.into() } else { setting.value.concat().into() };
        (name, value)
    });
    Ok(Json(shown.collect::<Map<_, _>>().into()))
}
