//! A `forebay` that has started: its ready line enters, its ports leave.

use serde_json::Value;

/// Where it listens.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    /// 0 of a gate: it has none.
    pub http: u16,
    /// `serve` only.
    pub grpc: Option<u16>,
    /// `gate`, and `serve` with the pool in memory.
    pub gate: Option<u16>,
    /// Of a `gate` that scales.
    pub scaler: Option<u16>,
    /// Of a `gate` that Kubernetes asks for External metrics.
    pub external_metrics: Option<u16>,
    /// Of both.
    pub metrics: u16,
}

impl Ports {
    /// Those of the line, if it is the one that says it is ready: `{"ready":true,"gate_port":N,"metrics_port":M}`, from `serve` with
    /// `http_port` and `grpc_port`.
    pub fn of(line: &str) -> Option<Self> {
        let line: Value = serde_json::from_str(line).ok()?;
        let port = |name: &str| u16::try_from(line.get(name)?.as_u64()?).ok();
        line.get("ready")?.as_bool()?.then_some(Self {
            http: port("http_port").unwrap_or(0),
            grpc: port("grpc_port"),
            gate: port("gate_port"),
            scaler: port("scaler_port"),
            external_metrics: port("external_metrics_port"),
            metrics: port("metrics_port")?,
        })
    }
}
