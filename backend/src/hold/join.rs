//! Equal requests that are held: one of them waits in line and is handed over, the others wait for its answer. What may not be shared is
//! told to all of them, and each goes by itself then.

use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use forebay_protocol::cache_control::ResponseDirectives;
use forebay_protocol::header::{CACHE_STATUS, X_FOREBAY_COST_US};
use futures_util::{StreamExt as _, stream};
use http::header::CACHE_CONTROL;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use http_body_util::{BodyExt as _, BodyStream, StreamBody};
use hyper::body::Frame;
use metrics::counter;

use super::refusal::HoldError;
use crate::schedule::QueueLimits;
use crate::schedule::flight::{Flights, Lead, Part, Sought, Told};

/// A larger answer is not shared: it would have to be collected first.
const MOST_SHARED: usize = 8 << 20;

/// No answer costs more compute time, in microseconds: a counter that overflows begins anew.
const MOST_COST_US: u64 = 3600 * 1_000_000;

/// Those who wait for equal ones.
pub(crate) struct Joined(Arc<Flights<Answers>>);

struct Answers;

impl Sought for Answers {
    type Key = [u8; 32];
    type Want = ();
    type Found = Found;

    fn takes((): &(), _: &Found) -> bool {
        true
    }
}

/// What came of one.
#[derive(Clone)]
enum Found {
    Shared(Arc<Whole>),
    /// Each gets its own.
    Own,
    /// The backend broke off: another must not break the next one.
    Broken(String),
}

/// An answer, collected.
struct Whole {
    status: StatusCode,
    headers: HeaderMap,
    frames: Vec<Frames>,
}

#[derive(Clone)]
enum Frames {
    Data(Bytes),
    Trailers(HeaderMap),
}

impl Joined {
    pub(crate) fn new(limits: QueueLimits) -> Self {
        Self(Arc::new(Flights::new(limits)))
    }

    /// Gets the answer with an equal request of the moment, or by `hold`, until then.
    ///
    /// # Errors
    /// Those of `hold`; the time was over before there was an answer to the equal one, or before it had all come.
    pub(super) async fn answer<F>(
        &self,
        key: [u8; 32],
        bytes: usize,
        until: Instant,
        hold: impl FnOnce() -> F,
    ) -> Result<Response, HoldError>
    where
        F: Future<Output = Result<Response, HoldError>>,
    {
        // Too many to be compared: the line has bounds of its own.
        let Some((_seat, part)) = self.0.enter(key, (), bytes) else { return hold().await };
        let told = match part {
            Part::Leads(lead) => Told::Leads(lead),
            Part::Has(found) => Told::Landed(found),
            Part::Waits(told) => {
                let told = tokio::time::timeout_at(until.into(), told).await;
                told.map_err(|_| HoldError::Behind)?.unwrap_or(Told::Landed(Found::Own))
            }
        };
        match told {
            Told::Landed(Found::Shared(whole)) => Ok(whole.collapsed()),
            Told::Landed(Found::Own) => hold().await,
            Told::Landed(Found::Broken(why)) => Err(HoldError::Broken(why)),
            Told::Leads(lead) => match hold().await {
                Ok(answer) => {
                    let shared = tokio::time::timeout_at(until.into(), shared(&lead, answer));
                    shared.await.unwrap_or(Err(HoldError::Unanswered))
                }
                Err(HoldError::Broken(why)) => {
                    lead.land(&Found::Broken(why.clone()));
                    Err(HoldError::Broken(why))
                }
                Err(error) => Err(error),
            },
        }
    }
}

/// Gives the answer to those who wait for it too, if it may be shared.
async fn shared(lead: &Lead<Answers>, answer: Response) -> Result<Response, HoldError> {
    if !may_share(&answer) {
        lead.land(&Found::Own);
        return Ok(answer);
    }
    let (head, mut body) = answer.into_parts();
    let (mut frames, mut bytes) = (Vec::new(), 0);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| HoldError::Broken(error.to_string()))?;
        match frame.into_data() {
            Ok(data) => {
                bytes += data.len();
                frames.push(Frames::Data(data));
            }
            Err(frame) => frames.extend(frame.into_trailers().ok().map(Frames::Trailers)),
        }
        if bytes > MOST_SHARED {
            lead.land(&Found::Own);
            let came = stream::iter(frames.into_iter().map(|frame| Ok(frame.into())));
            return Ok(Response::from_parts(
                head,
                Body::new(StreamBody::new(came.chain(BodyStream::new(body)))),
            ));
        }
    }
    let whole = Whole { status: head.status, headers: head.headers, frames };
    let answer = whole.answer();
    lead.land(&Found::Shared(Arc::new(whole)));
    Ok(answer)
}

/// Whether others may have it: what any cache might keep.
fn may_share(answer: &Response) -> bool {
    let said = answer.headers().get_all(CACHE_CONTROL).iter().map(HeaderValue::as_bytes);
    ResponseDirectives::parse(said).is_some() && answer.status().is_success()
}

impl Whole {
    fn answer(&self) -> Response {
        let frames =
            self.frames.clone().into_iter().map(|frame| Ok::<_, std::convert::Infallible>(frame.into()));
        let mut answer = Response::new(Body::new(StreamBody::new(stream::iter(frames))));
        *answer.status_mut() = self.status;
        answer.headers_mut().clone_from(&self.headers);
        answer
    }

    /// For one that waited for it.
    fn collapsed(&self) -> Response {
        const COLLAPSED: HeaderValue = HeaderValue::from_static("forebay-gate; fwd=uri-miss; collapsed");
        let mut answer = self.answer();
        let cost =
            self.headers.get(X_FOREBAY_COST_US).and_then(|cost| cost.to_str().ok()?.parse::<u64>().ok());
        counter!("forebay_hold_collapsed").increment(1);
        counter!("forebay_hold_saved_us").increment(cost.unwrap_or(0).min(MOST_COST_US));
        answer.headers_mut().append(HeaderName::from_static(CACHE_STATUS), COLLAPSED);
        answer
    }
}

impl From<Frames> for Frame<Bytes> {
    fn from(frame: Frames) -> Self {
        match frame {
            Frames::Data(data) => Self::data(data),
            Frames::Trailers(trailers) => Self::trailers(trailers),
        }
    }
}
