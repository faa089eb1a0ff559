//! `forebay infer` and `forebay bench` against the server itself, in every encoding.

use std::process::Output;

use serde_json::Value;

use crate::process::{Forebay, command, repository_with};

/// Runs a command against a server.
fn run(forebay: &Forebay, arguments: &[&str]) -> Output {
    let mut command = command(arguments);
    command.arg(format!("--url=http://127.0.0.1:{}", forebay.http_port));
    command.arg(format!("--grpc-url=grpc://127.0.0.1:{}", forebay.grpc_port));
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// What it prints when all is well.
fn printed(forebay: &Forebay, arguments: &[&str]) -> String {
    let output = run(forebay, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// What it says when something is wrong.
fn refused(forebay: &Forebay, arguments: &[&str]) -> String {
    let output = run(forebay, arguments);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {}", text(&output.stdout));
    text(&output.stderr)
}

/// The runs of a measurement.
fn runs(forebay: &Forebay, arguments: &[&str]) -> Vec<Value> {
    let folder = tempfile::tempdir().unwrap();
    let (json, chart) = (folder.path().join("a.json"), folder.path().join("a.svg"));
    let files = [format!("--json={}", json.display()), format!("--chart={}", chart.display())];
    let quick = ["--duration-secs=0.3", "--warmup-secs=0.1", &files[0], &files[1]];
    printed(forebay, &[&["bench"][..], arguments, &quick].concat());
    assert!(std::fs::read_to_string(chart).unwrap().starts_with("<svg"));
    let report: Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
    report["runs"].as_array().unwrap().clone()
}

#[test]
fn every_datatype_is_asked_and_shown_in_every_encoding_that_carries_it() {
    let forebay = Forebay::serve(&["--instances", "1"]);
    for datatype in ["bool", "uint8", "int16", "uint64", "fp16", "bf16", "fp32", "fp64", "bytes"] {
        let model = format!("identity_{datatype}");
        for encoding in ["json", "binary", "grpc"] {
            let arguments = ["infer", &model, "--shape=x:2,3", "--encoding", encoding];
            if encoding == "json" && matches!(datatype, "fp16" | "bf16") {
                let said = refused(&forebay, &arguments);
                assert!(said.contains("another --encoding can carry it"), "{said}");
                continue;
            }
            let shown = printed(&forebay, &arguments);
            let output = format!("{} [2, 3] = ", datatype.to_uppercase());
            assert!(shown.contains(&output) && shown.contains("Cache-Status  forebay-serve"), "{shown}");
        }
    }
}

#[test]
fn the_same_command_again_is_a_hit_and_another_seed_is_not() {
    let forebay = Forebay::serve(&["--instances", "1"]);
    let shown = |seed: &str, encoding: &str| {
        printed(
            &forebay,
            &["infer", "identity_fp32", "--shape=x:1,4", "--seed", seed, "--encoding", encoding],
        )
    };
    assert!(shown("1", "json").contains("fwd=uri-miss"));
    let again = shown("1", "grpc");
    assert!(again.contains("forebay-serve; hit") && again.contains("Age           0"), "{again}");
    assert!(shown("2", "binary").contains("fwd=uri-miss"));
}

#[test]
fn a_request_in_a_file_is_sent_in_any_encoding_and_its_answer_printed_as_json() {
    let forebay = Forebay::serve(&["--instances", "1"]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("request.json");
    let tensor = |name| format!(r#"{{"name":"{name}","datatype":"FP32","shape":[1,2],"data":[1.5,2]}}"#);
    std::fs::write(&file, format!(r#"{{"id":"7","inputs":[{},{}]}}"#, tensor("a"), tensor("b"))).unwrap();
    let file = file.display().to_string();
    for encoding in ["json", "binary", "grpc"] {
        let json =
            printed(&forebay, &["infer", "add_fp32", "--json", "--data", &file, "--encoding", encoding]);
        let answer: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(
            (&answer["id"], &answer["outputs"][0]["data"]),
            (&"7".into(), &serde_json::json!([3.0, 4.0]))
        );
    }
}

#[test]
fn what_the_server_refuses_is_told_in_its_words() {
    let forebay = Forebay::serve(&["--instances", "1"]);
    for (encoding, status) in [("json", "HTTP 404"), ("grpc", "gRPC NOT_FOUND")] {
        for command in ["infer", "bench"] {
            let said = refused(&forebay, &[command, "nope", "--encoding", encoding]);
            assert!(said.contains(status) && said.contains("unknown model: 'nope'"), "{said}");
        }
    }
    let said = refused(&forebay, &["infer", "add_fp32", "--shape=a:1,2,3"]);
    assert!(said.starts_with("forebay: HTTP 400: unexpected shape for input 'a'"), "{said}");
    let said = refused(&forebay, &["bench", "identity_bool", "--repeats=zipf", "--keys=100"]);
    assert!(said.contains("2 different requests only, 100 are asked for"), "{said}");
}

#[test]
fn repeats_are_hits_and_unique_requests_are_none_in_every_encoding() {
    let forebay = Forebay::serve(&["--instances", "1"]);
    let all = ["--encoding=json,binary,grpc", "--concurrency=1,3"];
    for (repeats, hits) in [("same", true), ("unique", false)] {
        let runs =
            runs(&forebay, &[&["identity_fp32", "--shape=x:1,8", "--repeats", repeats][..], &all].concat());
        let loads: Vec<(&str, u64)> = runs
            .iter()
            .map(|run| (run["encoding"].as_str().unwrap(), run["connections"].as_u64().unwrap()))
            .collect();
        assert_eq!(loads, [("json", 1), ("json", 3), ("binary", 1), ("binary", 3), ("grpc", 1), ("grpc", 3)]);
        for run in runs {
            let (answered, cache) = (run["answered"].as_u64().unwrap(), &run["cache"]);
            assert!(answered > 0 && run["failed"] == serde_json::json!({}), "{run}");
            let expected = if hits { (answered, 0) } else { (0, answered) };
            assert_eq!(
                (cache["hits"].as_u64(), cache["misses"].as_u64()),
                (Some(expected.0), Some(expected.1)),
                "{run}"
            );
        }
    }
}

#[test]
fn an_open_loop_asks_by_zipfs_law_as_often_as_it_is_told() {
    let forebay = Forebay::serve(&["--instances", "1"]);
    let arguments = ["identity_fp32", "--shape=x:1,8", "--repeats=zipf", "--keys=20", "--rate=200,400"];
    let runs = runs(&forebay, &[&arguments[..], &["--arrival=fixed", "--concurrency=4"]].concat());
    let answered: Vec<u64> = runs.iter().map(|run| run["answered"].as_u64().unwrap()).collect();
    assert_eq!(answered, [60, 120], "{runs:?}");
    assert!(
        runs.iter().all(|run| run["unsent"] == 0 && run["cache"]["hits"].as_u64().unwrap() >= 40),
        "{runs:?}"
    );
}

#[test]
fn refusals_while_it_measures_are_counted_by_their_status() {
    let config = "max_batch_size: 0 dynamic_batching { default_queue_policy { max_queue_size: 1 } }";
    let repository = repository_with("slow", config);
    let forebay = Forebay::serve_from(repository.path(), &["--instances", "1"]);
    let runs = runs(&forebay, &["slow", "--repeats=unique", "--concurrency=16"]);
    assert!(runs[0]["failed"]["HTTP 503"]["count"].as_u64().unwrap() > 0, "{}", runs[0]);
    assert!(!runs[0]["failed"]["HTTP 503"]["first"].as_str().unwrap().is_empty());
}

#[test]
fn a_chart_is_drawn_again_of_the_report_alone() {
    let forebay = Forebay::serve(&["--instances", "1"]);
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let [json, first, again] = [path("a.json"), path("a.svg"), path("b.svg")];
    printed(
        &forebay,
        &[
            "bench",
            "identity_fp32",
            "--duration-secs=0.1",
            "--warmup-secs=0",
            "--json",
            &json,
            "--chart",
            &first,
        ],
    );
    assert!(command(&["bench", "--from", &json, "--chart", &again]).status().unwrap().success());
    assert_eq!(std::fs::read(first).unwrap(), std::fs::read(again).unwrap());
}

#[test]
fn headers_go_with_every_request_in_both_protocols() {
    let restricted = [
        "--http-restricted-api=inference,metadata:key=word",
        "--grpc-restricted-protocol=inference,metadata:key=word",
    ];
    let forebay = Forebay::serve(&[&["--instances", "1"][..], &restricted].concat());
    for (encoding, name) in [("json", "key"), ("grpc", "triton-grpc-protocol-key")] {
        let with = |word: &str| {
            let header = format!("{name}: {word}");
            run(&forebay, &["infer", "identity_fp32", "--encoding", encoding, "-H", &header])
        };
        assert!(with("word").status.success(), "{encoding}: {}", text(&with("word").stderr));
        assert_eq!(with("another").status.code(), Some(1), "{encoding}");
    }
}
