//! The Envoy that is measured: listeners that differ in what is between the client and the answer, and in nothing else.

use std::path::Path;

use serde_json::{Value, json};

use super::Upstreams;
use super::bodies::Body;
use super::floor::Floor;
use crate::layout::Layout;

/// Bytes that a held request or an answer may have.
const BUFFER_BYTES: u32 = 8 << 20;
/// The filter state of calls that are hits.
const HIT: &str = "wasm.forebay.hit";

/// What stands between client and answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Listener {
    /// The filter with its L2 callout at each miss.
    Gate,
    /// The filter with one where that pays.
    Learned,
    /// The filter with one at each request.
    Pool,
    /// Those two, where no lookup goes with others.
    GateAlone,
    PoolAlone,
    /// The filter without one.
    NoGate,
    /// Nothing: Envoy's own proxying.
    Plain,
    /// Envoy's `direct_response` with the answer to that request, behind Envoy's buffer filter.
    Direct(Body),
    /// A filter that does the least.
    Floor(Floor),
}

impl Listener {
    pub(super) fn all() -> impl Iterator<Item = Self> {
        let answers = Body::ALL.into_iter().flat_map(|body| [Self::Direct(body), Self::answers(body)]);
        let ours = [Self::Gate, Self::Learned, Self::Pool, Self::GateAlone, Self::PoolAlone, Self::NoGate];
        let bases = [Self::Plain, Self::Floor(Floor::Passes), Self::Floor(Floor::Asks)];
        ours.into_iter().chain(bases).chain(answers)
    }

    /// The floor of hits that are answered as that request.
    pub(super) fn answers(body: Body) -> Self {
        Self::Floor(Floor::Answers(body))
    }
}

/// The whole configuration.
pub(super) fn config(
    layout: &Layout,
    folder: &Path,
    listeners: &[(Listener, u16)],
    upstreams: Upstreams,
) -> Value {
    let listeners: Vec<Value> =
        listeners.iter().map(|(listener, port)| self::listener(layout, folder, *listener, *port)).collect();
    let Upstreams { http, grpc, gate } = upstreams;
    let mut calls = cluster("forebay-backend-grpc", grpc);
    calls["typed_extension_protocol_options"] = json!({"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http2_protocol_options": {}}}});
    let clusters = [cluster("forebay-backend", http), calls, cluster("forebay-gate", gate)];
    // As envoy/forebay.yaml has it.
    let runtime =
        json!({"layers": [{"name": "forebay", "static_layer": {"http.max_requests_per_io_cycle": 0}}]});
    json!({"static_resources": {"listeners": listeners, "clusters": clusters}, "layered_runtime": runtime})
}

fn listener(layout: &Layout, folder: &Path, listener: Listener, port: u16) -> Value {
    let buffer = json!({"name": "buffer", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.buffer.v3.Buffer",
        "max_request_bytes": BUFFER_BYTES}});
    let ours = |more: Value| {
        let mut settings = json!({"service": "bench", "grpc": "answer"});
        if let (Some(settings), Value::Object(more)) = (settings.as_object_mut(), more) {
            settings.extend(more);
        }
        vec![wasm(&layout.filter(), listener, &settings), grpc_hits()]
    };
    let gate = |ask: &str| json!({"cluster": "forebay-gate", "timeout_ms": 100, "ask": ask});
    let alone = || json!({"cluster": "forebay-gate", "timeout_ms": 100, "ask": "always", "max_batch": 1});
    // All are looked up: none is answered by this proxy, or waits for an equal one.
    let pool = |gate: Value| {
        let l1 = json!({"vm_bytes": 0, "shared_bytes": 0});
        ours(json!({"gate": gate, "l1": l1, "join": {"max_waiters": 0}}))
    };
    let floor = |floor: Floor| wasm(&floor.file(folder), listener, &Value::Null);
    let filters = match listener {
        Listener::Gate => ours(json!({"gate": gate("always")})),
        Listener::Learned => ours(json!({"gate": gate("learned")})),
        Listener::Pool => pool(gate("always")),
        Listener::GateAlone => ours(json!({"gate": alone()})),
        Listener::PoolAlone => pool(alone()),
        Listener::NoGate => ours(json!({})),
        Listener::Plain => vec![],
        Listener::Direct(_) => vec![buffer],
        Listener::Floor(answers @ Floor::Answers(_)) => vec![buffer, floor(answers)],
        Listener::Floor(other) => vec![floor(other)],
    };
    let mut route = match listener {
        Listener::Direct(body) => json!({
            "direct_response": {"status": 200, "body": {"filename": folder.join(body.answer_file())}},
            "response_headers_to_add": [{"header": {"key": "content-type", "value": "application/json"}}]}),
        _ => json!({"route": {"cluster": "forebay-backend", "timeout": "60s"}}),
    };
    route["match"] = json!({"prefix": "/"});
    route["request_body_buffer_limit"] = json!(BUFFER_BYTES);
    let hits = json!({"match": {"prefix": "/", "filter_state": [{"key": HIT, "string_match": {"exact": "yes"}}]},
                      "direct_response": {"status": 200}});
    let calls = json!({"match": {"prefix": "/inference.", "grpc": {}}, "request_body_buffer_limit": BUFFER_BYTES,
                       "route": {"cluster": "forebay-backend-grpc", "timeout": "60s"}});
    let router = json!({"name": "router", "typed_config":
        {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}});
    let manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": format!("{listener:?}"),
        "route_config": {"name": "bench", "max_direct_response_body_size_bytes": BUFFER_BYTES,
                         "virtual_hosts": [{"name": "bench", "domains": ["*"], "routes": [hits, calls, route]}]},
        "http_filters": filters.into_iter().chain([router]).collect::<Vec<_>>(),
    });
    json!({"name": format!("{listener:?}"), "per_connection_buffer_limit_bytes": BUFFER_BYTES,
           "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
           "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}]})
}

/// As envoy/forebay.yaml has it.
fn grpc_hits() -> Value {
    let input = json!({"name": "hit", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.matching.common_inputs.network.v3.FilterStateInput", "key": HIT}});
    let skip = json!({"name": "skip", "typed_config":
        {"@type": "type.googleapis.com/envoy.extensions.filters.common.matcher.action.v3.SkipFilter"}});
    let is_hit = json!({"single_predicate": {"input": input, "value_match": {"exact": "yes"}}});
    json!({"name": "grpc-hits", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.common.matching.v3.ExtensionWithMatcher",
        "extension_config": {"name": "grpc-hits", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.grpc_http1_reverse_bridge.v3.FilterConfig",
            "content_type": "application/grpc", "withhold_grpc_frames": true}},
        "xds_matcher": {"matcher_list": {"matchers":
            [{"predicate": {"not_matcher": is_hit}, "on_match": {"action": skip}}]}}}})
}

fn wasm(module: &Path, listener: Listener, settings: &Value) -> Value {
    json!({"name": "forebay", "typed_config": {
    "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
    "config": {
        "name": "forebay", "root_id": "forebay", "allow_on_headers_stop_iteration": true,
        "failure_policy": "FAIL_RELOAD",
        "vm_config": {"vm_id": format!("{listener:?}"), "runtime": "envoy.wasm.runtime.v8",
                      "code": {"local": {"filename": module}}},
        "configuration": {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": settings.to_string()},
    }}})
}

fn cluster(name: &str, port: u16) -> Value {
    let endpoint =
        json!({"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}}});
    json!({"name": name, "type": "STATIC", "connect_timeout": "1s", "per_connection_buffer_limit_bytes": BUFFER_BYTES,
           "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]}})
}
