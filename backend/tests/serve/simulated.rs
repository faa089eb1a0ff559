//! What `forebay-simulate` says of a short trace is what the server does with it: how many are computed, and how many are answered from the
//! cache or with an equal one.

use std::thread;
use std::time::{Duration, Instant};

use forebay_simulate::day::Day;
use forebay_simulate::outcome::Outcome;
use forebay_simulate::policy::{Cache, Gate, Latency, Policy, Replica, Scaling, Setup};
use forebay_simulate::trace::{Model, Record, What};
use forebay_simulate::{Eviction, run};

use crate::client::fp32;
use crate::process::Forebay;

/// Takes tens of milliseconds, whatever it is asked.
const MODEL: &str = "slow";
const REQUESTS: u64 = 400;
/// How far a figure may be off.
const WITHIN: f64 = 0.1;

/// What the server tells of itself.
struct Figures {
    hits: u64,
    computed: u64,
    compute_us: f64,
}

fn figures(forebay: &Forebay) -> Figures {
    let told = forebay.get(&format!("/v2/models/{MODEL}/stats")).json();
    let of = |name: &str| &told["model_stats"][0]["inference_stats"][name];
    Figures {
        hits: of("cache_hit")["count"].as_u64().unwrap(),
        computed: of("compute_infer")["count"].as_u64().unwrap(),
        compute_us: of("compute_infer")["ns"].as_f64().unwrap() / 1e3,
    }
}

/// The trace, stretched so that the server is busy for half of its time with what can't come from the cache.
fn records(cost_us: f64) -> Vec<Record> {
    let day = Day {
        hours: 1,
        requests: REQUESTS,
        models: 1,
        keys: 80,
        bursts: 0,
        peak: 1.0,
        rollouts: 0,
        ..Day::default()
    };
    let records: Vec<Record> = day.records().unwrap().collect();
    let end_us = records.last().unwrap().at_us as f64;
    let wanted_us = records.len() as f64 * cost_us;
    let stretched = records.into_iter().map(|record| {
        let What::Asked { key, bytes, .. } = record.what else { unreachable!("there are no rollouts") };
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // microseconds of a minute
        let (at_us, cost_us) = ((record.at_us as f64 / end_us * wanted_us) as u64, cost_us as u32);
        Record { at_us, what: What::Asked { key, cost_us, bytes }, ..record }
    });
    stretched.collect()
}

/// Each at its time, whether those before are answered or not.
fn ask(forebay: &Forebay, records: &[Record]) {
    let begin = Instant::now();
    thread::scope(|scope| {
        for record in records {
            let What::Asked { key, .. } = record.what else { continue };
            let due = begin + Duration::from_micros(record.at_us);
            thread::sleep(due.saturating_duration_since(Instant::now()));
            scope.spawn(move || {
                // Exact in 32 bits.
                #[allow(clippy::cast_precision_loss)]
                let value = (key % (1 << 24)) as f32;
                let answer = forebay.infer(MODEL, &[], &fp32(&[value]));
                assert_eq!(answer.status, 200, "{}", answer.error());
            });
        }
    });
}

fn simulated(records: &[Record]) -> Outcome {
    let setup = Setup {
        replica: Replica { instances: 1, cold_start_us: 0, max_queue: usize::MAX },
        cache: Cache { proxies: 1, l1_bytes: 0, pool_bytes: 64 << 20, pool: Eviction::Memory },
        gate: Gate { most_held: 0, hold_us: 0 },
        latency: Latency { proxy_us: 0, pool_us: 0, replica_us: 0 },
        step_us: 1_000_000,
    };
    let policy = Policy { name: String::new(), scaling: Scaling::Always(1), cached: true };
    let models = [Model { name: MODEL.to_owned(), max_age_s: Some(60) }];
    run(&models, records.iter().copied(), &setup, &policy)
}

#[test]
fn what_is_simulated_of_a_trace_is_what_the_server_does_with_it() {
    let forebay =
        Forebay::serve(&["--instances", "1", "--model-control-mode", "explicit", "--load-model", MODEL]);
    // What one answer costs here and now.
    for value in [-1.0, -2.0, -3.0] {
        forebay.infer(MODEL, &[], &fp32(&[value]));
    }
    let before = figures(&forebay);
    let records = records(before.compute_us / before.computed as f64);
    ask(&forebay, &records);
    let after = figures(&forebay);
    let outcome = simulated(&records);
    let counts = outcome.counts;
    let computed = after.computed - before.computed;
    let saved = records.len() as u64 - computed;
    for (what, real, simulated) in [
        ("computed", computed as f64, counts.computed as f64),
        ("saved", saved as f64, (counts.l1 + counts.pool + counts.joined) as f64),
    ] {
        assert!(
            (simulated / real - 1.0).abs() <= WITHIN,
            "{what}: {real} of the server, {simulated} simulated"
        );
    }
    assert!(after.hits > 0 && saved > computed / 2, "{saved} of {}", records.len());
}
