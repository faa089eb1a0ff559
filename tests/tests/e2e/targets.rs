//! Targets that a name, a query or a body without JSON makes odd: filter and backend read them alike, and nobody gets what is
//! another's.

use super::{HIT, STORED, is};
use e2e::stack::{Running, Stack};
use rig::http::{Answer, get, head, post, send};
use rig::process::until;
use rig::repository::{add, generated};
use rig::v2::{JSON, fp32, fp32_binary};

const MODEL: &str = "identity_fp32";
const RAW: [(&str, &str); 1] = [("inference-header-content-length", "0")];

/// A running stack whose backend has the FP32 identity under these names too, which takes batches of lists.
fn with(names: &[&str]) -> Running {
    let stack = Stack::new().start();
    let repository = &stack.backends[0].repository;
    for name in names {
        let config = format!(
            "name: \"{name}\" max_batch_size: 4 response_cache {{ enable: true }} \
             input {{ name: \"x\" data_type: TYPE_FP32 dims: [ -1 ] }} \
             parameters {{ key: \"forebay_max_age_s\" value {{ string_value: \"60\" }} }}"
        );
        add(repository, name, "model.onnx", generated(MODEL), &config);
    }
    stack
}

fn infer(stack: &Running, model: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    stack.send(&post(&format!("/v2/models/{model}/infer"), headers, body))
}

/// Waits until the backend has the model, and the filter knows what answers it.
fn until_stored(stack: &Running, model: &str) {
    let mut value = 1000.0;
    until("the model's answers are kept", || {
        value += 1.0;
        let first = infer(stack, model, &JSON, &fp32(&[value]));
        (first.status == 200 && infer(stack, model, &JSON, &fp32(&[value])).is_filters_hit()).then_some(())
    });
}

#[test]
fn a_name_has_one_answer_however_it_is_escaped() {
    let stack = with(&["my model", "mod\u{e9}le"]);
    for (one, others) in [
        (MODEL, ["%69dentity_fp32", "identity%5ffp32"]),
        ("my%20model", ["%6dy%20model", "m%79%20mode%6C"]),
        ("mod%C3%A9le", ["mod%c3%a9le", "%6D%6F%64%C3%A9%6C%65"]),
    ] {
        until_stored(&stack, one);
        is(&infer(&stack, one, &JSON, &fp32(&[1.0])), STORED);
        for other in others {
            let answer = infer(&stack, other, &JSON, &fp32(&[1.0]));
            is(&answer, HIT);
            assert!(answer.json()["model_name"].is_string(), "{other}");
        }
        assert_eq!(stack.send(&get(&format!("/v2/models/{one}/ready"))).status, 200, "{one}");
        let predicted =
            stack.send(&post(&format!("/v1/models/{one}:predict"), &JSON, br#"{"instances":[[1.0]]}"#));
        assert_eq!(predicted.status, 200, "{one}: {}", predicted.error());
    }
    for (other, status) in
        [("%256dy%20model", 404), ("my%2520model", 404), ("my%2Fmodel", 404), ("%ff", 400), ("%zz", 400)]
    {
        let answer = infer(&stack, other, &JSON, &fp32(&[1.0]));
        assert_eq!((answer.status, answer.is_filters_hit()), (status, false), "{other}: {}", answer.error());
    }
    stack.sound();
}

#[test]
fn with_a_query_only_the_very_same_request_is_answered() {
    let stack = Stack::new().start();
    is(&infer(&stack, MODEL, &JSON, &fp32(&[1.0])), STORED);
    let ask =
        |query: &str| stack.send(&post(&format!("/v2/models/{MODEL}/infer?{query}"), &JSON, &fp32(&[1.0])));
    is(&ask("a"), STORED);
    is(&ask("b"), STORED);
    is(&ask("a"), HIT);
    is(&infer(&stack, MODEL, &JSON, &fp32(&[1.0])), HIT);
    stack.sound();
}

#[test]
fn a_body_without_json_is_answered_again_only_to_the_same_bytes() {
    let stack = with(&["lists"]);
    until_stored(&stack, "lists");
    let bytes = |values: &[f32]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
    let raw = |values: &[f32]| {
        let answer = infer(&stack, "lists", &RAW, &bytes(values));
        let length: usize = answer.header(RAW[0].0).parse().expect("a length");
        assert_eq!(answer.body[length..], bytes(values), "its own answer");
        answer
    };
    is(&raw(&[1.0, 2.0]), STORED);
    is(&raw(&[1.0]), STORED);
    is(&raw(&[1.0, 2.0]), HIT);
    is(&raw(&[1.0]), HIT);
    // The same tensor with its JSON has a digest, by which the backend has kept it.
    let (length, body) = fp32_binary(&[1.0, 2.0]);
    let binary = infer(&stack, "lists", &[(RAW[0].0, &length)], &body);
    assert!(binary.nearest_cache().ends_with("detail=l2"), "{}", binary.cache_status());
    // What is wrong stays wrong.
    for _ in 0..2 {
        let odd = infer(&stack, "lists", &RAW, &[0; 5]);
        assert_eq!((odd.status, odd.is_filters_hit()), (400, false), "{}", odd.error());
        let several = infer(&stack, MODEL, &RAW, &[0; 4]);
        assert_eq!((several.status, several.is_filters_hit()), (400, false), "{}", several.error());
    }
    stack.sound();
}

#[test]
fn other_forms_of_a_target_are_the_same_or_refused() {
    let stack = Stack::new().start();
    let body = fp32(&[1.0]);
    is(&infer(&stack, MODEL, &JSON, &body), STORED);
    let length = body.len().to_string();
    let with = |target: &str| [head("POST", target, &[("content-length", &length)]), body.clone()].concat();
    is(&send(stack.port, &with("http://test/v2/models/identity_fp32/infer")).expect("an answer"), HIT);
    for target in [
        "/v2/models/identity_fp32/infer/",
        "//v2/models/identity_fp32/infer",
        "/v2/./models/identity_fp32/infer",
        "*",
    ] {
        let answer = send(stack.port, &with(target)).expect("an answer");
        assert!(
            (400..500).contains(&answer.status) && !answer.is_filters_hit(),
            "{target}: {}",
            answer.status
        );
    }
    stack.sound();
}
