//! The ports of a program as it names them: in a log line once they answer, and in one line on stdout once it is ready.

use std::io::Write as _;

use serde::Serialize;

/// The bound ports.
#[derive(Debug, Default, Clone, Copy, Serialize)]
pub(super) struct Ports {
    /// Of `serve`, and of `gate` where it holds requests.
    #[serde(rename = "http_port", skip_serializing_if = "Option::is_none")]
    pub(super) http: Option<u16>,
    #[serde(rename = "grpc_port", skip_serializing_if = "Option::is_none")]
    pub(super) grpc: Option<u16>,
    /// Of `gate`, and of `serve` with the pool in memory.
    #[serde(rename = "gate_port", skip_serializing_if = "Option::is_none")]
    pub(super) gate: Option<u16>,
    /// Of `gate`, where it scales.
    #[serde(rename = "scaler_port", skip_serializing_if = "Option::is_none")]
    pub(super) scaler: Option<u16>,
    /// Of `gate`, where Kubernetes asks it for External metrics.
    #[serde(rename = "external_metrics_port", skip_serializing_if = "Option::is_none")]
    pub(super) external_metrics: Option<u16>,
    #[serde(rename = "metrics_port")]
    pub(super) metrics: u16,
}

#[derive(Serialize)]
struct ReadyLine {
    ready: bool,
    #[serde(flatten)]
    ports: Ports,
}

impl Ports {
    /// They answer, and it is not ready yet.
    pub(super) fn say_live(self) {
        let Self { http, grpc, gate, metrics, .. } = self;
        tracing::info!(http, grpc, gate, metrics, "live; models are being loaded");
    }

    /// It is ready.
    ///
    /// # Errors
    /// When stdout is closed.
    pub(super) fn say_ready(self) -> anyhow::Result<()> {
        let line = ReadyLine { ready: true, ports: self };
        let mut stdout = std::io::stdout().lock();
        writeln!(stdout, "{}", serde_json::to_string(&line)?)?;
        stdout.flush()?;
        let Self { http, grpc, gate, scaler, external_metrics, metrics } = self;
        tracing::info!(http, grpc, gate, scaler, external_metrics, metrics, "ready");
        Ok(())
    }
}
