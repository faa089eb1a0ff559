//! What all requests may hold together, and how many connections there may be.

use axum::body::Body;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use rig::frames::framed;
use rig::http::{Connection, get, head, post};
use rig::process::until;
use tonic::Code;

use crate::client::{begun, fp32, send};
use crate::grpc::{channel, infer, raw};
use crate::process::{Forebay, refused, serve_command, test_repository};

const PATH: &str = "/v2/models/identity_uint8/infer";
const MEGABYTE: &[&str] =
    &["--instances", "1", "--max-body-bytes", "1000000", "--body-budget-bytes", "1000000", "--pool", "none"];

/// A client that has announced 900,000 bytes, and sent so many.
fn announced(forebay: &Forebay, sent: usize) -> Connection {
    let head = head("POST", PATH, &[("content-length", "900000")]);
    begun(forebay.http_port, &[head, vec![b' '; sent]].concat())
}

fn held(forebay: &Forebay) -> u64 {
    forebay.metric_line("forebay_body_bytes ")
}

#[test]
fn what_is_announced_takes_nothing_and_what_came_is_given_back() {
    let forebay = Forebay::serve(MEGABYTE);
    let waiting = announced(&forebay, 10);
    until("it came", || (held(&forebay) == 10).then_some(()));
    assert_eq!(forebay.infer_binary("identity_uint8", "UINT8", &[1, 600_000], &vec![7; 600_000]).status, 200);
    drop(waiting);
    let large = announced(&forebay, 600_000);
    until("it came", || (held(&forebay) == 600_000).then_some(()));
    let refused = forebay.infer_binary("identity_uint8", "UINT8", &[1, 600_000], &vec![7; 600_000]);
    assert_eq!((refused.status, refused.header("retry-after")), (503, "1"), "{refused:?}");
    assert!(refused.error().contains("--body-budget-bytes"), "{refused:?}");
    assert_eq!(forebay.infer("identity_fp32", &[], &fp32(&[1.0])).status, 200, "there is room for that");
    assert_eq!(forebay.metric_line("forebay_bodies_refused{reason=\"budget\"}"), 1);
    drop(large);
    until("all is given back", || (held(&forebay) == 0).then_some(()));
    assert_eq!(forebay.infer_binary("identity_uint8", "UINT8", &[1, 600_000], &vec![7; 600_000]).status, 200);
    assert_eq!(forebay.metric_line("forebay_body_budget_bytes"), 1_000_000);
}

#[test]
fn tensors_count_until_nothing_is_computed_on_them_though_their_client_has_left() {
    let forebay = Forebay::serve(&["--instances", "1", "--pool", "none"]);
    // Seconds, so that both are seen in the server.
    let asked = post("/v2/models/products/infer", &[], fp32(&[200_000.0]).to_string().as_bytes());
    let streams = [(); 2].map(|()| begun(forebay.http_port, &asked));
    // One is computed and one waits: the JSON is gone, a number of four bytes is left of each.
    until("both are tensors", || (held(&forebay) == 8).then_some(()));
    drop(streams);
    until("all is given back", || (held(&forebay) == 0).then_some(()));
}

#[tokio::test]
async fn one_budget_is_for_http_and_grpc() {
    let forebay = Forebay::serve(MEGABYTE);
    let mut channel = channel(&forebay);
    let request = || raw("identity_uint8", "UINT8", &[1, 600_000], &vec![7; 600_000]);
    infer(&mut channel, request()).await.unwrap();
    let large = announced(&forebay, 600_000);
    let held = || async {
        let port = forebay.metrics_port;
        let text = tokio::task::spawn_blocking(move || send(port, "GET", "/metrics", &[], b"").body);
        let text = String::from_utf8(text.await.unwrap()).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("forebay_body_bytes ").map(str::to_owned));
        line.unwrap()
    };
    while held().await != "600000" {}
    let refused = infer(&mut channel, request()).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
    assert!(refused.message().contains("--body-budget-bytes"), "{refused}");
    drop(large);
    while held().await != "0" {}
    infer(&mut channel, request()).await.unwrap();
}

#[test]
fn a_client_that_drips_is_refused() {
    let forebay = Forebay::serve(&["--instances", "1"]);
    let answer = announced(&forebay, 100).read().unwrap();
    assert!(answer.status == 408 && answer.error().contains("1024 bytes a second"), "{answer:?}");
    assert_eq!(forebay.metric_line("forebay_bodies_refused{reason=\"slow\"}"), 1);
}

#[tokio::test]
async fn a_message_of_a_stream_that_has_begun_must_come_and_the_next_may_wait() {
    let arguments = ["--instances", "1", "--body-timeout-secs", "0.2", "--min-body-rate", "0"];
    let forebay = Forebay::serve(&arguments);
    let client = Client::builder(TokioExecutor::new()).http2_only(true).build_http();
    let message = prost::Message::encode_to_vec(&raw("identity_uint8", "UINT8", &[1, 1], &[7]));
    let framed = framed(&message);
    let uri =
        format!("http://127.0.0.1:{}/inference.GRPCInferenceService/ModelStreamInfer", forebay.grpc_port);
    let call = async |pieces: Vec<Bytes>| {
        let pieces = stream::iter(pieces.into_iter().map(Ok::<_, std::io::Error>));
        // Nothing more comes after the pieces.
        let body = Body::from_stream(pieces.chain(stream::pending()));
        let request =
            http::Request::post(&uri).header("content-type", "application/grpc").body(body).unwrap();
        client.request(request).await.unwrap().into_body()
    };
    let whole = call(vec![framed.clone().into()]).await;
    let mut cut = call(vec![framed.clone().into(), framed[..9].to_vec().into()]).await;
    let mut trailers = None;
    while let Some(frame) = http_body_util::BodyExt::frame(&mut cut).await {
        trailers = frame.unwrap().into_trailers().ok();
    }
    let trailers = trailers.unwrap();
    assert_eq!(trailers["grpc-status"], "4", "{trailers:?}");
    let mut whole = whole;
    let answered = http_body_util::BodyExt::frame(&mut whole).await.unwrap().unwrap();
    assert!(answered.is_data(), "{answered:?}");
    let more = tokio::time::timeout(
        std::time::Duration::from_millis(500),
        http_body_util::BodyExt::frame(&mut whole),
    );
    assert!(more.await.is_err(), "it goes on waiting for the next message");
}

#[test]
fn connections_past_the_bound_are_closed_at_once() {
    let forebay = Forebay::serve(&["--instances", "1", "--max-connections", "2"]);
    let ask = |connection: &mut Connection| {
        let _ = connection.write(&get("/v2/health/live"));
        connection.read().map(|answer| answer.status == 200)
    };
    let connect = || Connection::open(forebay.http_port).unwrap();
    let mut taken = [connect(), connect()];
    assert!(taken.iter_mut().all(|connection| ask(connection).unwrap()));
    assert!(ask(&mut connect()).is_err());
    assert_eq!(forebay.metric_line("forebay_connections_refused"), 1);
    drop(taken);
    until("there is a place again", || ask(&mut connect()).ok());
}

#[test]
fn a_budget_that_one_body_can_spend_is_refused_at_start() {
    let arguments = ["--max-body-bytes", "2GiB", "--body-budget-bytes", "1GiB"];
    let (code, line) = refused(&mut serve_command(&test_repository(), &arguments));
    assert_eq!(code, Some(2), "{line}");
    assert!(line.contains("--body-budget-bytes") && line.contains("2147483648"), "{line}");
}
