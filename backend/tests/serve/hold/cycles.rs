//! From nothing to some backends and back, as a cluster does it: who is scaled by, starts and ends them, and how often, is counted.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;

use rig::http::{Connection, request};
use rig::process::{not_tested, until};
use rig::v2::{JSON, fp32};

use super::elastic::{ADDRESSES, Elastic, Names, PATH, is_right, patient};
use super::operator::Operator;
use crate::mesh::Mesh;
use crate::process::{Forebay, test_repository};

const CYCLES: u16 = 100;
/// In each so many there is more to do than one replica takes.
const BUSY_EVERY: u16 = 10;
/// What one replica takes, and who asks then, one request after the other.
const EACH: &str = "4";
const CLIENTS: usize = 12;
/// The last backend's end, where nobody asks any more, and where all do: time to look away.
const ENDS: [&str; 4] = ["--drain-secs", "0.1", "--exit-timeout-secs", "30"];
const ENDS_SLOWLY: [&str; 4] = ["--drain-secs", "2", "--exit-timeout-secs", "60"];

/// New ones, each of which no other request has.
struct Values(AtomicU32);

impl Values {
    fn new() -> Self {
        Self(AtomicU32::new(1))
    }

    fn next(&self) -> f32 {
        self.0.fetch_add(1, Ordering::Relaxed) as f32
    }
}

#[test]
fn a_hundred_times_from_nothing_to_some_and_back_no_request_is_lost_and_each_wake_is_one() {
    let names = Names::of_three();
    let most = if names.is_some() { ADDRESSES.len() } else { 1 };
    if most == 1 {
        not_tested("more than one replica: a process may not have its own names here");
    }
    // Who is in progress stays so for a moment, and is seen.
    let repository = patient(20_000);
    let look = ["--scaler-port", "0", "--scaler-look-secs", "0.05"];
    let elastic = Elastic::named(Mesh::redis(), names.as_ref(), &look);
    let (place, root) = (elastic.place, repository.path().to_owned());
    let arguments: Vec<String> = elastic.mesh.arguments(&ENDS).into_iter().map(str::to_owned).collect();
    let start = move |number: usize| {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        Forebay::start(place.serve(ADDRESSES[number], &root, &arguments))
    };
    let operator = Operator::start((elastic.gate.scaler_port, &[("requests", EACH)]), most, start);
    let (values, mut known) = (Values::new(), Vec::new());
    for cycle in 1..=CYCLES {
        for value in known.iter().rev().take(3) {
            let hit = elastic.asked(*value);
            is_right(&hit, *value);
            assert_eq!(hit.cache_status(), "forebay-gate; hit");
        }
        let value = values.next();
        let mut miss = elastic.ask(value);
        if cycle % BUSY_EVERY == 0 {
            busy(&elastic, &values, || operator.until_replicas(most));
        }
        let miss = miss.read().unwrap();
        is_right(&miss, value);
        assert!(miss.cache_status().contains("forebay-gate; fwd=uri-miss; detail=held"), "{miss:?}");
        known.push(value);
        operator.until_replicas(0);
        assert_eq!(elastic.gate.metric_line("forebay_hold_wakes"), operator.wakes());
    }
    // On a machine that stands still for a while the operator may end them in the middle of a cycle, too.
    assert!(operator.wakes() >= u64::from(CYCLES), "{}", operator.wakes());
    operator.ended();
    elastic.until_held(0);
    assert_eq!(elastic.gate.metric_line("forebay_hold_refused"), 0);
}

/// Many ask, one request after the other each, until that is done.
fn busy<T>(elastic: &Elastic, values: &Values, done: impl FnOnce() -> T) -> T {
    let enough = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let mut connection = Connection::open(elastic.gate.http_port).unwrap();
                while !enough.load(Ordering::Relaxed) {
                    ask_on(&mut connection, values.next());
                }
            });
        }
        let _enough = Enough(&enough);
        done()
    })
}

/// It is, also where a test has failed.
struct Enough<'a>(&'a AtomicBool);

impl Drop for Enough<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn ask_on(connection: &mut Connection, value: f32) {
    connection.write(&request("POST", PATH, &JSON, &fp32(&[value]))).unwrap();
    is_right(&connection.read().unwrap(), value);
}

#[test]
fn who_comes_while_the_last_backend_ends_is_answered_by_it_or_by_the_next() {
    let elastic = Elastic::asleep(Mesh::redis(), &[]);
    let (values, root) = (Values::new(), test_repository());
    let mut backend = elastic.wakes_with(&root, &ENDS_SLOWLY);
    for _ in 0..5 {
        backend = busy(&elastic, &values, || {
            until("it answers", || {
                (backend.metric("nv_inference_count", "identity_fp32") > 20).then_some(())
            });
            let said = backend.ended();
            assert!(!said.contains("cut"), "{said}");
            elastic.until_held(CLIENTS as u64);
            elastic.wakes_with(&root, &ENDS_SLOWLY)
        });
    }
    assert_eq!(elastic.gate.metric_line("forebay_hold_refused"), 0);
}

#[test]
fn a_backend_that_answers_stays_one_while_a_dns_server_does_not_know_it_yet() {
    let Some(names) = Names::of_three() else {
        not_tested("names that change: a process may not have its own here");
        return;
    };
    let (values, root) = (Values::new(), test_repository());
    let elastic = Elastic::named(Mesh::redis(), Some(&names), &[]);
    let mut first = elastic.ask(values.next());
    let backend = elastic.wakes_with(&root, &ENDS);
    assert_eq!(first.read().unwrap().status, 200);
    busy(&elastic, &values, || {
        let answered = || backend.metric("nv_inference_count", "identity_fp32");
        // There, nobody is.
        names.stand_for(&ADDRESSES[2..]);
        let before = answered();
        until("many more are answered", || (answered() > before + 1000).then_some(()));
    });
    assert_eq!(elastic.gate.metric_line("forebay_hold_wakes"), 1);
}
