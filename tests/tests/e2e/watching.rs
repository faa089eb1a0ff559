//! What `/metrics` of the real programs tells -> `k8s/monitoring/metrics.txt`, by which rules, dashboard and `verify-k8s` are judged.
//! `FOREBAY_WRITE_METRICS=1` writes that file anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::net::TcpStream;

use e2e::stack::{Pool, Running, Stack};
use rig::authority::Authority;
use rig::http::{Connection, get, post, send};
use rig::installed::checkout;
use rig::process::until;
use rig::v2::{JSON, fp32};
use serde_json::json;
use tempfile::TempDir;

const LIST: &str = "k8s/monitoring/metrics.txt";
/// What rules and panels ask for stands in these.
const ASKING: [&str; 4] = [
    "charts/forebay/rules/slo.yaml",
    "charts/forebay/rules/alerts.yaml",
    "charts/forebay/dashboards/forebay.json",
    "monitoring/prometheus-adapter.yaml",
];

/// Names with the names of their labels.
type Names = BTreeMap<String, BTreeSet<String>>;

/// Reads Prometheus' text form.
fn read(text: &[u8], into: &mut Names) {
    let text = String::from_utf8_lossy(text);
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let end = line.find(['{', ' ']).unwrap_or(line.len());
        let labels = into.entry(line[..end].to_owned()).or_default();
        let inside =
            line.split_once('{').and_then(|(_, rest)| rest.rsplit_once('}')).map_or("", |(labels, _)| labels);
        // Values of ours hold no `="`.
        let names = inside.split("=\"").map(|part| part.rsplit(['"', ',', '}']).next().unwrap_or_default());
        let count = inside.matches("=\"").count();
        labels.extend(names.take(count).map(str::to_owned));
    }
    into.remove("");
}

fn scrape(port: u16, path: &str, into: &mut Names) {
    read(&send(port, &get(path)).expect("metrics").body, into);
}

/// Waits until a metric is there.
fn until_there(port: u16, path: &str, name: &str) {
    until(name, || {
        let text = send(port, &get(path)).ok()?.body;
        String::from_utf8_lossy(&text).lines().any(|line| line.starts_with(name)).then_some(())
    });
}

const ENVOY: &str = "/stats/prometheus";
const OWN: &str = "/metrics";

/// A body: two of them are more than the budget of the server that gets them.
const LARGE: usize = 900 << 10;

/// Traffic, and trouble of the kinds that are counted when they come.
fn of_a_shared_pool(serve: &mut Names, gate: &mut Names, envoy: &mut Names) {
    let budget = ["--max-body-bytes", "1MiB", "--body-budget-bytes", "1MiB", "--min-body-rate", "0"];
    let arguments = [&budget[..], &["--max-connections", "16"]].concat();
    let mut stack = Stack::new().pool(Pool::Redis).serve(&arguments).start();
    let (backend, metrics) = (stack.backend_ports(0).0, stack.backend_ports(0).1);
    let gate_metrics = stack.gate_metrics_port().expect("a gate of its own");
    let infer = |stack: &Running, value| stack.infer("identity_fp32", &JSON, &fp32(&[value]));
    for value in [1.0, 1.0, 2.0] {
        assert_eq!(infer(&stack, value).status, 200);
    }
    until_there(gate_metrics, OWN, "forebay_proxy_saved_us");

    // Two bodies of which one alone fits: one that waits for its last byte, which it may for a minute, and another.
    let large = post("/v2/models/identity_fp32/infer", &JSON, &vec![b' '; LARGE]);
    let mut held = TcpStream::connect(("127.0.0.1", backend)).expect("the backend listens");
    held.write_all(&large[..large.len() - 1]).expect("it reads");
    until("the first body is there", || {
        let answer = send(metrics, &get(OWN)).ok()?.body;
        let text = String::from_utf8_lossy(&answer).into_owned();
        text.contains(&format!("\nforebay_body_bytes {}\n", LARGE - 1)).then_some(())
    });
    assert_eq!(send(backend, &large).expect("a refusal").status, 503);
    drop(held);
    let open: Vec<_> = (0..32).map(|_| TcpStream::connect(("127.0.0.1", backend))).collect();
    until_there(metrics, OWN, "forebay_connections_refused");
    drop(open);
    stack.servers.iter_mut().for_each(|redis| redis.process.kill());
    until("the backend misses Redis", || {
        infer(&stack, 3.0);
        let answer = send(metrics, &get(OWN)).ok()?.body;
        let text = String::from_utf8_lossy(&answer).into_owned();
        (text.contains("\nforebay_pool_dropped_writes{") && text.contains("\nforebay_pool_failed_lookups{"))
            .then_some(())
    });
    // The filter asks the gate, which asks Redis.
    until("the gate misses Redis", || {
        infer(&stack, 4.0);
        let answer = send(gate_metrics, &get(OWN)).ok()?.body;
        String::from_utf8_lossy(&answer).contains("\nforebay_pool_failed_lookups{").then_some(())
    });
    // Envoy sums its histograms up now and then.
    until_there(stack.admin_port(), ENVOY, "envoy_http_downstream_rq_time_bucket");
    scrape(metrics, OWN, serve);
    scrape(gate_metrics, OWN, gate);
    scrape(stack.admin_port(), ENVOY, envoy);
}

/// Requests that wait while no backend is there: one that two ask, which is answered, and one that nobody is woken for.
fn of_a_service_at_zero(gate: &mut Names) {
    let mut stack = Stack::new().pool(Pool::Redis).holds().gate(&["--price", "2.5"]).start();
    let (port, metrics) = (stack.gate_hold_port().expect("it holds"), stack.gate_metrics_port().expect("it"));
    assert!(stack.backends[0].process.terminate().success());
    let ask = || {
        let mut connection = Connection::open(port).expect("the gate listens");
        let asked = post("/v2/models/identity_fp32/infer", &JSON, &fp32(&[9.0]));
        connection.write(&asked).expect("it reads");
        connection
    };
    let mut held = [ask(), ask()];
    until_there(metrics, OWN, "forebay_hold_wakes");
    assert_eq!(send(port, &get("/v2/models/identity_fp32")).expect("a refusal").status, 503);
    stack.restart_backend(0);
    assert!(held.iter_mut().all(|held| held.read().expect("an answer").status == 200));
    until("it is kept", || {
        let answer = ask().read().expect("an answer");
        (answer.cache_status() == "forebay-gate; hit").then_some(())
    });
    until_there(metrics, OWN, "forebay_hold_wake_seconds_bucket");
    scrape(metrics, OWN, gate);
}

/// A certificate to tell the end of, and a filter that can't read its settings.
fn of_tls_and_wrong_settings(serve: &mut Names, envoy: &mut Names) {
    let folder = TempDir::new().expect("a folder");
    Authority::new().sign(None).write(folder.path(), "serve");
    let file = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let tls = ["--tls-cert-file", &file("serve.pem"), "--tls-key-file", &file("serve.key")];
    let stack = Stack::new().filter(json!({"gate": null, "nonsense": 1})).serve(&tls).start();
    until_there(stack.backend_ports(0).1, OWN, "forebay_certificate_end_seconds");
    // The filter is made where the first request comes.
    let _ = stack.send(&get("/v2/models/identity_fp32"));
    until_there(stack.admin_port(), ENVOY, "forebay_config_errors");
    scrape(stack.backend_ports(0).1, OWN, serve);
    scrape(stack.admin_port(), ENVOY, envoy);
}

/// Metrics that the source describes: those of GPUs come only where there is one.
fn described() -> BTreeSet<String> {
    let source = fs::read_to_string(checkout().join("backend/src/observe/metrics.rs")).expect("the source");
    let parts = source.split("describe_").skip(1).filter(|part| part.contains("!("));
    parts
        .filter_map(|part| part.split('"').nth(1))
        .filter(|name| name.contains('_'))
        .map(str::to_owned)
        .collect()
}

/// What a text asks for by name, as metrics are named.
fn asked(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'));
    let is_metric = |word: &&str| {
        ["forebay_", "nv_", "envoy_"].iter().any(|start| word.starts_with(start)) && !word.ends_with('_')
    };
    // Labels of Envoy's.
    let is_label = |word: &&str| {
        ["envoy_cluster_name", "envoy_http_conn_manager_prefix", "envoy_response_code_class"].contains(word)
    };
    words.filter(is_metric).filter(|word| !is_label(word)).map(str::to_owned).collect()
}

#[test]
fn rules_and_panels_ask_for_what_the_programs_export() {
    let (mut serve, mut gate, mut envoy) = (Names::new(), Names::new(), Names::new());
    of_a_shared_pool(&mut serve, &mut gate, &mut envoy);
    of_a_service_at_zero(&mut gate);
    of_tls_and_wrong_settings(&mut serve, &mut envoy);
    let family = |name: &str| {
        let ends = ["_bucket", "_sum", "_count"];
        ends.iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name).to_owned()
    };
    let seen: BTreeSet<String> =
        serve.keys().chain(gate.keys()).flat_map(|name| [name.clone(), family(name)]).collect();
    let seldom: Names = described().difference(&seen).map(|name| (name.clone(), BTreeSet::new())).collect();

    let lines = |program: &str, names: &Names| -> Vec<String> {
        let line = |(name, labels): (&String, &BTreeSet<String>)| {
            [program, name].into_iter().chain(labels.iter().map(String::as_str)).collect::<Vec<_>>().join(" ")
        };
        names.iter().map(line).collect()
    };
    let own = [lines("serve", &serve), lines("gate", &gate), lines("seldom", &seldom)].concat();
    let of_envoy = lines("envoy", &envoy);
    let path = checkout().join(LIST);
    if std::env::var_os("FOREBAY_WRITE_METRICS").is_some() {
        let head = "# What the programs export: program, name, labels. `seldom` is described in the source and comes with a GPU, or with trouble that no\n\
             # test makes. Written by `FOREBAY_WRITE_METRICS=1 cargo test -p e2e --test e2e watching`, and compared by it.\n";
        fs::write(&path, format!("{head}{}\n", [own.clone(), of_envoy.clone()].concat().join("\n")))
            .expect("the list");
    }
    let list = fs::read_to_string(&path).expect("the list");
    let listed: Vec<&str> = list.lines().filter(|line| !line.starts_with('#')).collect();
    let listed_own: Vec<&str> = listed.iter().copied().filter(|line| !line.starts_with("envoy ")).collect();
    assert_eq!(listed_own, own, "{LIST} is not what serve and gate export");
    let missing: Vec<_> = listed
        .iter()
        .filter(|line| line.starts_with("envoy ") && !of_envoy.iter().any(|other| other == *line))
        .collect();
    assert!(missing.is_empty(), "{LIST} names what Envoy does not export: {missing:?}");

    let known: BTreeSet<&str> = listed.iter().filter_map(|line| line.split(' ').nth(1)).collect();
    for file in ASKING {
        let text = fs::read_to_string(checkout().join("k8s").join(file)).expect("a file that asks");
        let unknown: Vec<_> =
            asked(&text).into_iter().filter(|name| !known.contains(name.as_str())).collect();
        assert!(unknown.is_empty(), "{file} asks for what nobody exports: {unknown:?}");
    }
}

/// prometheus-adapter has a figure once its `seriesQuery` finds something: an autoscaler that waited for a request that is held would do
/// nothing under load until one is.
#[test]
fn what_autoscalers_find_their_figures_by_is_there_before_anything_was_asked() {
    let stack = Stack::new().pool(Pool::Redis).start();
    let rules = checkout().join("k8s/monitoring/prometheus-adapter.yaml");
    let rules = fs::read_to_string(rules).expect("the adapter's rules");
    let found_by: Vec<&str> =
        rules.lines().filter_map(|line| line.trim().strip_prefix("- seriesQuery: ")).collect();
    assert_eq!(found_by.len(), 2, "{rules}");
    for port in [stack.backend_ports(0).1, stack.gate_metrics_port().expect("a gate of its own")] {
        let mut names = Names::new();
        scrape(port, OWN, &mut names);
        assert!(found_by.iter().all(|series| names.contains_key(*series)), "{found_by:?}: {names:?}");
    }
}

#[test]
fn every_alert_has_its_tests_and_its_section_in_the_runbook() {
    let read = |path: &str| {
        fs::read_to_string(checkout().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    };
    let rules = ["charts/forebay/rules/alerts", "charts/forebay/rules/slo", "istio/alerts"]
        .map(|name| read(&format!("k8s/{name}.yaml")))
        .concat();
    let tests = ["cache", "generations", "hold", "istio", "load", "models", "slo"]
        .map(|name| read(&format!("k8s/monitoring/tests/{name}.yaml")))
        .concat();
    let runbook = read("k8s/RUNBOOK.md");
    let alerts: Vec<&str> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(alerts.len() > 20, "{alerts:?}");
    for alert in alerts {
        assert!(tests.contains(&format!("alertname=\"{alert}\"")), "no test of {alert}");
        assert!(runbook.contains(&format!("\n### {alert}\n")), "no section of {alert} in k8s/RUNBOOK.md");
        let link = format!("k8s/RUNBOOK.md#{}\n", alert.to_lowercase());
        assert!(rules.contains(&link), "{alert} has no link to its section");
    }
}
