use serde_json::json;

use super::*;

fn run(label: &str, connections: u32, rate: Option<f64>, answered_per_sec: f64) -> serde_json::Value {
    json!({
        "label": label, "encoding": "json", "connections": connections, "threads": 1, "rate": rate, "arrival": null,
        "warmup_secs": 1.0, "elapsed_secs": 1.0, "answered": 1000, "answered_per_sec": answered_per_sec,
        "latency_us": { "min": 100.0, "mean": 250.0, "p50": 200.0, "p90": 400.0, "p95": 800.0, "p99": 2000.0,
                        "p99.9": 9000.0, "max": 20000.0 },
        "failed": {}, "cache": { "hits": 0, "misses": 0, "silent": 1000, "said": {} }, "late": 0, "latest_us": 0.0,
        "unsent": 0, "reconnected": 0, "sent_bytes": 0, "received_bytes": 0, "client_cpu_us": null, "client_busy": null,
    })
}

fn report(runs: &[serde_json::Value]) -> Report {
    let inputs =
        json!({ "tensors": ["x FP32 [1]"], "repeats": "same", "keys": null, "skew": null, "seed": 1 });
    let report = json!({ "forebay_bench": 1, "version": "0.1.0", "began": 0, "model": "a<b", "inputs": inputs,
                         "processors": 2, "runs": runs });
    serde_json::from_value(report).unwrap()
}

fn count(svg: &str, what: &str) -> usize {
    svg.matches(what).count()
}

#[test]
fn several_loads_are_lines_along_them_one_of_each_kind_a_series() {
    let runs: Vec<_> = ["one", "two"]
        .into_iter()
        .flat_map(|label| {
            [1, 16, 64].map(|connections| run(label, connections, None, f64::from(connections) * 100.0))
        })
        .collect();
    let svg = draw(&report(&runs), None);
    assert_eq!((count(&svg, "class=\"line\""), count(&svg, "class=\"line dashed\"")), (4, 2), "{svg}");
    for text in [">one<", ">two<", ">64<", ">connections<", "a&lt;b: one request"] {
        assert!(svg.contains(text), "{text} is missing in {svg}");
    }
    assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
}

#[test]
fn one_load_is_a_bar_and_its_percentiles() {
    let svg = draw(&report(&[run("", 16, Some(500.0), 480.0)]), Some("A title"));
    for text in [">99.9<", ">A title<", ">480<", ">json<"] {
        assert!(svg.contains(text), "{text} is missing in {svg}");
    }
    assert_eq!(count(&svg, "<path"), 1);
}

#[test]
fn a_series_that_lacks_a_load_is_drawn_without_it() {
    let svg = draw(
        &report(&[run("one", 1, None, 10.0), run("one", 4, None, 20.0), run("two", 4, None, 30.0)]),
        None,
    );
    assert!(!svg.contains("NaN"), "{svg}");
}
