//! The backends of a service: a name that resolves to each of them -> those that are there, which models each is ready for, and how much
//! each takes at a time. Next: `handover` gives them to those who wait.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::Body;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderName, Request, Response, Uri, Version};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::error::Elapsed;

use super::asked::{Model, Protocol};
use crate::connect::connector;
use crate::settings::HeldFor;

/// What a backend takes at first at a time, and at most. Each answer lets one more in, so that what it takes doubles with each round
/// trip; each refusal halves it.
const FIRST: f64 = 4.0;
const MOST: f64 = 256.0;
/// A backend that refused is left alone for so long.
const REST: Duration = Duration::from_millis(50);
/// A model that was found ready counts as such for so long.
const BELIEVED: Duration = Duration::from_secs(1);
/// A question whether a model is ready is asked again after so long, and not waited for longer than that.
const ASKED_AGAIN: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(1);
/// Of a backend's metrics, and of what it says of itself.
const MOST_METRICS: usize = 8 << 20;
const MOST_SAID: usize = 64 << 10;
/// Models that are asked after at a time, and that something is known of: who asks names them.
const MOST_ASKED: usize = 32;
const MOST_KNOWN: usize = 1024;
/// One that says that it is ready stays for so long after it was last named: of several DNS servers one may still have it that nobody is.
const LINGERS: Duration = Duration::from_secs(30);
/// One that answers nothing for so long is not there: a name may stand for a node that is gone.
const SILENT: Duration = Duration::from_secs(3);
/// A model that a backend which is ready doesn't know for so long gets its error from there.
const STRANGE: Duration = Duration::from_secs(5);
/// To connect, within a cluster.
const CONNECT: Duration = Duration::from_secs(2);

/// Of one connection (RFC 9110, 7.6.1).
pub(super) const HOP: [HeaderName; 4] = [
    http::header::CONNECTION,
    http::header::UPGRADE,
    http::header::TRANSFER_ENCODING,
    HeaderName::from_static("keep-alive"),
];

type Connector = HttpsConnector<HttpConnector<Fixed>>;

/// One backend.
pub(super) struct Backend {
    pub(super) address: IpAddr,
    held_for: Arc<HeldFor>,
    http: Client<Connector, Body>,
    grpc: Client<Connector, Body>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    models: HashMap<Model, Known>,
    /// Questions after models on their way.
    asking: usize,
    takes: f64,
    in_flight: usize,
    rests_until: Option<Instant>,
    /// It closed a connection, and has not said since that it stays.
    may_leave: bool,
    /// When the backends' name last stood for it too.
    named: Option<Instant>,
}

/// What is known of a model.
#[derive(Default)]
struct Known {
    ready: Option<Instant>,
    /// When it may be asked again.
    again: Option<Instant>,
    /// When it last said that it is not.
    unready: Option<Instant>,
    /// Since when the backend is ready and this model isn't.
    strange: Option<Instant>,
    /// From when to when nothing was answered.
    silent: Option<(Instant, Instant)>,
}

impl Known {
    fn is_ready(&self, now: Instant) -> bool {
        let is_strange = self.strange.is_some_and(|since| now.duration_since(since) >= STRANGE);
        is_fresh(self.ready, now) || (is_strange && is_fresh(self.unready, now))
    }

    /// Nothing is answered, and wasn't a moment ago.
    fn is_silent(&mut self, now: Instant) {
        let before = self.silent.filter(|(_, last)| now.duration_since(*last) < SILENT);
        self.silent = Some((before.map_or(now, |(first, _)| first), now));
    }

    /// It said since then that it is not ready, or nothing for long enough.
    fn is_known_down(&self, since: Instant) -> bool {
        self.unready.is_some_and(|unready| unready >= since)
            || self
                .silent
                .is_some_and(|(first, last)| last.saturating_duration_since(first.max(since)) >= SILENT)
    }

    /// It, or at least its backend.
    fn is_up(&self, now: Instant) -> bool {
        is_fresh(self.ready, now) || (self.strange.is_some() && is_fresh(self.unready, now))
    }
}

fn is_fresh(at: Option<Instant>, now: Instant) -> bool {
    at.is_some_and(|at| now.duration_since(at) <= BELIEVED)
}

/// Resolves to one address, whatever is asked: the name stays what certificates are checked against.
#[derive(Debug, Clone)]
pub(super) struct Fixed(IpAddr);

impl tower::Service<Name> for Fixed {
    type Response = std::iter::Once<SocketAddr>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Name) -> Self::Future {
        ready(Ok(std::iter::once(SocketAddr::new(self.0, 0))))
    }
}

/// The addresses that the backends' name stands for now.
pub(super) async fn resolve(held_for: &HeldFor) -> std::io::Result<Vec<IpAddr>> {
    let port = held_for.place.http.port_u16().unwrap_or(80);
    let found = tokio::net::lookup_host((held_for.place.http.host().trim_matches(['[', ']']), port)).await?;
    let mut addresses: Vec<IpAddr> = found.map(|address| address.ip()).collect();
    addresses.sort_unstable();
    addresses.dedup();
    Ok(addresses)
}

impl Backend {
    pub(super) fn new(address: IpAddr, held_for: &Arc<HeldFor>) -> Self {
        let connector = || connector(Fixed(address), CONNECT, SILENT);
        let tls = |protocol: Protocol| {
            let builder = HttpsConnectorBuilder::new()
                .with_tls_config(held_for.tls.clone())
                .https_or_http()
                .with_server_name_resolver(FixedServerNameResolver::new(held_for.place.name.clone()));
            match protocol {
                Protocol::Http => builder.enable_http1().wrap_connector(connector()),
                Protocol::Grpc => builder.enable_http2().wrap_connector(connector()),
            }
        };
        let client = |protocol| {
            let mut client = Client::builder(TokioExecutor::new());
            client.pool_timer(TokioTimer::new()).http2_only(protocol == Protocol::Grpc);
            client.build(tls(protocol))
        };
        let state = Mutex::new(State { takes: FIRST, named: Some(Instant::now()), ..State::default() });
        Self {
            address,
            http: client(Protocol::Http),
            grpc: client(Protocol::Grpc),
            held_for: held_for.clone(),
            state,
        }
    }

    /// Sends it a request.
    ///
    /// # Errors
    /// No answer began.
    pub(super) async fn send(
        &self,
        protocol: Protocol,
        mut request: Request<Body>,
    ) -> Result<Response<Incoming>, Error> {
        let (client, authority) = match protocol {
            Protocol::Http => (&self.http, &self.held_for.place.http),
            Protocol::Grpc => (&self.grpc, &self.held_for.place.grpc),
        };
        *request.uri_mut() = at(self.held_for.place.scheme.clone(), authority.clone(), request.uri());
        // The client's protocol knows which it speaks; one that came by HTTP/2 may go by HTTP/1.1.
        *request.version_mut() = Version::HTTP_11;
        for name in HOP {
            request.headers_mut().remove(name);
        }
        // The backends' own name in its place: a mesh goes by it, and by the one that the client asked for, back to the gate.
        request.headers_mut().remove(http::header::HOST);
        client.request(request).await
    }

    /// Its `/metrics`, which are never encrypted; `None` where it has none to give.
    ///
    /// # Errors
    /// It did not answer in time.
    pub(super) async fn metrics(&self) -> Result<Option<String>, Elapsed> {
        let read = async {
            let uri = at(Scheme::HTTP, self.held_for.place.metrics.clone(), &Uri::from_static("/metrics"));
            let answer = self.http.request(Request::get(uri).body(Body::empty()).ok()?);
            let answer = answer.await.ok().filter(|answer| answer.status() == http::StatusCode::OK)?;
            let body = Limited::new(answer.into_body(), MOST_METRICS).collect().await.ok()?;
            String::from_utf8(body.to_bytes().to_vec()).ok()
        };
        tokio::time::timeout(PATIENCE, read).await
    }

    /// Whether it is to be asked again for that model; says then that it is.
    pub(super) fn is_to_be_asked(&self, model: &Model, now: Instant) -> bool {
        let mut state = self.lock();
        if state.asking >= MOST_ASKED {
            return false;
        }
        if state.models.len() >= MOST_KNOWN {
            state.models.retain(|_, known| known.is_ready(now));
        }
        let known = state.models.entry(model.clone()).or_default();
        let is_due = known.again.is_none_or(|again| now >= again);
        if is_due {
            // Nobody else asks while this takes its time.
            known.again = Some(now + 2 * PATIENCE);
            state.asking += 1;
        }
        is_due
    }

    /// Asks whether it is ready for that model, and remembers it. One that doesn't answer in time has not said that it isn't, until it
    /// has said nothing for [`SILENT`].
    pub(super) async fn ask(&self, model: &Model) {
        let mut said = self.says_ready(&model.ready_path()).await;
        // One that is about to go says so of itself alone.
        if said == Some(true) && self.lock().may_leave {
            said = self.says_ready(&Model::default().ready_path()).await;
            self.lock().may_leave = said != Some(true);
        }
        let is_itself = said == Some(false)
            && !model.name.is_empty()
            && self.says_ready(&Model::default().ready_path()).await == Some(true);
        let mut state = self.lock();
        state.asking = state.asking.saturating_sub(1);
        let now = Instant::now();
        let known = state.models.entry(model.clone()).or_default();
        known.again = Some(now + if said == Some(true) { BELIEVED / 4 } else { ASKED_AGAIN });
        match said {
            Some(true) => {
                (known.ready, known.unready, known.strange, known.silent) = (Some(now), None, None, None);
            }
            Some(false) => {
                (known.ready, known.unready, known.silent) = (None, Some(now), None);
                known.strange = is_itself.then(|| known.strange.unwrap_or(now));
            }
            None => known.is_silent(now),
        }
    }

    async fn says_ready(&self, path: &str) -> Option<bool> {
        let request = Request::get(path).body(Body::empty()).ok()?;
        let asked = async {
            let Ok(answer) = self.send(Protocol::Http, request).await else { return false };
            let status = answer.status();
            // Read to its end, so that the connection serves again.
            let read = Limited::new(answer.into_body(), MOST_SAID).collect().await;
            read.is_ok() && status == http::StatusCode::OK
        };
        tokio::time::timeout(PATIENCE, asked).await.ok()
    }

    /// Whether it is known since then that it is not ready for what it was asked.
    pub(super) fn is_known_down(&self, since: Instant) -> bool {
        self.lock().models.values().any(|known| known.is_known_down(since))
    }

    /// What of its load is taken, from 0 to 1, if it is ready for that model and takes one more.
    pub(super) fn load(&self, model: &Model, now: Instant) -> Option<f64> {
        let state = self.lock();
        let is_ready = state.models.get(model)?.is_ready(now);
        let rests = state.rests_until.is_some_and(|until| now < until);
        let load = state.in_flight as f64 / state.takes;
        (is_ready && !rests && load < 1.0).then_some(load)
    }

    /// Whether it is ready for that model, busy or not.
    pub(super) fn is_ready(&self, model: &Model, now: Instant) -> bool {
        self.lock().models.get(model).is_some_and(|known| known.is_ready(now))
    }

    /// Whether it is ready for any model, or at least itself.
    pub(super) fn is_up(&self, now: Instant) -> bool {
        self.lock().models.values().any(|known| known.is_up(now))
    }

    /// Whether it is one of the backends, of which the name stands for those.
    pub(super) fn stays(&self, addresses: &[IpAddr], now: Instant) -> bool {
        let mut state = self.lock();
        if addresses.contains(&self.address) {
            state.named = Some(now);
            return true;
        }
        let is_up = state.models.values().any(|known| known.is_up(now));
        is_up && state.named.is_some_and(|named| now.duration_since(named) < LINGERS)
    }

    /// One more request goes there.
    pub(super) fn begin(&self) {
        self.lock().in_flight += 1;
    }

    /// A request there for that model is done, so.
    pub(super) fn end(&self, model: &Model, how: How) {
        let mut state = self.lock();
        state.in_flight = state.in_flight.saturating_sub(1);
        match how {
            How::Answered => {
                state.takes = (state.takes + 1.0).min(MOST);
                // Nothing says more clearly that it is ready.
                state.models.entry(model.clone()).or_default().ready = Some(Instant::now());
            }
            How::Leaves => {
                state.takes = (state.takes + 1.0).min(MOST);
                state.may_leave = true;
                state.models.values_mut().for_each(|known| (known.ready, known.again) = (None, None));
            }
            How::Refused => {
                state.takes = (state.takes / 2.0).max(1.0);
                state.rests_until = Some(Instant::now() + REST);
            }
            // It is asked again before anything else goes there.
            How::Lost => state.models.clear(),
            How::Left => {}
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The same path there.
fn at(scheme: Scheme, authority: Authority, uri: &Uri) -> Uri {
    let path = uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    let mut parts = http::uri::Parts::default();
    (parts.scheme, parts.authority, parts.path_and_query) = (Some(scheme), Some(authority), Some(path));
    Uri::from_parts(parts).unwrap_or_default()
}

/// How a request to a backend ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    Answered,
    /// The same, and it closes the connection: it may be about to go, and is asked before anything else goes there. What is written to a
    /// connection as it is closed is lost.
    Leaves,
    /// It took no more.
    Refused,
    /// It could not be reached, or broke off.
    Lost,
    /// Nobody wants it any more.
    Left,
}
