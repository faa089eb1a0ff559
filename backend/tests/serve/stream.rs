//! Streams over gRPC: an answer a request, in order, each the last of its request.

use forebay_protocol::messages::{Choice, InferParameter, ModelInferRequest, ModelInferResponse};
use futures_util::StreamExt as _;
use http::uri::PathAndQuery;
use tonic::{Code, Request};
use tonic_prost::ProstCodec;

use crate::grpc::proto::ModelStreamInferResponse;
use crate::grpc::{Channel, channel, infer, raw};
use crate::process::{Forebay, repository_with};

const FINAL: &str = "triton_final_response";
const EMPTY_FINAL: &str = "triton_enable_empty_final_response";

fn asked(model: &str, id: &str) -> ModelInferRequest {
    ModelInferRequest { id: id.to_owned(), ..raw(model, "FP32", &[1, 1], &3.0_f32.to_le_bytes()) }
}

fn wishing(mut request: ModelInferRequest, choice: Choice) -> ModelInferRequest {
    request.parameters.insert(EMPTY_FINAL.to_owned(), InferParameter { choice: Some(choice) });
    request
}

/// The error of each answer, "" for none, and its response.
async fn stream(
    channel: &mut Channel,
    requests: Vec<ModelInferRequest>,
) -> Vec<(String, ModelInferResponse)> {
    channel.ready().await.unwrap();
    let path = PathAndQuery::from_static("/inference.GRPCInferenceService/ModelStreamInfer");
    let codec: ProstCodec<ModelInferRequest, ModelStreamInferResponse> = ProstCodec::default();
    let requests = Request::new(futures_util::stream::iter(requests));
    let answers = channel.streaming(requests, path, codec).await.unwrap().into_inner();
    answers
        .map(|answer| {
            let answer = answer.unwrap();
            (answer.error_message, answer.infer_response.unwrap())
        })
        .collect()
        .await
}

fn is_last(response: &ModelInferResponse) -> bool {
    let choice = response.parameters.get(FINAL).map(|parameter| &parameter.choice);
    assert!(matches!(choice, None | Some(Some(Choice::Bool(true)))), "{choice:?}");
    choice.is_some()
}

#[tokio::test]
async fn a_stream_answers_in_order_and_survives_a_wrong_request() {
    let forebay = Forebay::serve(&["--instances", "2"]);
    let requests = ["slow", "identity_fp32", "nope", "identity_fp32"].into_iter().enumerate();
    let requests = requests.map(|(index, model)| asked(model, &index.to_string())).collect();
    let answers = stream(&mut channel(&forebay), requests).await;
    let ids = answers.iter().map(|(_, response)| response.id.as_str());
    assert!(ids.eq(["0", "1", "2", "3"]), "{answers:?}");
    let errors: Vec<bool> = answers.iter().map(|(error, _)| !error.is_empty()).collect();
    assert_eq!(errors, [false, false, true, false]);
}

#[tokio::test]
async fn each_answer_on_a_stream_says_that_it_is_its_requests_last() {
    let forebay = Forebay::serve(&["--instances", "1"]);
    let channel = &mut channel(&forebay);
    let one = || asked("identity_fp32", "one");
    let wrong = wishing(one(), Choice::Int64(1));
    let requests = vec![
        one(),
        one(),
        wishing(one(), Choice::Bool(true)),
        wishing(one(), Choice::Bool(false)),
        wrong.clone(),
        asked("nope", "one"),
    ];
    let answers = stream(channel, requests).await;
    // Triton doesn't say it of what it did not begin.
    let last: Vec<bool> = answers.iter().map(|(_, response)| is_last(response)).collect();
    assert_eq!(last, [true, true, true, true, false, false], "{answers:?}");
    for (error, response) in &answers[..4] {
        assert_eq!(
            (error.as_str(), response.raw_output_contents.len(), response.parameters.len()),
            ("", 1, 1)
        );
    }
    let refusal = format!("invalid value type for '{EMPTY_FINAL}' parameter, expected bool_param.");
    assert_eq!(answers[4].0, refusal);

    // A call has one answer, which nobody has to be told; the wish is read all the same, and asks nothing of the model.
    let called = infer(channel, wishing(asked("identity_fp32", ""), Choice::Bool(true))).await.unwrap();
    assert!(called.parameters.is_empty() && called.raw_output_contents == answers[0].1.raw_output_contents);
    assert_eq!(infer(channel, wrong).await.unwrap_err().code(), Code::InvalidArgument);
    let mut reserved = asked("identity_fp32", "");
    reserved.parameters.insert(FINAL.to_owned(), InferParameter { choice: Some(Choice::Bool(true)) });
    assert_eq!(infer(channel, reserved).await.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(forebay.metric("nv_inference_exec_count", "identity_fp32"), 1, "all asked the same");
}

#[tokio::test]
async fn so_does_the_answer_of_a_run_that_failed() {
    // It gathers rows of `a` and `b` that have no common size.
    let repository = repository_with("add_fp32", "");
    let forebay = Forebay::serve_from(repository.path(), &["--instances", "1"]);
    let mut request = asked("add_fp32", "it");
    let mut second = request.inputs[0].clone();
    request.inputs[0].name = "a".to_owned();
    request.inputs[0].shape = vec![1, 2];
    second.name = "b".to_owned();
    second.shape = vec![1, 3];
    request.inputs.push(second);
    request.raw_input_contents = vec![vec![0; 8].into(), vec![0; 12].into()];
    let answers = stream(&mut channel(&forebay), vec![request]).await;
    let (error, response) = &answers[0];
    assert!(!error.is_empty() && is_last(response), "{answers:?}");
    assert_eq!((response.id.as_str(), response.model_name.as_str()), ("it", "add_fp32"));
}
