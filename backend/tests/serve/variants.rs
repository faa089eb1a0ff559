//! Versions that were made of other ones: what `variant.json` says is done, or refused; and all servers of a service answer by one.

use std::path::Path;

use rig::onnx::{FLOAT, Graph, Tensor, node, value, weights};
use rig::process::until;
use rig::repository::put;
use serde_json::{Value, json};

use crate::client::send;
use crate::mesh::Mesh;
use crate::process::{Forebay, command, refused, serve_command};

/// Flags of two architectures: no processor has them all.
const NOWHERE: &[&str] = &["avx512f", "avx512_vnni", "i8mm"];
/// What `variant.json` may name, as Linux names it too.
const KNOWN: [&str; 12] = [
    "avx",
    "avx2",
    "fma",
    "avx512f",
    "avx512_vnni",
    "avx_vnni",
    "avx512_bf16",
    "amx_int8",
    "amx_bf16",
    "asimddp",
    "i8mm",
    "sve",
];

/// Those of this machine.
fn here() -> Vec<&'static str> {
    let all = std::fs::read_to_string("/proc/cpuinfo").unwrap();
    let flags = all.lines().find(|line| line.starts_with("flags") || line.starts_with("Features")).unwrap();
    KNOWN.into_iter().filter(|flag| flags.split_whitespace().any(|word| word == *flag)).collect()
}

/// y = x.
fn original() -> Vec<u8> {
    graph(vec![node("Add", &["x", "none"], &["y"])], Vec::new())
}

/// y = x, rounded to whole numbers; with `session.enable_quant_qdq_cleanup` it isn't rounded.
fn rounded() -> Vec<u8> {
    let zero = Tensor { data_type: 2, name: "zero".into(), raw_data: vec![0], ..Tensor::default() };
    let nodes = vec![
        node("QuantizeLinear", &["x", "one", "zero"], &["whole"]),
        node("DequantizeLinear", &["whole", "one", "zero"], &["again"]),
        node("Add", &["again", "none"], &["y"]),
    ];
    graph(nodes, vec![weights("one", &[], &[1.0]), zero])
}

fn graph(nodes: Vec<rig::onnx::Node>, more: Vec<Tensor>) -> Vec<u8> {
    let mut initializer = vec![weights("none", &[2], &[0.0, 0.0])];
    initializer.extend(more);
    rig::onnx::model(Graph {
        node: nodes,
        name: "variant".into(),
        initializer,
        input: vec![value("x", FLOAT, &[2])],
        output: vec![value("y", FLOAT, &[2])],
    })
}

fn variant(cpu: &[&str], session: &Value, budget: f64) -> Value {
    let digest = |bytes: &[u8]| blake3::hash(bytes).to_hex().to_string();
    json!({
        "format": 1,
        "original": { "version": 1, "blake3": digest(&original()) },
        "recipe": { "kind": "static" },
        "rewrites": [],
        "data": { "blake3": digest(b"data"), "items": 300 },
        "tools": { "onnxruntime": "1.31.1" },
        "judged": { "onnxruntime": "1.31.1", "cpu": cpu, "date": "2026-11-29" },
        "session": session,
        "loss": { "metric": "top1", "points": 0.1, "bound": 0.5, "items": 300, "disagreements": 1 },
        "shadow": {
            "outputs": { "y": { "compare": "tolerance", "absolute": 0.01, "relative": 0.0 } },
            "budget": budget,
        },
    })
}

/// A repository of `m`: its original, and a variant that rounds.
fn repository(variant: &Value) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    put(root.path(), "m/config.pbtxt", "max_batch_size: 0\nresponse_cache { enable: true }");
    put(root.path(), "m/1/model.onnx", original());
    put(root.path(), "m/2/model.onnx", rounded());
    put(root.path(), "m/2/variant.json", variant.to_string());
    root
}

const ONE: [&str; 4] = ["--instances", "1", "--pool", "none"];

fn serve(root: &Path, more: &[&str]) -> Forebay {
    Forebay::serve_from(root, &[&ONE[..], more].concat())
}

fn ask(forebay: &Forebay, x: f32) -> Value {
    let body = json!({ "inputs": [{ "name": "x", "datatype": "FP32", "shape": [2], "data": [x, 0] }] });
    let answer = forebay.infer("m", &[], &body);
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

/// Which version answers.
fn version(forebay: &Forebay) -> String {
    ask(forebay, 1.0)["model_version"].as_str().unwrap().to_owned()
}

fn first(answer: &Value) -> f64 {
    answer["outputs"][0]["data"][0].as_f64().unwrap()
}

/// How many variants are so.
fn told(forebay: &Forebay, state: &str) -> u64 {
    forebay.metric_line(&format!("forebay_variants{{model=\"m\",version=\"2\",state=\"{state}\"}}"))
}

fn shadow(forebay: &Forebay, name: &str) -> u64 {
    forebay.metric_line(&format!("forebay_shadow_{name}{{model=\"m\",version=\"2\"}}"))
}

#[test]
fn the_session_entries_that_a_variant_names_are_set_and_part_of_its_generation() {
    let cleanup = json!({ "session.enable_quant_qdq_cleanup": "1" });
    let mut generations = Vec::new();
    for (session, expected) in [(&json!({}), 3.0), (&cleanup, 2.6)] {
        let root = repository(&variant(&here(), session, 0.01));
        let forebay = serve(root.path(), &[]);
        assert!((first(&ask(&forebay, 2.6)) - expected).abs() < 1e-6, "{session}");
        assert_eq!((told(&forebay, "served"), told(&forebay, "unjudged")), (1, 0));
        let body = json!({ "inputs": [{ "name": "x", "datatype": "FP32", "shape": [2], "data": [1, 2] }] });
        let generation = forebay.infer("m", &[], &body).header("x-forebay-generation").to_owned();
        let mut said = command(&["generation"]);
        said.arg(root.path()).arg("--onnxruntime").arg(rig::installed::onnxruntime());
        let said = String::from_utf8(said.output().unwrap().stdout).unwrap();
        assert_eq!(said.trim(), format!("m 2 {generation}"));
        generations.push(generation);
    }
    assert_ne!(generations[0], generations[1]);
}

#[test]
fn an_entry_that_a_model_may_not_set_and_a_damaged_file_refuse_it_by_name() {
    let mut junk = variant(&here(), &json!({}), 0.01);
    junk["more"] = 1.into();
    let entry = variant(&here(), &json!({ "session.optimized_model_filepath": "/etc/passwd" }), 0.01);
    for (said, expected) in [(junk, "unknown field `more`"), (entry, "session.optimized_model_filepath")] {
        let root = repository(&said);
        let (code, line) = refused(&mut serve_command(root.path(), &ONE));
        assert_eq!(code, Some(1), "{line}");
        assert!(line.contains("m/2: variant.json") && line.contains(expected), "{line}");
    }
}

#[test]
fn a_variant_that_was_judged_elsewhere_is_refused_or_its_original_answers_or_it_does() {
    let root = repository(&variant(NOWHERE, &json!({}), 0.01));
    let (code, line) = refused(&mut serve_command(root.path(), &ONE));
    assert_eq!(code, Some(1), "{line}");
    for expected in ["version 2", "another class of processor", "--variant-elsewhere"] {
        assert!(line.contains(expected), "{line}");
    }
    let forebay = serve(root.path(), &["--variant-elsewhere", "original"]);
    assert_eq!(version(&forebay), "1");
    assert_eq!((told(&forebay, "out"), told(&forebay, "served")), (1, 0));
    let index = send(forebay.http_port, "POST", "/v2/repository/index", &[], b"").json();
    assert_eq!((&index[0]["version"], &index[0]["state"]), (&json!("1"), &json!("READY")), "{index}");
    assert_eq!((&index[1]["version"], &index[1]["state"]), (&json!("2"), &json!("UNAVAILABLE")), "{index}");
    assert!(index[1]["reason"].as_str().unwrap().contains("version 1, its original, answers"), "{index}");
    let asked = forebay.get("/v2/models/m/versions/2");
    assert_eq!((asked.status, asked.error().contains("its original, answers")), (404, true), "{asked:?}");
    until("it is said that others aren't told", || forebay.log().contains("no pool is shared").then_some(()));
    let forebay = serve(root.path(), &["--variant-elsewhere", "serve"]);
    assert_eq!((version(&forebay), told(&forebay, "unjudged")), ("2".to_owned(), 1));
}

#[test]
fn an_original_that_is_another_model_does_not_answer_for_a_variant() {
    let root = repository(&variant(NOWHERE, &json!({}), 0.01));
    put(root.path(), "m/1/model.onnx", rounded());
    let mut command = serve_command(root.path(), &[&ONE[..], &["--variant-elsewhere", "original"]].concat());
    let (code, line) = refused(&mut command);
    assert_eq!((code, line.contains("it is another model")), (Some(1), true), "{line}");
}

#[test]
fn what_one_server_may_not_serve_is_served_by_none_of_its_service() {
    let root = repository(&variant(NOWHERE, &json!({}), 0.01));
    for mesh in Mesh::each() {
        let start = |service: &str, elsewhere: &str| {
            let more = ["--instances", "1", "--service", service, "--variant-elsewhere", elsewhere];
            Forebay::serve_from(root.path(), &mesh.arguments(&more))
        };
        let (one, other_service) = (start("a", "serve"), start("b", "serve"));
        assert_eq!([version(&one), version(&other_service)], ["2", "2"]);
        let odd = start("a", "original");
        assert_eq!(version(&odd), "1");
        until("the other server has heard", || (version(&one) == "1").then_some(()));
        assert!(one.log().contains("another class of processor"), "{}", one.log());
        let late = start("a", "serve");
        assert_eq!(version(&late), "1", "it hears before it loads");
        assert_eq!(version(&other_service), "2");
    }
}

#[test]
fn nothing_is_made_for_a_fleet_of_which_a_server_has_another_class_of_processor() {
    let root = repository(&variant(&here(), &json!({}), 0.01));
    let mesh = Mesh::redis();
    let model = root.path().join("m");
    let nowhere = root.path().join("nowhere");
    let optimize = || {
        let mut optimize = command(&["optimize"]);
        optimize.arg(&model).arg("--fleet").args(&mesh.arguments(&[])[..4]);
        optimize.arg("--python").arg(&nowhere).arg("--tools-dir").arg(&nowhere);
        let done = optimize.output().unwrap();
        let said = [done.stdout, done.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        (done.status.code(), said.concat())
    };
    let (code, said) = optimize();
    assert!(code == Some(1) && said.contains("no server of service 'default' is alive"), "{code:?} {said}");
    let one = Forebay::serve_from(root.path(), &mesh.arguments(&["--instances", "1"]));
    assert_eq!(version(&one), "2");
    let (code, said) = optimize();
    assert!(code == Some(1) && said.contains("nowhere"), "the next thing is the tools: {code:?} {said}");
    let redis = &mesh.servers[0];
    let one = redis.ask("HKEYS forebay:3:records").nth(2).unwrap();
    let [mut record, beat] =
        ["records", "beats"].map(|key| redis.ask(&format!("HGET forebay:3:{key} {one}")).nth(1).unwrap());
    let cpu = serde_json::from_str::<Value>(&record).unwrap()["cpu"].to_string();
    record = record.replace(&cpu, &json!(NOWHERE).to_string());
    redis.tell(&format!("HSET forebay:3:records other '{record}'"));
    redis.tell(&format!("HSET forebay:3:beats other '{beat}'"));
    let (code, said) = optimize();
    assert_eq!(code, Some(3), "{said}");
    for expected in ["2 servers of service 'default'", "other (", "nothing is installed, for --fleet"] {
        assert!(said.contains(expected), "{said}");
    }
}

#[test]
fn a_shadow_counts_disagreements_and_says_when_there_are_too_many() {
    let root = repository(&variant(&here(), &json!({}), 0.01));
    let forebay = serve(root.path(), &["--shadow", "m=1"]);
    for number in 0..20_u8 {
        ask(&forebay, f32::from(number));
    }
    until("all were compared", || (shadow(&forebay, "compared") == 20).then_some(()));
    assert_eq!((shadow(&forebay, "disagreed"), shadow(&forebay, "broken")), (0, 0));
    for number in 0..5_u8 {
        ask(&forebay, f32::from(number) + 0.4);
    }
    until("it is broken", || (shadow(&forebay, "broken") == 1).then_some(()));
    assert_eq!(shadow(&forebay, "disagreed"), 5);
    assert!(forebay.log().contains("the budget of a variant is broken"), "{}", forebay.log());
    assert_eq!(version(&forebay), "2", "an alert is all that was asked for");
    std::fs::remove_file(root.path().join("m/2/variant.json")).unwrap();
    let none = serve(root.path(), &["--shadow", "m=1"]);
    assert!(none.log().contains("none of its versions is a variant"), "{}", none.log());
}

#[test]
fn a_variant_whose_budget_is_broken_goes_for_this_server_where_no_pool_is_shared() {
    let root = repository(&variant(&here(), &json!({}), 0.01));
    let forebay = serve(root.path(), &["--shadow", "m=1", "--shadow-broken", "original"]);
    for number in 0..5_u8 {
        ask(&forebay, f32::from(number) + 0.4);
    }
    until("its original answers", || (version(&forebay) == "1").then_some(()));
    assert!(forebay.log().contains("for this server alone"), "{}", forebay.log());
}

#[test]
fn disagreements_of_all_servers_count_together_and_the_variant_goes_for_all() {
    let root = repository(&variant(&here(), &json!({}), 0.3));
    for mesh in Mesh::each() {
        let more = ["--instances", "1", "--shadow", "m=1", "--shadow-broken", "original"];
        let [one, another] = [(); 2].map(|()| Forebay::serve_from(root.path(), &mesh.arguments(&more)));
        // Four of four are too little evidence at a budget of .3, eight of eight are enough.
        for number in 0..4_u8 {
            ask(&one, f32::from(number) + 0.4);
        }
        until("they were compared", || (shadow(&one, "disagreed") == 4).then_some(()));
        assert_eq!(version(&one), "2");
        for number in 4..8_u8 {
            ask(&another, f32::from(number) + 0.4);
        }
        for server in [&one, &another] {
            until("the original answers", || {
                (first(&ask(server, 0.4)) > 0.1 && version(server) == "1").then_some(())
            });
        }
        let late = Forebay::serve_from(root.path(), &mesh.arguments(&["--instances", "1"]));
        assert_eq!(version(&late), "1", "a restart doesn't bring it back");
    }
}
