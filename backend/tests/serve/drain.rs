//! A signal to end loses nothing.

use bytes::Bytes;
use http_body_util::Empty;
use hyper::client::conn::http2::handshake;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rig::http::{self, Connection};
use rig::process::{PATIENCE, Signal, until};

use crate::client::fp32;
use crate::process::{Forebay, repository_with};

const READY: &str = "/v2/health/ready";
const LIVE: &str = "/v2/health/live";

#[test]
fn requests_in_flight_finish_and_the_end_is_clean() {
    loses_nothing(Signal::TERM);
}

#[test]
fn a_terminal_that_is_gone_ends_it_no_other_way() {
    loses_nothing(Signal::HUP);
}

/// Requests wait for more of their batch longer than it takes to see them all.
fn loses_nothing(signal: Signal) {
    let config = "max_batch_size: 8 dynamic_batching { preferred_batch_size: [ 6 ] max_queue_delay_microseconds: 5000000 }";
    let root = repository_with("identity_fp32", config);
    let forebay = Forebay::serve_from(root.path(), &["--instances", "1", "--drain-secs", "2"]);
    std::thread::scope(|scope| {
        let asks: Vec<_> = (0..5)
            .map(|number| {
                let forebay = &forebay;
                scope.spawn(move || forebay.infer("identity_fp32", &[], &fp32(&[number as f32])))
            })
            .collect();
        until("all are pending", || {
            (forebay.metric("forebay_requests_in_progress", "identity_fp32") == 5).then_some(())
        });
        forebay.signal(signal);
        until("it is not ready", || (forebay.get("/v2/health/ready").status == 503).then_some(()));
        for ask in asks {
            assert_eq!(ask.join().unwrap().status, 200);
        }
    });
    assert_eq!(forebay.wait().code(), Some(0));
}

#[test]
fn clients_over_http_1_1_are_told_to_go_when_the_drain_begins_and_lose_no_request() {
    let forebay = Forebay::serve(&["--instances", "1", "--drain-secs", "60", "--exit-timeout-secs", "90"]);
    let mut connection = Connection::open(forebay.http_port).unwrap();
    let mut ask = || {
        connection.write(&http::get(LIVE)).unwrap();
        connection.read().unwrap()
    };
    let before = ask();
    assert_eq!((before.status, before.header("connection")), (200, ""));
    forebay.signal(Signal::TERM);
    until("it is not ready", || (forebay.get(READY).status == 503).then_some(()));
    let told = ask();
    assert_eq!((told.status, told.header("connection")), (200, "close"), "though it goes on for a minute");
    let mut late = Connection::open(forebay.http_port).unwrap();
    late.write(&http::get(LIVE)).unwrap();
    assert_eq!(late.read().unwrap().header("connection"), "close", "who comes while it drains is told too");
}

#[tokio::test]
async fn clients_over_http_2_are_sent_goaway_when_the_drain_begins() {
    let forebay = Forebay::serve(&["--instances", "1", "--drain-secs", "60", "--exit-timeout-secs", "90"]);
    let (mut client, ended) = http_2(&forebay).await;
    forebay.signal(Signal::TERM);
    tokio::time::timeout(PATIENCE, ended).await.expect("it is told").unwrap().unwrap();
    assert!(client.ready().await.is_err());
    let (_, ended) = http_2(&forebay).await;
    tokio::time::timeout(PATIENCE, ended)
        .await
        .expect("who comes while it drains is told too")
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn connections_that_are_old_end_without_losing_a_request() {
    let forebay = Forebay::serve(&["--instances", "1", "--max-connection-age-secs", "0.2"]);
    let (mut client, ended) = http_2(&forebay).await;
    let mut connection = Connection::open(forebay.http_port).unwrap();
    until("it is told over HTTP/1.1", || {
        connection.write(&http::get(READY)).unwrap();
        let answer = connection.read().unwrap();
        assert_eq!(answer.status, 200);
        (answer.header("connection") == "close").then_some(())
    });
    tokio::time::timeout(PATIENCE, ended).await.expect("it is told").unwrap().unwrap();
    assert!(client.ready().await.is_err());
}

type Client = hyper::client::conn::http2::SendRequest<Empty<Bytes>>;

/// A connection that has asked something, and its end.
async fn http_2(forebay: &Forebay) -> (Client, tokio::task::JoinHandle<hyper::Result<()>>) {
    let stream = tokio::net::TcpStream::connect(("127.0.0.1", forebay.http_port)).await.unwrap();
    let (mut client, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let ended = tokio::spawn(connection);
    let request = ::http::Request::get(format!("http://test{LIVE}")).body(Empty::new()).unwrap();
    assert_eq!(client.send_request(request).await.unwrap().status(), 200);
    (client, ended)
}
