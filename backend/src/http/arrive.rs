//! Answers that come before their request has: a refusal must arrive, though the client still sends. A request enters, goes to the
//! routes if its target is one (`target`), and its answer leaves; what was left unread of its body is read on, for a while and up to a bound. Over HTTP/1.1 the
//! answer says that the connection is closed, and `linger` closes it; over HTTP/2 the stream ends with `RST_STREAM(NO_ERROR)` if
//! even that wasn't enough.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::header::{CONNECTION, EXPECT};
use http::{HeaderValue, Request, Version};
use hyper::body::{Body as _, Frame, Incoming, SizeHint};
use tower::Service as _;

use super::leave::Told;
use super::linger::LINGER;
use super::target;
use crate::trust::Peer;

/// A rest that is so small, and there so soon, is read before the answer, which then needn't close the connection.
const SMALL_BYTES: usize = 64 << 10;
const SOON: Duration = Duration::from_millis(10);

/// The routes, for one connection.
pub(super) struct Arrive {
    pub(super) routes: Router,
    /// Who sends; each request tells its handler.
    pub(super) peer: Peer,
    /// How much of a body is read for nothing.
    pub(super) most: usize,
    /// The connection ends before all was read that the client sends.
    pub(super) unread: Arc<AtomicBool>,
    /// What answers say of the connection.
    pub(super) told: Arc<Told>,
}

type Answering = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

impl hyper::service::Service<Request<Incoming>> for Arrive {
    type Response = Response;
    type Error = Infallible;
    type Future = Answering;

    fn call(&self, mut request: Request<Incoming>) -> Answering {
        request.extensions_mut().insert(self.peer.clone());
        self.told.came(request.version());
        if request.body().is_end_stream() {
            return self.answer(request.map(Body::new));
        }
        let is_http2 = request.version() >= Version::HTTP_2;
        let expects = request.headers().contains_key(EXPECT);
        let (most, unread, slot) = (self.most, self.unread.clone(), Arc::new(Slot::default()));
        let most_after = is_http2.then_some(most);
        let back = Arc::downgrade(&slot);
        let answering =
            self.answer(request.map(|body| Body::new(Arriving { body: Some(body), back, most: most_after })));
        Box::pin(async move {
            let mut answer = answering.await?;
            match slot.take() {
                None => {}
                Some(rest) if is_http2 => drop(tokio::spawn(read_on(rest, most, LINGER))),
                Some(rest) => {
                    // A client that waits to be asked for its body isn't asked now.
                    let is_read = !expects && read_on(rest, SMALL_BYTES, SOON).await;
                    if !is_read {
                        answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                        unread.store(true, Ordering::Relaxed);
                    }
                }
            }
            Ok(answer)
        })
    }
}

impl Arrive {
    /// The routes' answer, or the refusal of what is for no route.
    fn answer(&self, request: Request<Body>) -> Answering {
        let (mut routes, told) = (self.routes.clone(), self.told.clone());
        Box::pin(async move {
            let mut answer = match target::check(&request) {
                Ok(()) => routes.call(request).await?,
                Err(error) => error.into_response(),
            };
            told.tell(&mut answer);
            Ok(answer)
        })
    }
}

/// Where a body comes back to when nobody reads it any more.
#[derive(Default)]
struct Slot(Mutex<Option<Incoming>>);

impl Slot {
    fn take(&self) -> Option<Incoming> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn put(&self, body: Incoming) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(body);
    }
}

/// A body that comes back if it is dropped before its end.
struct Arriving {
    body: Option<Incoming>,
    back: Weak<Slot>,
    /// How much is read for nothing when it is dropped after the answer; `None`: nothing.
    most: Option<usize>,
}

impl hyper::body::Body for Arriving {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let polled = Pin::new(body).poll_frame(cx);
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            self.body = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Incoming::size_hint)
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        let Some(body) = self.body.take().filter(|body| !body.is_end_stream()) else { return };
        if let Some(slot) = self.back.upgrade() {
            slot.put(body);
        } else if let (Some(most), Ok(runtime)) = (self.most, tokio::runtime::Handle::try_current()) {
            // It was answered while it came: a stream of calls.
            runtime.spawn(read_on(body, most, LINGER));
        }
    }
}

/// Reads for nothing; whether that was all.
async fn read_on(mut body: Incoming, most: usize, time: Duration) -> bool {
    let mut left = most;
    let reading = async {
        while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            let Ok(frame) = frame else { return false };
            let size = frame.data_ref().map_or(0, Bytes::len);
            match left.checked_sub(size) {
                Some(less) => left = less,
                None => return false,
            }
        }
        true
    };
    tokio::time::timeout(time, reading).await.unwrap_or(false)
}
