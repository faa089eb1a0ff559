//! IO binding, as sessions on a GPU use it, here with the CPU's memory.

use std::path::Path;

use rig::http::Answer;
use serde_json::json;

use crate::process::{Forebay, refused, repository_with, serve_command};

const BOUND: &str = r#"max_batch_size: 8 dynamic_batching { }
    parameters { key: "io_binding" value { string_value: "1" } }"#;

fn add(forebay: &Forebay, value: usize, columns: usize) -> Answer {
    let tensor = |name: &str, value: usize| json!({ "name": name, "datatype": "FP32", "shape": [1, columns], "data": vec![value; columns] });
    forebay.infer("add_fp32", &[], &json!({ "inputs": [tensor("a", value), tensor("b", 1)] }))
}

fn serve(root: &Path) -> Forebay {
    Forebay::serve_from(root, &["--instances", "1", "--pool", "none"])
}

#[test]
fn a_bound_session_gives_each_request_its_own_result_in_memory_of_its_own() {
    let root = repository_with("add_fp32", BOUND);
    let forebay = serve(root.path());
    std::thread::scope(|scope| {
        for value in 0..24_usize {
            let forebay = &forebay;
            // Some small enough to be copied out, some that stay in the engine's memory, and no shape twice in a row.
            let columns = 1 + value * 500;
            scope.spawn(move || {
                for value in value..value + 4 {
                    let answer = add(forebay, value, columns);
                    let output = &answer.json()["outputs"][0];
                    assert_eq!(output["shape"], json!([1, columns]), "{answer:?}");
                    let data = output["data"].as_array().unwrap();
                    assert!(data.iter().all(|sum| sum.as_f64() == Some((value + 1) as f64)), "{value}");
                }
            });
        }
    });
}

#[test]
fn a_value_that_is_no_switch_is_named() {
    let root = repository_with("add_fp32", &BOUND.replace("\"1\"", "\"perhaps\""));
    let (code, said) = refused(&mut serve_command(root.path(), &[]));
    assert!(code != Some(0) && said.contains("io_binding is \"perhaps\""), "{said}");
}
