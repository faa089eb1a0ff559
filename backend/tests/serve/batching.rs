//! `dynamic_batching`: requests that came together run together, each gets its own, and the statistics tell.

use std::path::Path;

use rig::http::Answer;
use serde_json::{Value, json};

use crate::process::{Forebay, repository_with};

fn serve(root: &Path) -> Forebay {
    Forebay::serve_from(root, &["--instances", "1", "--pool", "none"])
}

/// One request for `add_fp32`: `rows` rows that hold `value`, and zeros.
fn add(forebay: &Forebay, value: u16, rows: usize, columns: usize, more: &Value) -> Answer {
    let tensor = |name: &str, value: u16| json!({ "name": name, "datatype": "FP32", "shape": [rows, columns], "data": vec![value; rows * columns] });
    let mut inputs = vec![tensor("a", value), tensor("b", 0)];
    if value % 2 == 1 {
        inputs.reverse();
    }
    forebay.infer("add_fp32", &[], &json!({ "inputs": inputs, "parameters": more }))
}

fn sum(answer: &Answer) -> Vec<f64> {
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["outputs"][0]["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|value| value.as_f64().unwrap())
        .collect()
}

fn statistics(forebay: &Forebay) -> Value {
    forebay.get("/v2/models/add_fp32/stats").json()["model_stats"][0].clone()
}

#[test]
fn requests_that_make_a_preferred_batch_run_once_and_each_gets_its_rows() {
    let config = "max_batch_size: 8 dynamic_batching { preferred_batch_size: [ 6 ] max_queue_delay_microseconds: 60000000 }";
    let root = repository_with("add_fp32", config);
    let forebay = serve(root.path());
    let rows = [1, 2, 3];
    let answers: Vec<_> = std::thread::scope(|scope| {
        let forebay = &forebay;
        let ask = |(value, rows)| scope.spawn(move || add(forebay, value, rows, 2, &json!({})));
        let asked: Vec<_> = (1..).zip(rows).map(ask).collect();
        asked.into_iter().map(|asked| asked.join().unwrap()).collect()
    });
    for ((answer, value), rows) in answers.iter().zip(1_u8..).zip(rows) {
        assert_eq!(sum(answer), vec![f64::from(value); rows * 2]);
    }
    let statistics = statistics(&forebay);
    assert_eq!((&statistics["execution_count"], &statistics["inference_count"]), (&json!(1), &json!(6)));
    assert_eq!(statistics["batch_stats"][0]["batch_size"], 6);
    assert_eq!(statistics["inference_stats"]["success"]["count"], 3);
    assert_eq!(statistics["inference_stats"]["compute_infer"]["count"], 3);
}

#[test]
fn what_was_computed_is_the_sum_of_what_its_answers_cost_and_not_of_what_each_waited_for() {
    let config = "max_batch_size: 8 dynamic_batching { preferred_batch_size: [ 6 ] max_queue_delay_microseconds: 60000000 }";
    let root = repository_with("add_fp32", config);
    let forebay = serve(root.path());
    let costs: u64 = std::thread::scope(|scope| {
        let forebay = &forebay;
        let ask = |value| scope.spawn(move || add(forebay, value, 1, 20_000, &json!({})));
        let asked: Vec<_> = (1..=6).map(ask).collect();
        asked
            .into_iter()
            .map(|asked| asked.join().unwrap().header("x-forebay-cost-us").parse::<u64>().unwrap())
            .sum()
    });
    let metric = |name: &str| forebay.metric(name, "add_fp32");
    assert_eq!((metric("nv_inference_exec_count"), metric("nv_inference_request_success")), (1, 6));
    let computed = metric("forebay_computed_us");
    // Each is told in whole microseconds.
    assert!((computed.saturating_sub(6)..=computed).contains(&costs), "{costs} of {computed}");
    let waited: u64 = ["input", "infer"]
        .map(|part| metric(&format!("nv_inference_compute_{part}_duration_us")))
        .iter()
        .sum();
    assert!(
        computed > 0 && waited.abs_diff(6 * computed) <= 12,
        "six requests waited for all of it: {waited}, {computed}"
    );
}

#[test]
fn other_shapes_never_share_a_batch() {
    let root = repository_with(
        "add_fp32",
        "max_batch_size: 8 dynamic_batching { max_queue_delay_microseconds: 20000 }",
    );
    let forebay = serve(root.path());
    std::thread::scope(|scope| {
        for value in 0..24_u16 {
            let forebay = &forebay;
            scope.spawn(move || {
                let columns = 1 + usize::from(value % 3);
                let rows = 1 + usize::from(value % 2);
                let answer = add(forebay, value, rows, columns, &json!({}));
                assert_eq!(sum(&answer), vec![f64::from(value); rows * columns]);
            });
        }
    });
    let statistics = statistics(&forebay);
    assert_eq!(statistics["inference_count"], 36);
}

#[test]
fn a_request_that_waits_longer_than_its_timeout_is_refused_at_once() {
    let root = repository_with(
        "add_fp32",
        "max_batch_size: 8 dynamic_batching { max_queue_delay_microseconds: 60000000 }",
    );
    let forebay = serve(root.path());
    let answer = add(&forebay, 1, 1, 1, &json!({ "timeout": 1000 }));
    assert_eq!((answer.status, answer.error().as_str()), (503, "Request timeout expired"));
    let wrong = add(&forebay, 1, 1, 1, &json!({ "timeout": "soon" }));
    assert_eq!((wrong.status, wrong.error().contains("'timeout'")), (400, true), "{wrong:?}");
    assert_eq!(statistics(&forebay)["inference_stats"]["fail"]["count"], 2);
}

#[test]
fn rows_must_agree_and_stay_within_the_limit() {
    let root = repository_with("add_fp32", "max_batch_size: 2 dynamic_batching { }");
    let forebay = serve(root.path());
    let answer = add(&forebay, 1, 3, 1, &json!({}));
    assert!(answer.status == 400 && answer.error().contains("batch-size must be <= 2"), "{answer:?}");
    let body = json!({ "inputs": [
        { "name": "a", "datatype": "FP32", "shape": [1, 1], "data": [1] },
        { "name": "b", "datatype": "FP32", "shape": [2, 1], "data": [1, 2] },
    ] });
    let answer = forebay.infer("add_fp32", &[], &body);
    assert!(answer.status == 400 && answer.error().contains("batch size does not match"), "{answer:?}");
}

/// A model, the datatype of its input, rows, what they give, and one that is wrong.
type Case<'a> = (&'a str, &'a str, [&'a [u8]; 3], [&'a [u8]; 3], Option<&'a [u8]>);

#[test]
fn parts_of_every_kind_are_joined_and_a_wrong_one_fails_alone() {
    // Bytes of one row each; and those that ONNX Runtime refuses, which the requests' own checks don't know.
    let numbers: [&[u8]; 3] = [&[1, 2], &[3, 4], &[5, 6]];
    let booleans: [&[u8]; 3] = [&[0], &[1], &[1]];
    let places: [&[u8]; 3] = [&0_i64.to_le_bytes(), &1_i64.to_le_bytes(), &2_i64.to_le_bytes()];
    let picked: [&[u8]; 3] = [&0.5_f32.to_le_bytes(), &1.5_f32.to_le_bytes(), &2.5_f32.to_le_bytes()];
    let strings: [&[u8]; 3] = [b"\x01\0\0\0a", b"\0\0\0\0", b"\x02\0\0\0\0\xff"];
    let cases: [Case<'_>; 4] = [
        ("identity_int16", "INT16", numbers, numbers, None),
        ("identity_bool", "BOOL", booleans, booleans, None),
        ("identity_bytes", "BYTES", strings, strings, None),
        ("picked", "INT64", places, picked, Some(&[9, 0, 0, 0, 0, 0, 0, 0])),
    ];
    for (model, datatype, rows, expected, wrong) in cases {
        for bound in [0, 1] {
            let config = format!(
                r#"max_batch_size: 4 parameters {{ key: "io_binding" value {{ string_value: "{bound}" }} }}
                dynamic_batching {{ preferred_batch_size: [ 3 ] max_queue_delay_microseconds: 60000000 }}"#
            );
            let root = repository_with(model, &config);
            let forebay = serve(root.path());
            let ask_all = |all: &[&[u8]]| {
                std::thread::scope(|scope| {
                    let ask = |data| {
                        let forebay = &forebay;
                        scope.spawn(move || forebay.infer_binary(model, datatype, &[1, 1], data))
                    };
                    let asked: Vec<_> = all.iter().copied().map(ask).collect();
                    asked.into_iter().map(|asked| asked.join().unwrap()).collect::<Vec<_>>()
                })
            };
            let right = |answer: &Answer, row: &[u8]| {
                assert!(answer.status == 200 && answer.body.ends_with(row), "{model} {bound}: {answer:?}");
            };
            ask_all(&rows).iter().zip(expected).for_each(|(answer, row)| right(answer, row));
            let stats = forebay.get(&format!("/v2/models/{model}/stats")).json()["model_stats"][0].clone();
            assert_eq!(stats["execution_count"], 1);
            // Strings that aren't bound become the engine's own one by one.
            let gathers = bound == 1 || datatype != "BYTES";
            let input = &stats["inference_stats"]["compute_input"]["ns"];
            assert_eq!(*input != 0, gathers, "{model} {bound}: {input}");
            if let Some(wrong) = wrong {
                let answers = ask_all(&[rows[0], wrong, rows[2]]);
                right(&answers[0], expected[0]);
                right(&answers[2], expected[2]);
                assert_eq!(answers[1].status, 400, "{model} {bound}: {:?}", answers[1]);
            }
        }
    }
}
