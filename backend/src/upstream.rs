//! Another V2 server, in front of which this one stands: requests enter and go there, answers leave. What is passed on streams as it
//! came (`pass`), an inference goes as one message of gRPC (`infer`), and what the server says of itself is read as JSON (`said`).
//! Every call has a deadline; of a stream, whose end nobody knows, the kernel asks whether the other side lives.

mod infer;
mod pass;
pub(crate) mod said;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::Uri;
use http::uri::{PathAndQuery, Scheme};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::GaiResolver;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::RootCertStore;
use tokio::sync::Semaphore;

use crate::class::Class;
use crate::connect::connector;
use crate::settings::{Place, UpstreamSettings};
use crate::trust::roots::{self, RootsError};
pub(crate) use pass::{Protocol, passed};

/// Resolving the name, connecting and proving oneself may take so long.
const CONNECT: Duration = Duration::from_secs(2);
/// A server that says nothing for so long is gone.
const SILENT: Duration = Duration::from_secs(5);
/// A connection that nobody uses is closed, before a server closes it while a request is on its way.
const IDLE: Duration = Duration::from_secs(20);

type Connector = HttpsConnector<HttpConnector>;

impl Place {
    /// That path there.
    fn uri(&self, path: PathAndQuery) -> Uri {
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(if self.is_encrypted { Scheme::HTTPS } else { Scheme::HTTP });
        (parts.authority, parts.path_and_query) = (Some(self.authority.clone()), Some(path));
        Uri::from_parts(parts).unwrap_or_default()
    }
}

/// Why the server gave no answer, or which error it gave.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UpstreamError {
    #[error("the upstream {place} can't be reached: {reason}; try again later")]
    Unreachable { place: String, reason: String, is_refused: bool },
    #[error("the upstream {place} gave no answer within {within:?}")]
    Late { place: String, within: Duration },
    /// In its own words.
    #[error("{message}")]
    Said { class: Class, message: String },
    #[error("the upstream's answer is larger than --to-max-answer-bytes, {most}")]
    TooLarge { most: usize },
    #[error("the upstream's answer can't be used: {reason}")]
    Unusable { reason: String },
}

impl UpstreamError {
    pub(crate) fn class(&self) -> Class {
        match self {
            Self::Unreachable { .. } => Class::Away,
            Self::Late { .. } => Class::Late,
            Self::Said { class, .. } => *class,
            Self::TooLarge { .. } | Self::Unusable { .. } => Class::Failed,
        }
    }

    /// Nothing listens on this machine's own loopback: the server is not running.
    pub(crate) fn is_ended(&self) -> bool {
        matches!(self, Self::Unreachable { is_refused: true, .. })
    }
}

/// The server.
pub(crate) struct Upstream {
    reach: UpstreamSettings,
    place_of_grpc: Place,
    http: Client<Connector, Body>,
    grpc: Client<Connector, tonic::body::Body>,
    /// Of inferences that are there at a time.
    slots: Semaphore,
}

impl Upstream {
    /// Nothing is connected yet.
    ///
    /// # Errors
    /// The CAs can't be used.
    pub(crate) fn new(reach: UpstreamSettings) -> Result<Arc<Self>, RootsError> {
        let place_of_grpc = reach.grpc();
        let tls = if reach.to.is_encrypted || place_of_grpc.is_encrypted {
            roots::config(reach.to_ca_file.as_deref())?
        } else {
            roots::believing(RootCertStore::empty())?
        };
        let builder = || HttpsConnectorBuilder::new().with_tls_config(tls.clone()).https_or_http();
        let mut client = Client::builder(TokioExecutor::new());
        client.pool_timer(TokioTimer::new()).pool_idle_timeout(IDLE);
        let http = client.build(builder().enable_http1().wrap_connector(connector(
            GaiResolver::new(),
            CONNECT,
            SILENT,
        )));
        let grpc = client.http2_only(true).build(builder().enable_http2().wrap_connector(connector(
            GaiResolver::new(),
            CONNECT,
            SILENT,
        )));
        let slots = Semaphore::new(usize::from(reach.requests));
        Ok(Arc::new(Self { reach, place_of_grpc, http, grpc, slots }))
    }

    /// How long a call may take.
    pub(crate) fn within(&self) -> Duration {
        self.reach.within
    }

    /// How long a load may.
    pub(crate) fn load_within(&self) -> Duration {
        self.reach.load_within
    }
}

fn late(place: &Place, within: Duration) -> UpstreamError {
    UpstreamError::Late { place: place.authority.to_string(), within }
}

fn unreachable(place: &Place, error: &(dyn std::error::Error + 'static)) -> UpstreamError {
    let mut causes = std::iter::successors(Some(error), |error| error.source());
    let is_ours = matches!(place.authority.host(), "localhost" | "[::1]") || {
        let address = place.authority.host().parse::<std::net::Ipv4Addr>();
        address.is_ok_and(|address| address.is_loopback())
    };
    let refused = |cause: &(dyn std::error::Error + 'static)| {
        let io = cause.downcast_ref::<std::io::Error>();
        io.is_some_and(|io| io.kind() == std::io::ErrorKind::ConnectionRefused)
    };
    let is_refused = is_ours && causes.any(refused);
    let deepest = std::iter::successors(Some(error), |error| error.source()).last();
    let reason = deepest.map_or_else(|| error.to_string(), ToString::to_string);
    UpstreamError::Unreachable { place: place.authority.to_string(), reason, is_refused }
}
