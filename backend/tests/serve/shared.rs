//! A pool that two servers and the gate share, in each tier.

use std::time::{Duration, Instant};

use rig::process::until;

use crate::mesh::{Mesh, ask, lookup};
use crate::poll::{POLL, generation, install};
use crate::process::Forebay;
use crate::proxied::{NONE, live, poll, table};

#[test]
fn what_one_server_computed_the_other_and_the_gate_find() {
    for mesh in Mesh::each() {
        let (one, two, gate) = (mesh.serve(), mesh.serve(), mesh.gate());
        ask(&one, 1.0);
        until("the other finds it", || ask(&two, 1.0).is_hit().then_some(()));
        let hit =
            until("the gate finds it", || Some(lookup(&gate, 1.0)).filter(|answer| answer.status == 200));
        assert_eq!(hit.header("x-forebay-generation"), ask(&one, 1.0).header("x-forebay-generation"));
    }
}

#[test]
fn hits_outlive_the_servers() {
    for mesh in Mesh::each() {
        let (one, gate) = (mesh.serve(), mesh.gate());
        ask(&one, 2.0);
        one.terminate();
        assert_eq!(one.wait().code(), Some(0), "writes are drained");
        until("the gate finds it", || (lookup(&gate, 2.0).status == 200).then_some(()));
    }
}

#[test]
fn no_request_fails_while_the_tier_is_gone_and_hits_come_back_with_it() {
    for mut mesh in Mesh::each() {
        let (one, gate) = (mesh.serve(), mesh.gate());
        ask(&one, 3.0);
        until("it hits", || ask(&one, 3.0).is_hit().then_some(()));
        mesh.kill();
        for number in 0..20 {
            ask(&one, number as f32);
        }
        assert!([404, 503].contains(&lookup(&gate, 3.0).status));
        mesh.restart();
        until("it hits again", || ask(&one, 4.0).is_hit().then_some(()));
        until("the gate too", || (lookup(&gate, 4.0).status == 200).then_some(()));
    }
}

#[test]
fn entries_sealed_with_another_secret_are_misses() {
    for mesh in Mesh::each() {
        let (one, gate) = (mesh.serve(), mesh.gate());
        ask(&one, 5.0);
        until("the gate finds it", || (lookup(&gate, 5.0).status == 200).then_some(()));
        let stranger = tempfile::tempdir().unwrap();
        let secret = stranger.path().join("secret");
        std::fs::write(&secret, "another secret of some length").unwrap();
        // The secret comes last.
        let arguments = mesh.arguments(&[]).split_last().map(|(_, others)| others.to_vec()).unwrap();
        let other = Forebay::gate(&[&arguments[..], &[secret.to_str().unwrap()]].concat());
        until("it knows the generations", || {
            (other.get_of_gate("/v2/health/ready").status == 200
                && !lookup(&other, 5.0).header("x-forebay-generation").is_empty())
            .then_some(())
        });
        assert_eq!(lookup(&other, 5.0).status, 404);
    }
}

#[test]
fn a_replaced_model_is_what_the_gate_says_within_two_seconds() {
    for mesh in Mesh::each() {
        let root = tempfile::tempdir().unwrap();
        install(root.path(), 1, "identity_fp32");
        let (one, gate) = (Forebay::serve_from(root.path(), &mesh.arguments(&POLL)), mesh.gate());
        let before = generation(&one);
        let knows = |what: &str, generation: &str| {
            let newest = || Some(poll(&gate, "p", NONE, 0)).filter(|answer| answer.status == 200);
            until(what, || newest().map(|answer| table(&answer)).filter(|table| live(table) == [generation]))
        };
        let old = knows("the gate knows it", &before);
        install(root.path(), 1, "slow");
        let began = Instant::now();
        let after = until("another one answers", || Some(generation(&one)).filter(|g| *g != before));
        let new = knows("the gate knows that", &after);
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
        assert!(new.epoch > old.epoch);
    }
}
