//! From ready to the end: serve both ports, say so in one line on stdout, wait for SIGTERM or SIGINT, turn readiness
//! to 503, finish what is in flight.

use std::io::Write as _;

use axum::Router;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
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

/// Serves until a signal, then drains.
///
/// # Errors
/// When signals can't be received, or stdout is closed.
pub(crate) async fn serve_until_signal(
    listeners: Listeners,
    settings: &HttpSettings,
    draining: Draining,
    ready: Ready,
) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (stop_main, stop_metrics) = (CancellationToken::new(), CancellationToken::new());
    let serve = |(listener, routes): (TcpListener, Router), stop: &CancellationToken| {
        tokio::spawn(http::serve(listener, routes, settings.clone(), stop.clone()))
    };
    let main = serve(listeners.main, &stop_main);
    let metrics = serve(listeners.metrics, &stop_metrics);
    say_ready(&ready)?;
    tokio::select! {
        _ = terminate.recv() => tracing::info!("SIGTERM: draining"),
        _ = interrupt.recv() => tracing::info!("SIGINT: draining"),
    }
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
