//! The ports of `serve`: bound first, so that one that is taken is said before minutes are spent on models; served before those are
//! loaded, so that who asks is told that it lives and isn't ready.

use std::sync::Arc;

use axum::Router;
use tokio::net::TcpListener;

use crate::http;
use crate::http::tls::Tls;
use crate::run::ports::Ports;
use crate::run::serving::Listeners;
use crate::settings::{PoolKind, ServingSettings};

type Port = (TcpListener, u16);

/// Ports that nothing is served on yet.
pub(in crate::run) struct Bound {
    http: Port,
    grpc: Port,
    /// With the pool in memory.
    gate: Option<Port>,
    metrics: Port,
}

/// What is to be served on them.
pub(in crate::run) struct Routes {
    pub(in crate::run) http: Router,
    pub(in crate::run) grpc: Router,
    pub(in crate::run) gate: Option<Router>,
    pub(in crate::run) metrics: Router,
}

impl Bound {
    /// Must be called inside a runtime.
    ///
    /// # Errors
    /// When one is taken, or may not be bound.
    pub(in crate::run) fn bind(settings: &ServingSettings) -> anyhow::Result<Self> {
        Ok(Self {
            http: http::listen(settings.http_address, settings.http_port)?,
            grpc: http::listen(settings.grpc_address, settings.grpc_port)?,
            gate: match settings.pool.tier.pool {
                PoolKind::Memory => Some(http::listen(settings.gate.gate_address, settings.gate.gate_port)?),
                PoolKind::Redis | PoolKind::Memcached | PoolKind::None => None,
            },
            metrics: http::listen(settings.http.metrics_address, settings.metrics_port)?,
        })
    }

    /// Their numbers.
    pub(in crate::run) fn ports(&self) -> Ports {
        Ports {
            http: Some(self.http.1),
            grpc: Some(self.grpc.1),
            gate: self.gate.as_ref().map(|(_, number)| *number),
            metrics: self.metrics.1,
            scaler: None,
            external_metrics: None,
        }
    }

    /// Each with its routes.
    pub(in crate::run) fn with(self, routes: Routes, tls: Option<Arc<Tls>>) -> Listeners {
        let mut main = vec![(self.http.0, routes.http), (self.grpc.0, routes.grpc)];
        main.extend(self.gate.map(|(listener, _)| listener).zip(routes.gate));
        Listeners { main, tls, apart: None, metrics: (self.metrics.0, routes.metrics) }
    }
}
