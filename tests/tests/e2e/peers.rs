//! The defects that were reproduced in other servers' caches: none of them here.

use super::{HIT, STORED, is};
use e2e::stack::Stack;
use rig::v2::{JSON, binary, fp32, fp32_binary, request};
use serde_json::{Value, json};

fn names(answer: &Value) -> Vec<&str> {
    let outputs = answer["outputs"].as_array().map_or(&[][..], Vec::as_slice);
    outputs.iter().filter_map(|output| output["name"].as_str()).collect()
}

#[test]
fn a_request_for_all_outputs_gets_all_after_one_for_a_single_one() {
    let stack = Stack::new().models(&["two_outputs"]).start();
    let ask = |outputs: Value| {
        let mut body = request(&[4.0]);
        if !outputs.is_null() {
            body["outputs"] = outputs;
        }
        stack.infer("two_outputs", &JSON, body.to_string().as_bytes())
    };
    for _ in 0..2 {
        let one = ask(json!([{"name": "half"}]));
        assert_eq!((names(&one.json()), &one.json()["outputs"][0]["data"]), (vec!["half"], &json!([2.0])));
        let all = ask(Value::Null);
        assert_eq!(names(&all.json()).len(), 2, "{}", all.json());
        let turned = ask(json!([{"name": "half"}, {"name": "double"}]));
        assert_eq!(names(&turned.json()), ["half", "double"]);
    }
}

#[test]
fn parameters_that_may_change_the_result_are_part_of_the_key() {
    let stack = Stack::new().start();
    let with = |parameters: Value| {
        let mut body = request(&[1.0]);
        body["parameters"] = parameters;
        stack.infer("identity_fp32", &JSON, body.to_string().as_bytes())
    };
    is(&with(json!({})), STORED);
    is(&with(json!({"mode": 1})), STORED);
    is(&with(json!({"mode": 2})), STORED);
    is(&with(json!({"mode": 1})), HIT);
    is(&with(json!({})), HIT);
    // What only says how to send it, when, or for whom, is not.
    is(&with(json!({"priority": 1, "timeout": 1_000_000})), HIT);
}

#[test]
fn the_same_bytes_in_another_shape_are_another_request() {
    let stack = Stack::new().start();
    let shaped = |rows: usize, columns: usize| {
        let values = [1.0_f32, 2.0, 3.0, 4.0, 5.0, 6.0];
        let mut body = request(&values);
        body["inputs"][0]["shape"] = json!([rows, columns]);
        stack.infer("identity_fp32", &JSON, body.to_string().as_bytes())
    };
    is(&shaped(2, 3), STORED);
    let other = shaped(3, 2);
    is(&other, STORED);
    assert_eq!(other.json()["outputs"][0]["shape"], json!([3, 2]));
    is(&shaped(2, 3), HIT);
}

#[test]
fn another_model_never_gets_this_ones_answer() {
    let stack = Stack::new().models(&["identity_fp32", "slow"]).start();
    for _ in 0..2 {
        for model in ["identity_fp32", "slow"] {
            assert_eq!(stack.infer(model, &JSON, &fp32(&[1.0])).json()["model_name"], model);
        }
    }
    assert_eq!((stack.inferences("identity_fp32"), stack.inferences("slow")), (1, 1));
}

#[test]
fn headers_of_a_request_do_not_prevent_a_hit() {
    let stack = Stack::new().start();
    is(&stack.infer("identity_fp32", &JSON, &fp32(&[1.0])), STORED);
    for number in ["1", "2", "3"] {
        let headers = [JSON[0], ("x-request-id", number), ("traceparent", number), ("user-agent", number)];
        is(&stack.infer("identity_fp32", &headers, &fp32(&[1.0])), HIT);
        let mut body = request(&[1.0]);
        body["id"] = json!(number);
        is(&stack.infer("identity_fp32", &JSON, body.to_string().as_bytes()), HIT);
    }
}

#[test]
fn binary_tensors_are_served_and_an_answer_needs_no_id() {
    let stack = Stack::new().start();
    let (length, body) = fp32_binary(&[1.0]);
    for _ in 0..2 {
        let answer = stack.infer("identity_fp32", &binary(&length), &body);
        assert_eq!(answer.status, 200);
        assert!(!String::from_utf8_lossy(&answer.body).contains("\"id\""));
    }
}
