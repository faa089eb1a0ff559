use std::collections::{HashMap, HashSet};

use super::*;
use crate::Eviction;
use crate::day::Day;
use crate::outcome::Outcome;
use crate::policy::{Cache, Gate, Latency, Policy, Replica, Scaling, Setup};
use crate::trace::Recorded;

const HALF: u32 = 1 << 31;

fn asked(at_us: u64, key: u64) -> Record {
    Record { at_us, model: 0, what: What::Asked { key, cost_us: 7, bytes: 9 } }
}

fn key(record: &Record) -> Option<u64> {
    if let What::Asked { key, .. } = record.what { Some(key) } else { None }
}

#[test]
fn each_request_of_a_key_is_one_of_each_key_that_it_stands_for_by_the_same_time_later() {
    let rollout = Record { at_us: 1000, model: 0, what: What::Rollout };
    let records = [asked(0, 1), asked(10, 2), rollout, asked(5_000_000, 1)];
    let all: Vec<Record> = expanded(records.into_iter(), HALF / 4, 3).collect();
    assert!(all.is_sorted_by_key(|record| record.at_us));
    assert_eq!(all.iter().filter(|record| record.what == What::Rollout).count(), 1);
    let mut times: HashMap<u64, Vec<u64>> = HashMap::new();
    for record in &all {
        if let Some(key) = key(record) {
            times.entry(key).or_default().push(record.at_us);
        }
    }
    assert_eq!((all.len(), times.len()), (3 * 8 + 1, 16));
    assert_eq!((&times[&1], &times[&2]), (&vec![0, 5_000_000], &vec![10]));
    let twice: Vec<_> = times.values().filter(|times| times.len() == 2).collect();
    assert!(twice.len() == 8 && twice.iter().all(|times| times[1] - times[0] == 5_000_000), "{times:?}");
    assert!(times.values().all(|times| times[0] < 10 + SPREAD_US));
    assert_eq!(all, expanded(records.into_iter(), HALF / 4, 3).collect::<Vec<_>>());
    assert_ne!(all, expanded(records.into_iter(), HALF / 4, 4).collect::<Vec<_>>());
}

#[test]
fn what_is_not_sampled_stays_as_it_is() {
    let records: Vec<Record> = (0..100).map(|number| asked(number / 2, mixed(number, 1))).collect();
    assert_eq!(expanded(records.iter().copied(), ALL, 0).collect::<Vec<_>>(), records);
    assert!(deviation(records.into_iter(), ALL).abs() < 1e-9);
}

#[test]
fn a_part_of_a_key_is_a_key_now_and_then() {
    // Of 5 keys 2: each stands for two and a half.
    let rate = u32::try_from((1_u64 << 32) * 2 / 5).unwrap();
    let records = (0..10_000).map(|number| asked(number, mixed(number, 1)));
    let keys: HashSet<u64> = expanded(records, rate, 0).filter_map(|record| key(&record)).collect();
    // Five deviations of half of ten thousand.
    assert!((keys.len() as f64 - 25_000.0).abs() < 250.0, "{}", keys.len());
}

/// A day of few keys that are asked very often and many that are not.
fn day(seed: u64) -> Day {
    Day {
        seed,
        hours: 6,
        requests: 200_000,
        models: 4,
        keys: 20_000,
        skew: 0.8,
        rollouts: 0,
        ..Day::default()
    }
}

fn outcome(day: &Day, records: impl Iterator<Item = Record>) -> Outcome {
    let setup = Setup {
        replica: Replica { instances: 1, cold_start_us: 0, max_queue: usize::MAX },
        // A half of what is asked fits, so that what goes matters.
        cache: Cache { proxies: 2, l1_bytes: 1 << 22, pool_bytes: 60 << 20, pool: Eviction::Lru },
        gate: Gate { most_held: 0, hold_us: 0 },
        latency: Latency { proxy_us: 0, pool_us: 0, replica_us: 0 },
        step_us: 60_000_000,
    };
    let policy = Policy { name: String::new(), scaling: Scaling::Always(4), cached: true };
    crate::run(&day.models(), records, &setup, &policy)
}

/// The law of sampling by keys: what stands for a day is like the day.
#[test]
fn a_day_of_sampled_keys_hits_and_computes_as_all_of_it_does() {
    for seed in 0..3 {
        let day = day(seed);
        let whole = outcome(&day, day.records().unwrap());
        for part in [4, 16] {
            let rate = u32::try_from((1_u64 << 32) / part).unwrap();
            let recorded = Recorded { begin_ms: 0, length_ms: u32::MAX, rate };
            let sampled = || {
                let records = day.records().unwrap();
                records.filter(|record| key(record).is_none_or(|key| recorded.samples(key)))
            };
            let expanded = outcome(&day, expanded(sampled(), rate, seed));
            let what = format!("seed {seed}, a {part}th: {:?} and {:?}", whole.counts, expanded.counts);
            let hits = expanded.hit_ratio() - whole.hit_ratio();
            assert!(hits.abs() < 0.03, "hit ratio {hits:+.3}: {what}");
            let computed = expanded.compute_us as f64 / whole.compute_us as f64 - 1.0;
            assert!(computed.abs() < 0.03, "compute time {computed:+.3}: {what}");
            // What was asked is off by chance, and as far as it is said.
            let asked = expanded.counts.asked as f64 / whole.counts.asked as f64 - 1.0;
            let said = deviation(sampled(), rate);
            assert!(asked.abs() < 4.0 * said && said < 0.1, "requests {asked:+.3}, said {said:.3}: {what}");
        }
    }
}
