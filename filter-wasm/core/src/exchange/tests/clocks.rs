//! A clock that is set: what was kept by it before, and who waits.

use super::*;
use crate::config::Config;

const HOUR_MS: u64 = 3_600_000;
const UNCACHEABLE: [(&str, &str); 2] = [(":status", "200"), ("cache-control", "no-store")];

/// The clock shows that, and the worker ticks.
fn set(world: &mut World, now_ms: u64) -> Acts {
    world.host.now_ms.set(now_ms);
    world.worker.on_tick(&world.host)
}

/// Another worker of the proxy.
fn another(world: &World) -> Worker {
    let mut other = Worker::new(Config::parse(br#"{"service": "demo"}"#).unwrap());
    other.on_start(&world.host, 2);
    other.on_tick(&world.host);
    other
}

/// One with an answer that all workers have, and another of them.
fn with_a_kept_answer() -> (World, Worker) {
    let mut world = World::new("");
    let other = another(&world);
    let (mut exchange, _) = world.asks(BODY);
    world.answers(&mut exchange, &FRESH, ANSWER);
    assert!(hit(&world.asks(BODY).1).is_some());
    (world, other)
}

#[test]
fn what_was_kept_before_it_was_set_back_is_not_given_again_when_that_time_comes_again() {
    for (kept_for_ms, back_ms) in [(0, HOUR_MS), (0, 30_000), (50_000, 30_000)] {
        let (mut world, mut other) = with_a_kept_answer();
        let now_ms = NOW_MS + kept_for_ms;
        set(&mut world, now_ms);
        other.on_tick(&world.host);
        set(&mut world, now_ms - back_ms);
        other.on_tick(&world.host);
        for worker in 0..2 {
            world.host.now_ms.set(now_ms + 1000);
            assert_eq!(hit(&world.asks(BODY).1), None, "{kept_for_ms}, {back_ms}, worker {worker}");
            std::mem::swap(&mut world.worker, &mut other);
        }
        assert_eq!(world.host.warnings.borrow().len(), 2);
    }
}

#[test]
fn one_that_was_set_back_before_any_tick_is_noticed_by_who_asks() {
    let (mut world, _) = with_a_kept_answer();
    world.host.now_ms.set(NOW_MS - 30_000);
    assert_eq!(world.asks(BODY).1, Acts::go());
    world.host.now_ms.set(NOW_MS + 1000);
    assert_eq!(hit(&world.asks(BODY).1), None);
}

#[test]
fn a_vm_that_begins_after_it_was_set_back_gives_nothing_from_the_future() {
    let (mut world, _) = with_a_kept_answer();
    world.host.now_ms.set(NOW_MS - HOUR_MS);
    world.worker = another(&world);
    let (mut exchange, acts) = world.asks(BODY);
    assert_eq!(acts, Acts::go());
    assert_eq!(world.answers(&mut exchange, &FRESH, ANSWER), "forebay; fwd=stale; detail=from-the-future");
}

#[test]
fn an_answer_that_was_on_its_way_when_it_was_set_back_is_kept_from_now_on() {
    let mut world = World::new("");
    let (mut exchange, _) = world.asks(BODY);
    world.begins(&mut exchange, &FRESH);
    set(&mut world, NOW_MS - HOUR_MS);
    world.ends(&mut exchange, ANSWER);
    assert_eq!(hit(&world.asks(BODY).1), Some(("forebay; hit; ttl=60; detail=raw".into(), "")));
    set(&mut world, NOW_MS);
    assert_eq!(hit(&world.asks(BODY).1), None);
}

#[test]
fn keys_that_were_not_shared_are_joined_again_though_it_was_set_back() {
    let mut world = World::new("");
    let (mut exchange, _) = world.asks(BODY);
    world.answers(&mut exchange, &UNCACHEABLE, ANSWER);
    assert_eq!(world.asks(BODY).1, Acts::go());
    assert_eq!(world.asks(BODY).1, Acts::go(), "each on its own");
    set(&mut world, NOW_MS - HOUR_MS);
    let (_leader, acts) = world.asks(BODY);
    assert_eq!(acts, Acts::go());
    assert_eq!(world.asks(BODY).1, Acts::hold());
}
