//! gRPC in front of an upstream: as `http::front`. One message that is not compressed is looked into, since it names its model; what it
//! is for a model that is kept or joined is answered here, in `Shared::answer`. All else goes on as it came, streams too.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::{any, post};
use bytes::Bytes;
use forebay_protocol::call::message;
use forebay_protocol::messages::ModelInferRequest;
use forebay_protocol::{contents, request};
use futures_util::stream;
use http::request::Parts;
use http_body_util::{BodyExt as _, Limited, StreamBody};
use hyper::body::Frame;
use prost::Message as _;
use tonic::Status;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::HealthService;

use super::call::{self, Came};
use super::{Shared, reply, status, unary};
use crate::body::Bodies;
use crate::body::metered::Metered;
use crate::infer::{Bypass, Caller, InferError, Miss, headers, is_of_itself};
use crate::models::control::FILE;
use crate::models::front::{Change, Front};
use crate::observe::readiness::Readiness;
use crate::observe::trace::{Laps, Stage};
use crate::proto::{RepositoryModelLoadRequest, RepositoryModelUnloadRequest};
use crate::upstream::{Protocol, Upstream, UpstreamError, passed};

/// Of a load's answer, which says nothing but whether it is done.
const MOST_SAID: usize = 1 << 20;
/// Parameters of the protocol itself.
const TRITONS: &str = "triton_";
const STREAM: &str = "/ModelStreamInfer";
/// `ServerLiveResponse` and `ServerReadyResponse` that say yes; who says no says nothing.
const YES: &[u8] = &[8, 1];

/// What the calls need.
pub(crate) struct GrpcFront {
    pub(crate) shared: Shared,
    pub(crate) bodies: Bodies,
    pub(crate) front: Arc<Front>,
    pub(crate) is_ready: Readiness,
}

type Answered = Result<Response, Status>;

/// All calls.
pub(crate) fn routes(front: GrpcFront, health: HealthService) -> Router {
    let path = |method: &str| format!("/inference.GRPCInferenceService/{method}");
    let front = Arc::new(front);
    Router::new()
        .route(unary::PATH, post(infer))
        .route(&path("RepositoryModelLoad"), post(load))
        .route(&path("RepositoryModelUnload"), post(unload))
        .route(&path("ServerLive"), any(|| std::future::ready(reply::of_bytes(YES))))
        .route(&path("ServerReady"), any(ready))
        .fallback(pass)
        .with_state(front)
        .route_service("/grpc.health.v1.Health/{method}", HealthServer::new(health))
}

async fn ready(State(front): State<Arc<GrpcFront>>) -> Response {
    reply::of_bytes(if (front.is_ready)() { YES } else { &[] })
}

async fn pass(State(front): State<Arc<GrpcFront>>, request: Request) -> Response {
    said(front.pass(request).await)
}

async fn infer(State(front): State<Arc<GrpcFront>>, request: Request) -> Response {
    said(front.infer(request).await)
}

async fn load(State(front): State<Arc<GrpcFront>>, request: Request) -> Response {
    let read = |message: Bytes| {
        let asked = RepositoryModelLoadRequest::decode(message)?;
        let brings_files = asked.parameters.keys().any(|name| name.starts_with(FILE));
        Ok(Change { model: asked.model_name, brings_files })
    };
    said(front.change(request, read).await)
}

async fn unload(State(front): State<Arc<GrpcFront>>, request: Request) -> Response {
    let read = |message: Bytes| {
        let asked = RepositoryModelUnloadRequest::decode(message)?;
        Ok(Change { model: asked.model_name, brings_files: false })
    };
    said(front.change(request, read).await)
}

fn said(answered: Answered) -> Response {
    answered.unwrap_or_else(Status::into_http::<Body>)
}

fn refused(error: &UpstreamError) -> Status {
    status::status(error.class(), error)
}

impl GrpcFront {
    async fn infer(&self, request: Request) -> Answered {
        let is_plain = unary::is_plain(&request);
        let (head, body) = request.into_parts();
        let mut caller =
            self.shared.inference.caller(&head.headers, &head.extensions, call::deadline(&head.headers)?);
        caller.passed = passed(&head.headers);
        let (body, miss) = if is_plain {
            let mut laps = Laps::begin();
            let message = unary::read(&self.bodies, body).await?;
            laps.end(Stage::Read);
            match self.taken(&message, &caller) {
                Ok(request) => {
                    let came = Came { message: &message, charge: self.bodies.budget.charge(), laps };
                    let (headers, response) = self.shared.answer(request, came, &caller).await?;
                    return reply::of(headers, response);
                }
                Err(miss) => (framed(message), miss),
            }
        } else {
            (body, Miss::Bypass(Bypass::Uncacheable))
        };
        if caller.directives.only_if_cached {
            return Err(status::of(&InferError::OnlyIfCached));
        }
        let mut answer = self.pass(Request::from_parts(head, body)).await?;
        headers::passed(answer.headers_mut(), miss);
        Ok(answer)
    }

    /// The request of a message, in canonical form, if it is answered here.
    fn taken(&self, message: &Bytes, caller: &Caller) -> Result<ModelInferRequest, Miss> {
        let uncacheable = Miss::Bypass(Bypass::Uncacheable);
        let mut request = ModelInferRequest::decode(message.clone()).map_err(|_| uncacheable)?;
        let version = self.front.models.find(&request.model_name, &request.model_version);
        let version = version.map_err(|_| Miss::Off)?;
        self.shared.inference.takes(&version, caller).map_err(Miss::Bypass)?;
        let is_plain = !request.parameters.keys().any(|name| name.starts_with(TRITONS));
        let is_read = is_plain
            && is_of_itself(&request)
            && contents::canonicalize(&mut request, &self.shared.limits).is_ok()
            && request::validate(&request, &self.shared.limits).is_ok();
        if is_read { Ok(request) } else { Err(uncacheable) }
    }

    async fn pass(&self, request: Request) -> Answered {
        let upstream = &self.front.upstream;
        if request.uri().path().ends_with(STREAM) {
            return upstream.pass(Protocol::Grpc, request, None).await.map_err(|error| refused(&error));
        }
        let left = call::deadline(request.headers())?;
        let left = left.map(|at| at.saturating_duration_since(Instant::now()));
        let within = left.map_or(upstream.within(), |left| left.min(upstream.within()));
        let least = self.bodies.least;
        let request = request.map(|body| Body::new(Metered::new(body, least)));
        upstream.pass(Protocol::Grpc, request, Some(within)).await.map_err(|error| refused(&error))
    }

    /// A load or an unload, as its message says. The answer is read to its end, where its status is.
    async fn change(
        &self,
        request: Request,
        read: impl FnOnce(Bytes) -> Result<Change, prost::DecodeError>,
    ) -> Answered {
        if !unary::is_plain(&request) {
            return Err(Status::unimplemented(
                "a load or unload that is compressed is not taken: send it as it is",
            ));
        }
        let (head, body) = request.into_parts();
        let message = unary::read(&self.bodies, body).await?;
        let change = read(message.clone()).map_err(|error| Status::internal(error.to_string()))?;
        let upstream = self.front.upstream.clone();
        let passing = async move {
            let answered = changed(&upstream, head, message).await;
            let is_done = answered.as_ref().is_ok_and(|(_, is_done)| *is_done);
            (answered, is_done)
        };
        let ended = |error: tokio::task::JoinError| Status::internal(error.to_string());
        let (answered, told) = self.front.change(change, passing).await.map_err(ended)?;
        let (answer, is_done) = answered?;
        if is_done {
            told.map_err(|error| status::of_untold(&error))?;
        }
        Ok(answer)
    }
}

/// What the upstream says of a change, and whether it made it.
async fn changed(upstream: &Upstream, head: Parts, message: Bytes) -> Result<(Response, bool), Status> {
    let within = upstream.load_within();
    let request = Request::from_parts(head, framed(message));
    let answer =
        upstream.pass(Protocol::Grpc, request, Some(within)).await.map_err(|error| refused(&error))?;
    let (head, body) = answer.into_parts();
    let read = tokio::time::timeout(within, Limited::new(body, MOST_SAID).collect()).await;
    let read = read.map_err(|_| Status::deadline_exceeded("the upstream's answer did not end"))?;
    let read =
        read.map_err(|error| Status::unavailable(format!("the upstream's answer broke off: {error}")))?;
    let trailers = read.trailers().cloned();
    let is_done = [Some(&head.headers), trailers.as_ref()]
        .into_iter()
        .flatten()
        .any(|headers| headers.get("grpc-status").is_some_and(|status| status == "0"));
    let data = Some(read.to_bytes()).filter(|data| !data.is_empty()).map(Frame::data);
    let frames = data.into_iter().chain(trailers.map(Frame::trailers)).map(Ok::<_, Infallible>);
    let body = Body::new(StreamBody::new(stream::iter(frames.collect::<Vec<_>>())));
    Ok((Response::from_parts(head, body), is_done))
}

/// A message behind its head, as the body of a call.
fn framed(message: Bytes) -> Body {
    let head = message::head(message.len()).unwrap_or_default();
    Body::from_stream(stream::iter([Bytes::copy_from_slice(&head), message].map(Ok::<_, Infallible>)))
}
