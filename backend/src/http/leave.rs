//! When a connection is to end, and how its client is told, so that no request is lost: by `Connection: close` with the next answer
//! over HTTP/1.1, by GOAWAY over HTTP/2. It is told when the connection is old, or the drain begins; when nothing new is taken any
//! more, idle connections are closed too.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::response::Response;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use http::header::CONNECTION;
use http::{HeaderValue, Version};
use hyper_util::server::graceful::GracefulConnection;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// By how much ages differ, so that clients who came together don't come back together.
const JITTER: std::ops::Range<f64> = 0.9..1.1;

/// How far the end of what is served on a port has come.
#[derive(Clone)]
pub(crate) struct Ending {
    /// The drain begins: clients are told.
    pub(crate) begun: CancellationToken,
    /// Nothing new is taken any more.
    pub(crate) stop: CancellationToken,
    /// Requests in flight are waited for no more.
    pub(crate) cut: CancellationToken,
}

/// What ends connections.
#[derive(Clone)]
pub(super) struct Leave {
    /// 0: none is too old.
    pub(super) max_age: Duration,
    pub(super) ending: Ending,
}

/// What one connection's answers are to say.
#[derive(Default)]
pub(super) struct Told {
    is_leaving: AtomicBool,
    is_http2: AtomicBool,
    /// Over HTTP/2 there is somebody to tell.
    came: Notify,
}

impl Told {
    /// A request of that version came.
    pub(super) fn came(&self, version: Version) {
        if version >= Version::HTTP_2 {
            let is_first = !self.is_http2.swap(true, Ordering::Relaxed);
            if is_first && self.is_leaving.load(Ordering::Relaxed) {
                self.came.notify_one();
            }
        }
    }

    /// Says it with an answer, where that is how it is said.
    pub(super) fn tell(&self, answer: &mut Response) {
        if self.is_leaving.load(Ordering::Relaxed) && !self.is_http2.load(Ordering::Relaxed) {
            answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
    }
}

/// What happens to a connection.
enum Signal {
    /// It is to be left when it is convenient.
    Leave,
    /// There is somebody to tell, over HTTP/2.
    Came,
    /// Nothing new is taken any more.
    Stop,
}

impl Leave {
    /// Runs a connection to its end.
    pub(super) async fn run<C: GracefulConnection>(
        self,
        connection: C,
        told: Arc<Told>,
    ) -> Result<(), C::Error> {
        let Self { max_age, ending: Ending { begun, stop, .. } } = self;
        let age = max_age.mul_f64(rand::random_range(JITTER));
        // Each of them is looked at when it is woken alone, and not in each turn of the connection.
        let mut signals = FuturesUnordered::new();
        signals.push(stop.cancelled().map(|()| Signal::Stop).boxed());
        signals.push(begun.cancelled().map(|()| Signal::Leave).boxed());
        signals.push(told.came.notified().map(|()| Signal::Came).boxed());
        if !age.is_zero() {
            signals.push(tokio::time::sleep(age).map(|()| Signal::Leave).boxed());
        }
        let mut connection = pin!(connection);
        loop {
            let signal = tokio::select! {
                biased;
                Some(signal) = signals.next() => signal,
                ended = connection.as_mut() => return ended,
            };
            let tells = match signal {
                Signal::Stop | Signal::Came => true,
                Signal::Leave => {
                    told.is_leaving.store(true, Ordering::Relaxed);
                    // An idle connection of HTTP/1.1 would be closed by it, and a request that is on its way be lost.
                    told.is_http2.load(Ordering::Relaxed)
                }
            };
            if tells {
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}
