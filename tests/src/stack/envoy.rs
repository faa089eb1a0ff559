//! Envoy with envoy/forebay.yaml: ports, the filter's settings and, where there are more services, their routes and
//! clusters are put into it; all else is as users run it. [`Changes`] are what a test wants otherwise.

use super::clocks::Clocks;
use rig::http;
use rig::installed::{checkout, filter, installed};
use rig::process::Process;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A lookup's deadline in milliseconds, the longest that the filter takes.
const LOOKUP_MS: u64 = 1000;
/// What the lines begin with that are comments until there are several tenants.
const TENANTS: &str = "#tenants: ";
/// The same until there are several backends, or those that come and go.
const SEVERAL: &str = "#several: ";
/// The same until backends come and go.
const HOLD: &str = "#hold: ";
/// The same until models have backends of their own.
const ON_DEMAND: &str = "#on-demand: ";

/// What Envoy is connected to.
pub(crate) struct Wiring {
    /// Service and port of each backend; the first is the default.
    pub(crate) backends: Vec<(String, u16)>,
    /// Ports of more backends of the default one's service, by HTTP and gRPC.
    pub(crate) replicas: Vec<(u16, u16)>,
    /// The default backend's gRPC.
    pub(crate) backend_grpc_port: u16,
    pub(crate) gate_port: u16,
    pub(crate) token: String,
    /// Envoy puts the token on, so the filter gets none.
    pub(crate) injects: bool,
    /// Where the gate holds requests, by HTTP and gRPC.
    pub(crate) hold_ports: Option<(u16, u16)>,
    /// Where the first service's on-demand backend is, by HTTP and gRPC: the gate holds for it alone.
    pub(crate) on_demand_ports: Option<(u16, u16)>,
    /// The folder of its certificates, where it speaks nothing but TLS.
    pub(crate) tls: Option<PathBuf>,
    pub(crate) changes: Changes,
}

/// What a test wants otherwise than users have it.
pub(crate) struct Changes {
    /// Settings of the filter, over those of the file.
    pub(crate) settings: Value,
    /// Worker threads.
    pub(crate) workers: usize,
    /// Texts of the file and what stands there instead.
    pub(crate) texts: Vec<(String, String)>,
    /// Another filter than ours.
    pub(crate) filter: Option<PathBuf>,
}

impl Changes {
    /// Is it a filter that asks a gate what is live?
    pub(crate) fn poll_the_gate(&self) -> bool {
        let is_off = self.settings["mode"] == "off";
        let has_no_gate = self.settings.get("gate").is_some_and(Value::is_null);
        self.filter.is_none() && !is_off && !has_no_gate
    }
}

/// Starts Envoy; its port and its admin interface's.
pub(crate) fn start(
    (name, folder): (&str, &Path),
    wiring: &Wiring,
    clocks: Option<&Clocks>,
) -> (Process, u16, u16) {
    let template = fs::read_to_string(checkout().join("envoy/forebay.yaml")).expect("envoy/forebay.yaml");
    let (config, address) = (folder.join("envoy.yaml"), folder.join("admin-address"));
    write_credential(folder, &wiring.token);
    fs::write(&config, filled(&template, folder, wiring)).expect("Envoy's configuration");
    let mut command = Command::new(installed("bin/envoy"));
    command
        .args(["--concurrency", &wiring.changes.workers.to_string(), "--disable-hot-restart"])
        .args(["--log-level", "warning", "-c"])
        .arg(&config);
    command.arg("--admin-address-path").arg(&address).current_dir(checkout());
    command.envs(clocks.into_iter().flat_map(|clocks| clocks.environment(name)));
    let mut process = Process::start(name, command);
    let admin_port = process.until("Envoy's admin interface", || {
        let port: u16 = fs::read_to_string(&address).ok()?.rsplit(':').next()?.trim().parse().ok()?;
        (http::send(port, &http::get("/ready")).ok()?.status == 200).then_some(port)
    });
    let port = process.until("Envoy's listener", || {
        let listeners = http::send(admin_port, &http::get("/listeners?format=json")).ok()?.json();
        let port = listeners.pointer("/listener_statuses/0/local_address/socket_address/port_value")?;
        u16::try_from(port.as_u64()?).ok()
    });
    (process, port, admin_port)
}

/// The file from which Envoy reads the credential; replaced as one, as its watch wants it.
pub(crate) fn write_credential(folder: &Path, token: &str) {
    let secret = json!({"resources": [{
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
        "name": "forebay",
        "generic_secret": {"secret": {"inline_string": token}},
    }]});
    let new = folder.join("credential.new");
    fs::write(&new, secret.to_string()).expect("the credential");
    fs::rename(new, folder.join(CREDENTIAL)).expect("the credential is replaced");
}

/// The credential's file in a stack's folder. YAML, of which JSON is a part.
const CREDENTIAL: &str = "credential.yaml";

fn filled(template: &str, folder: &Path, wiring: &Wiring) -> String {
    let mut config = with_settings(template, wiring);
    if let Some(tls) = &wiring.tls {
        config = with_tls(&config, folder, tls);
    }
    for (text, instead) in &wiring.changes.texts {
        assert!(config.contains(text.as_str()), "envoy/forebay.yaml has no {text:?}");
        config = config.replace(text, instead);
    }
    if wiring.injects {
        config = config.replace(TENANTS, "");
    }
    if wiring.on_demand_ports.is_some() {
        config = config.replace(ON_DEMAND, "");
    } else if wiring.hold_ports.is_some() {
        config = config.replace(HOLD, "").replace(SEVERAL, "");
    } else if !wiring.replicas.is_empty() {
        config = config.replace(SEVERAL, "");
    }
    for (http, grpc) in &wiring.replicas {
        config = with_endpoint(&config, "backend_port", *http);
        config = with_endpoint(&config, "backend_grpc_port", *grpc);
    }
    for (service, port) in &wiring.backends[1..] {
        config = with_service(&config, service, *port);
    }
    let filter = wiring.changes.filter.clone().unwrap_or_else(filter);
    let path = |path: &Path| json!(path.to_string_lossy()).to_string();
    let mut values = vec![
        ("envoy_port", "0".to_owned()),
        ("admin_port", "0".to_owned()),
        ("backend_port", wiring.backends[0].1.to_string()),
        ("backend_grpc_port", wiring.backend_grpc_port.to_string()),
        ("gate_port", wiring.gate_port.to_string()),
        ("filter", path(&filter)),
    ];
    values.extend(wiring.injects.then(|| ("credential", path(&folder.join(CREDENTIAL)))));
    if let Some((http, grpc)) = wiring.hold_ports {
        values.extend([("hold_port", http.to_string()), ("hold_grpc_port", grpc.to_string())]);
    }
    if let Some((http, grpc)) = wiring.on_demand_ports {
        values.extend([("on_demand_port", http.to_string()), ("on_demand_grpc_port", grpc.to_string())]);
    }
    // A test may have replaced a marked line, mark and all.
    let is_replaced =
        |name: &str| wiring.changes.texts.iter().any(|(text, _)| text.contains(&format!("# up:{name}")));
    values.retain(|(name, _)| !is_replaced(name));
    rig::envoy::fill(&config, &values).expect("envoy/forebay.yaml")
}

/// TLS as the chart's front has it, by the chart's own files.
fn with_tls(config: &str, folder: &Path, tls: &Path) -> String {
    for name in ["tls-own.yaml", "tls-ca.yaml"] {
        let file = fs::read_to_string(checkout().join("k8s/charts/forebay/files").join(name));
        let file = file.expect("a file of the chart").replace("/etc/forebay/tls", &tls.to_string_lossy());
        fs::write(folder.join(name), file).expect("a secret of Envoy's");
    }
    let sds = |name: &str| {
        let path = folder.join(format!("tls-{name}.yaml"));
        json!({"name": name, "sds_config": {"path_config_source": {"path": path}}})
    };
    let socket = |context: &str, settings: Value| {
        let types = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3";
        let mut config = json!({ "@type": format!("{types}.{context}") });
        merge(&mut config, settings);
        json!({"name": "envoy.transport_sockets.tls", "typed_config": config})
    };
    let own = json!({"common_tls_context": {
        "alpn_protocols": ["h2", "http/1.1"], "tls_certificate_sds_secret_configs": [sds("own")],
    }});
    let believed = json!({"sni": "localhost", "common_tls_context": {
        "alpn_protocols": ["http/1.1"],
        "combined_validation_context": {
            "default_validation_context": {
                "match_typed_subject_alt_names": [{"san_type": "DNS", "matcher": {"exact": "localhost"}}],
            },
            "validation_context_sds_secret_config": sds("ca"),
        },
    }});
    let chains = "      filter_chains:\n        - ";
    let shows = socket("DownstreamTlsContext", own);
    let mut config = config.replace(chains, &format!("{chains}transport_socket: {shows}\n          "));
    for name in ["forebay-backend", "forebay-gate"] {
        let cluster = format!("    - name: {name}\n");
        let upstream = socket("UpstreamTlsContext", believed.clone());
        config = config.replace(&cluster, &format!("{cluster}      transport_socket: {upstream}\n"));
    }
    config
}

/// The filter's settings are the block under `value: |`.
fn with_settings(template: &str, wiring: &Wiring) -> String {
    let (before, rest) = template.split_once("value: |\n").expect("the filter's settings");
    let indent = rest.len() - rest.trim_start().len();
    let block: Vec<_> =
        rest.lines().take_while(|line| line.len() - line.trim_start().len() >= indent).collect();
    let after: Vec<_> = rest.lines().skip(block.len()).collect();
    let mut settings: Value = serde_json::from_str(&block.concat()).expect("the filter's settings are JSON");
    settings["service"] = json!(wiring.backends[0].0);
    // Lookups that a busy machine delays must not become misses; tests of the deadline set their own.
    settings["gate"]["timeout_ms"] = json!(LOOKUP_MS);
    for (service, _) in &wiring.backends[1..] {
        settings["routes"][service] = json!({"service": service});
    }
    merge(&mut settings, wiring.changes.settings.clone());
    format!("{before}value: |\n{}{settings}\n{}\n", " ".repeat(indent), after.join("\n"))
}

pub(super) fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

/// An endpoint more, beside the one whose port has that mark.
fn with_endpoint(config: &str, mark: &str, port: u16) -> String {
    let marked = config.find(&format!(" # up:{mark}\n")).expect("an endpoint's port");
    let from = config[..marked].rfind("              - endpoint:\n").expect("its endpoint");
    let (before, key) = config[from..marked].rsplit_once(": ").map_or(("", ""), |(key, port)| (key, port));
    assert!(key.parse::<u16>().is_ok(), "{mark} marks no port");
    [&config[..from], before, &format!(": {port}\n"), &config[from..]].concat()
}

/// A route before the default one, taken where `x-test-service` names the service, and a copy of the backend's cluster.
fn with_service(config: &str, service: &str, port: u16) -> String {
    let first_route = "                        - name: infer\n";
    let route = format!(
        "                        - name: {service}\n                          match: {{ prefix: /, headers: \
         [{{ name: x-test-service, string_match: {{ exact: {service} }} }}] }}\n                          \
         request_body_buffer_limit: 8388608\n                          route: {{ cluster: backend-{service} }}\n"
    );
    let config = config.replacen(first_route, &(route + first_route), 1);
    let (start, next) = ("    - name: forebay-backend\n", "\n    - name: ");
    let from = config.find(start).expect("the backend's cluster");
    let to = from + config[from..].find(next).expect("a cluster after the backend's") + 1;
    let marked = config[from..to].lines().find(|line| line.ends_with("# up:backend_port")).expect("its port");
    let key = marked.split_once(": ").map_or("", |(key, _)| key);
    let cluster = config[from..to]
        .replace("forebay-backend", &format!("backend-{service}"))
        .replace(marked, &format!("{key}: {port}"));
    [&config[..to], &cluster, &config[to..]].concat()
}
