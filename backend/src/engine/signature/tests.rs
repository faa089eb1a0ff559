use forebay_protocol::messages::{Choice, InferInputTensor, InferParameter, InferRequestedOutputTensor};

use super::*;

fn spec(name: &str, datatype: DataType, shape: &[i64]) -> TensorSpec {
    TensorSpec { name: name.into(), datatype, shape: shape.to_vec(), is_optional: false }
}

fn signature() -> Signature {
    Signature {
        inputs: vec![spec("a", DataType::Fp32, &[-1, 2]), spec("s", DataType::Int64, &[])],
        outputs: vec![spec("x", DataType::Fp32, &[-1]), spec("y", DataType::Bytes, &[-1])],
    }
}

fn request(inputs: &[(&str, &str, &[i64])], outputs: &[&str]) -> ModelInferRequest {
    let input = |(name, datatype, shape): &(&str, &str, &[i64])| InferInputTensor {
        name: (*name).into(),
        datatype: (*datatype).into(),
        shape: shape.to_vec(),
        ..InferInputTensor::default()
    };
    let output = |name: &&str| InferRequestedOutputTensor { name: (*name).into(), ..Default::default() };
    ModelInferRequest {
        model_name: "m".into(),
        inputs: inputs.iter().map(input).collect(),
        outputs: outputs.iter().map(output).collect(),
        ..ModelInferRequest::default()
    }
}

const A: (&str, &str, &[i64]) = ("a", "FP32", &[3, 2]);
const S: (&str, &str, &[i64]) = ("s", "INT64", &[]);

fn refused(request: &ModelInferRequest, max_batch_size: i32) -> String {
    signature().check(request, max_batch_size).unwrap_err().to_string()
}

#[test]
fn a_fitting_request_gets_its_outputs_in_the_order_it_asked() {
    assert_eq!(signature().check(&request(&[S, A], &[]), 0), Ok(vec![0, 1]));
    assert_eq!(signature().check(&request(&[A, S], &["y", "x"]), 0), Ok(vec![1, 0]));
}

#[test]
fn what_does_not_fit_is_named() {
    for (inputs, outputs, expected) in [
        (vec![A, S, ("z", "FP32", &[1_i64][..])], vec![], "unexpected inference input 'z' for model 'm'"),
        (vec![A, A], vec![], "input 'a' already exists in request for model 'm'"),
        (
            vec![A],
            vec![],
            "expected 2 inputs but got 1 inputs for model 'm'. Missing required input(s) ['s']",
        ),
        (vec![("a", "FP64", &[3, 2]), S], vec![], "data-type is 'FP64', but model 'm' expects 'FP32'"),
        (vec![("a", "FP32", &[3, 3]), S], vec![], "'a' for model 'm'. Expected [-1,2], got [3,3]"),
        (vec![("a", "FP32", &[2]), S], vec![], "Expected [-1,2], got [2]"),
        (vec![A, ("s", "INT64", &[1])], vec![], "Expected [], got [1]"),
        (vec![A, S], vec!["q"], "unexpected inference output 'q' for model 'm'"),
        (vec![A, S], vec!["x", "x"], "output 'x' is requested twice"),
    ] {
        let error = refused(&request(&inputs, &outputs), 0);
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_batch_over_the_limit_is_refused() {
    assert!(signature().check(&request(&[A, S], &[]), 3).is_ok());
    assert!(refused(&request(&[A, S], &[]), 2).contains("batch-size must be <= 2 for 'm'"));
}

#[test]
fn classification_wants_a_whole_number() {
    let mut request = request(&[A, S], &["x"]);
    let mut ask = |choice| {
        request.outputs[0].parameters.insert("classification".into(), InferParameter { choice });
        signature().check(&request, 0).map_err(|error| error.to_string())
    };
    assert!(ask(Some(Choice::Int64(3))).is_ok());
    for wrong in [None, Some(Choice::Int64(-1)), Some(Choice::String("3".into()))] {
        assert!(ask(wrong).unwrap_err().contains("'classification' of output 'x'"));
    }
}

#[test]
fn an_input_with_a_default_may_be_left_out_and_others_may_not() {
    let mut signature = signature();
    signature.inputs[1].is_optional = true;
    assert!(signature.check(&request(&[A], &[]), 0).is_ok());
    assert!(signature.check(&request(&[S, A], &[]), 0).is_ok());
    let error = signature.check(&request(&[S], &[]), 0).unwrap_err().to_string();
    assert!(error.contains("expected between 1 and 2 inputs but got 1 inputs for model 'm'"), "{error}");
    assert!(error.contains("['a']"), "{error}");
}
