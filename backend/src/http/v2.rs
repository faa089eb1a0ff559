//! `POST .../infer`: path, headers and body -> a decoded request -> `infer` -> the answer in the encoding the client
//! wants, with the model's policy as `Cache-Control`.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bytes::Bytes;
use forebay_protocol::header::INFERENCE_HEADER_CONTENT_LENGTH;
use forebay_protocol::limits::Limits;
use forebay_protocol::messages::ModelInferRequest;
use forebay_protocol::path::{InferPath, InferTarget};
use forebay_protocol::raw;
use forebay_protocol::request;
use forebay_protocol::response::{self, Encoded};
use forebay_protocol::wants::Wants;
use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue};

use super::coding;
use super::error::HttpError;
use crate::body::Bodies;
use crate::config;
use crate::infer::{Answer, Caller, Inference, headers};
use crate::observe::trace::{Laps, Stage};

/// What the infer routes need.
pub(crate) struct InferRoutes {
    pub(crate) inference: Inference,
    pub(crate) limits: Limits,
    pub(crate) bodies: Bodies,
}

/// The two spellings of infer.
pub(crate) fn routes(state: Arc<InferRoutes>) -> Router {
    let routes = Router::new()
        .route("/v2/models/{model}/infer", post(infer))
        .route("/v2/models/{model}/versions/{version}/infer", post(infer));
    coding::encoded(routes).with_state(state)
}

async fn infer(State(routes): State<Arc<InferRoutes>>, request: Request) -> Result<Response, HttpError> {
    let mut laps = Laps::begin();
    let (head, body) = request.into_parts();
    let path = head.uri.path();
    let target = InferTarget::parse(path).ok_or_else(|| HttpError::NoSuchPath { path: path.to_owned() })?;
    let lengths = head.headers.get_all(INFERENCE_HEADER_CONTENT_LENGTH);
    let header_length = request::header_length(lengths.iter().map(HeaderValue::as_bytes))?;
    let body: Bytes = routes.bodies.read(&head.headers, body).await?.held();
    laps.end(Stage::Read);
    let request = match header_length {
        Some(0) => routes.decode_raw(&target.names(), &body)?,
        _ => request::decode(&target.names(), header_length, &body, &routes.limits)?,
    };
    let caller = routes.inference.caller(&head.headers, &head.extensions, None);
    routes.answer(request, body, &caller, laps).await
}

impl InferRoutes {
    /// Answers a request whose tensors lie in `body`, or beside it.
    ///
    /// # Errors
    /// As [`Inference::answer`], and when there is no room, or the answer has no such form.
    pub(super) async fn answer(
        &self,
        mut request: ModelInferRequest,
        body: Bytes,
        caller: &Caller,
        mut laps: Laps,
    ) -> Result<Response, HttpError> {
        self.bodies.budget.charge().tensors(&mut request, &body)?;
        drop(body);
        laps.end(Stage::Decode);
        let wants = Wants::of(&request);
        let id = request.id.clone();
        let answer = self.inference.answer(request, caller, &laps).await?;
        let since = Instant::now();
        let encoded = response::encode(&answer.response, &wants, &id)?;
        answer.trace.goes_out(since);
        Ok(respond(&answer, encoded))
    }

    /// A body without JSON: what its bytes are is the model's to say.
    fn decode_raw(&self, path: &InferPath<'_>, body: &Bytes) -> Result<ModelInferRequest, HttpError> {
        let version = self.inference.models.find(path.model, path.version)?;
        let declared = version.config.input.iter();
        let inputs: Option<Vec<_>> = declared
            .map(|input| {
                let datatype = config::datatype(input.data_type)?;
                Some(raw::Input { name: &input.name, datatype, dims: &input.dims })
            })
            .collect();
        // A model whose inputs are of no datatype of V2's was not loaded.
        let inputs = inputs.unwrap_or_default();
        let batches = version.config.max_batch_size > 0;
        Ok(raw::decode(path, &inputs, batches, body, &self.limits)?)
    }
}

fn respond(answer: &Answer, encoded: Encoded) -> Response {
    let mut response = Body::from(encoded.body).into_response();
    let headers = response.headers_mut();
    let content_type = match encoded.header_length {
        None => "application/json",
        Some(length) => {
            headers
                .insert(HeaderName::from_static(INFERENCE_HEADER_CONTENT_LENGTH), HeaderValue::from(length));
            "application/octet-stream"
        }
    };
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.extend(headers::of(answer));
    response
}
