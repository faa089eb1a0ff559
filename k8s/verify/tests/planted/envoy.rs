//! What Envoy or the filter would refuse.

use super::all_are_caught;

#[test]
fn patches_that_envoy_refuses_are_caught() {
    all_are_caught(&[
        (
            "allow_on_headers_stop_iteration: true\n                failure_policy",
            "allow_on_header_stop_iteration: true\n                failure_policy",
            "EnvoyFilter/ml/forebay: spec.configPatches[1].patch.value.typed_config.value.config.allow_on_header_stop_iteration",
        ),
        (
            "type_url: type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
            "type_url: type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wazm",
            "EnvoyFilter/ml/forebay: spec.configPatches[1].patch.value",
        ),
        (
            "udpa.type.v1.TypedStruct",
            "udpa.type.v1.TypedStrukt",
            "EnvoyFilter/ml/forebay: spec.configPatches[1].patch.value",
        ),
        (
            "initial_fetch_timeout: 0s",
            "initial_fetch_time: 0s",
            "EnvoyFilter/ml/forebay: spec.configPatches[0].patch.value.config_discovery.config_source.initial_fetch_time",
        ),
        (
            "v3.Wasm, type.googleapis",
            "v3.Wasn, type.googleapis",
            "EnvoyFilter/ml/forebay: spec.configPatches[0].patch.value",
        ),
        ("v3.RBACPerRoute", "v3.RBACPerRoutes", "EnvoyFilter/ml/forebay: spec.configPatches[2].patch.value"),
        (
            "request_body_buffer_limit: 8388608",
            "request_body_buffer: 8388608",
            "EnvoyFilter/ml/forebay: spec.configPatches[3].patch.value.request_body_buffer",
        ),
        ("timeout: 10s}", "timeout: ten}", "EnvoyFilter/ml/forebay: spec.configPatches[1].patch.value"),
    ]);
}

#[test]
fn patches_that_are_never_found_are_caught() {
    all_are_caught(&[
        (
            "name: envoy.filters.http.router}}}}",
            "name: envoy.filters.http.routerr}}}}",
            "EnvoyFilter/ml/forebay: spec.configPatches[0].match.listener.filterChain.filter.subFilter.name",
        ),
        (
            "{filter: {name: envoy.filters.network.http_connection_manager, sub",
            "{filter: {name: envoy.http_connection_manager, sub",
            "EnvoyFilter/ml/forebay: spec.configPatches[0].match.listener.filterChain.filter.name",
        ),
        (
            "operation: INSERT_BEFORE",
            "value2: {}",
            "EnvoyFilter/ml/forebay: spec.configPatches[0].patch.operation",
        ),
        (
            "        operation: ADD\n        value:\n          name: forebay\n",
            "        operation: ADD\n        value:\n          name: forebey\n",
            "EnvoyFilter/ml/forebay: spec.configPatches[0].patch.value.name",
        ),
        (
            "        operation: ADD\n",
            "        operation: REPLACE\n",
            "EnvoyFilter/ml/forebay: spec.configPatches[1].patch.operation",
        ),
        (
            "        context: GATEWAY\n        listener:",
            "        context: GATEWAY\n        cluster:",
            "EnvoyFilter/ml/forebay: spec.configPatches[0].match.cluster",
        ),
        (
            "spec:\n  configPatches:",
            "spec:\n  workloadSelector: {}\n  configPatches:",
            "EnvoyFilter/ml/forebay: spec.workloadSelector",
        ),
    ]);
}

#[test]
fn settings_of_the_filter_that_it_would_not_use_are_caught() {
    all_are_caught(&[
        (
            "{\"service\": \"demo\"",
            "{\"servce\": \"demo\"",
            "EnvoyFilter/ml/forebay: spec.configPatches[1].patch.value.typed_config.value.config.configuration.value",
        ),
        (
            "{\"service\": \"demo\"",
            "{\"service\": \"de mo\"",
            "EnvoyFilter/ml/forebay: spec.configPatches[1].patch.value.typed_config.value.config.configuration.value",
        ),
        (
            "\"poll_ms\": 500}}",
            "\"poll_ms\": 1}}",
            "EnvoyFilter/ml/forebay: spec.configPatches[1].patch.value.typed_config.value.config.configuration.value",
        ),
        (
            "\"poll_ms\": 500}}",
            "\"poll_ms\": 500}",
            "EnvoyFilter/ml/forebay: spec.configPatches[1].patch.value.typed_config.value.config.configuration.value",
        ),
        (
            "failure_policy: FAIL_RELOAD\n                vm",
            "failure_policy: FAIL_CLOSED\n                vm",
            "EnvoyFilter/ml/forebay: spec.configPatches[1].patch.value.typed_config.value.config.failure_policy",
        ),
        (
            "f36fa0c\n                configuration",
            "f36fa\n                configuration",
            "EnvoyFilter/ml/forebay: spec.configPatches[1].patch.value.typed_config.value.config.vm_config.code.remote.sha256",
        ),
        (
            "vm_id: forebay\n                  runtime: envoy.wasm.runtime.v8",
            "vm_id: forebay\n                  runtime: envoy.wasm.runtime.v9",
            "EnvoyFilter/ml/forebay: spec.configPatches[1].patch.value.typed_config.value.config.vm_config.runtime",
        ),
        ("{service: plugged}", "{service: plugged, mod: on}", "WasmPlugin/ml/forebay: spec.pluginConfig"),
        ("f36fa0d", "f36fa0dd", "WasmPlugin/ml/forebay: spec.sha256"),
    ]);
}

#[test]
fn a_filter_that_stands_before_http_and_not_before_grpc_is_caught() {
    all_are_caught(&[
        (
            "destinationPort: 8001",
            "destinationPort: 8002",
            "EnvoyFilter/ml/forebay: spec.configPatches[4].match.listener.filterChain.destinationPort",
        ),
        (
            "portNumber: 8001",
            "portNumber: 8003",
            "EnvoyFilter/ml/forebay: spec.configPatches[6].match.listener.portNumber",
        ),
        (
            "context: SIDECAR_OUTBOUND, listener: {portNumber: 8001}",
            "context: GATEWAY, listener: {portNumber: 8001}",
            "EnvoyFilter/ml/forebay: spec.configPatches[6].match.listener.portNumber",
        ),
    ]);
}

#[test]
fn a_filter_that_answers_calls_without_what_it_needs_for_that_is_caught() {
    let settings = "EnvoyFilter/ml/forebay: spec.configPatches[1].patch.value.typed_config.value.config.configuration.value";
    all_are_caught(&[
        ("key: wasm.forebay.hit", "key: wasm.forebay.hid", settings),
        (
            "grpc_http1_reverse_bridge.v3.FilterConfig, content_type: application/grpc, withhold_grpc_frames: true",
            "grpc_stats.v3.FilterConfig",
            settings,
        ),
        (
            "{\"service\": \"own\", \"gate\"",
            "{\"service\": \"own\", \"grpc\": \"answer\", \"gate\"",
            "ConfigMap/ml/envoy: data[envoy.yaml]",
        ),
    ]);
}

#[test]
fn whole_configurations_are_read_by_envoy() {
    all_are_caught(&[
        ("stat_prefix: in", "stat_prefx: in", "ConfigMap/ml/envoy: data[envoy.yaml]"),
        ("route: {cluster: backend}", "route: {cluster: backends}", "ConfigMap/ml/envoy: data[envoy.yaml]"),
        ("type: STRICT_DNS", "type: STRIKT_DNS", "ConfigMap/ml/envoy: data[envoy.yaml]"),
        (
            "{\"service\": \"own\", \"gate\": {\"cluster\": \"gate\"}}",
            "{\"service\": \"own\", \"gate\": {\"cluster\": \"gates\"}}",
            "ConfigMap/ml/envoy: data[envoy.yaml]",
        ),
        (
            "{\"service\": \"own\", \"gate\": {\"cluster\": \"gate\"}}",
            "{\"gate\": {\"cluster\": \"gate\"}}",
            "ConfigMap/ml/envoy: data[envoy.yaml]",
        ),
        ("v3.DownstreamTlsContext", "v3.DownstreamTlsKontext", "ConfigMap/ml/envoy: data[envoy.yaml]"),
        ("private_key: {filename", "private_kee: {filename", "ConfigMap/ml/envoy: data[own.yaml]"),
    ]);
}
