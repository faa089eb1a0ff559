//! What must hold whatever the day and the policy.

use proptest::prelude::*;

use super::*;
use crate::policy::{Cache, Gate, Latency, Replica};

fn models(max_age_s: u32) -> Vec<Model> {
    vec![Model { name: "m".to_owned(), max_age_s: Some(max_age_s) }; 2]
}

fn setup() -> Setup {
    Setup {
        replica: Replica { instances: 2, cold_start_us: 30 * SECOND, max_queue: 20 },
        cache: Cache { proxies: 2, l1_bytes: 1 << 20, pool_bytes: 1 << 22, pool: Eviction::Lru },
        gate: Gate { most_held: 50, hold_us: 60 * SECOND },
        latency: Latency { proxy_us: 100, pool_us: 500, replica_us: 1000 },
        step_us: 60 * SECOND,
    }
}

fn policy(scaling: Scaling, cached: bool) -> Policy {
    Policy { name: String::new(), scaling, cached }
}

fn hpa(min: u32) -> Hpa {
    Hpa::new(min, 8, 1.4)
}

fn scalings() -> impl Strategy<Value = Scaling> {
    prop_oneof![
        (1..5_u32).prop_map(Scaling::Always),
        Just(Scaling::Hpa { hpa: hpa(1), window_s: 60 }),
        Just(Scaling::Zero { hpa: hpa(1), window_s: 60, cooldown_s: 120 }),
    ]
}

/// Gaps, keys, costs and rollouts: hours of some hundred requests, in which all there is happens.
fn records() -> impl Strategy<Value = Vec<Record>> {
    let one = (0..20 * SECOND, 0..2_u32, 0..30_u64, 1..3_000_000_u32, 0..40_u8);
    prop::collection::vec(one, 1..400).prop_map(|all| {
        let mut at_us = 0;
        let records = all.into_iter().map(|(gap, model, key, cost_us, kind)| {
            // Some come at once, some after a night.
            at_us += match kind {
                0 => 600 * SECOND,
                1..20 => 0,
                _ => gap,
            };
            let what = if kind == 39 { What::Rollout } else { What::Asked { key, cost_us, bytes: 100 } };
            Record { at_us, model, what }
        });
        records.collect()
    })
}

fn asked(records: &[Record]) -> u64 {
    records.iter().filter(|record| record.what != What::Rollout).count() as u64
}

proptest! {
    #[test]
    fn every_request_ends_in_one_way(records in records(), scaling in scalings(), cached: bool) {
        let outcome = run(&models(600), records.iter().copied(), &setup(), &policy(scaling, cached));
        let counts = outcome.counts;
        let ended = counts.l1 + counts.pool + counts.joined + counts.computed + counts.refused + counts.expired;
        prop_assert_eq!((counts.asked, ended), (asked(&records), asked(&records)));
        let answered = counts.l1 + counts.pool + counts.joined + counts.computed;
        prop_assert_eq!((outcome.latency.len(), outcome.missed.len()), (answered, counts.joined + counts.computed));
        let steps: u64 = outcome.steps.iter().map(|step| step.asked).sum();
        prop_assert_eq!(steps, counts.asked);
        prop_assert!(cached || counts.l1 + counts.pool + counts.joined == 0);
    }

    /// Little's law: the mean number of requests inside is their rate by their mean time inside.
    #[test]
    fn as_many_are_inside_as_come_by_how_long_they_stay(records in records(), scaling in scalings(), cached: bool) {
        let outcome = run(&models(600), records, &setup(), &policy(scaling, cached));
        prop_assert_eq!(outcome.inside_us, outcome.present_us);
    }

    #[test]
    fn replica_time_is_the_sum_of_its_course_and_holds_what_is_computed(records in records(), scaling in scalings(), cached: bool) {
        let setup = setup();
        let outcome = run(&models(600), records, &setup, &policy(scaling, cached));
        let steps: f64 = outcome.steps.iter().map(|step| step.replicas * setup.step_us as f64).sum();
        prop_assert!((steps - outcome.replica_us as f64).abs() < 1.0 + 1e-9 * steps, "{steps} {}", outcome.replica_us);
        prop_assert!(outcome.busy_us <= outcome.replica_us as f64 + 1.0);
    }

    /// With replicas enough that nothing waits.
    #[test]
    fn a_cache_never_costs_compute_time(records in records(), max_age_s in 1..1000_u32) {
        let mut setup = setup();
        setup.replica = Replica { instances: 1000, cold_start_us: 0, max_queue: 0 };
        // Of a key, one cost: what a hit saves is what it would have cost.
        let cost_us = |key: u64| 1000 * (u32::try_from(key).unwrap() + 1);
        let records: Vec<Record> = records.into_iter().map(|record| match record.what {
            What::Asked { key, .. } => Record { what: What::Asked { key, cost_us: cost_us(key), bytes: 100 }, ..record },
            What::Rollout => record,
        }).collect();
        let spent = |cached| run(&models(max_age_s), records.iter().copied(), &setup, &policy(Scaling::Always(1), cached)).compute_us;
        prop_assert!(spent(true) <= spent(false));
    }

    #[test]
    fn the_same_day_has_the_same_outcome(records in records(), scaling in scalings()) {
        let once = || run(&models(600), records.iter().copied(), &setup(), &policy(scaling.clone(), true));
        let (one, other) = (once(), once());
        prop_assert_eq!((one.counts, one.replica_us, one.steps), (other.counts, other.replica_us, other.steps));
    }
}

fn at(second: u64, key: u64) -> Record {
    Record { at_us: second * SECOND, model: 0, what: What::Asked { key, cost_us: 1_000_000, bytes: 100 } }
}

#[test]
fn at_zero_the_first_request_wakes_one_replica_and_all_wait_for_it() {
    let zero = policy(Scaling::Zero { hpa: hpa(1), window_s: 60, cooldown_s: 120 }, true);
    let outcome = run(&models(600), [at(0, 1), at(1, 2), at(2, 1), at(200, 1), at(400, 1)], &setup(), &zero);
    let counts = outcome.counts;
    assert_eq!((outcome.wakes, outcome.starts, counts.held), (1, 1, 3));
    // The third joins the first; by the fourth the replica is gone, and the pool answers.
    assert_eq!((counts.computed, counts.joined, counts.l1 + counts.pool), (2, 1, 2));
    assert_eq!(outcome.missed.max() / 100_000, 310, "30 s until it is ready, and one of its own");
    // Until the sync that comes first after 120 s without a request, by the last answer at 31 s.
    assert_eq!(outcome.replica_us, 165 * u128::from(SECOND));
}

#[test]
fn what_is_held_too_long_is_given_up_and_too_many_are_refused() {
    let mut setup = setup();
    setup.gate = Gate { most_held: 2, hold_us: 10 * SECOND };
    let zero = policy(Scaling::Zero { hpa: hpa(1), window_s: 60, cooldown_s: 120 }, false);
    let outcome = run(&models(0), [at(0, 1), at(1, 2), at(2, 3), at(25, 4)], &setup, &zero);
    let counts = outcome.counts;
    assert_eq!((counts.expired, counts.refused, counts.computed, counts.held), (2, 1, 1, 3));
}

#[test]
fn a_rollout_makes_what_was_kept_unreachable() {
    let rollout = Record { at_us: 10 * SECOND, model: 0, what: What::Rollout };
    let always = policy(Scaling::Always(1), true);
    let outcome = run(&models(600), [at(0, 1), at(5, 1), rollout, at(11, 1)], &setup(), &always);
    assert_eq!((outcome.counts.computed, outcome.counts.pool + outcome.counts.l1), (2, 1));
}

#[test]
fn an_answer_is_fresh_for_its_time_and_in_each_proxy_after_it_was_asked_there() {
    let always = policy(Scaling::Always(1), true);
    // By turns: 0 and 2 come to the first proxy, 1 and 3 to the second.
    let outcome = run(&models(60), [at(0, 1), at(5, 1), at(6, 1), at(7, 1), at(62, 1)], &setup(), &always);
    let counts = outcome.counts;
    assert_eq!((counts.computed, counts.pool, counts.l1), (2, 1, 2));
}
