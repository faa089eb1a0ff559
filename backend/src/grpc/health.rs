//! `grpc.health.v1.Health`: what Kubernetes' probes and gRPC's load balancers ask and watch. The same readiness as over HTTP enters,
//! as it is now and again, and when it is told that it changed; who watches is told then, and that the server closes.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tonic_health::ServingStatus;
use tonic_health::server::{HealthReporter, HealthService};

use crate::observe::readiness::{Draining, Readiness};

/// The services that can be asked for; "" is the server as a whole.
const SERVICES: [&str; 2] = ["", "inference.GRPCInferenceService"];
/// How often readiness is looked at. The drain's beginning is told at once.
const LOOK: Duration = Duration::from_millis(100);

/// The readiness that is told.
#[derive(Clone)]
pub(crate) struct Health {
    reporter: HealthReporter,
    is_ready: Readiness,
    told: Arc<Mutex<bool>>,
}

/// The service, which follows readiness from now on. Must be called inside a runtime.
pub(crate) async fn start(is_ready: Readiness, draining: &Draining) -> (HealthService, Health) {
    let reporter = HealthReporter::new();
    tell(&reporter, false).await;
    let health = Health { reporter: reporter.clone(), is_ready, told: Arc::default() };
    health.look().await;
    tokio::spawn(health.clone().follow(draining.begun(), draining.closing()));
    (HealthService::from_health_reporter(reporter), health)
}

impl Health {
    /// Tells readiness as it is now.
    pub(crate) async fn look(&self) {
        let mut told = self.told.lock().await;
        let ready = (self.is_ready)();
        if ready != *told {
            tell(&self.reporter, ready).await;
            *told = ready;
        }
    }

    async fn follow(mut self, begun: CancellationToken, closing: CancellationToken) {
        let mut looks = tokio::time::interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = closing.cancelled() => break,
                () = begun.cancelled(), if !begun.is_cancelled() => {}
                _ = looks.tick() => {}
            }
            self.look().await;
        }
        // Nobody is told anything else any more.
        let told = self.told.lock().await;
        if *told {
            tell(&self.reporter, false).await;
        }
        // Ends the streams of those who watch: the drain waits for all streams.
        for service in SERVICES {
            self.reporter.clear_service_status(service).await;
        }
    }
}

async fn tell(reporter: &HealthReporter, ready: bool) {
    let status = if ready { ServingStatus::Serving } else { ServingStatus::NotServing };
    for service in SERVICES {
        reporter.set_service_status(service, status).await;
    }
}
