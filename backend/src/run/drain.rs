//! From ready to the end: serve every port, say so in one line on stdout, wait for a signal to end, turn readiness
//! to 503, finish what is in flight.

use std::io::Write as _;
use std::sync::Arc;

use axum::Router;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::http;
use crate::http::tls::Tls;
use crate::observe::readiness::Draining;
use crate::settings::HttpSettings;

/// The bound ports, as the ready line names them.
#[derive(Debug, Default, Clone, Copy, Serialize)]
pub(crate) struct Ports {
    /// Of `serve`.
    #[serde(rename = "http_port", skip_serializing_if = "Option::is_none")]
    pub(crate) http: Option<u16>,
    #[serde(rename = "grpc_port", skip_serializing_if = "Option::is_none")]
    pub(crate) grpc: Option<u16>,
    /// Of `gate`, and of `serve` with the pool in memory.
    #[serde(rename = "gate_port", skip_serializing_if = "Option::is_none")]
    pub(crate) gate: Option<u16>,
    #[serde(rename = "metrics_port")]
    pub(crate) metrics: u16,
}

#[derive(Serialize)]
struct ReadyLine {
    ready: bool,
    #[serde(flatten)]
    ports: Ports,
}

/// What is served where.
pub(crate) struct Listeners {
    /// What takes requests; closed first.
    pub(crate) main: Vec<(TcpListener, Router)>,
    /// What encrypts `main`.
    pub(crate) tls: Option<Arc<Tls>>,
    pub(crate) metrics: (TcpListener, Router),
}

/// SIGTERM, SIGINT and SIGHUP (a terminal that is gone), received from the moment this exists.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// Must be called inside a runtime.
    ///
    /// # Errors
    /// When the system gives no handler.
    pub(crate) fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for one of them.
    pub(crate) async fn wait(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => tracing::info!("SIGTERM"),
            _ = self.interrupt.recv() => tracing::info!("SIGINT"),
            _ = self.hangup.recv() => tracing::info!("SIGHUP"),
        }
    }
}

/// Serves until a signal, then drains.
///
/// # Errors
/// When stdout is closed.
pub(crate) async fn serve_until_signal(
    listeners: Listeners,
    mut signals: Signals,
    settings: &HttpSettings,
    draining: Draining,
    ports: Ports,
) -> anyhow::Result<()> {
    let (stop_main, stop_metrics) = (CancellationToken::new(), CancellationToken::new());
    let tls = listeners.tls;
    let serve = |(listener, routes): (TcpListener, Router),
                 tls: Option<Arc<Tls>>,
                 stop: &CancellationToken| {
        tokio::spawn(http::serve(listener, routes, settings.clone(), tls, (draining.begun(), stop.clone())))
    };
    if let Some(tls) = tls.clone() {
        tokio::spawn(tls.follow(stop_main.clone()));
    }
    let main: Vec<_> =
        listeners.main.into_iter().map(|listener| serve(listener, tls.clone(), &stop_main)).collect();
    let metrics = serve(listeners.metrics, None, &stop_metrics);
    say_ready(ports)?;
    signals.wait().await;
    draining.begin();
    tokio::time::sleep(settings.drain_secs).await;
    draining.close();
    stop_main.cancel();
    for served in main {
        served.await?;
    }
    stop_metrics.cancel();
    metrics.await?;
    Ok(())
}

fn say_ready(ports: Ports) -> anyhow::Result<()> {
    let line = ReadyLine { ready: true, ports };
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{}", serde_json::to_string(&line)?)?;
    stdout.flush()?;
    tracing::info!(ports.http, ports.grpc, ports.gate, ports.metrics, "ready");
    Ok(())
}
