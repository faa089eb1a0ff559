//! Flags -> what a gate holds: for which backends, where it takes requests, and how many and how long.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use http::Uri;
use http::uri::{Authority, Scheme};
use rustls::RootCertStore;
use rustls::pki_types::ServerName;

use super::shared::check_service;
use super::units::{parse_bytes, parse_seconds};
use super::wake::WakeSettings;
use super::{ExternalBy, ExternalSettings, HttpSettings, SettingsError, wrong};
use crate::trust::roots::{self, RootsError};

/// Triton's ports of gRPC and metrics.
const GRPC_PORT: u16 = 8001;
const METRICS_PORT: u16 = 8002;

/// What a gate holds.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Holding")]
pub(crate) struct HoldSettings {
    /// Hold requests that come while no backend is ready, and hand them over: http(s)://HOST:PORT of V2 over HTTP, where HOST is a name
    /// that resolves to each backend. Without it nothing is held
    #[arg(long, env = "FOREBAY_HOLD_FOR")]
    hold_for: Option<Uri>,
    /// Port of V2 over gRPC at the same backends
    #[arg(long, env = "FOREBAY_HOLD_FOR_GRPC_PORT", default_value_t = GRPC_PORT)]
    hold_for_grpc_port: u16,
    /// Port of their /metrics, by which it is known what they have to do
    #[arg(long, env = "FOREBAY_HOLD_FOR_METRICS_PORT", default_value_t = METRICS_PORT)]
    hold_for_metrics_port: u16,
    /// Name that their certificates are for, with https:// [default: HOST]
    #[arg(long, env = "FOREBAY_HOLD_FOR_NAME")]
    hold_for_name: Option<String>,
    /// File with the certificates of the CAs that the backends' must come from, PEM, with https:// [default: the system's]
    #[arg(long, env = "FOREBAY_HOLD_CA_FILE")]
    hold_ca_file: Option<PathBuf>,
    /// Address of the ports where requests come that are to be held
    #[arg(long, env = "FOREBAY_HOLD_ADDRESS", default_value = "0.0.0.0")]
    pub(crate) hold_address: IpAddr,
    /// Ports for V2 over HTTP and over gRPC: those of the backends, so that a proxy can take one for the other. Each takes both
    #[arg(long, env = "FOREBAY_HOLD_PORTS", value_delimiter = ',', default_values_t = [8000, GRPC_PORT])]
    pub(crate) hold_ports: Vec<u16>,
    /// Port of KEDA's external scaler, which says whether a backend is wanted, and how much there is to do; 0 picks a free one. Without
    /// it there is none
    #[arg(long, env = "FOREBAY_SCALER_PORT", requires = "hold_for")]
    pub(crate) scaler_port: Option<u16>,
    /// Seconds between two looks at the backends' /metrics: a service is idle when nothing was to do at one, and no answer since the one
    /// before
    #[arg(long, env = "FOREBAY_SCALER_LOOK_SECS", default_value = "2", value_parser = parse_seconds)]
    pub(crate) scaler_look_secs: Duration,
    /// Name of the backends' service
    #[arg(long, env = "FOREBAY_HOLD_SERVICE", default_value = "default")]
    pub(crate) hold_service: String,
    /// Requests that may wait for a backend
    #[arg(long, env = "FOREBAY_HOLD_REQUESTS", default_value_t = 10_000)]
    pub(crate) hold_requests: usize,
    /// Bytes of their bodies [default: half of --body-budget-bytes]
    #[arg(long, env = "FOREBAY_HOLD_BYTES", value_parser = parse_bytes)]
    hold_bytes: Option<usize>,
    /// Seconds that a request waits at most; less where it says so itself, or the proxy that it came by
    #[arg(long, env = "FOREBAY_HOLD_TIMEOUT_SECS", default_value = "300", value_parser = parse_seconds)]
    pub(crate) hold_timeout_secs: Duration,
    #[command(flatten)]
    pub(crate) wake: WakeSettings,
    #[command(flatten)]
    external: ExternalSettings,
}

/// How backends are reached.
#[derive(Debug, Clone)]
pub(crate) struct HeldFor {
    pub(crate) place: Place,
    pub(crate) tls: rustls::ClientConfig,
}

/// Where they are.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) scheme: Scheme,
    pub(crate) http: Authority,
    pub(crate) grpc: Authority,
    pub(crate) metrics: Authority,
    /// What their certificates are for.
    pub(crate) name: ServerName<'static>,
}

impl HoldSettings {
    /// Who it holds for; `None`: nobody.
    ///
    /// # Errors
    /// What is no address, or no CA.
    pub(crate) fn held_for(&self) -> Result<Option<HeldFor>, SettingsError> {
        let Some(place) = self.place()? else { return Ok(None) };
        // Without encryption nobody is believed, and no CA is read.
        let tls = if place.scheme == Scheme::HTTP {
            roots::believing(RootCertStore::empty()).map_err(RootsError::from)
        } else {
            roots::config(self.hold_ca_file.as_deref())
        };
        let tls = tls.map_err(|error| wrong("--hold-ca-file", error.to_string()))?;
        Ok(Some(HeldFor { place, tls }))
    }

    fn place(&self) -> Result<Option<Place>, SettingsError> {
        let Some(uri) = &self.hold_for else { return Ok(None) };
        let unfit = || wrong("--hold-for", format!("{uri}: expected http://HOST:PORT or https://HOST:PORT"));
        let (Some(scheme), Some(http)) = (uri.scheme(), uri.authority()) else { return Err(unfit()) };
        let is_known = [Scheme::HTTP, Scheme::HTTPS].contains(scheme);
        if !is_known || http.port().is_none() || !["", "/"].contains(&uri.path()) {
            return Err(unfit());
        }
        let at = |port: u16| format!("{}:{port}", http.host()).parse().map_err(|_| unfit());
        let (grpc, metrics) = (at(self.hold_for_grpc_port)?, at(self.hold_for_metrics_port)?);
        let host = http.host().trim_matches(['[', ']']);
        let name = self.hold_for_name.as_deref().unwrap_or(host).to_owned();
        let name = name.try_into().map_err(|_| wrong("--hold-for-name", "expected a name or an address"))?;
        Ok(Some(Place { scheme: scheme.clone(), http: http.clone(), grpc, metrics, name }))
    }

    /// Of whom Kubernetes asks External metrics; `None`: not of this gate.
    ///
    /// # Errors
    /// There is no CA by which its API is believed.
    pub(crate) fn external_by(&self) -> Result<Option<ExternalBy>, SettingsError> {
        self.external.by(&self.wake)
    }

    /// Does an autoscaler go by what there is to do?
    pub(crate) fn is_watched(&self) -> bool {
        self.scaler_port.is_some() || self.external.is_asked()
    }

    /// Bytes that may wait.
    pub(crate) fn hold_bytes(&self, http: &HttpSettings) -> usize {
        self.hold_bytes.unwrap_or_else(|| http.body_budget_bytes() / 2)
    }

    pub(super) fn check(&self) -> Result<(), SettingsError> {
        check_service(&self.hold_service).map_err(|error| wrong("--hold-service", error.to_string()))?;
        if self.hold_ports.is_empty() || self.hold_ports.len() > 2 {
            return Err(wrong("--hold-ports", "expected one port or two, as 8000,8001"));
        }
        if self.scaler_look_secs.is_zero() {
            return Err(wrong("--scaler-look-secs", "expected more than 0 seconds, such as 2 or 0.5"));
        }
        // Files may be elsewhere than where settings are checked.
        self.wake.scale()?;
        self.external.check()?;
        self.place().map(drop)
    }
}
