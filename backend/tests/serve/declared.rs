//! What `config.pbtxt` declares of a model's tensors is what clients see and are held to.

use rig::http::Answer;
use serde_json::{Value, json};

use crate::process::{Forebay, refused, repository_with, serve_command};

const X: &str = "{ name: \"x\" data_type: TYPE_FP32 dims: [ -1, -1 ] }";
const Y: &str = "output [ { name: \"y\" data_type: TYPE_FP32 dims: [ -1, -1 ] } ]";

/// A server of one model with that configuration.
fn serve(model: &str, config: &str) -> Forebay {
    let root = repository_with(model, config);
    Forebay::serve_from(root.path(), &["--instances", "1"])
}

fn tensor(name: &str, shape: &[usize], values: &[f32]) -> Value {
    json!({ "name": name, "datatype": "FP32", "shape": shape, "data": values })
}

fn ask(forebay: &Forebay, model: &str, inputs: &[Value]) -> Answer {
    forebay.infer(model, &[], &json!({ "inputs": inputs }))
}

/// Shape and data of the only output.
fn output(answer: &Answer) -> (Value, Value) {
    assert_eq!(answer.status, 200, "{answer:?}");
    let answer = answer.json();
    assert_eq!(answer["outputs"].as_array().unwrap().len(), 1, "{answer}");
    (answer["outputs"][0]["shape"].clone(), answer["outputs"][0]["data"].clone())
}

/// Names and shapes, as the metadata has them.
fn metadata(forebay: &Forebay, model: &str, kind: &str) -> Vec<(String, Value)> {
    let metadata = forebay.get(&format!("/v2/models/{model}")).json();
    let tensors = metadata[kind].as_array().unwrap().clone();
    tensors
        .iter()
        .map(|tensor| (tensor["name"].as_str().unwrap().to_owned(), tensor["shape"].clone()))
        .collect()
}

/// What the server says of a configuration that it refuses.
fn refusal(model: &str, config: &str) -> String {
    let root = repository_with(model, config);
    let (code, said) = refused(&mut serve_command(root.path(), &[]));
    assert_ne!(code, Some(0), "{config}");
    said
}

#[test]
fn clients_see_dims_and_the_model_gets_what_they_are_reshaped_to() {
    let config = r#"
        input [ { name: "x" data_type: TYPE_FP32 dims: [ 2, -1, 3 ] reshape { shape: [ 2, -1, 3 ] } } ]
        output [ { name: "y" data_type: TYPE_FP32 dims: [ -1 ] reshape { shape: [ 1, -1 ] } } ]"#;
    let said = refusal("identity_fp32", config);
    assert!(said.contains("declared with shape [2,-1,3], but the model has [-1,-1]"), "{said}");

    let config = r#"response_cache { enable: true } parameters { key: "forebay_max_age_s" value { string_value: "60" } }
        input [ { name: "x" data_type: TYPE_FP32 dims: [ 1, -1, 3 ] reshape { shape: [ -1, 3 ] } } ]
        output [ { name: "y" data_type: TYPE_FP32 dims: [ -1, 3, 1 ] reshape { shape: [ -1, 3 ] } } ]"#;
    let forebay = serve("identity_fp32", config);
    assert_eq!(metadata(&forebay, "identity_fp32", "inputs"), [("x".to_owned(), json!([1, -1, 3]))]);
    assert_eq!(metadata(&forebay, "identity_fp32", "outputs"), [("y".to_owned(), json!([-1, 3, 1]))]);
    let values = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
    for is_hit in [false, true] {
        let answer = ask(&forebay, "identity_fp32", &[tensor("x", &[1, 2, 3], &values)]);
        assert_eq!(output(&answer), (json!([2, 3, 1]), json!(values)));
        assert_eq!(answer.is_hit(), is_hit);
    }
    let answer = ask(&forebay, "identity_fp32", &[tensor("x", &[2, 3], &values)]);
    assert!(answer.status == 400 && answer.error().contains("Expected [1,-1,3], got [2,3]"), "{answer:?}");
    let config = forebay.get("/v2/models/identity_fp32/config").json();
    assert_eq!(config["input"][0]["reshape"]["shape"], json!([-1, 3]), "{config}");
}

#[test]
fn requests_of_a_reshaped_model_run_together() {
    let config = r#"max_batch_size: 8
        dynamic_batching { preferred_batch_size: [ 6 ] max_queue_delay_microseconds: 60000000 }
        input [ { name: "x" data_type: TYPE_FP32 dims: [ 1, 2 ] reshape { shape: [ 2 ] } } ]
        output [ { name: "y" data_type: TYPE_FP32 dims: [ 2, 1 ] reshape { shape: [ 2 ] } } ]"#;
    let forebay = serve("identity_fp32", config);
    std::thread::scope(|scope| {
        for rows in 1..=3_usize {
            let forebay = &forebay;
            scope.spawn(move || {
                let values = vec![rows as f32; rows * 2];
                let answer = ask(forebay, "identity_fp32", &[tensor("x", &[rows, 1, 2], &values)]);
                assert_eq!(output(&answer), (json!([rows, 2, 1]), json!(values)));
            });
        }
    });
    let stats = forebay.get("/v2/models/identity_fp32/stats").json()["model_stats"][0].clone();
    assert_eq!((&stats["execution_count"], &stats["inference_count"]), (&json!(1), &json!(6)), "{stats}");
}

#[test]
fn a_reshape_to_other_elements_is_refused_and_ends_only_its_model() {
    let config =
        "input [\n { name: \"x\" data_type: TYPE_FP32 dims: [ 2, 3 ]\n reshape { shape: [ 5 ] } }\n ]";
    let said = refusal("identity_fp32", config);
    assert!(said.contains("config.pbtxt:3") && said.contains("reshape"), "{said}");
    assert!(said.contains("other elements than dims [2, 3]"), "{said}");
    let root = repository_with("identity_fp32", config);
    let forebay = Forebay::serve_from(root.path(), &["--instances", "1", "--exit-on-error", "false"]);
    assert_eq!(forebay.get("/v2/health/live").status, 200);
    assert_eq!(forebay.get("/v2/models/identity_fp32/ready").status, 404);
}

#[test]
fn a_scalar_is_a_one_as_triton_has_it() {
    let declared = "input [ { name: \"x\" data_type: TYPE_FP32 dims: [ 1 ] } ]
        output [ { name: \"y\" data_type: TYPE_FP32 dims: [ 1 ] } ]";
    let reshaped = declared.replace("[ 1 ]", "[ 1 ] reshape { shape: [ ] }");
    for config in ["", declared, &reshaped] {
        let forebay = serve("scalar_fp32", config);
        assert_eq!(metadata(&forebay, "scalar_fp32", "inputs")[0].1, json!([1]), "{config}");
        assert_eq!(metadata(&forebay, "scalar_fp32", "outputs")[0].1, json!([1]), "{config}");
        let answer = ask(&forebay, "scalar_fp32", &[tensor("x", &[1], &[2.5])]);
        assert_eq!(output(&answer), (json!([1]), json!([2.5])));
        let answer = ask(&forebay, "scalar_fp32", &[tensor("x", &[], &[2.5])]);
        assert!(answer.status == 400 && answer.error().contains("Expected [1], got []"), "{answer:?}");
    }
    for dims in ["[ 2 ]", "[ -1 ]"] {
        let said = refusal("scalar_fp32", &declared.replace("[ 1 ]", dims));
        assert!(said.contains("but the model has []"), "{said}");
    }
}

#[test]
fn a_scalar_of_a_batch_is_a_one_too() {
    let reshaped = "input [ { name: \"x\" data_type: TYPE_FP32 dims: [ 1 ] reshape { shape: [ ] } } ]
        output [ { name: \"y\" data_type: TYPE_FP32 dims: [ 1 ] reshape { shape: [ ] } } ]";
    for config in ["", reshaped] {
        let forebay = serve("vector_fp32", &format!("max_batch_size: 4 {config}"));
        assert_eq!(metadata(&forebay, "vector_fp32", "inputs")[0].1, json!([-1, 1]), "{config}");
        let answer = ask(&forebay, "vector_fp32", &[tensor("x", &[3, 1], &[1.0, 2.0, 3.0])]);
        assert_eq!(output(&answer), (json!([3, 1]), json!([1.0, 2.0, 3.0])));
        let config = forebay.get("/v2/models/vector_fp32/config").json();
        assert_eq!(config["input"][0]["dims"], json!([1]), "{config}");
        assert_eq!(config["input"][0]["reshape"], json!({ "shape": [] }), "{config}");
    }
}

#[test]
fn narrower_dims_are_told_and_held_to() {
    let config = r#"input [ { name: "x" data_type: TYPE_FP32 dims: [ 1, 2 ] } ]
        output [ { name: "y" data_type: TYPE_FP32 dims: [ 1, 2 ] } ]"#;
    let forebay = serve("identity_fp32", config);
    assert_eq!(metadata(&forebay, "identity_fp32", "inputs")[0].1, json!([1, 2]));
    assert_eq!(metadata(&forebay, "identity_fp32", "outputs")[0].1, json!([1, 2]));
    assert_eq!(
        output(&ask(&forebay, "identity_fp32", &[tensor("x", &[1, 2], &[1.0, 2.0])])).0,
        json!([1, 2])
    );
    let answer = ask(&forebay, "identity_fp32", &[tensor("x", &[2, 1], &[1.0, 2.0])]);
    assert!(answer.status == 400 && answer.error().contains("Expected [1,2], got [2,1]"), "{answer:?}");

    let of_outputs =
        format!(r#"input [ {X} ] output [ {{ name: "y" data_type: TYPE_FP32 dims: [ 1, 2 ] }} ]"#);
    let forebay = serve("identity_fp32", &of_outputs);
    let answer = ask(&forebay, "identity_fp32", &[tensor("x", &[2, 1], &[1.0, 2.0])]);
    assert!(
        answer.status == 500 && answer.error().contains("the configuration declares [1, 2]"),
        "{answer:?}"
    );
}

#[test]
fn only_the_outputs_that_are_listed_exist() {
    let forebay = serve("two_outputs", r#"output [ { name: "half" data_type: TYPE_FP32 dims: [ -1 ] } ]"#);
    assert_eq!(metadata(&forebay, "two_outputs", "outputs"), [("half".to_owned(), json!([-1, -1]))]);
    assert_eq!(output(&ask(&forebay, "two_outputs", &[tensor("x", &[1, 1], &[4.0])])).1, json!([2.0]));
    let body = json!({ "inputs": [tensor("x", &[1, 1], &[4.0])], "outputs": [{ "name": "double" }] });
    let answer = forebay.infer("two_outputs", &[], &body);
    assert!(
        answer.status == 400 && answer.error().contains("unexpected inference output 'double'"),
        "{answer:?}"
    );
    let config = forebay.get("/v2/models/two_outputs/config").json();
    assert_eq!(config["output"].as_array().unwrap().len(), 1, "{config}");
}

#[test]
fn fewer_inputs_than_the_model_needs_are_refused() {
    let said = refusal("add_fp32", "\ninput [ { name: \"a\" data_type: TYPE_FP32 dims: [ -1 ] } ]");
    assert!(
        said.contains("config.pbtxt:2") && said.contains("input \"b\" of the model is not declared"),
        "{said}"
    );
}

#[test]
fn a_request_may_leave_out_what_has_a_default() {
    let x = || tensor("x", &[1, 2], &[1.0, 3.0]);
    let optional =
        format!("input [ {X}, {{ name: \"factor\" data_type: TYPE_FP32 dims: [ 1 ] optional: true }} ] {Y}");
    for bound in [0, 1] {
        let parameter = format!("parameters {{ key: \"io_binding\" value {{ string_value: \"{bound}\" }} }}");
        let forebay = serve("scaled", &format!("{optional} {parameter}"));
        let inputs = [("x".to_owned(), json!([-1, -1])), ("factor".to_owned(), json!([1]))];
        assert_eq!(metadata(&forebay, "scaled", "inputs"), inputs);
        assert_eq!(output(&ask(&forebay, "scaled", &[x()])).1, json!([2.0, 6.0]));
        let factor = tensor("factor", &[1], &[10.0]);
        assert_eq!(output(&ask(&forebay, "scaled", &[factor, x()])).1, json!([10.0, 30.0]));
        assert_eq!(output(&ask(&forebay, "scaled", &[x()])).1, json!([2.0, 6.0]), "nothing is left of it");
        let answer = ask(&forebay, "scaled", &[tensor("factor", &[1], &[10.0])]);
        assert!(answer.status == 400 && answer.error().contains("between 1 and 2 inputs"), "{answer:?}");
    }
    // What isn't said to be an input is none.
    let forebay = serve("scaled", "");
    assert_eq!(metadata(&forebay, "scaled", "inputs").len(), 1);
    assert_eq!(output(&ask(&forebay, "scaled", &[x()])).1, json!([2.0, 6.0]));
    let answer = ask(&forebay, "scaled", &[x(), tensor("factor", &[1], &[10.0])]);
    assert!(
        answer.status == 400 && answer.error().contains("unexpected inference input 'factor'"),
        "{answer:?}"
    );
    for (model, config, expected) in [
        ("scaled", optional.replace("optional: true", ""), "declare it with optional: true"),
        (
            "identity_fp32",
            format!("input [ {} ] {Y}", X.replace('}', "optional: true }")),
            "no default for it",
        ),
    ] {
        let said = refusal(model, &config);
        assert!(said.contains(expected) && said.contains("config.pbtxt:1"), "{said}");
    }
}

#[test]
fn requests_with_and_without_an_optional_input_never_share_a_batch() {
    let config = r#"max_batch_size: 8
        dynamic_batching { preferred_batch_size: [ 2 ] max_queue_delay_microseconds: 1000000 }
        input [
            { name: "x" data_type: TYPE_FP32 dims: [ -1 ] },
            { name: "factor" data_type: TYPE_FP32 dims: [ 1 ] optional: true }
        ]"#;
    let forebay = serve("scaled_rows", config);
    let ask_both = |factors: [Option<f32>; 2]| {
        std::thread::scope(|scope| {
            for (value, factor) in [3.0, 4.0].into_iter().zip(factors) {
                let forebay = &forebay;
                scope.spawn(move || {
                    let factors = factor.map(|factor| tensor("factor", &[1, 1], &[factor]));
                    let inputs: Vec<Value> =
                        factors.into_iter().chain([tensor("x", &[1, 1], &[value])]).collect();
                    let answer = ask(forebay, "scaled_rows", &inputs);
                    assert_eq!(output(&answer).1, json!([value * factor.unwrap_or(2.0)]));
                });
            }
        });
        forebay.get("/v2/models/scaled_rows/stats").json()["model_stats"][0]["execution_count"].clone()
    };
    assert_eq!(ask_both([None, None]), 1);
    assert_eq!(ask_both([Some(5.0), Some(7.0)]), 2);
    assert_eq!(ask_both([None, Some(7.0)]), 4);
}
