//! From ready to the end: serve both ports, say so in one line on stdout, wait for SIGTERM or SIGINT, turn readiness
//! to 503, finish what is in flight.

use std::io::Write as _;

use axum::Router;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::http;
use crate::http::health::Draining;
use crate::settings::HttpSettings;

/// The bound ports.
pub(crate) struct Ready {
    pub(crate) http_port: u16,
    pub(crate) metrics_port: u16,
}

#[derive(Serialize)]
struct ReadyLine {
    ready: bool,
    http_port: u16,
    metrics_port: u16,
}

/// What is served where.
pub(crate) struct Listeners {
    pub(crate) main: (TcpListener, Router),
    pub(crate) metrics: (TcpListener, Router),
}

/// SIGTERM and SIGINT, received from the moment this exists.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Must be called inside a runtime.
    ///
    /// # Errors
    /// When the system gives no handler.
    pub(crate) fn listen() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for either.
    pub(crate) async fn wait(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => tracing::info!("SIGTERM"),
            _ = self.interrupt.recv() => tracing::info!("SIGINT"),
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
    ready: Ready,
) -> anyhow::Result<()> {
    let (stop_main, stop_metrics) = (CancellationToken::new(), CancellationToken::new());
    let serve = |(listener, routes): (TcpListener, Router), stop: &CancellationToken| {
        tokio::spawn(http::serve(listener, routes, settings.clone(), stop.clone()))
    };
    let main = serve(listeners.main, &stop_main);
    let metrics = serve(listeners.metrics, &stop_metrics);
    say_ready(&ready)?;
    signals.wait().await;
    draining.begin();
    tokio::time::sleep(settings.drain_secs).await;
    stop_main.cancel();
    main.await?;
    stop_metrics.cancel();
    metrics.await?;
    Ok(())
}

fn say_ready(ready: &Ready) -> anyhow::Result<()> {
    let line = ReadyLine { ready: true, http_port: ready.http_port, metrics_port: ready.metrics_port };
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{}", serde_json::to_string(&line)?)?;
    stdout.flush()?;
    tracing::info!(http_port = ready.http_port, metrics_port = ready.metrics_port, "ready");
    Ok(())
}
