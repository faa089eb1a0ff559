//! The dashboard: that its panels are in order, and that a real Prometheus runs what they ask, with series of real programs.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::hold::is_direct;
use e2e::stack::{Pool, Running, Stack};
use rig::http::{Connection, get, post, send};
use rig::installed::{checkout, installed};
use rig::process::{Process, free_port, listens, printed, program, until};
use rig::v2::{JSON, fp32};
use serde_json::{Value, json};
use tempfile::TempDir;

/// The dashboard's panels.
fn panels() -> Vec<Value> {
    let text =
        fs::read(checkout().join("k8s/charts/forebay/dashboards/forebay.json")).expect("the dashboard");
    let dashboard: Value = serde_json::from_slice(&text).expect("the dashboard is JSON");
    assert_eq!(dashboard["uid"], "forebay");
    dashboard["panels"].as_array().expect("panels").clone()
}

#[test]
fn panels_have_ids_and_places_of_their_own_and_say_what_they_show() {
    let (mut ids, mut taken) = (BTreeSet::new(), BTreeSet::new());
    for panel in panels() {
        let title = panel["title"].as_str().expect("a title").to_owned();
        assert!(ids.insert(panel["id"].as_u64()), "{title}: its id is another's");
        let place = |name: &str| panel["gridPos"][name].as_u64().expect("a place");
        assert!(place("x") + place("w") <= 24, "{title}: rows have 24 columns");
        for cell in (place("x")..place("x") + place("w"))
            .flat_map(|x| (place("y")..place("y") + place("h")).map(move |y| (x, y)))
        {
            assert!(taken.insert(cell), "{title}: lies over another");
        }
        if panel["type"] == "row" {
            continue;
        }
        assert!(["timeseries", "stat"].contains(&panel["type"].as_str().unwrap_or("")), "{title}: its type");
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{title}");
        let targets = panel["targets"].as_array().expect("targets");
        let names: BTreeSet<_> = targets.iter().map(|target| target["refId"].as_str()).collect();
        assert!(!targets.is_empty() && names.len() == targets.len(), "{title}: its targets' names");
        assert!(
            targets
                .iter()
                .all(|target| target["expr"].as_str().is_some_and(|expr| expr.contains("namespace"))),
            "{title}"
        );
    }
}

#[test]
fn promtool_takes_every_query() {
    // Each query as a rule, for promtool to read; JSON is YAML.
    let panels = panels();
    let targets = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    let exprs = targets.filter_map(|target| target["expr"].as_str());
    let rules: Vec<_> = exprs
        .map(|expr| expr.replace("$__rate_interval", "1m").replace("$namespace", ".*"))
        .enumerate()
        .map(|(index, expr)| json!({"record": format!("panel:query:{index}"), "expr": expr}))
        .collect();
    let folder = TempDir::new().expect("a folder");
    let file = folder.path().join("queries.yaml");
    fs::write(&file, json!({"groups": [{"name": "panels", "rules": rules}]}).to_string())
        .expect("the queries");
    printed(Command::new(installed("bin/promtool")).args(["check", "rules"]).arg(file));
}

/// The title of the row with what the gate's page shows.
const OF_THE_PAGE: &str = "The gate's page (/ui), of all gates";

/// The queries of each panel, and whether they are of that row.
fn queries() -> Vec<(String, bool)> {
    let mut is_of_the_page = false;
    let mut queries = Vec::new();
    for panel in panels() {
        if panel["type"] == "row" {
            is_of_the_page = panel["title"] == OF_THE_PAGE;
        }
        let targets = panel["targets"].as_array().into_iter().flatten();
        queries
            .extend(targets.filter_map(|target| Some((target["expr"].as_str()?.to_owned(), is_of_the_page))));
    }
    assert!(queries.iter().any(|(_, is_of_the_page)| *is_of_the_page), "no row {OF_THE_PAGE}");
    queries
}

/// A Prometheus that scrapes the stack's programs each second, as pods of a namespace.
struct Prometheus {
    _process: Process,
    port: u16,
    _folder: TempDir,
}

impl Prometheus {
    fn of(stack: &Running) -> Self {
        let (folder, port) = (TempDir::new().expect("a folder"), free_port());
        let target = |pod: &str, port: u16, path: &str| {
            json!({
                "job_name": pod,
                "metrics_path": path,
                "static_configs": [{"targets": [format!("127.0.0.1:{port}")], "labels": {"namespace": "serving", "pod": pod}}],
            })
        };
        let scraped = [
            target("gate", stack.gate_metrics_port().expect("a gate"), "/metrics"),
            target("backend", stack.backend_ports(0).1, "/metrics"),
            target("front", stack.admin_port(), "/stats/prometheus"),
        ];
        // JSON is YAML.
        let settings =
            json!({"global": {"scrape_interval": "1s", "scrape_timeout": "1s"}, "scrape_configs": scraped});
        fs::write(folder.path().join("prometheus.yml"), settings.to_string()).expect("its settings");
        let process = Self::start(folder.path(), port);
        Self { _process: process, port, _folder: folder }
    }

    fn start(folder: &Path, port: u16) -> Process {
        let mut command = program(installed("bin/prometheus"));
        command.arg(format!("--config.file={}", folder.join("prometheus.yml").display()));
        command.arg(format!("--storage.tsdb.path={}", folder.join("data").display()));
        command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
        let mut process = Process::start("prometheus", command);
        process.until("Prometheus listens", || listens(port));
        process
    }

    /// What it answers to a query, as Grafana would send it.
    fn ask(&self, query: &str) -> Value {
        let query = query.replace("$__rate_interval", "1m").replace("$namespace", ".*");
        let mut escaped = String::new();
        for byte in query.bytes() {
            let _ = write!(escaped, "%{byte:02X}");
        }
        send(self.port, &get(&format!("/api/v1/query?query={escaped}"))).expect("an answer").json()
    }
}

/// Traffic of all kinds, before and after a service was at zero.
fn traffic(stack: &mut Running) {
    let infer = |stack: &Running, value: f32| {
        assert_eq!(stack.infer("identity_fp32", &JSON, &fp32(&[value])).status, 200);
    };
    is_direct(stack);
    for value in [1.0, 1.0, 2.0] {
        infer(stack, value);
    }
    let no_store = [&JSON[..], &[("cache-control", "no-store")]].concat();
    assert_eq!(stack.infer("identity_fp32", &no_store, &fp32(&[1.0])).status, 200);
    until("the filter has reported", || (stack.gate_metric("forebay_proxy_saved_us") > 0).then_some(()));
    let port = stack.gate_hold_port().expect("it holds");
    let ask = |value: f32| {
        let mut connection = Connection::open(port).expect("the gate listens");
        connection.write(&post("/v2/models/identity_fp32/infer", &JSON, &fp32(&[value]))).expect("it reads");
        connection
    };
    assert!(stack.backends[0].process.terminate().success());
    let mut held = [ask(9.0), ask(9.0)];
    until("a backend is wanted", || (stack.gate_metric("forebay_hold_wakes") > 0).then_some(()));
    assert_eq!(send(port, &get("/v2/models/identity_fp32")).expect("a refusal").status, 503);
    stack.restart_backend(0);
    assert!(held.iter_mut().all(|held| held.read().expect("an answer").status == 200));
    until("it is kept", || (ask(9.0).read().ok()?.cache_status() == "forebay-gate; hit").then_some(()));
    is_direct(stack);
}

#[test]
fn a_real_prometheus_runs_every_query_and_has_series_for_what_the_gates_page_shows() {
    let mut stack = Stack::new().pool(Pool::Redis).holds().gate(&["--price", "2.5"]).start();
    let prometheus = Prometheus::of(&stack);
    traffic(&mut stack);
    for (query, is_of_the_page) in queries() {
        let answer = prometheus.ask(&query);
        assert_eq!(answer["status"], "success", "{query}: {answer}");
        // No cache but ours is here.
        if !is_of_the_page || query.contains("unless on") {
            continue;
        }
        // Two scrapes make a rate.
        until(&query, || {
            prometheus.ask(&query)["data"]["result"]
                .as_array()
                .is_some_and(|series| !series.is_empty())
                .then_some(())
        });
    }
}
