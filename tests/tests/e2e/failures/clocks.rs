//! Clocks of proxies, gate and servers that are hours apart: what is shared, how old it is said to be, and what a purge is worth.

use std::time::Instant;

use crate::purges::{Mesh, ask, digest_of, values};
use e2e::stack::{Pool, Stack};
use rig::http::Answer;
use serde_json::json;

const HOUR: i64 = 3600;
/// By whole hours, no two of them as far from the pool's.
const AHEAD: [(&str, i64); 6] =
    [("envoy", 1), ("proxy-1", -1), ("proxy-2", 2), ("gate", -2), ("demo", 3), ("replica-1", -3)];

/// How old a hit is said to be, in seconds.
fn age_s(hit: &Answer) -> u64 {
    assert!(hit.is_hit(), "{hit:?}");
    hit.header("age").parse().expect("an age")
}

#[test]
fn with_clocks_hours_apart_results_are_shared_with_their_true_age_and_purges_hold() {
    let always = json!({"gate": {"ask": "always"}});
    let mesh = Mesh::start(Stack::new().pool(Pool::Redis).filter(always).clocks());
    let ports = mesh.stack.all_ports();
    for (round, sign) in [(1, 1), (2, -1)] {
        for (name, hours) in AHEAD {
            mesh.stack.set_clock(name, sign * hours * HOUR);
        }
        mesh.stack.until_clocks_are_shown();
        let begun = Instant::now();
        mesh.fill(round);
        let filled = Instant::now();
        let answers: Vec<Answer> = values(0, round).map(|value| ask(ports[1], value)).collect();
        let shared: Vec<&Answer> =
            answers.iter().filter(|answer| answer.nearest_cache().ends_with("detail=l2")).collect();
        assert!(!shared.is_empty(), "{answers:?}");
        let of_its_own: Vec<Answer> = values(1, round).map(|value| ask(ports[1], value)).collect();
        let (least, most) = (filled.elapsed().as_secs(), begun.elapsed().as_secs());
        for hit in shared.into_iter().chain(&of_its_own) {
            let age_s = age_s(hit);
            assert!((least..=most + 1).contains(&(age_s + 1)), "{least} to {most}: {hit:?}");
        }
        let mut values = values(1, round);
        let (purged, other) = (values.next().expect("a value"), values.next().expect("another"));
        let purge = mesh.purge(&["--digest", &digest_of(purged)]);
        assert!(purge.status.success(), "{purge:?}");
        assert!(!ask(ports[1], purged).is_hit() && ask(ports[1], other).is_filters_hit());
        mesh.purged();
        mesh.has_none(round, "clocks are hours apart");
        mesh.fill(round);
    }
    // Proxies that were heard of lately seem to be long gone.
    mesh.stack.set_clock("redis", HOUR);
    let purge = mesh.purge(&[]);
    let said = String::from_utf8_lossy(&purge.stderr);
    assert!(said.contains("waiting for whoever was told before the pool's clock was set"), "{purge:?}");
    mesh.stack.sound();
}
