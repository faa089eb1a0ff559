//! The proxy's host calls: reads behind the core's `Host`, and the core's acts carried out. Every call that the SDK can refuse or
//! that this proxy can lack becomes `None`, `false` or without effect, and only byte values are read (the SDK's text variants trap
//! on what is not UTF-8).

use forebay_filter_core::acts::{Act, Call, Ticket};
use forebay_filter_core::encoding::{self, Local};
use forebay_filter_core::host::{Headers, Host, MetricKind, Of};
use forebay_proxy::Map;
use proxy_wasm::hostcalls;
use proxy_wasm::types::{BufferType, GrpcStatusCode, MapType, MetricType};
use std::time::{Duration, UNIX_EPOCH};

/// The proxy, from a callback of `context`, and that context's callouts.
pub(crate) struct Envoy {
    /// The context whose callback this is.
    pub(crate) context: u32,
    /// This worker's own queue, which wakes its root context.
    pub(crate) queue: Option<u32>,
    /// Callouts under way, by the proxy's numbers.
    calls: Vec<(u32, Ticket)>,
}

/// What the route for hits matches: filter state `wasm.forebay.hit`.
const HIT: &str = "forebay.hit";

/// Answers the stream that is acted on.
fn answer(local: Local<'_>) {
    let _ = match local {
        Local::Http(status, headers, body) => hostcalls::send_http_response(status, headers, Some(body)),
        Local::Late(message, metadata) => {
            let metadata = metadata.into_iter().map(|(name, value)| (name, value.as_bytes())).collect();
            hostcalls::send_grpc_response(GrpcStatusCode::DeadlineExceeded, Some(message), metadata)
        }
    };
}

/// The body size of a callout that was answered. One that failed has no headers, and asking for them would trap.
pub(crate) fn answered(headers: usize, body_size: usize) -> Option<usize> {
    (headers > 0).then_some(body_size)
}

impl Envoy {
    pub(crate) fn new(context: u32, queue: Option<u32>) -> Self {
        Self { context, queue, calls: Vec::new() }
    }

    /// Does what the core wants done, in order. Not while anything of the core's is borrowed: see [`acts`]. A callout that can't be
    /// sent is returned.
    ///
    /// [`acts`]: forebay_filter_core::acts
    pub(crate) fn carry_out(&mut self, acts: impl IntoIterator<Item = Act>) -> Option<Ticket> {
        let mut unsent = None;
        for act in acts {
            unsent = self.act(act).or(unsent);
        }
        unsent
    }

    fn act(&mut self, act: Act) -> Option<Ticket> {
        match act {
            Act::SetRequestHeader { name, value } => {
                let _ = hostcalls::set_map_value(MapType::HttpRequestHeaders, name, Some(&value));
            }
            Act::RemoveRequestHeader { name } => {
                let _ = hostcalls::remove_map_value(MapType::HttpRequestHeaders, &name);
            }
            Act::SetResponseHeader { name, value } => {
                let _ = hostcalls::set_map_value(MapType::HttpResponseHeaders, name, Some(&value));
            }
            Act::Answer { context, reply } => {
                encoding::send(&reply, |local| self.within(context, || answer(local)));
            }
            Act::AnswerByRoute { context } => self.answer_by_route(context),
            Act::BeginReply { reply } => encoding::grpc::begin(&reply, |headers| {
                let _ = hostcalls::set_map(MapType::HttpResponseHeaders, headers);
            }),
            Act::FillReply { reply, size } => {
                let body = encoding::grpc::fill(&reply);
                let _ = hostcalls::set_buffer(BufferType::HttpResponseBody, 0, size, &body);
            }
            Act::Resume { context } => self.resume(context),
            Act::Call(call) => return self.call(&call),
            Act::Wake => {
                if let Some(queue) = self.queue {
                    let _ = hostcalls::enqueue_shared_queue(queue, None);
                }
            }
        }
        None
    }

    /// Has the held call of `context` take the route for hits. It matches filter state, which only filters can set.
    fn answer_by_route(&self, context: u32) {
        self.within(context, || {
            let _ = hostcalls::set_property(vec![HIT], Some(b"yes"));
            let _ = hostcalls::call_foreign_function("clear_route_cache", None);
        });
        if context != self.context {
            self.resume(context);
        }
    }

    /// Lets the held request of `context` go on.
    pub(crate) fn resume(&self, context: u32) {
        let _ = self.within(context, hostcalls::resume_http_request);
    }

    fn call(&mut self, call: &Call) -> Option<Ticket> {
        let mut headers =
            vec![(":method", call.method), (":path", &*call.path), (":authority", &*call.authority)];
        headers.extend(call.headers.iter().map(|(name, value)| (&**name, value.as_str())));
        let body = Some(call.body.as_slice()).filter(|body| !body.is_empty());
        let timeout = Duration::from_millis(call.timeout_ms);
        match hostcalls::dispatch_http_call(&call.cluster, headers, body, Vec::new(), timeout) {
            Ok(token) => {
                self.calls.push((token, call.ticket));
                None
            }
            Err(_) => Some(call.ticket),
        }
    }

    /// Which callout it is that ended.
    pub(crate) fn ended(&mut self, token: u32) -> Option<Ticket> {
        let at = self.calls.iter().position(|(sent, _)| *sent == token)?;
        Some(self.calls.swap_remove(at).1)
    }

    /// Acts on another context, and comes back. Only contexts of live streams may be named: the proxy traps on others.
    fn within<T>(&self, context: u32, act: impl FnOnce() -> T) -> T {
        if context == self.context {
            return act();
        }
        let _ = hostcalls::set_effective_context(context);
        let result = act();
        let _ = hostcalls::set_effective_context(self.context);
        result
    }
}

impl Host for Envoy {
    fn now_ms(&self) -> u64 {
        let since = hostcalls::get_current_time().ok().and_then(|now| now.duration_since(UNIX_EPOCH).ok());
        since.and_then(|since| u64::try_from(since.as_millis()).ok()).unwrap_or(0)
    }

    fn headers(&self, of: Of) -> Headers {
        let map = match of {
            Of::Request => Map::Request,
            Of::Response => Map::Response,
            Of::ResponseTrailers => Map::ResponseTrailers,
            Of::Call => Map::Call,
            Of::CallTrailers => Map::CallTrailers,
        };
        forebay_proxy::header_pairs(map).map(Headers::of_pairs).unwrap_or_default()
    }

    fn body(&self, of: Of, size: usize) -> Option<Vec<u8>> {
        let buffer = match of {
            Of::Request => BufferType::HttpRequestBody,
            Of::Response | Of::ResponseTrailers => BufferType::HttpResponseBody,
            Of::Call | Of::CallTrailers => BufferType::HttpCallResponseBody,
        };
        hostcalls::get_buffer(buffer, 0, size).ok()?
    }

    fn property(&self, path: &[&str]) -> Option<Vec<u8>> {
        hostcalls::get_property(path.to_vec()).ok()?
    }

    fn shared_get(&self, key: &str) -> Option<(Vec<u8>, u32)> {
        let (value, cas) = hostcalls::get_shared_data(key).ok()?;
        Some((value?, cas.unwrap_or(0)))
    }

    fn shared_set(&self, key: &str, value: &[u8], cas: Option<u32>) -> bool {
        hostcalls::set_shared_data(key, Some(value), cas).is_ok()
    }

    fn define_metric(&self, kind: MetricKind, name: &str) -> Option<u32> {
        let kind = match kind {
            MetricKind::Counter => MetricType::Counter,
            MetricKind::Gauge => MetricType::Gauge,
        };
        hostcalls::define_metric(kind, name).ok()
    }

    fn add_metric(&self, metric: u32, amount: i64) {
        // Adding nothing is an error to the proxy.
        if amount != 0 {
            let _ = hostcalls::increment_metric(metric, amount);
        }
    }

    fn warn(&self, message: &str) {
        log::warn!("{message}");
    }
}
