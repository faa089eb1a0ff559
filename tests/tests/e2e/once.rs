//! Equal requests of a whole mesh at once: several Envoys, several backends, each encoding, one inference.

use std::net::TcpStream;
use std::thread::{Scope, ScopedJoinHandle};

use e2e::grpc::{SERVICE, infer_request};
use e2e::http2;
use e2e::stack::{Pool, Running, Stack};
use rig::frames::{CALL, framed};
use rig::http::{Answer, Connection, post};
use rig::process::{Signal, until};
use rig::v2::{JSON, binary, fp32_binary, request};

/// It computes for seconds where its input says so.
const MODEL: &str = "products";
/// Requests at once in each Envoy: 500 for each of its workers.
const AT_ONCE: usize = 1000;
/// Connections of HTTP/2 in each Envoy.
const CALLERS: usize = 4;

fn mesh() -> Running {
    Stack::new().models(&[MODEL]).pool(Pool::Redis).workers(2).proxies(4).replicas(3).start()
}

/// An Envoy gets its requests, a third in each encoding, before the first answer is read.
fn sent<'s>(scope: &'s Scope<'s, '_>, port: u16, value: f32) -> Vec<ScopedJoinHandle<'s, Vec<Answer>>> {
    let path = format!("/v2/models/{MODEL}/infer");
    let json = post(&path, &JSON, request(&[value]).to_string().as_bytes());
    let (length, body) = fp32_binary(&[value]);
    let in_binary = post(&path, &binary(&length), &body);
    let third = AT_ONCE / 3;
    let by_http = [(json, third), (in_binary, third)].map(|(bytes, count)| {
        let mut connections: Vec<Connection<TcpStream>> =
            (0..count).map(|_| Connection::open(port).expect("Envoy accepts")).collect();
        scope.spawn(move || {
            for connection in &mut connections {
                connection.write(&bytes).expect("sent");
            }
            connections.iter_mut().map(|connection| connection.read().expect("an answer")).collect()
        })
    });
    let calls = (AT_ONCE - 2 * third) / CALLERS;
    let by_grpc = (0..CALLERS).map(|_| {
        let connection = http2::Connection::open(port).expect("Envoy accepts");
        let messages = vec![framed(&infer_request(MODEL, value)); calls];
        scope.spawn(move || connection.post(&format!("/{SERVICE}/ModelInfer"), &CALL, messages))
    });
    by_http.into_iter().chain(by_grpc).collect()
}

fn is_right(answer: &Answer, value: f32) -> bool {
    let is_whole = answer.status == 200 && matches!(answer.header("grpc-status"), "" | "0");
    let in_json = || answer.json()["outputs"][0]["data"][0] == value;
    is_whole && (answer.body.ends_with(&value.to_le_bytes()) || in_json())
}

/// All of them at all Envoys; meanwhile something happens.
fn ask_all(mesh: &Running, value: f32, meanwhile: impl FnOnce()) {
    std::thread::scope(|scope| {
        let ports = mesh.all_ports();
        let asked: Vec<_> = ports.iter().flat_map(|port| sent(scope, *port, value)).collect();
        meanwhile();
        let answers: Vec<Answer> = asked.into_iter().flat_map(|asked| asked.join().unwrap()).collect();
        assert!(answers.len() > ports.len() * (AT_ONCE - CALLERS), "{}", answers.len());
        for answer in answers {
            assert!(is_right(&answer, value), "{answer:?}");
        }
    });
    mesh.sound();
}

fn inferences(mesh: &Running) -> Vec<u64> {
    (0..mesh.backends.len()).map(|at| mesh.backend_metric(at, "nv_inference_count", MODEL)).collect()
}

#[test]
fn equal_requests_of_a_mesh_in_each_encoding_are_one_inference() {
    let mesh = mesh();
    ask_all(&mesh, 300_000.0, || {});
    assert_eq!(inferences(&mesh).iter().sum::<u64>(), 1, "{:?}", inferences(&mesh));
}

/// The backend that computes when each worker of each Envoy has sent one: it has a request more than wait there for another's result.
fn computing(mesh: &Running) -> usize {
    until("one computes, and all others wait", || {
        let figure = |name| -> Vec<u64> {
            (0..mesh.backends.len()).map(|at| mesh.backend_metric(at, name, MODEL)).collect()
        };
        let (asked, wait) = (figure("forebay_requests_in_progress"), figure("forebay_waiters"));
        let all = asked.iter().sum::<u64>();
        let computes = (0..asked.len()).find(|at| asked[*at] == wait[*at] + 1)?;
        (all >= 8 && wait.iter().sum::<u64>() + 1 == all).then_some(computes)
    })
}

#[test]
fn where_the_backend_that_computes_is_killed_one_more_computes_and_no_request_fails() {
    let mesh = mesh();
    let mut killed = usize::MAX;
    ask_all(&mesh, 600_000.0, || {
        killed = computing(&mesh);
        mesh.backends[killed].process.signal(Signal::KILL);
    });
    let others = (0..mesh.backends.len()).filter(|at| *at != killed);
    let inferences = others.map(|at| mesh.backend_metric(at, "nv_inference_count", MODEL));
    assert_eq!(inferences.sum::<u64>(), 1);
}

#[test]
fn where_the_pool_is_killed_each_backend_computes_at_most_once_and_no_request_fails() {
    let mesh = mesh();
    ask_all(&mesh, 300_000.0, || {
        computing(&mesh);
        mesh.servers[0].process.signal(Signal::KILL);
    });
    let inferences = inferences(&mesh);
    assert!(inferences.iter().all(|count| *count <= 1), "{inferences:?}");
}

#[test]
fn equal_requests_meet_at_one_server_through_whatever_proxy_and_others_spread() {
    const IDENTITY: &str = "identity_fp32";
    const KEYS: u8 = 24;
    let stack = Stack::new().pool(Pool::Redis).proxies(2).replicas(3).start();
    let computed = || {
        let of =
            |server| stack.backend_metric(server, "nv_inference_count", &format!("model=\"{IDENTITY}\""));
        [0, 1, 2].map(of)
    };
    // No cache answers, so that each request is one more at the server that it comes to.
    let anew = ("cache-control", "no-cache");
    let path = format!("/v2/models/{IDENTITY}/infer");
    let in_json = |port: u16, value: f32| {
        let body = request(&[value]).to_string();
        rig::http::send(port, &post(&path, &[JSON[0], anew], body.as_bytes())).expect("an answer")
    };
    let in_binary = |port: u16, value: f32| {
        let (length, body) = fp32_binary(&[value]);
        let headers = [&binary(&length)[..], &[anew]].concat();
        rig::http::send(port, &post(&path, &headers, &body)).expect("an answer")
    };
    let calls = stack.all_ports().into_iter().map(|port| {
        let connection = http2::Connection::open(port).expect("Envoy speaks HTTP/2");
        move |value: f32| {
            let headers = [&CALL[..], &[anew]].concat();
            let message = framed(&infer_request(IDENTITY, value));
            connection.post(&format!("/{SERVICE}/ModelInfer"), &headers, vec![message]).remove(0)
        }
    });
    let calls: Vec<_> = calls.collect();
    let (mut by_http, mut by_call) = ([0; 3], [0; 3]);
    for value in (0..KEYS).map(f32::from) {
        let before = computed();
        for port in stack.all_ports() {
            assert_eq!(in_json(port, value).status, 200);
            assert_eq!(in_binary(port, value).status, 200);
        }
        let between = computed();
        let called = calls.iter().map(|call| call(value).header("grpc-status").to_owned());
        assert_eq!(called.collect::<Vec<_>>(), ["0", "0"]);
        let after = computed();
        for (from, to, asked, met) in [(before, between, 4, &mut by_http), (between, after, 2, &mut by_call)]
        {
            let rose = [0, 1, 2].map(|server| to[server] - from[server]);
            let at = rose.iter().position(|count| *count > 0).expect("somebody computes");
            assert_eq!((rose[at], rose.iter().sum::<u64>()), (asked, asked), "{value}: {rose:?}");
            met[at] += 1;
        }
    }
    for met in [by_http, by_call] {
        assert!(met.iter().all(|keys| *keys > 0), "of {KEYS} keys the servers have {met:?}");
    }
    stack.sound();
}
