//! HTTP/1.1 and HTTP/2 on one port, plain or over TLS. A listener and routes -> served connections, until nothing new is taken and those in
//! flight are done, or cut. Next: `routes` finds the handler.

mod arrive;
mod coding;
mod cork;
pub(crate) mod error;
pub(crate) mod front;
pub(crate) mod health;
mod leave;
mod linger;
pub(crate) mod logging;
pub(crate) mod metadata;
pub(crate) mod metrics;
pub(crate) mod repository;
pub(crate) mod restricted;
pub(crate) mod shared_memory;
mod target;
pub(crate) mod tls;
pub(crate) mod v1;
pub(crate) mod v2;

use std::error::Error;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ::metrics::counter;
use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_io_timeout::TimeoutStream;

use crate::observe::logs::seldom;
use crate::settings::HttpSettings;
use crate::trust::Peer;
use arrive::Arrive;
use cork::Corked;
use error::HttpError;
pub(crate) use leave::Ending;
use leave::{Leave, Told};
use tls::Tls;

/// Connections that may wait to be accepted: the kernel's usual bound.
const BACKLOG: u32 = 4096;
/// After a failed accept (too many open files, mostly), this long passes before the next.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);
/// HTTP/2 windows: what a client may send before it is read, and so what a connection may hold beside the budget. Enough not to wait
/// for round trips within a cluster: at 1 ms they let a gigabyte a second through.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 2 << 20;
/// An HTTP/2 connection that is silent for so long is asked whether it lives, and closed without an answer: clients that
/// vanish take their streams along.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// So much of what a refused client sends is read for nothing, or as much as a body may have.
const LEAST_UNREAD_BYTES: usize = 64 << 20;

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

/// Serves connections until the ending's `stop`; then takes no more, and waits for those that are open until `cut`. From `begun` on
/// clients are told to connect elsewhere. Returns how many connections were cut.
pub(crate) async fn serve(
    listener: TcpListener,
    routes: Router,
    settings: HttpSettings,
    tls: Option<Arc<Tls>>,
    ending: Ending,
) -> usize {
    let Ending { stop, cut, .. } = ending.clone();
    let server = server(&settings);
    let leave = Leave { max_age: settings.max_connection_age_secs, ending };
    let places = Arc::new(Semaphore::new(settings.max_connections()));
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let Some((stream, address)) = usable(accepted) else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let Ok(place) = places.clone().try_acquire_owned() else {
            counter!("forebay_connections_refused").increment(1);
            seldom!(
                warn,
                "all {} connections are taken (--max-connections): refused",
                settings.max_connections()
            );
            continue;
        };
        let one = Connection {
            server: server.clone(),
            routes: routes.clone(),
            most: settings.max_body_bytes().max(LEAST_UNREAD_BYTES),
            leave: leave.clone(),
            place,
        };
        let (tls, stream) = (tls.clone(), patient(stream, settings.write_timeout_secs));
        tokio::spawn(async move {
            let outcome = match tls {
                None => one.serve(stream, Peer::certified(address.ip(), None)).await,
                Some(tls) => match tls.accept(stream).await {
                    Ok(stream) => {
                        let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
                        let peer = Peer::certified(address.ip(), certificate);
                        one.serve(stream, peer).await
                    }
                    Err(error) => Err(error.into()),
                },
            };
            if let Err(error) = outcome {
                tracing::debug!("connection: {error}");
            }
        });
    }
    drop(listener);
    // All places are free again.
    let ended = places.acquire_many(u32::try_from(settings.max_connections()).unwrap_or(u32::MAX));
    match cut.run_until_cancelled(ended).await {
        Some(_) => 0,
        None => settings.max_connections() - places.available_permits(),
    }
}

/// Both protocols, as the settings bound them.
fn server(settings: &HttpSettings) -> Builder<TokioExecutor> {
    let mut server = Builder::new(TokioExecutor::new());
    server.http1().timer(TokioTimer::new()).header_read_timeout(settings.header_timeout_secs);
    server
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(settings.http2_max_streams)
        .max_pending_accept_reset_streams(settings.http2_max_pending_resets())
        .max_local_error_reset_streams(settings.http2_max_error_resets())
        .keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES);
    server
}

/// What serves one connection.
struct Connection {
    server: Builder<TokioExecutor>,
    routes: Router,
    /// Bytes that are read for nothing, so that a refusal arrives.
    most: usize,
    leave: Leave,
    /// Of the port's.
    place: OwnedSemaphorePermit,
}

impl Connection {
    /// Serves it to its end, or to the drain's.
    async fn serve(
        self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        peer: Peer,
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        let unread = Arc::new(AtomicBool::new(false));
        let told = Arc::new(Told::default());
        let service =
            Arrive { routes: self.routes, peer, most: self.most, unread: unread.clone(), told: told.clone() };
        let stream = Corked::new(stream);
        let (uncork, rest) = (stream.uncork(), stream.uncork());
        let connection = self.server.serve_connection(TokioIo::new(stream), service).into_owned();
        let outcome = cork::run(self.leave.run(connection, told), uncork).await;
        let is_refused = outcome.as_ref().is_err_and(|error| is_unreadable(error.as_ref()));
        if is_refused || unread.load(Ordering::Relaxed) {
            linger::close(rest, self.most).await;
        }
        drop(self.place);
        outcome
    }
}

/// A head that is no HTTP, or too large: it was answered.
fn is_unreadable(error: &(dyn Error + Send + Sync + 'static)) -> bool {
    error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse)
}

/// The stream; a write fails when the client takes nothing for so long.
fn patient(stream: TcpStream, patience: Duration) -> Patient {
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(patience));
    Box::pin(stream)
}

fn usable(accepted: std::io::Result<(TcpStream, SocketAddr)>) -> Option<(TcpStream, SocketAddr)> {
    let ready = accepted.and_then(|(stream, peer)| stream.set_nodelay(true).map(|()| (stream, peer)));
    ready.inspect_err(|error| seldom!(warn, "a connection could not be accepted: {error}")).ok()
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
