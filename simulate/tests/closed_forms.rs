//! What has a formula comes out as the formula says.

use forebay_simulate::hpa::Hpa;
use forebay_simulate::outcome::Outcome;
use forebay_simulate::policy::{Cache, Gate, Latency, Policy, Replica, Scaling, Setup};
use forebay_simulate::trace::{Model, Record, What};
use forebay_simulate::{Eviction, Tier, run};
use rand::SeedableRng as _;
use rand::rngs::SmallRng;
use rand_distr::{Distribution as _, Exp1, Zipf};

const SECOND: u64 = 1_000_000;

fn setup(instances: u32) -> Setup {
    Setup {
        replica: Replica { instances, cold_start_us: 40 * SECOND, max_queue: usize::MAX },
        cache: Cache { proxies: 1, l1_bytes: 0, pool_bytes: 0, pool: Eviction::Lru },
        gate: Gate { most_held: usize::MAX, hold_us: u64::MAX },
        latency: Latency { proxy_us: 0, pool_us: 0, replica_us: 0 },
        step_us: 3600 * SECOND,
    }
}

fn outcome(records: impl IntoIterator<Item = Record>, setup: &Setup, scaling: Scaling) -> Outcome {
    let models = [Model { name: "m".to_owned(), max_age_s: Some(0) }];
    run(&models, records, setup, &Policy { name: String::new(), scaling, cached: false })
}

/// Requests whose gaps and costs are exponential, of those means in microseconds.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // microseconds
fn exponential(count: u64, gap_us: f64, cost_us: f64) -> impl Iterator<Item = Record> {
    let mut random = SmallRng::seed_from_u64(1);
    let mut now_us = 0.0;
    (0..count).map(move |key| {
        let [gap, cost]: [f64; 2] = [Exp1.sample(&mut random), Exp1.sample(&mut random)];
        now_us += gap * gap_us;
        let cost_us = (cost * cost_us).max(1.0) as u32;
        Record { at_us: now_us as u64, model: 0, what: What::Asked { key, cost_us, bytes: 0 } }
    })
}

/// Erlang's C: how likely it is to wait, at an offered load of `load` for `servers`.
fn erlang_c(servers: u32, load: f64) -> f64 {
    let (mut term, mut sum) = (1.0, 0.0);
    for number in 0..servers {
        sum += term;
        term *= load / f64::from(number + 1);
    }
    let waiting = term / (1.0 - load / f64::from(servers));
    waiting / (sum + waiting)
}

#[test]
fn sessions_of_one_queue_wait_as_erlang_says() {
    const COST: f64 = 20_000.0;
    for (servers, utilization) in [(1, 0.5), (1, 0.8), (4, 0.7), (16, 0.9)] {
        let load = f64::from(servers) * utilization;
        let outcome = outcome(exponential(2_000_000, COST / load, COST), &setup(servers), Scaling::Always(1));
        let waited = outcome.inside_us as f64 / outcome.counts.asked as f64 - COST;
        let expected = erlang_c(servers, load) * COST / (f64::from(servers) - load);
        assert!((waited / expected - 1.0).abs() < 0.05, "{servers} at {utilization}: {waited}, {expected}");
        // And they are busy for what was offered.
        let busy = outcome.busy_us / outcome.replica_us as f64;
        assert!((busy - utilization).abs() < 0.005, "{servers}: {busy}, {utilization}");
    }
}

/// The hit ratio of an LRU of `size` entries under Zipf's law, by Che's approximation: an entry stays for a time that is nearly the same
/// for all.
fn che(keys: u32, skew: f64, size: f64) -> f64 {
    let weights: Vec<f64> = (1..=keys).map(|rank| f64::from(rank).powf(-skew)).collect();
    let sum: f64 = weights.iter().sum();
    let kept = |time: f64| weights.iter().map(|weight| 1.0 - (-weight / sum * time).exp()).sum::<f64>();
    let (mut low, mut high) = (0.0, 1e12);
    for _ in 0..200 {
        let middle = f64::midpoint(low, high);
        if kept(middle) < size { low = middle } else { high = middle }
    }
    weights.iter().map(|weight| weight / sum * (1.0 - (-weight / sum * low).exp())).sum()
}

#[test]
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // ranks
fn the_least_recently_used_hits_as_often_as_che_says() {
    const KEYS: u32 = 20_000;
    let entry = forebay_protocol::residency::weight(0);
    for (skew, size) in [(0.6, 1000_u32), (0.9, 1000), (1.0, 4000), (1.2, 200)] {
        let mut tier = Tier::new(u64::from(size) * entry, Eviction::Lru);
        let law = Zipf::new(f64::from(KEYS), skew).unwrap();
        let mut random = SmallRng::seed_from_u64(2);
        let (mut hits, asked) = (0, 600_000);
        for number in 0..2 * asked {
            let key = law.sample(&mut random) as u64;
            match tier.get(key, 0) {
                // Once it is full.
                Some(_) => hits += u64::from(number >= asked),
                None => tier.put(key, 0, 60, 0),
            }
        }
        let (ratio, expected) = (hits as f64 / f64::from(asked), che(KEYS, skew, f64::from(size)));
        assert!((ratio - expected).abs() < 0.01, "{skew}, {size}: {ratio}, {expected}");
    }
}

#[test]
fn more_bytes_of_the_least_recently_used_never_hit_less() {
    let law = Zipf::new(3000.0, 0.8).unwrap();
    let entry = forebay_protocol::residency::weight(100);
    let hits = [10_u64, 50, 200, 1000, 5000].map(|size| {
        let mut tier = Tier::new(size * entry, Eviction::Lru);
        let mut random = SmallRng::seed_from_u64(3);
        let mut hits = 0;
        for _ in 0..50_000 {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // ranks
            let key = law.sample(&mut random) as u64;
            if tier.get(key, 0).is_some() {
                hits += 1;
            } else {
                tier.put(key, 0, 60, 100);
            }
        }
        hits
    });
    assert!(hits.is_sorted() && hits[0] < hits[4], "{hits:?}");
}

#[test]
fn a_steady_load_has_as_many_replicas_as_it_by_the_target() {
    // 6.3 seconds a second, for replicas that shall have 0.7 each: 9; within a tenth of that it stays.
    let records = exponential(700_000, 20_000.0 / 6.3, 20_000.0);
    let hpa = Hpa::new(1, 50, 0.7);
    let outcome = outcome(records, &setup(1), Scaling::Hpa { hpa, window_s: 60 });
    let settled = 600 * SECOND;
    let replicas = outcome.replica_us as f64 / outcome.end_us as f64;
    assert!(outcome.end_us > 3 * settled, "{}", outcome.end_us);
    assert!((8.0..10.5).contains(&replicas), "{replicas}");
}

#[test]
fn a_night_at_zero_costs_the_days_time_and_one_cold_start() {
    // One request an hour, each a second long: a wake each, and five minutes of cooldown.
    let ask = |hour: u64| Record {
        at_us: hour * 3600 * SECOND,
        model: 0,
        what: What::Asked { key: hour, cost_us: 1_000_000, bytes: 0 },
    };
    let zero = Scaling::Zero { hpa: Hpa::new(1, 10, 0.7), window_s: 60, cooldown_s: 300 };
    let outcome = outcome((0..24).map(ask), &setup(1), zero);
    assert_eq!((outcome.wakes, outcome.starts, outcome.counts.computed), (24, 24, 24));
    // 41 s until the answer, 300 s of cooldown, until the next sync; the last is still there at its answer.
    let each = outcome.replica_us as f64 / SECOND as f64 / 24.0;
    assert!((41.0 + 300.0 * 23.0 / 24.0..=41.0 + 315.0).contains(&each), "{each}");
    // Histograms have three digits.
    assert!((outcome.missed.mean() / 1e6 - 41.0).abs() < 0.05, "{}", outcome.missed.mean());
}
