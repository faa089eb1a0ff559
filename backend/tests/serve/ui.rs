//! The page of a gate: where it is served, with what headers, and that its figures are those of `/metrics`. How it looks and what a
//! browser makes of it is tested in tests/tests/e2e.

use rig::http::Answer;
use rig::process::until;
use serde_json::{Value, json};

use crate::client::send;
use crate::hold::Elastic;
use crate::mesh::Mesh;
use crate::process::{Forebay, gate_command, refused};
use crate::proxied::report;

fn ask(gate: &Forebay, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    send(gate.metrics_port, method, path, headers, b"")
}

fn state(gate: &Forebay) -> Value {
    let answer = ask(gate, "GET", "/ui/state", &[]);
    assert_eq!((answer.status, answer.header("cache-control")), (200, "no-store"), "{answer:?}");
    answer.json()
}

/// What the page shows once that is so.
fn until_shown(gate: &Forebay, what: &str, is: impl Fn(&Value) -> bool) -> Value {
    until(what, || Some(state(gate)).filter(|state| is(state)))
}

#[test]
fn the_page_is_at_the_port_of_metrics_alone_and_lets_nothing_run_but_its_own_script() {
    let mesh = Mesh::redis();
    let gate = mesh.gate();
    let page = ask(&gate, "GET", "/ui", &[]);
    assert_eq!((page.status, page.header("content-type")), (200, "text/html; charset=utf-8"));
    let policy = page.header("content-security-policy");
    for part in ["default-src 'none'", "script-src 'sha256-", "connect-src 'self'", "frame-ancestors 'none'"]
    {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!(page.header("cache-control"), "no-cache");
    let again = ask(&gate, "GET", "/ui", &[("if-none-match", page.header("etag"))]);
    assert_eq!((again.status, again.body.len()), (304, 0), "it was not changed");
    for path in ["/ui", "/ui/state", "/metrics"] {
        let posted = ask(&gate, "POST", path, &[]);
        assert_eq!((posted.status, posted.header("allow")), (405, "GET,HEAD"), "{path}");
        assert_eq!(send(gate.gate_port, "GET", path, &[], b"").status, 404, "{path} is nothing for proxies");
    }
    let without = Forebay::gate(&mesh.arguments(&["--ui=false"]));
    for (path, status) in [("/ui", 404), ("/ui/state", 404), ("/metrics", 200)] {
        assert_eq!(ask(&without, "GET", path, &[]).status, status, "{path}");
    }
}

#[test]
fn what_proxies_report_is_shown_as_metrics_have_it_with_names_as_they_are() {
    const NAME: &str = "<img src=x onerror=\"alert(1)\">\n\u{202e}";
    let mesh = Mesh::redis();
    let gate = Forebay::gate(&mesh.arguments(&["--price", "3.6"]));
    let told = json!({
        "saved": [{"service": "s", "model": NAME, "hits": 3, "cost_us": 2_000_000}],
        "ends": [
            {"service": "s", "result": "hit_l2", "count": 3},
            {"service": "s", "result": "miss", "reason": "stale", "count": 7},
        ],
        "latency": [{"tier": "l2", "counts": [0, 0, 3]}],
    });
    // The latency of the last minutes is what came after a first look.
    until_shown(&gate, "it has looked", |state| state["now_ms"] != 0);
    assert_eq!(report(&gate, "p", 1, &told).status, 200);
    let state = until_shown(&gate, "it is shown", |state| state["saved_us"]["proxies"] == 2_000_000);
    let model = &state["models"][0];
    assert_eq!(
        (&model["model"], &model["hits"], &state["more_models"]),
        (&json!(NAME), &json!(3), &json!(0))
    );
    let line = |start: &str| gate.metric_line(start);
    assert_eq!(line("forebay_proxy_requests{service=\"s\",result=\"miss\",reason=\"stale\"}"), 7);
    assert_eq!(line("forebay_proxy_latency_ms_bucket{tier=\"l2\",le=\"5\"}"), 3);
    assert_eq!(line("forebay_proxy_latency_ms_bucket{tier=\"l2\",le=\"2\"}"), 0);
    let end = |result: &str, reason: &str, count: u64| json!({"service": "s", "result": result, "reason": reason, "count": count});
    assert_eq!(state["ends"], json!([end("miss", "stale", 7), end("hit_l2", "", 3)]));
    assert_eq!(state["latency"][0], json!({"tier": "l2", "count": 3, "p50_ms": 3.5, "p99_ms": 4.97}));
    assert_eq!((&state["price"], &state["hold"]), (&json!(3.6), &Value::Null));
    let metrics = String::from_utf8(ask(&gate, "GET", "/metrics", &[]).body).unwrap();
    assert!(metrics.contains("\nforebay_gpu_hour_price 3.6\n"), "{metrics}");
}

#[test]
fn of_many_models_the_dearest_are_named_and_the_answer_stays_small() {
    let mesh = Mesh::redis();
    let gate = mesh.gate();
    for part in 0..20_u64 {
        let saved: Vec<Value> = (0..500)
            .map(|number| {
                let model = format!("{}-{}", "x".repeat(200), part * 500 + number);
                json!({"service": "s", "model": model, "hits": 1, "cost_us": part * 500 + number + 1})
            })
            .collect();
        report(&gate, "p", part + 1, &json!({ "saved": saved }));
    }
    let state = until_shown(&gate, "all are counted", |state| state["more_models"] == 951);
    assert_eq!(state["models"].as_array().unwrap().len(), 50);
    assert_eq!(state["models"][0]["model"], "(other)", "those that have no sums of their own");
    let bytes = ask(&gate, "GET", "/ui/state", &[]).body.len();
    assert!(bytes < 64 << 10, "{bytes}");
}

#[test]
fn who_waits_is_shown_by_model_with_the_reason_and_wakes_with_how_they_ended() {
    let elastic = Elastic::asleep(Mesh::redis(), &[]);
    let mut waiting: Vec<_> = (0..3_u8).map(|value| elastic.ask(f32::from(value))).collect();
    let now = until_shown(&elastic.gate, "three wait for a wake", |state| {
        state["hold"]["requests"] == 3 && state["hold"]["phase"] == "waking"
    });
    let hold = &now["hold"];
    assert_eq!(hold["service"], "default");
    let model = &hold["models"][0];
    assert_eq!(
        (&model["model"], &model["requests"], &model["why"]),
        (&json!("identity_fp32"), &json!(3), &json!("no-backend"))
    );
    assert_eq!(hold["wakes"][0]["took_ms"], Value::Null);
    let backend = elastic.wakes();
    assert!(waiting.iter_mut().all(|one| one.read().unwrap().status == 200));
    let shown = |state: &Value| {
        let model = &state["models"][0];
        model["model"] == "identity_fp32" && model["answered"] == 3 && state["replicas"]["default"] == 1
    };
    let now = until_shown(&elastic.gate, "what the backend did is shown", shown);
    assert_eq!(now["hold"]["wakes"][0]["held"], 3);
    assert!(now["hold"]["wakes"][0]["took_ms"].as_u64().is_some(), "{now}");
    assert_eq!(now["models"][0]["answered"], backend.metric("nv_inference_request_success", "identity_fp32"));
    assert_eq!(now["computed_us"], backend.metric("forebay_computed_us", "identity_fp32"));
    // Once its results are kept, the pool answers; what that saved is told.
    until("it is kept", || {
        let answer = elastic.ask(1.0).read().unwrap();
        (answer.cache_status() == "forebay-gate; hit").then_some(())
    });
    let saved = elastic.gate.metric_line("forebay_hold_saved_us");
    assert!(saved > 0);
    until_shown(&elastic.gate, "what it saved is shown", |state| {
        state["saved_us"]["gate"] == saved
            && state["hold"]["hits"] == elastic.gate.metric_line("forebay_hold_hits")
    });
}

#[test]
fn a_price_that_is_none_is_refused_by_its_flag() {
    let mesh = Mesh::redis();
    for wrong in ["-1", "NaN", "cheap", "inf"] {
        let price = format!("--price={wrong}");
        let (code, said) = refused(&mut gate_command(&mesh.arguments(&[&price])));
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains("--price") && said.contains("such as 2.5"), "{said}");
    }
}
