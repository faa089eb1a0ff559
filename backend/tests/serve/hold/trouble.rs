//! What goes wrong while requests are held, and what it comes to: an answer, or an error in time that says what was.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rig::http::{Answer, Connection, pretend, request};
use rig::process::{Signal, until};
use rig::v2::{JSON, fp32};

use super::elastic::{Elastic, PATH, asks, is_right, patient, until_held};
use crate::client::{begun, send};
use crate::mesh::Mesh;
use crate::process::Forebay;

/// A minute: as long as a batch waits that is never full.
const FOR_LONG: u32 = 60_000_000;

/// A request that may wait so long.
fn within(gate: &Forebay, value: f32, ms: &str) -> Connection {
    let headers = [&JSON[..], &[("x-envoy-expected-rq-timeout-ms", ms)]].concat();
    begun(gate.http_port, &request("POST", PATH, &headers, &fp32(&[value])))
}

fn in_progress(backend: &Forebay) -> u64 {
    backend.metric("forebay_requests_in_progress", "identity_fp32")
}

#[test]
fn who_was_taken_and_not_answered_in_time_is_told_so_and_not_that_no_backend_was_ready() {
    let elastic = Elastic::asleep(Mesh::redis(), &[]);
    let repository = patient(FOR_LONG);
    let backend = elastic.wakes_with(repository.path(), &[]);
    let mut taken = within(&elastic.gate, 1.0, "5000");
    until("a backend has it", || (in_progress(&backend) == 1).then_some(()));
    let equal = within(&elastic.gate, 1.0, "500").read().unwrap();
    assert_eq!((equal.status, equal.header("retry-after")), (504, ""), "{equal:?}");
    assert!(equal.error().contains("a backend is awake, and has not answered an equal request"), "{equal:?}");
    let taken = taken.read().unwrap();
    assert_eq!((taken.status, taken.header("retry-after")), (504, ""), "{taken:?}");
    assert!(taken.error().contains("a backend took the request and did not answer it"), "{taken:?}");
    assert_eq!(elastic.gate.metric_line("forebay_hold_refused{reason=\"unanswered\"}"), 2);
    elastic.until_held(0);
    until("the backend has forgotten it too", || (in_progress(&backend) == 0).then_some(()));
}

/// A backend that says whether it is ready, and breaks each connection off that an inference comes by.
struct Breaks {
    port: u16,
    inferences: Arc<AtomicU64>,
    /// By which names it was asked.
    names: Arc<Mutex<BTreeSet<String>>>,
}

impl Breaks {
    fn start(status: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (port, inferences) = (listener.local_addr().unwrap().port(), Arc::<AtomicU64>::default());
        let names = Arc::<Mutex<BTreeSet<String>>>::default();
        let (counted, noted) = (inferences.clone(), names.clone());
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (counted, noted) = (counted.clone(), noted.clone());
                thread::spawn(move || treat(stream, status, &counted, &noted));
            }
        });
        Self { port, inferences, names }
    }

    fn gate(&self, mesh: &Mesh, more: &[&str]) -> Forebay {
        let held_for = format!("http://127.0.0.1:{}", self.port);
        let hold = ["--hold-for", &held_for, "--hold-ports", "0,0"];
        Forebay::gate(&mesh.arguments(&[&hold, more].concat()))
    }

    fn inferences(&self) -> u64 {
        self.inferences.load(Ordering::SeqCst)
    }
}

fn treat(stream: TcpStream, status: &str, inferences: &AtomicU64, names: &Mutex<BTreeSet<String>>) {
    let mut reader = BufReader::new(stream);
    let (mut line, mut is_inference) = (String::new(), false);
    while reader.read_line(&mut line).is_ok_and(|read| read > 0) {
        is_inference |= line.starts_with("POST");
        if let Some(name) = line.to_ascii_lowercase().strip_prefix("host:") {
            names.lock().unwrap().insert(name.trim().to_owned());
        }
        // The end of a head.
        if line.trim().is_empty() {
            if is_inference {
                inferences.fetch_add(1, Ordering::SeqCst);
                return;
            }
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
            if reader.get_mut().write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
        line.clear();
    }
}

#[test]
fn a_backend_that_never_gets_ready_costs_each_request_its_time_and_gets_none() {
    let (mesh, backend) = (Mesh::redis(), Breaks::start("503 Service Unavailable"));
    let gate = backend.gate(&mesh, &["--hold-timeout-secs", "1"]);
    let began = Instant::now();
    // Two of them are equal: who waits for the other one is told the same.
    let mut held = [1.0, 1.0, 2.0].map(|value| asks(&gate, value));
    for held in &mut held {
        let late = held.read().unwrap();
        assert_eq!(late.status, 503, "{late:?}");
        assert!(late.error().contains("no backend was ready"), "{late:?}");
        assert!(late.header("retry-after").parse::<u64>().unwrap() >= 1, "{late:?}");
    }
    assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
    assert_eq!(backend.inferences(), 0);
    until_held(&gate, 0);
    // At most one more, when all but the one that waited for its equal have left.
    assert!((1..=2).contains(&gate.metric_line("forebay_hold_wakes")));
}

#[test]
fn an_address_at_which_nobody_answers_is_no_backend_and_one_is_wanted() {
    let (mesh, port) = (Mesh::redis(), pretend(|_| {}));
    let held_for = format!("http://127.0.0.1:{port}");
    let gate = Forebay::gate(&mesh.arguments(&["--hold-for", &held_for, "--hold-ports", "0,0"]));
    let _held = asks(&gate, 1.0);
    until_held(&gate, 1);
    until("one is wanted", || (gate.metric_line("forebay_hold_wakes") == 1).then_some(()));
}

#[test]
fn a_backend_that_breaks_off_at_each_request_gets_each_once() {
    let (mesh, backend) = (Mesh::redis(), Breaks::start("200 OK"));
    let gate = backend.gate(&mesh, &[]);
    let mut held: Vec<Connection> = (0..20_u8).map(|value| asks(&gate, f32::from(value))).collect();
    for held in &mut held {
        let broken = held.read().unwrap();
        assert_eq!((broken.status, broken.error().contains("broke off")), (503, true), "{broken:?}");
    }
    assert_eq!(backend.inferences(), 20);
    assert_eq!(gate.metric_line("forebay_hold_wakes"), 0, "it was there all the time");
    // In a mesh the name that the client asked for leads back to the gate.
    let own = format!("127.0.0.1:{}", backend.port);
    assert_eq!(*backend.names.lock().unwrap(), BTreeSet::from([own]), "asked by its own name alone");
}

#[test]
fn a_backend_that_is_killed_takes_those_with_it_that_it_had_and_the_next_answers_the_others() {
    let elastic = Elastic::asleep(Mesh::redis(), &[]);
    let mut held: Vec<Connection> = (0..10_u8).map(|value| elastic.ask(f32::from(value))).collect();
    elastic.until_held(10);
    let repository = patient(FOR_LONG);
    let backend = elastic.wakes_with(repository.path(), &[]);
    // So many it gets before it has answered any.
    until("it has some", || (in_progress(&backend) == 4).then_some(()));
    backend.signal(Signal::KILL);
    backend.wait();
    until("another one is wanted", || (elastic.gate.metric_line("forebay_hold_wakes") == 2).then_some(()));
    elastic.until_held(6);
    let _next = elastic.wakes();
    let answers: Vec<Answer> = held.iter_mut().map(|held| held.read().unwrap()).collect();
    let broken = answers.iter().filter(|answer| answer.status == 503 && answer.error().contains("broke off"));
    assert_eq!(broken.count(), 4, "{answers:?}");
    for (answer, value) in answers.iter().zip(0_u8..).filter(|(answer, _)| answer.status != 503) {
        is_right(answer, f32::from(value));
    }
    assert_eq!(elastic.gate.metric_line("forebay_hold_wakes"), 2);
}

#[test]
fn who_waits_while_the_gate_ends_is_answered_if_a_backend_wakes_in_time() {
    let elastic = Elastic::asleep(Mesh::redis(), &["--drain-secs", "60", "--exit-timeout-secs", "90"]);
    let mut held = elastic.ask(1.0);
    elastic.until_held(1);
    elastic.gate.terminate();
    let health = |of: &str| elastic.gate.get(&format!("/v2/health/{of}")).status;
    until("proxies are told to look away", || (health("ready") == 503).then_some(()));
    assert_eq!(health("live"), 200);
    let mut late = elastic.ask(2.0);
    elastic.until_held(2);
    let _backend = elastic.wakes();
    is_right(&held.read().unwrap(), 1.0);
    is_right(&late.read().unwrap(), 2.0);
}

#[test]
fn who_waits_when_the_gate_has_ended_is_told_to_come_again() {
    let elastic = Elastic::asleep(Mesh::redis(), &["--drain-secs", "0"]);
    let mut held = [1.0, 2.0].map(|value| elastic.ask(value));
    elastic.until_held(2);
    elastic.gate.terminate();
    for held in &mut held {
        let told = held.read().unwrap();
        assert_eq!((told.status, told.error().contains("this gate ends")), (503, true), "{told:?}");
        assert!(told.header("retry-after").parse::<u64>().unwrap() >= 1, "{told:?}");
    }
    let said = elastic.gate.until_ended();
    assert!(!said.contains("cut"), "{said}");
}

#[test]
fn without_its_pool_a_gate_goes_on_holding_and_handing_over() {
    for mesh in Mesh::each() {
        let mut elastic = Elastic::asleep(mesh, &[]);
        elastic.mesh.kill();
        let mut held = elastic.ask(1.0);
        elastic.until_held(1);
        let backend = elastic.wakes();
        is_right(&held.read().unwrap(), 1.0);
        elastic.mesh.restart();
        until("the pool answers again", || {
            (elastic.asked(1.0).cache_status() == "forebay-gate; hit").then_some(())
        });
        drop(backend);
        is_right(&elastic.asked(1.0), 1.0);
    }
}

#[test]
fn who_sends_a_body_slowly_has_no_place_in_line_and_is_not_waited_for() {
    let elastic = Elastic::asleep(Mesh::redis(), &["--body-timeout-secs", "0.2", "--hold-requests", "1"]);
    let slow: Vec<Connection> = (0..20)
        .map(|_| {
            let head = rig::http::head("POST", PATH, &[JSON[0], ("content-length", "1000")]);
            begun(elastic.gate.http_port, &head)
        })
        .collect();
    let held = elastic.ask(1.0);
    elastic.until_held(1);
    for mut slow in slow {
        let answer = slow.read().unwrap();
        assert_eq!((answer.status, answer.error().contains("0.2 seconds")), (408, true), "{answer:?}");
    }
    drop(held);
    until_held(&elastic.gate, 0);
    let chunked = [JSON[0], ("transfer-encoding", "chunked")];
    assert_eq!(send(elastic.gate.http_port, "POST", PATH, &chunked, b"5\r\n").status, 408);
}
