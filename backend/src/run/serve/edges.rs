//! The parts of `serve` -> the routes over HTTP and the calls over gRPC that use them.

use std::sync::Arc;

use axum::Router;
use forebay_protocol::limits::Limits;

use crate::body::Bodies;
use crate::grpc::health::Health;
use crate::grpc::{self, GrpcService};
use crate::http;
use crate::http::logging::ObserveRoutes;
use crate::http::repository::RepositoryRoutes;
use crate::http::v2::InferRoutes;
use crate::infer::Inference;
use crate::models::control::Control;
use crate::observe::logs::Logs;
use crate::observe::readiness::{Draining, Readiness};
use crate::settings::Restrictions;

/// What both edges share.
pub(super) struct Edges {
    pub(super) inference: Inference,
    pub(super) limits: Limits,
    pub(super) is_ready: Readiness,
    pub(super) control: Arc<Control>,
    pub(super) logs: Logs,
    pub(super) bodies: Bodies,
}

impl Edges {
    /// V2 and V1.
    pub(super) fn http(&self, restrictions: Restrictions) -> Router {
        let (inference, bodies, models) =
            (self.inference.clone(), self.bodies.clone(), self.control.models.clone());
        let infer = Arc::new(InferRoutes { inference, limits: self.limits, bodies: bodies.clone() });
        let repository = RepositoryRoutes { control: self.control.clone(), bodies: bodies.clone() };
        let tracing = self.inference.tracing.clone();
        let observe = ObserveRoutes { logs: self.logs.clone(), tracing, models: models.clone(), bodies };
        let routes = http::v2::routes(infer.clone())
            .merge(http::v1::routes(infer))
            .merge(http::metadata::routes(models))
            .merge(http::health::routes(self.is_ready.clone()))
            .merge(http::repository::routes(Arc::new(repository)))
            .merge(http::logging::routes(Arc::new(observe)))
            .merge(http::shared_memory::routes());
        http::with_fallback(http::restricted::restrict(routes, restrictions))
    }

    /// V2, and the health that Kubernetes asks for. Must be called inside a runtime.
    pub(super) async fn grpc(&self, restrictions: Restrictions, draining: &Draining) -> (Router, Health) {
        let service = GrpcService {
            shared: Arc::new(grpc::Shared { inference: self.inference.clone(), limits: self.limits }),
            is_ready: self.is_ready.clone(),
            control: self.control.clone(),
            logs: self.logs.clone(),
            bodies: self.bodies.clone(),
        };
        let (asked, health) = grpc::health::start(self.is_ready.clone(), draining).await;
        (grpc::restricted::restrict(grpc::routes(service, asked), restrictions), health)
    }
}
