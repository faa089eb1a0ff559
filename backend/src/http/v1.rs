//! `KServe`'s V1 protocol: `POST /v1/models/m:predict` with rows (`instances`) or columns (`inputs`) of plain JSON -> the same
//! request in V2's form -> `infer` -> `predictions`, one a row. For models whose tensors begin with the rows.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use forebay_protocol::path::InferPath;
use forebay_protocol::wants::Wants;
use forebay_protocol::{request, response};
use http::header::ALLOW;
use http::{Method, Uri};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::error::HttpError;
use super::infer::InferRoutes;
use crate::infer::headers;
use crate::signature::Signature;

/// What a model's path ends with when it is to predict.
const PREDICT: &str = ":predict";

/// Models and predictions.
pub(crate) fn routes(state: Arc<InferRoutes>) -> Router {
    Router::new()
        .route("/v1/models", get(models))
        .route("/v1/models/{model}", get(ready).post(predict).fallback(not_allowed))
        .with_state(state)
}

async fn models(State(routes): State<Arc<InferRoutes>>) -> Json<Value> {
    let set = routes.inference.models.current();
    let mut names: Vec<&String> = set.models.keys().collect();
    names.sort_unstable();
    Json(json!({ "models": names }))
}

async fn ready(
    State(routes): State<Arc<InferRoutes>>,
    Path(model): Path<String>,
    method: Method,
    uri: Uri,
) -> Result<Response, HttpError> {
    if model.ends_with(PREDICT) {
        return Ok(not_allowed(method, uri).await);
    }
    routes.inference.models.find(&model, "")?;
    Ok(Json(json!({ "name": model, "ready": true })).into_response())
}

/// One route takes two paths, which don't take the same methods.
async fn not_allowed(method: Method, uri: Uri) -> Response {
    let allowed = if uri.path().ends_with(PREDICT) { "POST" } else { "GET,HEAD" };
    let error = HttpError::Method { path: uri.path().to_owned(), method };
    ([(ALLOW, allowed)], error).into_response()
}

/// A prediction's body: one of the two.
#[derive(Default, Deserialize)]
pub(crate) struct PredictRequest {
    instances: Option<Vec<Value>>,
    inputs: Option<Value>,
}

impl PredictRequest {
    /// The same request in V2's form, for a model of that signature.
    ///
    /// # Errors
    /// `Body` for what V2 can't say.
    pub(crate) fn v2(self, signature: &Signature) -> Result<Vec<u8>, HttpError> {
        let columns = match (self.instances, self.inputs) {
            (Some(rows), None) => columns(signature, rows)?,
            (None, Some(Value::Object(columns))) => columns,
            (None, Some(column)) => Map::from_iter([(only_input(signature)?, column)]),
            _ => return Err(wrong("has either instances, a list, or inputs")),
        };
        serde_json::to_vec(&v2(signature, &columns)?).map_err(|error| wrong(error.to_string()))
    }
}

async fn predict(
    State(routes): State<Arc<InferRoutes>>,
    Path(path): Path<String>,
    request: Request,
) -> Result<Response, HttpError> {
    let Some(model) = path.strip_suffix(PREDICT) else {
        if path.contains(':') {
            return Err(HttpError::NoSuchPath { path: request.uri().path().to_owned() });
        }
        // A model itself is only asked whether it is ready.
        return Ok(not_allowed(request.method().clone(), request.uri().clone()).await);
    };
    let caller = routes.inference.caller(request.headers(), request.extensions(), None);
    let (asked, charge): (PredictRequest, _) = routes.bodies.read_json(request).await?;
    let version = routes.inference.models.find(model, "")?;
    let infer_path = InferPath { model, version: "" };
    let v2 = asked.v2(&version.signature)?;
    let mut request = request::decode(&infer_path, None, &v2.into(), &routes.limits)?;
    charge.tensors(&mut request, &[])?;
    let wants = Wants::of(&request);
    let answer = routes.inference.answer(request, &caller).await?;
    let encoded = response::encode(&answer.response, &wants, "")?;
    let predictions = predictions(&encoded.body)?;
    Ok((headers::of(&answer), Json(json!({ "predictions": predictions }))).into_response())
}

fn wrong(reason: impl Into<String>) -> HttpError {
    HttpError::Body { reason: reason.into() }
}

fn only_input(signature: &Signature) -> Result<String, HttpError> {
    match signature.inputs.as_slice() {
        [input] => Ok(input.name.clone()),
        inputs => {
            let names: Vec<&str> = inputs.iter().map(|input| input.name.as_str()).collect();
            Err(wrong(format!("the model has several inputs, name each: {}", names.join(", "))))
        }
    }
}

/// Rows by input: each row is a value for the only input, or an object with a value for each.
fn columns(signature: &Signature, rows: Vec<Value>) -> Result<Map<String, Value>, HttpError> {
    let mut columns: Map<String, Value> = Map::new();
    for (index, row) in rows.into_iter().enumerate() {
        let cells = match row {
            Value::Object(cells) => cells,
            cell => Map::from_iter([(only_input(signature)?, cell)]),
        };
        if index > 0 && !(cells.len() == columns.len() && cells.keys().all(|name| columns.contains_key(name)))
        {
            return Err(wrong(format!("instance {index} has other inputs than those before it")));
        }
        for (name, cell) in cells {
            let column = columns.entry(name).or_insert_with(|| Value::Array(Vec::new()));
            if let Value::Array(column) = column {
                column.push(cell);
            }
        }
    }
    Ok(columns)
}

/// The request in V2's form: shapes are the values', datatypes the model's.
fn v2(signature: &Signature, columns: &Map<String, Value>) -> Result<Value, HttpError> {
    let input = |(name, data): (&String, &Value)| {
        let spec = signature.inputs.iter().find(|spec| spec.name == *name);
        // The signature's check names an input that is not there.
        let datatype = spec.map_or("FP32", |spec| spec.datatype.as_str());
        let mut shape = Vec::new();
        let mut level = data;
        while let Value::Array(values) = level {
            shape.push(values.len());
            let Some(first) = values.first() else { break };
            level = first;
        }
        if level.is_object() {
            return Err(wrong(format!(
                "input {name:?} holds an object; values are numbers, booleans or strings"
            )));
        }
        let data = if shape.is_empty() { json!([data]) } else { data.clone() };
        Ok(json!({ "name": name, "datatype": datatype, "shape": shape, "data": data }))
    };
    Ok(json!({ "inputs": columns.iter().map(input).collect::<Result<Vec<_>, _>>()? }))
}

/// One value a row: the output's, or an object of all outputs.
fn predictions(body: &[u8]) -> Result<Vec<Value>, HttpError> {
    let answer: Value = serde_json::from_slice(body).map_err(|error| wrong(error.to_string()))?;
    let outputs = answer["outputs"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut columns = Vec::with_capacity(outputs.len());
    for output in outputs {
        let name = output["name"].as_str().unwrap_or_default();
        let shape: Vec<usize> = serde_json::from_value(output["shape"].clone()).unwrap_or_default();
        let data = output["data"].as_array().map(Vec::as_slice).unwrap_or_default();
        let Some((rows, rest)) = shape.split_first() else {
            return Err(wrong(format!("output {name:?} is a scalar, which V1 can't carry; use V2")));
        };
        columns.push((name, nested(data, *rows, rest)));
    }
    let rows = columns.first().map_or(0, |(_, rows)| rows.len());
    if columns.iter().any(|(_, column)| column.len() != rows) {
        return Err(wrong("the outputs have different numbers of rows, which V1 can't carry; use V2"));
    }
    if let [(_, column)] = columns.as_mut_slice() {
        return Ok(std::mem::take(column));
    }
    let row = |index: usize| {
        let cells = columns.iter().map(|(name, column)| ((*name).to_owned(), column[index].clone()));
        Value::Object(cells.collect())
    };
    Ok((0..rows).map(row).collect())
}

/// Flat values by shape.
fn nested(data: &[Value], rows: usize, rest: &[usize]) -> Vec<Value> {
    let Some((next, after)) = rest.split_first() else { return data.to_vec() };
    let size = data.len().checked_div(rows).unwrap_or(0);
    (0..rows).map(|row| Value::Array(nested(&data[row * size..][..size], *next, after))).collect()
}
