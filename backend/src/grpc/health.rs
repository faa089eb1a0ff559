//! `grpc.health.v1.Health`: what Kubernetes' probes and gRPC's load balancers ask and watch. The same readiness as over HTTP enters,
//! as it is now and again; who watches is told when it changes, and that the server closes.

use std::time::Duration;

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tonic_health::ServingStatus;
use tonic_health::server::{HealthReporter, HealthService};

use crate::observe::readiness::{Draining, Readiness};

/// The services that can be asked for; "" is the server as a whole.
const SERVICES: [&str; 2] = ["", "inference.GRPCInferenceService"];
/// How often readiness is looked at. The drain's beginning is told at once.
const LOOK: Duration = Duration::from_millis(100);

/// The service, which follows readiness from now on. Must be called inside a runtime.
pub(crate) async fn start(is_ready: Readiness, draining: &Draining) -> HealthService {
    let reporter = HealthReporter::new();
    let ready = is_ready();
    tell(&reporter, ready).await;
    tokio::spawn(follow(reporter.clone(), is_ready, ready, draining.begun(), draining.closing()));
    HealthService::from_health_reporter(reporter)
}

async fn follow(
    mut reporter: HealthReporter,
    is_ready: Readiness,
    mut told: bool,
    begun: CancellationToken,
    closing: CancellationToken,
) {
    let mut looks = tokio::time::interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = closing.cancelled() => break,
            () = begun.cancelled(), if !begun.is_cancelled() => {}
            _ = looks.tick() => {}
        }
        let ready = is_ready();
        if ready != told {
            tell(&reporter, ready).await;
            told = ready;
        }
    }
    if told {
        tell(&reporter, false).await;
    }
    // Ends the streams of those who watch: the drain waits for all streams.
    for service in SERVICES {
        reporter.clear_service_status(service).await;
    }
}

async fn tell(reporter: &HealthReporter, ready: bool) {
    let status = if ready { ServingStatus::Serving } else { ServingStatus::NotServing };
    for service in SERVICES {
        reporter.set_service_status(service, status).await;
    }
}
