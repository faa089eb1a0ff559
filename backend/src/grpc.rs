//! `inference.GRPCInferenceService`, V2 over gRPC. A call -> the same `infer`, `models` and messages that the HTTP routes
//! use -> its answer, or a status (`status`). `ModelInfer` has a shorter way (`unary`); the rest goes through tonic. Served like HTTP,
//! by `http::serve`, on a port of its own.

mod call;
pub(crate) mod front;
pub(crate) mod health;
mod last;
mod reply;
pub(crate) mod restricted;
pub(crate) mod status;
mod unary;

use std::pin::Pin;
use std::sync::Arc;

use axum::body::Body;
use axum::{Router, middleware};
use forebay_protocol::header::X_FOREBAY_SURGE;
use forebay_protocol::limits::Limits;
use forebay_protocol::messages::{ModelInferRequest, ModelInferResponse};
use futures_util::Stream;
use http_body_util::BodyExt as _;
use tonic::codec::CompressionEncoding;
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::HealthService;

pub(crate) use self::call::timeout;
pub(crate) use self::reply::{of as message, of_bytes as raw_message};
use crate::body::Bodies;
use crate::body::budget::Charge;
use crate::body::metered::Metered;
use crate::infer::Inference;
use crate::models::control::{Brought, Control};
use crate::models::metadata;
use crate::observe::logs::Logs;
use crate::observe::readiness::Readiness;
use crate::proto::grpc_inference_service_server::{GrpcInferenceService, GrpcInferenceServiceServer};
use crate::proto::{self, ModelStreamInferResponse};

/// What calls and streams need.
pub(crate) struct Shared {
    pub(crate) inference: Inference,
    pub(crate) limits: Limits,
}

/// The service.
pub(crate) struct GrpcService {
    pub(crate) shared: Arc<Shared>,
    pub(crate) is_ready: Readiness,
    pub(crate) control: Arc<Control>,
    pub(crate) logs: Logs,
    /// How large and how slow messages may be.
    pub(crate) bodies: Bodies,
}

impl GrpcService {
    /// Waits until everybody knows of a change.
    async fn settled(&self) -> Result<(), Status> {
        self.control.herald.settled().await.map_err(|error| status::of_untold(&error))
    }

    /// What came of a call and is no message yet.
    fn charge<T>(&self, request: &Request<T>) -> Arc<Charge> {
        let charge = request.extensions().get::<Arc<Charge>>().cloned();
        charge.unwrap_or_else(|| Arc::new(self.bodies.budget.charge()))
    }
}

/// The service as routes; messages may be as large as a body over HTTP, after decompression too.
pub(crate) fn routes(service: GrpcService, health: HealthService) -> Router {
    let most = service.shared.limits.max_body_bytes;
    let (shared, bodies) = (service.shared.clone(), service.bodies.clone());
    let layered = bodies.clone();
    let mut server = GrpcInferenceServiceServer::new(service)
        .max_decoding_message_size(most)
        .max_encoding_message_size(usize::MAX);
    for encoding in [CompressionEncoding::Gzip, CompressionEncoding::Deflate, CompressionEncoding::Zstd] {
        server = server.accept_compressed(encoding).send_compressed(encoding);
    }
    let metered = middleware::map_request(move |request| std::future::ready(metered(request, &layered)));
    let calls = Routes::new(server).add_service(HealthServer::new(health)).into_axum_router().layer(metered);
    unary::before(calls, shared, bodies)
}

/// The request; its messages are charged as they come, and are an error when they are too slow or there is no room. Those of a stream
/// come when they come. What was charged is in its extensions.
fn metered(mut request: http::Request<Body>, bodies: &Bodies) -> http::Request<Body> {
    let charge = Arc::new(bodies.budget.charge());
    let is_stream = request.uri().path().ends_with("/ModelStreamInfer");
    request.extensions_mut().insert(charge.clone());
    request.map(|body| {
        let body = Metered::new(body, bodies.least);
        let body = if is_stream { body.of_messages(charge) } else { body.of_message(bodies.bytes, charge) };
        Body::new(body.map_err(|unread| status::of_unread(&unread)))
    })
}

type Answered<T> = Result<Response<T>, Status>;

/// A call that this server doesn't do, with what it does instead.
fn refused<T>(what: &str) -> Answered<T> {
    Err(Status::unimplemented(what))
}

const NO_SHARED_MEMORY: &str = "shared memory is not supported by this server; send the tensors' data";

#[tonic::async_trait]
impl GrpcInferenceService for GrpcService {
    type ModelStreamInferStream =
        Pin<Box<dyn Stream<Item = Result<ModelStreamInferResponse, Status>> + Send>>;

    async fn server_live(&self, _: Request<proto::ServerLiveRequest>) -> Answered<proto::ServerLiveResponse> {
        Ok(Response::new(proto::ServerLiveResponse { live: true }))
    }

    async fn server_ready(
        &self,
        _: Request<proto::ServerReadyRequest>,
    ) -> Answered<proto::ServerReadyResponse> {
        Ok(Response::new(proto::ServerReadyResponse { ready: (self.is_ready)() }))
    }

    async fn model_ready(
        &self,
        request: Request<proto::ModelReadyRequest>,
    ) -> Answered<proto::ModelReadyResponse> {
        let asked = request.into_inner();
        let found = self.shared.inference.models.find(&asked.name, &asked.version);
        let ready = found.is_ok_and(|version| version.why_away().is_none());
        Ok(Response::new(proto::ModelReadyResponse { ready }))
    }

    async fn server_metadata(
        &self,
        _: Request<proto::ServerMetadataRequest>,
    ) -> Answered<proto::ServerMetadataResponse> {
        Ok(Response::new(metadata::server()))
    }

    async fn model_metadata(
        &self,
        request: Request<proto::ModelMetadataRequest>,
    ) -> Answered<proto::ModelMetadataResponse> {
        let asked = request.into_inner();
        metadata::model(&self.shared.inference.models, &asked.name, &asked.version)
            .map(Response::new)
            .map_err(|unknown| status::of_unknown(&unknown))
    }

    async fn model_config(
        &self,
        request: Request<proto::ModelConfigRequest>,
    ) -> Answered<proto::ModelConfigResponse> {
        let asked = request.into_inner();
        let found = self.shared.inference.models.find(&asked.name, &asked.version);
        let version = found.map_err(|unknown| status::of_unknown(&unknown))?;
        Ok(Response::new(proto::ModelConfigResponse { config: Some(version.config.clone()) }))
    }

    async fn model_infer(&self, request: Request<ModelInferRequest>) -> Answered<ModelInferResponse> {
        self.infer(request).await
    }

    async fn model_stream_infer(
        &self,
        request: Request<Streaming<ModelInferRequest>>,
    ) -> Answered<Self::ModelStreamInferStream> {
        self.stream(request)
    }

    async fn model_statistics(
        &self,
        request: Request<proto::ModelStatisticsRequest>,
    ) -> Answered<proto::ModelStatisticsResponse> {
        let asked = request.into_inner();
        metadata::statistics(&self.shared.inference.models, &asked.name, &asked.version)
            .map(Response::new)
            .map_err(|unknown| status::of_unknown(&unknown))
    }

    async fn repository_index(
        &self,
        request: Request<proto::RepositoryIndexRequest>,
    ) -> Answered<proto::RepositoryIndexResponse> {
        let ready = request.get_ref().ready;
        let index = self.control.index(ready).await;
        index.map(Response::new).map_err(|error| status::of_control(&error))
    }

    async fn repository_model_load(
        &self,
        request: Request<proto::RepositoryModelLoadRequest>,
    ) -> Answered<proto::RepositoryModelLoadResponse> {
        let charge = self.charge(&request).split();
        let asked = request.into_inner();
        let brought = Brought::new(asked.parameters, charge).map_err(status::of_spent)?;
        let loaded = self.control.load(asked.model_name, brought).await;
        let surge = loaded.map_err(|error| status::of_control(&error))?;
        self.settled().await?;
        let mut answer = Response::new(proto::RepositoryModelLoadResponse {});
        if let Some(surge) = surge.and_then(|surge| format!("{surge:.3}").parse().ok()) {
            answer.metadata_mut().insert(X_FOREBAY_SURGE, surge);
        }
        Ok(answer)
    }

    async fn repository_model_unload(
        &self,
        request: Request<proto::RepositoryModelUnloadRequest>,
    ) -> Answered<proto::RepositoryModelUnloadResponse> {
        let asked = request.into_inner();
        let unloaded = self.control.unload(asked.model_name).await;
        unloaded.map_err(|error| status::of_control(&error))?;
        self.settled().await?;
        Ok(Response::new(proto::RepositoryModelUnloadResponse {}))
    }

    /// No regions, as is true: clients ask before they clean up.
    async fn system_shared_memory_status(
        &self,
        _: Request<proto::SystemSharedMemoryStatusRequest>,
    ) -> Answered<proto::SystemSharedMemoryStatusResponse> {
        Ok(Response::new(proto::SystemSharedMemoryStatusResponse::default()))
    }

    async fn system_shared_memory_register(
        &self,
        _: Request<proto::SystemSharedMemoryRegisterRequest>,
    ) -> Answered<proto::SystemSharedMemoryRegisterResponse> {
        refused(NO_SHARED_MEMORY)
    }

    async fn system_shared_memory_unregister(
        &self,
        _: Request<proto::SystemSharedMemoryUnregisterRequest>,
    ) -> Answered<proto::SystemSharedMemoryUnregisterResponse> {
        Ok(Response::new(proto::SystemSharedMemoryUnregisterResponse::default()))
    }

    async fn cuda_shared_memory_status(
        &self,
        _: Request<proto::CudaSharedMemoryStatusRequest>,
    ) -> Answered<proto::CudaSharedMemoryStatusResponse> {
        Ok(Response::new(proto::CudaSharedMemoryStatusResponse::default()))
    }

    async fn cuda_shared_memory_register(
        &self,
        _: Request<proto::CudaSharedMemoryRegisterRequest>,
    ) -> Answered<proto::CudaSharedMemoryRegisterResponse> {
        refused(NO_SHARED_MEMORY)
    }

    async fn cuda_shared_memory_unregister(
        &self,
        _: Request<proto::CudaSharedMemoryUnregisterRequest>,
    ) -> Answered<proto::CudaSharedMemoryUnregisterResponse> {
        Ok(Response::new(proto::CudaSharedMemoryUnregisterResponse::default()))
    }

    async fn trace_setting(
        &self,
        request: Request<proto::TraceSettingRequest>,
    ) -> Answered<proto::TraceSettingResponse> {
        let asked = request.into_inner();
        if !asked.model_name.is_empty() {
            let found = self.shared.inference.models.find(&asked.model_name, "");
            found.map_err(|error| status::of_unknown(&error))?;
        }
        let told = self.shared.inference.tracing.settings(&asked);
        told.map(Response::new).map_err(|error| status::of_trace(&error))
    }

    async fn log_settings(
        &self,
        request: Request<proto::LogSettingsRequest>,
    ) -> Answered<proto::LogSettingsResponse> {
        let told = self.logs.settings(&request.into_inner());
        told.map(Response::new).map_err(|error| status::of_log(&error))
    }
}
