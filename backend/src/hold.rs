//! The gate as the buffer of a service without backends. A proxy sends a request here when no backend is ready; the pool answers it, or
//! it is held until a backend is ready for its model, and handed over. The way:
//!
//! ```text
//! asked      which model, by which protocol, until when
//! answer     what the pool has
//! join       equal ones wait together
//! line       who waits, and whose turn it is
//! handover   the line and the backends; says that one is wanted
//! phase      whether a backend is wanted, how long a wake takes, and the last ones
//! backends   which are there, ready for what, and how much each takes
//! refusal    no room, no time
//! gates      what waits at the service's other gates
//! load       what the backends have to do; scaler: KEDA is told, at once when one is wanted
//! external   the same figures for autoscalers of Kubernetes, as External metrics
//! wake       Kubernetes is asked for one, where nothing else does it
//! work       what they computed, by model; told: who waits and why, for people
//! ```

mod answer;
mod asked;
mod backends;
pub(crate) mod external;
mod gates;
mod handover;
mod join;
mod kubernetes;
mod line;
mod load;
mod phase;
mod refusal;
pub(crate) mod scaler;
mod told;
pub(crate) mod wake;
mod work;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{Extension, Request, State};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use forebay_protocol::digest::{Key, Scope, digest};
use forebay_protocol::header::CACHE_STATUS;
use forebay_protocol::limits::Limits;
use forebay_protocol::manner::Manner;
use forebay_protocol::messages::ModelInferRequest;
use http::request::Parts;
use http::{HeaderName, HeaderValue, StatusCode};
use metrics::{counter, histogram};
use tokio_util::sync::CancellationToken;

use crate::body::Bodies;
use crate::cache::live::LiveTable;
use crate::cache::store::Store;
use crate::trust::{Peer, Trust, Whose, directives};
use asked::{Kind, Model, Protocol};
use backends::{HOP, How};
pub(crate) use gates::Gates;
pub(crate) use handover::Handover;
use handover::{Flow, Grant};
pub(crate) use join::Joined;
pub(crate) use load::{Found as LoadFound, Watched, follow as follow_load};
pub(crate) use refusal::HoldError;
pub(crate) use told::HoldTold;
pub(crate) use work::{ModelWork, Work};

/// What holding needs.
pub(crate) struct Hold {
    pub(crate) handover: Arc<Handover>,
    pub(crate) joined: Joined,
    pub(crate) store: Arc<Store>,
    pub(crate) live: Arc<LiveTable>,
    pub(crate) trust: Trust,
    /// Whose requests come.
    pub(crate) service: String,
    pub(crate) bodies: Bodies,
    pub(crate) limits: Limits,
    /// The longest that one waits, whatever it says itself.
    pub(crate) longest: Duration,
    /// Cancelled once the gate's end begins.
    pub(crate) ending: CancellationToken,
}

/// All that comes.
pub(crate) fn routes(hold: Arc<Hold>) -> Router {
    Router::new().fallback(take).with_state(hold)
}

async fn take(State(hold): State<Arc<Hold>>, peer: Option<Extension<Peer>>, request: Request) -> Response {
    let began = Instant::now();
    let protocol = asked::protocol(request.headers());
    let (kind, model) = asked::kind(protocol, request.method(), request.uri().path());
    let answered = match kind {
        Kind::Live => Ok(yes(protocol)),
        Kind::Ready(about) => Ok(hold.readiness(protocol, about.as_ref())),
        Kind::Other => hold.pass(protocol, request).await,
        Kind::Infer => {
            let answered = hold.infer(protocol, model, peer.as_deref(), request).await;
            histogram!("forebay_hold_seconds").record(began.elapsed());
            answered
        }
    };
    answered.unwrap_or_else(|error| {
        counter!("forebay_hold_refused", "reason" => error.reason()).increment(1);
        error.answer(protocol, hold.handover.retry_after())
    })
}

/// A request to be held, whole.
struct Held {
    protocol: Protocol,
    head: Parts,
    body: Bytes,
    until: Instant,
}

impl Hold {
    /// Whether this gate takes requests: it does until its end begins, when proxies should look away. Whether a model is served is known
    /// of those that are live.
    fn readiness(&self, protocol: Protocol, about: Option<&Model>) -> Response {
        let is_ready = about.is_none_or(|model| {
            let all = Scope { service: &self.service, tenant: None };
            let live = self.live.generations(&all, &model.name, &model.version);
            live.is_some_and(|generations| !generations.is_empty())
        });
        let lacks = match (self.ending.is_cancelled(), is_ready) {
            (true, _) => HoldError::Ends,
            (false, false) => HoldError::Asleep,
            (false, true) => return yes(protocol),
        };
        lacks.answer(protocol, self.handover.retry_after())
    }

    /// What nobody is woken for goes to a backend that is there.
    async fn pass(&self, protocol: Protocol, request: Request) -> Result<Response, HoldError> {
        let until = Instant::now() + self.longest;
        let grant = self.handover.at_once(&Model::default()).await.ok_or(HoldError::Asleep)?;
        self.once(protocol, grant, request, until).await
    }

    /// Sends it, once: its body is read as it is sent.
    async fn once(
        &self,
        protocol: Protocol,
        grant: Grant,
        request: Request,
        until: Instant,
    ) -> Result<Response, HoldError> {
        match tokio::time::timeout_at(until.into(), grant.backend.send(protocol, request)).await {
            Ok(Ok(answer)) => {
                grant.ends(how(&answer));
                Ok(of_this_connection(answer.map(Body::new)))
            }
            Ok(Err(error)) => {
                grant.ends(How::Lost);
                Err(HoldError::Broken(error.to_string()))
            }
            Err(_) => Err(HoldError::Unanswered),
        }
    }

    async fn infer(
        &self,
        protocol: Protocol,
        model: Model,
        peer: Option<&Peer>,
        request: Request,
    ) -> Result<Response, HoldError> {
        let until = asked::deadline(request.headers(), Instant::now(), self.longest);
        let whose = self.trust.whose(&self.service, request.headers(), peer);
        if request.uri().path().ends_with("/ModelStreamInfer") {
            let flow = flow(&whose, model);
            let grant = self.handover.wait(&flow, 0, until, None).await?;
            return self.once(protocol, grant, request, until).await;
        }
        let (mut parts, body) = request.into_parts();
        let body = self.bodies.read(&parts.headers, body).await?.held();
        // It was inflated.
        if parts.headers.remove(http::header::CONTENT_ENCODING).is_some() {
            parts.headers.insert(http::header::CONTENT_LENGTH, HeaderValue::from(body.len()));
        }
        let mut held = Held { protocol, head: parts, body, until };
        let only_if_cached = directives(&held.head.headers).only_if_cached;
        let decoded =
            asked::decode(protocol, held.head.uri.path(), &held.head.headers, &held.body, &self.limits);
        let Some(decoded) = decoded else { return self.hold(flow(&whose, model), &held).await };
        if let Some(timeout) = Manner::of(&decoded).ok().and_then(|manner| manner.timeout) {
            held.until = held.until.min(Instant::now() + timeout);
        }
        let model = Model { name: decoded.model_name.clone(), version: decoded.model_version.clone() };
        let flow = flow(&whose, model);
        let keys = self.keys(&whose, &held, &decoded);
        if let Some((_, keys)) = &keys
            && let Some(answer) = self.look_up(keys, &whose, &held, &decoded).await
        {
            return Ok(answer);
        }
        if only_if_cached {
            return Err(HoldError::OnlyIfCached);
        }
        let Some((key, _)) = keys else { return self.hold(flow, &held).await };
        drop(decoded);
        let joined = self.joined.answer(key, held.body.len(), held.until, || self.hold(flow, &held));
        match joined.await {
            // The one that it waited for found none either.
            Err(HoldError::Behind) if !self.handover.is_awake() => Err(HoldError::Late),
            answered => answered,
        }
    }

    /// What makes it the same as another in its bytes, and under what its answer may be kept. `None`: nobody may share it.
    fn keys(&self, whose: &Whose, held: &Held, decoded: &ModelInferRequest) -> Option<([u8; 32], Vec<Key>)> {
        let said = directives(&held.head.headers);
        if said.no_store || said.no_cache || self.trust.restricts(&held.head.headers) {
            return None;
        }
        let scope = whose.scope(&self.service).ok()?;
        let digest = self.live.digest(&digest(&scope, decoded).ok()?);
        let live = self.live.generations(&scope, &decoded.model_name, &decoded.model_version);
        let keys = live
            .unwrap_or_default()
            .iter()
            .map(|generation| Key::derive(generation, &scope, &digest))
            .collect();
        Some((asked::raw_key(scope, held.head.uri.path(), &held.head.headers, &held.body), keys))
    }

    async fn look_up(
        &self,
        keys: &[Key],
        whose: &Whose,
        held: &Held,
        decoded: &ModelInferRequest,
    ) -> Option<Response> {
        if keys.is_empty() {
            return None;
        }
        // Nothing else answers for a while, so a pool that is late for once is waited for.
        let entry = self.store.lookup_only(keys).await?;
        let is_private = Trust::is_private(whose, &held.head.headers);
        let answer = answer::of(held.protocol, &entry, decoded, is_private)?;
        counter!("forebay_hold_hits").increment(1);
        counter!("forebay_hold_saved_us").increment(entry.cost_us);
        Some(answer)
    }

    /// Waits for a backend, and has it answer. One that takes no more, or can't be reached, has not begun: another is waited for.
    async fn hold(&self, flow: Flow, held: &Held) -> Result<Response, HoldError> {
        let (began, mut since) = (Instant::now(), None);
        loop {
            let grant = self.handover.wait(&flow, held.body.len(), held.until, since).await?;
            since = Some(began);
            let sent = grant.backend.send(held.protocol, held.again());
            match tokio::time::timeout_at(held.until.into(), sent).await {
                Ok(Ok(answer)) => {
                    let how = how(&answer);
                    grant.ends(how);
                    if how != How::Refused {
                        return Ok(told(answer.map(Body::new)));
                    }
                }
                Ok(Err(error)) if error.is_connect() => grant.ends(How::Lost),
                Ok(Err(error)) => {
                    grant.ends(How::Lost);
                    return Err(HoldError::Broken(error.to_string()));
                }
                Err(_) => return Err(HoldError::Unanswered),
            }
        }
    }
}

impl Held {
    /// The request, to be sent.
    fn again(&self) -> Request {
        let mut request = Request::new(Body::from(self.body.clone()));
        *request.method_mut() = self.head.method.clone();
        *request.uri_mut() = self.head.uri.clone();
        *request.headers_mut() = self.head.headers.clone();
        request
    }
}

/// It is live, or ready.
fn yes(protocol: Protocol) -> Response {
    match protocol {
        Protocol::Http => StatusCode::OK.into_response(),
        // Field 1 is true in `ServerLiveResponse` and `ServerReadyResponse`, and SERVING in `HealthCheckResponse`.
        Protocol::Grpc => crate::grpc::raw_message(b"\x08\x01"),
    }
}

/// How a backend ended a request that it answered so.
fn how<T>(answer: &http::Response<T>) -> How {
    let closes = answer.headers().get(http::header::CONNECTION).is_some_and(|said| said == "close");
    match (refusal::is_refusal(answer), closes) {
        (true, _) => How::Refused,
        (false, true) => How::Leaves,
        (false, false) => How::Answered,
    }
}

/// The answer without what the backend's connection alone means.
fn of_this_connection(mut answer: Response) -> Response {
    for name in HOP {
        answer.headers_mut().remove(name);
    }
    answer
}

/// The answer says that it was held (RFC 9211).
fn told(answer: Response) -> Response {
    const HELD: HeaderValue = HeaderValue::from_static("forebay-gate; fwd=uri-miss; detail=held");
    let mut answer = of_this_connection(answer);
    answer.headers_mut().append(HeaderName::from_static(CACHE_STATUS), HELD);
    answer
}

fn flow(whose: &Whose, model: Model) -> Flow {
    let tenant = match whose {
        Whose::Tenants(tenant) => tenant.as_str().to_owned(),
        Whose::Everybodys | Whose::Nobodys(_) => String::new(),
    };
    Flow { tenant, model }
}
