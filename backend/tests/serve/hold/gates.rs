//! Two gates of one service: each tells what waits at both, and one that is gone takes nobody with it but those who waited at it.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use rig::http::{Connection, request};
use rig::process::{Signal, until};
use rig::v2::{JSON, fp32};

use super::elastic::{Elastic, PATH, asks, is_right, until_held};
use super::keda::Asking;
use crate::client::begun;
use crate::mesh::Mesh;
use crate::process::Forebay;

/// No gate is believed to hold more.
const MOST: f64 = 1_048_576.0;
const SCALES: [&str; 4] = ["--scaler-port", "0", "--scaler-look-secs", "0.1"];

#[test]
fn what_waits_at_the_other_gate_wakes_and_is_counted() {
    for mesh in Mesh::each() {
        let elastic = Elastic::asleep(mesh, &SCALES);
        let other = elastic.another_gate(&[]);
        let mut keda = Asking::at(elastic.gate.scaler_port, &[]);
        let mut told = keda.stream().unwrap();
        assert!(!keda.next(&mut told), "nobody waits");
        let mut held: Vec<Connection> = (0..3_u8).map(|value| asks(&other, f32::from(value))).collect();
        until_held(&other, 3);
        assert!(keda.next(&mut told), "somebody waits at the other");
        until("they are counted", || (keda.metric("forebay-requests").unwrap() >= 3.0).then_some(()));
        assert_eq!(elastic.gate.metric_line("forebay_held_requests"), 0);
        let mut own = elastic.ask(3.0);
        until("both are counted", || (keda.metric("forebay-requests").unwrap() >= 4.0).then_some(()));
        let backend = elastic.wakes();
        for (held, value) in held.iter_mut().chain([&mut own]).zip([0.0, 1.0, 2.0, 3.0]) {
            is_right(&held.read().unwrap(), value);
        }
        until("nobody waits anywhere", || {
            (elastic.gate.metric_line("forebay_held_elsewhere") == 0
                && keda.metric("forebay-requests").unwrap() < 0.5)
                .then_some(())
        });
        assert!(!keda.next(&mut told), "all are answered");
        drop(backend);
    }
}

#[test]
fn a_gate_that_is_killed_while_it_holds_loses_its_own_connections_and_a_repeat_is_answered_by_the_other() {
    for mesh in Mesh::each() {
        let elastic = Elastic::asleep(mesh, &SCALES);
        let other = elastic.another_gate(&[]);
        let mut keda = Asking::at(elastic.gate.scaler_port, &[]);
        let mut lost = asks(&other, 1.0);
        let mut kept = elastic.ask(2.0);
        until("both are counted", || (keda.metric("forebay-requests").unwrap() >= 2.0).then_some(()));
        other.signal(Signal::KILL);
        assert!(lost.read().is_err(), "its connection is gone");
        let mut again = elastic.ask(1.0);
        elastic.until_held(2);
        // What the dead one said is over in some seconds: one waits there no more, and it is no third one.
        until("it is not counted any more", || {
            (elastic.gate.metric_line("forebay_held_elsewhere") == 0).then_some(())
        });
        let _backend = elastic.wakes();
        is_right(&again.read().unwrap(), 1.0);
        is_right(&kept.read().unwrap(), 2.0);
    }
}

#[test]
fn a_gate_that_starts_anew_knows_from_the_others_how_long_a_wake_takes() {
    for mesh in Mesh::each() {
        let elastic = Elastic::asleep(mesh, &[]);
        let began = Instant::now();
        let mut held = elastic.ask(1.0);
        elastic.until_held(1);
        let backend = elastic.wakes();
        is_right(&held.read().unwrap(), 1.0);
        let took = began.elapsed().as_secs() + 1;
        drop(backend);
        let anew = elastic.another_gate(&[]);
        let short = [&JSON[..], &[("x-envoy-expected-rq-timeout-ms", "1")]].concat();
        let short = request("POST", PATH, &short, &fp32(&[2.0]));
        until("it was told", || {
            let late = begun(anew.http_port, &short).read().unwrap();
            assert_eq!(late.status, 503, "{late:?}");
            (late.header("retry-after").parse::<u64>().unwrap() <= took).then_some(())
        });
    }
}

#[test]
fn gates_that_disagree_whether_a_backend_is_there_hold_what_they_must_and_lose_nothing() {
    let elastic = Elastic::asleep(Mesh::redis(), &SCALES);
    // This one looks for backends where none ever is.
    let blind = ["--hold-for", "http://127.0.0.1:1", "--hold-ports", "0,0"];
    let blind = Forebay::gate(&elastic.mesh.arguments(&blind));
    let mut keda = Asking::at(elastic.gate.scaler_port, &[]);
    let _backend = elastic.wakes();
    is_right(&elastic.asked(1.0), 1.0);
    let held = asks(&blind, 2.0);
    until_held(&blind, 1);
    until("what waits there is counted", || (keda.metric("forebay-requests").unwrap() >= 1.0).then_some(()));
    // What the one has had answered, the other has from the pool.
    is_right(&asks(&blind, 1.0).read().unwrap(), 1.0);
    is_right(&elastic.asked(2.0), 2.0);
    drop(held);
    until_held(&blind, 0);
    is_right(&asks(&blind, 2.0).read().unwrap(), 2.0);
}

#[test]
fn what_a_stranger_says_in_the_pool_is_bounded_and_soon_over() {
    let elastic = Elastic::asleep(Mesh::redis(), &SCALES);
    let mut keda = Asking::at(elastic.gate.scaler_port, &[]);
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    let says = |who: &str, text: &str| {
        let said = elastic.mesh.servers[0].tell(&format!("HSET forebay:1:held:default {who} '{text}'"));
        assert_eq!(said, ":1");
    };
    says("nonsense", "\\x00{{{");
    says("later", r#"{"format":2,"waits":7}"#);
    says("late", &format!(r#"{{"format":1,"at_ms":{},"held":7,"wake_ms":0}}"#, now_ms - 6000));
    says("liar", &format!(r#"{{"format":1,"at_ms":{now_ms},"held":{},"wake_ms":0}}"#, u64::MAX));
    until("it is counted as the most that a gate may hold", || {
        let counted = keda.metric("forebay-requests").unwrap();
        assert!([0.0, MOST].contains(&counted), "{counted}");
        (counted > 0.0).then_some(())
    });
    until("it is over", || (keda.metric("forebay-requests").unwrap() < 0.5).then_some(()));
}
