//! A server and one connection to it: a request's bytes enter, the answer leaves, and the connection stays for the next. HTTP/1.1
//! and gRPC have a way each; both look the same from here.

mod grpc;
mod http1;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::header::HOST;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;

use super::address::{Address, WrongUrl};
use super::request::Request;
use crate::settings::{AskedGate, Encoding, Header, ServerSettings};
use crate::trust::roots::{self, RootsError};
use grpc::Grpc;
use http1::Http1;

type Stream = Either<TcpStream, Box<TlsStream<TcpStream>>>;

/// A server that can't be asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServerError {
    #[error(transparent)]
    Url(#[from] WrongUrl),
    #[error("--ca-file: {0}")]
    Tls(#[from] RootsError),
    #[error("'{0}' is no name that a certificate could have")]
    Name(String),
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectionError {
    #[error("can't connect to {address}: {reason}")]
    Connect { address: String, reason: io::Error },
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    #[error("the connection ended before the answer did: {0}")]
    Closed(io::Error),
    #[error("the answer is not HTTP/1.1: {0}")]
    NotHttp(String),
    #[error("the answer is larger than --max-answer-bytes, {0}")]
    TooLarge(usize),
    #[error("HTTP/2: {0}")]
    Http2(h2::Error),
    #[error("the answer is not gRPC: {0}")]
    NotGrpc(&'static str),
}

impl ConnectionError {
    /// Under which name it is counted.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Connect { .. } => "connect",
            Self::Timeout(_) => "timeout",
            Self::Closed(_) => "closed",
            Self::NotHttp(_) | Self::NotGrpc(_) => "protocol",
            Self::TooLarge(_) => "too large",
            Self::Http2(_) => "http2",
        }
    }
}

/// What the server says of a request, as its protocol says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Status {
    Http(u16),
    Grpc(i32),
}

/// gRPC's codes by number.
const CODES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

impl Status {
    pub(super) fn is_good(self) -> bool {
        matches!(self, Self::Http(200..=299) | Self::Grpc(0))
    }
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Http(status) => write!(f, "HTTP {status}"),
            Self::Grpc(code) => match usize::try_from(*code).ok().and_then(|code| CODES.get(code)) {
                Some(name) => write!(f, "gRPC {name}"),
                None => write!(f, "gRPC {code}"),
            },
        }
    }
}

/// An answer, valid until the next request.
pub(super) struct Answer<'a> {
    pub(super) status: Status,
    /// All members in one line; "" without.
    pub(super) cache_status: &'a [u8],
    /// "" without.
    pub(super) age: &'a [u8],
    /// Length of the JSON part of a body with binary tensors.
    pub(super) header_length: Option<usize>,
    /// The body, or the message; what gRPC's status says where it isn't good.
    pub(super) body: &'a [u8],
}

impl Answer<'_> {
    /// The protocol's own words for what is wrong, where the status isn't good.
    pub(super) fn error(&self) -> String {
        let said = serde_json::from_slice::<serde_json::Value>(self.body).ok();
        let said = said.as_ref().and_then(|said| said.get("error")).and_then(|error| error.as_str());
        let text = said.map_or_else(|| String::from_utf8_lossy(self.body), Into::into);
        text.chars().take(LONGEST_ERROR).collect()
    }
}

/// Largest answer of a gate: an entry, or all that is live.
const MOST_OF_A_GATE: usize = 256 << 20;
/// Of somebody else's error page.
const LONGEST_ERROR: usize = 500;

/// Where requests of an encoding go, and how.
#[derive(Clone)]
pub(super) struct Server {
    pub(super) address: Address,
    pub(super) headers: Vec<Header>,
    pub(super) is_grpc: bool,
    pub(super) timeout: Duration,
    pub(super) max_answer_bytes: usize,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

impl Server {
    /// # Errors
    /// [`ServerError`]: the URL, or the CAs.
    pub(super) fn of(settings: &ServerSettings, encoding: Encoding) -> Result<Self, ServerError> {
        let is_grpc = encoding == Encoding::Grpc;
        let address = if is_grpc { Address::grpc(&settings.grpc_url) } else { Address::http(&settings.url) }?;
        let tls = if address.is_encrypted {
            let protocol: &[u8] = if is_grpc { b"h2" } else { b"http/1.1" };
            let connector = roots::connector(settings.ca_file.as_deref(), Some(protocol))?;
            let name = ServerName::try_from(address.host.clone());
            Some((connector, name.map_err(|_| ServerError::Name(address.host.clone()))?))
        } else {
            None
        };
        let (timeout, max_answer_bytes) = (settings.timeout_secs, settings.max_answer_bytes);
        Ok(Self { address, headers: settings.headers.clone(), is_grpc, timeout, max_answer_bytes, tls })
    }

    /// A gate, with headers of every request.
    ///
    /// # Errors
    /// [`ServerError`]: the URL, or the CAs.
    pub(super) fn gate(asked: &AskedGate, headers: Vec<Header>) -> Result<Self, ServerError> {
        let settings = ServerSettings {
            url: asked.gate.clone(),
            grpc_url: String::new(),
            headers,
            ca_file: asked.ca_file.clone(),
            timeout_secs: asked.timeout_secs,
            max_answer_bytes: MOST_OF_A_GATE,
        };
        Self::of(&settings, Encoding::Json)
    }

    /// The name that it is asked by, as `Host` and `:authority` say it: its address, unless a header says another.
    pub(super) fn name(&self) -> String {
        let said = self.headers.iter().find(|header| header.name == HOST);
        said.map_or_else(
            || self.address.authority(),
            |said| String::from_utf8_lossy(said.value.as_bytes()).into_owned(),
        )
    }

    /// Headers of every request but its name.
    pub(super) fn more_headers(&self) -> impl Iterator<Item = &Header> {
        self.headers.iter().filter(|header| header.name != HOST)
    }

    /// # Errors
    /// [`ConnectionError::Connect`], [`ConnectionError::Http2`].
    pub(super) async fn connect(&self) -> Result<Connection, ConnectionError> {
        let refused = |reason| ConnectionError::Connect { address: self.address.authority(), reason };
        let late =
            || refused(io::Error::new(io::ErrorKind::TimedOut, format!("not within {:?}", self.timeout)));
        let stream = timeout(self.timeout, self.stream()).await.map_err(|_| late())?.map_err(refused)?;
        if self.is_grpc {
            let grpc = timeout(self.timeout, Grpc::start(stream, self.max_answer_bytes));
            return Ok(Connection::Grpc(Box::new(grpc.await.map_err(|_| late())??)));
        }
        Ok(Connection::Http(Box::new(Http1::new(stream, self.max_answer_bytes))))
    }

    async fn stream(&self) -> io::Result<Stream> {
        let stream = TcpStream::connect((self.address.host.as_str(), self.address.port)).await?;
        stream.set_nodelay(true)?;
        match &self.tls {
            None => Ok(Either::Left(stream)),
            Some((connector, name)) => {
                Ok(Either::Right(Box::new(connector.connect(name.clone(), stream).await?)))
            }
        }
    }
}

/// A connection, with one request at a time.
pub(super) enum Connection {
    Http(Box<Http1>),
    Grpc(Box<Grpc>),
}

impl Connection {
    /// Sends a request and waits for the answer's end, `within` at most.
    ///
    /// # Errors
    /// [`ConnectionError`]; the connection is of no use after it.
    pub(super) async fn ask(
        &mut self,
        request: &mut Request,
        within: Duration,
    ) -> Result<Answer<'_>, ConnectionError> {
        let answer = async move {
            match self {
                Self::Http(http) => http.ask(request.bytes()).await,
                Self::Grpc(grpc) => {
                    let call: Arc<http::Request<()>> = request.call();
                    grpc.ask(&call, request.message()).await
                }
            }
        };
        timeout(within, answer).await.map_err(|_| ConnectionError::Timeout(within))?
    }

    /// Does it take another request? Also asked before a request: what ended while nobody used it has lost none.
    pub(super) fn is_open(&mut self) -> bool {
        match self {
            Self::Http(http) => http.is_open(),
            Self::Grpc(grpc) => grpc.is_open(),
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
