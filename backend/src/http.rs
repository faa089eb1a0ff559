//! HTTP/1.1 and HTTP/2 on one port, plain or over TLS. A listener and routes -> served connections, until the drain begins and those in
//! flight are done. Next: `routes` finds the handler.

pub(crate) mod body;
mod coding;
mod cork;
pub(crate) mod error;
pub(crate) mod health;
pub(crate) mod infer;
pub(crate) mod metadata;
pub(crate) mod metrics;
pub(crate) mod observe;
pub(crate) mod repository;
pub(crate) mod shared_memory;
pub(crate) mod tls;
pub(crate) mod v1;

use std::error::Error;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;

use crate::settings::HttpSettings;
use cork::Corked;
use error::HttpError;
use tls::Tls;

/// Connections that may wait to be accepted: the kernel's usual bound.
const BACKLOG: u32 = 4096;
/// After a failed accept (too many open files, mostly), this long passes before the next.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);
/// HTTP/2 streams of one connection: a proxy opens few connections with many streams.
const MAX_STREAMS: u32 = 1024;
/// HTTP/2 windows that don't make a body of a megabyte wait for round trips.
const WINDOW_BYTES: u32 = 4 << 20;
/// An HTTP/2 connection that is silent for so long is asked whether it lives, and closed without an answer: clients that
/// vanish take their streams along.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// A connection with a limit on how long a client may take nothing.
type Patient = Pin<Box<TimeoutStream<TcpStream>>>;

/// A port that can't be had.
#[derive(Debug, thiserror::Error)]
#[error("can't listen on {address}: {source}")]
pub(crate) struct ListenError {
    address: SocketAddr,
    source: std::io::Error,
}

/// Binds a port; 0 picks a free one. Must be called inside a runtime.
///
/// # Errors
/// When the port is taken or may not be bound.
pub(crate) fn listen(address: IpAddr, port: u16) -> Result<(TcpListener, u16), ListenError> {
    let address = SocketAddr::new(address, port);
    let bind = || {
        let socket = if address.is_ipv4() {
            tokio::net::TcpSocket::new_v4()
        } else {
            tokio::net::TcpSocket::new_v6()
        }?;
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        let listener = socket.listen(BACKLOG)?;
        let port = listener.local_addr()?.port();
        Ok((listener, port))
    };
    bind().map_err(|source| ListenError { address, source })
}

/// Serves connections until `stop`; then takes no more, and gives those in flight `exit_timeout_secs`.
pub(crate) async fn serve(
    listener: TcpListener,
    routes: Router,
    settings: HttpSettings,
    tls: Option<Arc<Tls>>,
    stop: CancellationToken,
) {
    let mut server = Builder::new(TokioExecutor::new());
    server.http1().timer(TokioTimer::new()).header_read_timeout(settings.header_timeout_secs);
    server
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES * 2);
    let graceful = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let Some(stream) = usable(accepted) else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let (server, watcher, routes, tls) =
            (server.clone(), graceful.watcher(), routes.clone(), tls.clone());
        let stream = patient(stream, settings.write_timeout_secs);
        tokio::spawn(async move {
            let outcome = match tls {
                None => connection(server, watcher, stream, routes).await,
                Some(tls) => match tls.accept(stream).await {
                    Ok(stream) => connection(server, watcher, stream, routes).await,
                    Err(error) => Err(error.into()),
                },
            };
            if let Err(error) = outcome {
                tracing::debug!("connection: {error}");
            }
        });
    }
    drop(listener);
    if tokio::time::timeout(settings.exit_timeout_secs, graceful.shutdown()).await.is_err() {
        tracing::warn!("connections were still open at the end of the drain");
    }
}

/// Serves one connection to its end, or to the drain's.
async fn connection(
    server: Builder<TokioExecutor>,
    watcher: Watcher,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    routes: Router,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let service = TowerToHyperService::new(routes);
    let stream = Corked::new(stream);
    let uncork = stream.uncork();
    let connection = server.serve_connection(TokioIo::new(stream), service).into_owned();
    cork::run(watcher.watch(connection), uncork).await
}

/// The stream; a write fails when the client takes nothing for so long.
fn patient(stream: TcpStream, patience: Duration) -> Patient {
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(patience));
    Box::pin(stream)
}

fn usable(accepted: std::io::Result<(TcpStream, SocketAddr)>) -> Option<TcpStream> {
    let ready = accepted.and_then(|(stream, _)| stream.set_nodelay(true).map(|()| stream));
    ready.inspect_err(|error| tracing::debug!("accept: {error}")).ok()
}

/// Answers in V2's error form for paths and methods that no route takes.
pub(crate) fn with_fallback(routes: Router) -> Router {
    routes
        .fallback(|uri: http::Uri| std::future::ready(HttpError::NoSuchPath { path: uri.path().to_owned() }))
        .method_not_allowed_fallback(|method: http::Method, uri: http::Uri| {
            std::future::ready(HttpError::Method { path: uri.path().to_owned(), method })
        })
}

/// A header's value; "" when it is absent. Twice is ambiguous, and bytes that are no text mean nothing.
///
/// # Errors
/// `Header`, naming it.
pub(crate) fn single<'a>(headers: &'a http::HeaderMap, name: &'static str) -> Result<&'a str, HttpError> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok("") };
    if values.next().is_some() {
        return Err(HttpError::Header { name, reason: "must be sent once" });
    }
    std::str::from_utf8(value.as_bytes()).map_err(|_| HttpError::Header { name, reason: "must be UTF-8" })
}
