//! `grpc.health.v1.Health`: what Kubernetes' probes and gRPC's load balancers ask. The same readiness as over HTTP.

use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::Health as HealthCheck;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tonic_health::server::WatchStream;

use crate::http::health::Readiness;

/// The services that can be asked for; "" is the server as a whole.
const SERVICES: [&str; 2] = ["", "inference.GRPCInferenceService"];

/// The service.
pub(super) struct Health {
    pub(super) is_ready: Readiness,
}

#[tonic::async_trait]
impl HealthCheck for Health {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let service = &request.get_ref().service;
        if !SERVICES.contains(&service.as_str()) {
            return Err(Status::not_found(format!("no such service: {service:?}")));
        }
        let status = if (self.is_ready)() { ServingStatus::Serving } else { ServingStatus::NotServing };
        Ok(Response::new(HealthCheckResponse { status: status.into() }))
    }

    type WatchStream = WatchStream;

    /// Clients that get this ask no more, as gRPC's health checking protocol says.
    async fn watch(&self, _: Request<HealthCheckRequest>) -> Result<Response<WatchStream>, Status> {
        Err(Status::unimplemented("readiness is not watched by this server; ask with Check"))
    }
}
