//! The Envoy that is measured: listeners that differ in what is between the client and the answer, and in nothing else.

use std::path::Path;

use serde_json::{Value, json};

use super::bodies::Body;
use crate::layout::Layout;

/// Bytes that a held request or an answer may have.
const BUFFER_BYTES: u32 = 8 << 20;

/// What stands between client and answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Listener {
    /// The filter with its L2 callout.
    Gate,
    /// The filter without one.
    NoGate,
    /// Nothing: Envoy's own proxying.
    Plain,
    /// Envoy's `direct_response` with the answer to that request, behind Envoy's buffer filter.
    Direct1k,
    DirectJson64k,
    DirectBinary64k,
}

impl Listener {
    pub(super) const ALL: [Self; 6] =
        [Self::Gate, Self::NoGate, Self::Plain, Self::Direct1k, Self::DirectJson64k, Self::DirectBinary64k];

    /// The one that answers as `body` is answered.
    pub(super) fn direct(body: Body) -> Self {
        match body {
            Body::Json64k => Self::DirectJson64k,
            Body::Binary64k => Self::DirectBinary64k,
            _ => Self::Direct1k,
        }
    }
}

/// The whole configuration.
pub(super) fn config(
    layout: &Layout,
    folder: &Path,
    listeners: &[(Listener, u16)],
    (backend, gate): (u16, u16),
) -> Value {
    let listeners: Vec<Value> =
        listeners.iter().map(|(listener, port)| self::listener(layout, folder, *listener, *port)).collect();
    let clusters = [cluster("forebay-backend", backend), cluster("forebay-gate", gate)];
    // As envoy/forebay.yaml has it.
    let runtime =
        json!({"layers": [{"name": "forebay", "static_layer": {"http.max_requests_per_io_cycle": 0}}]});
    json!({"static_resources": {"listeners": listeners, "clusters": clusters}, "layered_runtime": runtime})
}

fn listener(layout: &Layout, folder: &Path, listener: Listener, port: u16) -> Value {
    let filters = match listener {
        Listener::Gate => vec![wasm(layout, listener, json!({"cluster": "forebay-gate", "timeout_ms": 100}))],
        Listener::NoGate => vec![wasm(layout, listener, Value::Null)],
        Listener::Plain => vec![],
        Listener::Direct1k | Listener::DirectJson64k | Listener::DirectBinary64k => {
            vec![json!({"name": "buffer", "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.buffer.v3.Buffer",
                "max_request_bytes": BUFFER_BYTES}})]
        }
    };
    let direct = |body: Body| {
        json!({"direct_response": {"status": 200, "body": {"filename": folder.join(body.answer_file())}},
               "response_headers_to_add": [{"header": {"key": "content-type", "value": "application/json"}}]})
    };
    let mut route = match listener {
        Listener::Direct1k => direct(Body::Json1k),
        Listener::DirectJson64k => direct(Body::Json64k),
        Listener::DirectBinary64k => direct(Body::Binary64k),
        _ => json!({"route": {"cluster": "forebay-backend", "timeout": "60s"}}),
    };
    route["match"] = json!({"prefix": "/"});
    route["request_body_buffer_limit"] = json!(BUFFER_BYTES);
    let router = json!({"name": "router", "typed_config":
        {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}});
    let manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": format!("{listener:?}"),
        "route_config": {"name": "bench", "max_direct_response_body_size_bytes": BUFFER_BYTES,
                         "virtual_hosts": [{"name": "bench", "domains": ["*"], "routes": [route]}]},
        "http_filters": filters.into_iter().chain([router]).collect::<Vec<_>>(),
    });
    json!({"name": format!("{listener:?}"), "per_connection_buffer_limit_bytes": BUFFER_BYTES,
           "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
           "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}]})
}

fn wasm(layout: &Layout, listener: Listener, gate: Value) -> Value {
    let mut settings = json!({"service": "bench"});
    if !gate.is_null() {
        settings["gate"] = gate;
    }
    json!({"name": "forebay", "typed_config": {
    "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
    "config": {
        "name": "forebay", "root_id": "forebay", "allow_on_headers_stop_iteration": true,
        "failure_policy": "FAIL_RELOAD",
        "vm_config": {"vm_id": format!("{listener:?}"), "runtime": "envoy.wasm.runtime.v8",
                      "code": {"local": {"filename": layout.filter()}}},
        "configuration": {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": settings.to_string()},
    }}})
}

fn cluster(name: &str, port: u16) -> Value {
    let endpoint =
        json!({"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}}});
    json!({"name": name, "type": "STATIC", "connect_timeout": "1s", "per_connection_buffer_limit_bytes": BUFFER_BYTES,
           "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]}})
}
