//! V2 over gRPC: what a model computes arrives as over HTTP, and what is wrong is a status with Triton's code.

use std::io::{Read as _, Write as _};
use std::time::Duration;

use bytes::Bytes;
use forebay_protocol::messages::{
    InferInputTensor, InferRequestedOutputTensor, InferTensorContents, ModelInferRequest, ModelInferResponse,
};
use http::uri::PathAndQuery;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use prost::Message;
use tonic::codec::CompressionEncoding;
use tonic::{Code, Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tonic_prost::ProstCodec;

use crate::process::Forebay;

/// Written by the build script.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic, dead_code)]
pub(crate) mod proto {
    include!(concat!(env!("OUT_DIR"), "/inference.rs"));
}

pub(crate) const SERVICE: &str = "/inference.GRPCInferenceService";

pub(crate) type Channel = tonic::client::Grpc<Client<HttpConnector, tonic::body::Body>>;

pub(crate) fn channel(forebay: &Forebay) -> Channel {
    channel_at(forebay.grpc_port)
}

pub(crate) fn channel_at(port: u16) -> Channel {
    let client = Client::builder(TokioExecutor::new()).http2_only(true).build_http();
    let origin = format!("http://127.0.0.1:{port}").parse().unwrap();
    tonic::client::Grpc::with_origin(client, origin)
}

/// What comes of a call, with its metadata.
pub(crate) async fn answer<Asked, Answered>(
    channel: &mut Channel,
    path: &str,
    asked: Request<Asked>,
) -> Result<Response<Answered>, Status>
where
    Asked: Message + 'static,
    Answered: Message + Default + 'static,
{
    channel.ready().await.unwrap();
    let path: PathAndQuery = path.parse().unwrap();
    channel.unary(asked, path, ProstCodec::default()).await
}

pub(crate) async fn call<Asked, Answered>(
    channel: &mut Channel,
    path: &str,
    asked: Request<Asked>,
) -> Result<Answered, Status>
where
    Asked: Message + 'static,
    Answered: Message + Default + 'static,
{
    answer(channel, path, asked).await.map(Response::into_inner)
}

pub(crate) async fn ask<Asked, Answered>(
    channel: &mut Channel,
    method: &str,
    asked: Asked,
) -> Result<Answered, Status>
where
    Asked: Message + 'static,
    Answered: Message + Default + 'static,
{
    call(channel, &format!("{SERVICE}/{method}"), Request::new(asked)).await
}

pub(crate) async fn infer(
    channel: &mut Channel,
    request: ModelInferRequest,
) -> Result<ModelInferResponse, Status> {
    ask(channel, "ModelInfer", request).await
}

/// A request with the input `x` and raw contents.
pub(crate) fn raw(model: &str, datatype: &str, shape: &[i64], data: &[u8]) -> ModelInferRequest {
    let mut request = typed(model, datatype, shape, InferTensorContents::default());
    request.inputs[0].contents = None;
    request.raw_input_contents = vec![Bytes::copy_from_slice(data)];
    request
}

fn typed(model: &str, datatype: &str, shape: &[i64], contents: InferTensorContents) -> ModelInferRequest {
    let input = InferInputTensor {
        name: "x".into(),
        datatype: datatype.into(),
        shape: shape.to_vec(),
        contents: Some(contents),
        ..InferInputTensor::default()
    };
    ModelInferRequest { model_name: model.into(), inputs: vec![input], ..ModelInferRequest::default() }
}

fn fp32(model: &str, value: f32) -> ModelInferRequest {
    raw(model, "FP32", &[1, 1], &value.to_le_bytes())
}

#[tokio::test]
async fn it_tells_what_it_serves() {
    let forebay = Forebay::serve(&["--instances", "1"]);
    let channel = &mut channel(&forebay);
    let ready: proto::ServerReadyResponse =
        ask(channel, "ServerReady", proto::ServerReadyRequest {}).await.unwrap();
    assert!(ready.ready);
    let server: proto::ServerMetadataResponse =
        ask(channel, "ServerMetadata", proto::ServerMetadataRequest {}).await.unwrap();
    assert_eq!(server.name, "forebay");
    let named = |name: &str| proto::ModelReadyRequest { name: name.into(), version: String::new() };
    for (name, expected) in [("add_fp32", true), ("nope", false)] {
        let ready: proto::ModelReadyResponse = ask(channel, "ModelReady", named(name)).await.unwrap();
        assert_eq!(ready.ready, expected, "{name}");
    }
    let asked = proto::ModelMetadataRequest { name: "identity_bytes".into(), version: "1".into() };
    let metadata: proto::ModelMetadataResponse = ask(channel, "ModelMetadata", asked).await.unwrap();
    assert_eq!((metadata.inputs[0].datatype.as_str(), &metadata.inputs[0].shape), ("BYTES", &vec![-1, -1]));
    let asked = proto::ModelConfigRequest { name: "uncached".into(), version: String::new() };
    let config: proto::ModelConfigResponse = ask(channel, "ModelConfig", asked).await.unwrap();
    assert_eq!(config.config.unwrap().name, "uncached");
}

#[tokio::test]
async fn kubernetes_probes_get_their_answer() {
    let forebay = Forebay::serve(&["--instances", "1"]);
    let channel = &mut channel(&forebay);
    let asked = |service: &str| Request::new(HealthCheckRequest { service: service.into() });
    for service in ["", "inference.GRPCInferenceService"] {
        let health: HealthCheckResponse =
            call(channel, "/grpc.health.v1.Health/Check", asked(service)).await.unwrap();
        assert_eq!(health.status(), ServingStatus::Serving);
    }
    let unknown = call::<_, HealthCheckResponse>(channel, "/grpc.health.v1.Health/Check", asked("x")).await;
    assert_eq!(unknown.unwrap_err().code(), Code::NotFound);
}

// The client goes on while the test waits for the server's end: it has to close its connection.
#[tokio::test(flavor = "multi_thread")]
async fn who_watches_health_is_told_of_the_drain_and_does_not_hold_it_up() {
    let forebay = Forebay::serve(&["--instances", "1", "--drain-secs", "0.2"]);
    let channel = &mut channel(&forebay);
    let mut watched = Vec::new();
    for service in ["", "inference.GRPCInferenceService"] {
        channel.ready().await.unwrap();
        let path = PathAndQuery::from_static("/grpc.health.v1.Health/Watch");
        let asked = Request::new(HealthCheckRequest { service: service.into() });
        let codec: ProstCodec<HealthCheckRequest, HealthCheckResponse> = ProstCodec::default();
        let mut watching = channel.server_streaming(asked, path, codec).await.unwrap().into_inner();
        let first = watching.message().await.unwrap().unwrap();
        assert_eq!(first.status(), ServingStatus::Serving);
        watched.push(watching);
    }
    let began = std::time::Instant::now();
    forebay.terminate();
    for watching in &mut watched {
        let next = watching.message().await.unwrap().unwrap();
        assert_eq!(next.status(), ServingStatus::NotServing);
        assert!(watching.message().await.unwrap().is_none(), "it ends when the server closes");
    }
    assert_eq!(forebay.wait().code(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

#[tokio::test]
async fn raw_and_typed_contents_mean_the_same() {
    let forebay = Forebay::serve(&["--instances", "1"]);
    let channel = &mut channel(&forebay);
    let values = InferTensorContents { int_contents: vec![-1, 2], ..InferTensorContents::default() };
    let by_value = infer(channel, typed("identity_int16", "INT16", &[1, 2], values)).await.unwrap();
    let bytes = [255, 255, 2, 0];
    let by_bytes = infer(channel, raw("identity_int16", "INT16", &[1, 2], &bytes)).await.unwrap();
    assert_eq!(by_value, by_bytes);
    assert_eq!(by_bytes.raw_output_contents, [&bytes[..]]);
    // The second was answered from the pool: both have one digest.
    assert_eq!(forebay.metric("nv_cache_num_hits_per_model", "identity_int16"), 1);
    let values = InferTensorContents { fp32_contents: vec![1.0], ..InferTensorContents::default() };
    let refused = infer(channel, typed("identity_fp16", "FP16", &[1, 1], values)).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("raw_input_contents"), "{refused}");
}

#[tokio::test]
async fn an_answer_has_its_requests_id_and_the_outputs_in_the_requested_order() {
    let forebay = Forebay::serve(&["--instances", "1"]);
    let channel = &mut channel(&forebay);
    for names in [["half", "double"], ["double", "half"]] {
        let mut request = fp32("two_outputs", 2.0);
        request.id = names[0].into();
        let output = |name: &str| InferRequestedOutputTensor { name: name.into(), ..Default::default() };
        request.outputs = names.map(output).to_vec();
        let answer = infer(channel, request).await.unwrap();
        assert_eq!(answer.id, names[0]);
        assert!(answer.outputs.iter().map(|output| &*output.name).eq(names));
        let value = if names[0] == "half" { 1.0_f32 } else { 4.0 };
        assert_eq!(answer.raw_output_contents[0][..], value.to_le_bytes());
    }
}

#[tokio::test]
async fn compressed_messages_are_understood_and_answered() {
    let forebay = Forebay::serve(&["--instances", "1"]);
    let bytes: Vec<u8> = (0..40_000).map(|index: u32| u8::from(index.is_multiple_of(7))).collect();
    for encoding in [CompressionEncoding::Gzip, CompressionEncoding::Deflate, CompressionEncoding::Zstd] {
        let accepting = channel(&forebay).accept_compressed(encoding);
        let sending = accepting.clone().send_compressed(encoding);
        // Who only accepts it is answered as it asks: compressing costs more than most answers do.
        for (mut channel, said) in [(sending, Some(encoding.to_string())), (accepting, None)] {
            let request = Request::new(raw("identity_uint8", "UINT8", &[1, 40_000], &bytes));
            let path = format!("{SERVICE}/ModelInfer");
            let answer: Response<ModelInferResponse> = answer(&mut channel, &path, request).await.unwrap();
            let coding = answer.metadata().get("grpc-encoding").map(|coding| coding.to_str().unwrap());
            assert_eq!(coding, said.as_deref());
            assert_eq!(answer.get_ref().raw_output_contents[0], bytes);
        }
    }
}

#[tokio::test]
async fn wrong_requests_have_tritons_codes() {
    let forebay = Forebay::serve(&["--instances", "1", "--max-body-bytes", "100000"]);
    let channel = &mut channel(&forebay);
    let mut without_data = fp32("identity_fp32", 1.0);
    without_data.raw_input_contents.clear();
    let large = raw("identity_uint8", "UINT8", &[1, 100_000], &vec![0; 100_000]);
    for (request, code, expected) in [
        (fp32("nope", 1.0), Code::NotFound, "unknown model: 'nope'"),
        (raw("identity_fp32", "INT32", &[1, 1], &[0; 4]), Code::InvalidArgument, "data-type is 'INT32'"),
        (raw("identity_fp32", "FP32", &[1, 2], &[0; 4]), Code::InvalidArgument, "'x'"),
        (without_data, Code::InvalidArgument, "'x'"),
        (large, Code::OutOfRange, "too large"),
        (raw("identity_uint8", "UINT8", &[1, 400_001], &[0; 4]), Code::OutOfRange, "more than 400000 bytes"),
    ] {
        let status = infer(channel, request).await.unwrap_err();
        assert_eq!(status.code(), code, "{status}");
        assert!(status.message().contains(expected), "{status}");
    }
    let register = proto::SystemSharedMemoryRegisterRequest::default();
    let refused =
        ask::<_, proto::SystemSharedMemoryRegisterResponse>(channel, "SystemSharedMemoryRegister", register);
    let refused = refused.await.unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented);
    assert!(refused.message().contains("shared memory"));
    let unknown = ask::<_, ModelInferResponse>(channel, "NoSuchMethod", fp32("identity_fp32", 1.0)).await;
    assert_eq!(unknown.unwrap_err().code(), Code::Unimplemented);
}

#[tokio::test]
async fn a_deadline_that_passes_ends_the_call_and_frees_the_queue() {
    let forebay = Forebay::serve(&["--instances", "1", "--pool", "none"]);
    let channel = &mut channel(&forebay);
    // The first is computed when its time is over, the second waits.
    let (first, second) = (&mut channel.clone(), &mut channel.clone());
    let asks = [first, second].map(async |channel| {
        let mut request = Request::new(fp32("products", 20_000.0));
        request.set_timeout(Duration::from_millis(1));
        call::<_, ModelInferResponse>(channel, &format!("{SERVICE}/ModelInfer"), request).await
    });
    for status in futures_util::future::join_all(asks).await {
        assert_eq!(status.unwrap_err().code(), Code::DeadlineExceeded);
    }
    assert_eq!(infer(channel, fp32("identity_fp32", 2.0)).await.unwrap().outputs.len(), 1);
}

#[tokio::test]
async fn bytes_that_are_no_grpc_hurt_nobody() {
    let forebay = Forebay::serve(&["--instances", "1"]);
    let noise: Vec<u8> = (0..5000_u32).map(|index| (index * index % 251).to_le_bytes()[0]).collect();
    for bytes in [
        &noise[..],
        b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nxxxx",
    ] {
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", forebay.grpc_port)).unwrap();
        let mut answer = Vec::new();
        // A reset is an answer too, whenever it comes.
        let _ = stream.write_all(bytes);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let _ = stream.read_to_end(&mut answer);
    }
    let channel = &mut channel(&forebay);
    assert!(infer(channel, fp32("identity_fp32", 1.0)).await.is_ok());
}
