//! What a mesh does while a part of it fails: under load over JSON and gRPC something is killed, stopped or spoilt, and mended. For each
//! fault: wrong answers, errors that the backends did not cause, and the time until results are shared again.
//!
//! `cargo xtask chaos` runs all of them and writes the table; without it those that are quick.

mod faults;
mod load;

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use e2e::stack::{Running, Stack};
use rig::http::{post, send};
use rig::process::until;
use rig::v2::{JSON, request};
use serde_json::json;

use faults::{FAULTS, Fault};
use load::{Load, MODEL, Outcome};

/// All are wanted, and here goes the table.
const TABLE: &str = "FOREBAY_CHAOS_TABLE";
/// How long a fault lasts that is mended.
const LASTS: Duration = Duration::from_secs(3);
/// The longest time until results are shared again.
const RECOVERS: Duration = Duration::from_secs(5);
/// The same where other tests keep the machine busy.
const RECOVERS_BESIDE_OTHERS: Duration = Duration::from_secs(20);

/// What came of one.
struct Row {
    name: &'static str,
    requests: usize,
    hits: usize,
    wrong: usize,
    /// By what they said, and how many.
    errors: Vec<(String, usize)>,
    /// Of one request.
    longest: Duration,
    recovered: Duration,
}

fn mesh(fault: &Fault) -> Running {
    let stack = Stack::new().models(&[MODEL]).pool(fault.pool).workers(2).proxies(2).replicas(3);
    let stack = if fault.links { stack.links() } else { stack };
    // What is looked for below is to be found by the gate.
    stack.filter(json!({"gate": {"ask": "always"}})).start()
}

/// Results of one Envoy are found by the other one: a value that nobody asked for before is a hit there, of the tier by way of the gate.
fn shares(ports: &[u16], values: &mut impl Iterator<Item = f32>) -> bool {
    let value = values.next().expect("there are enough");
    let bytes = post(&format!("/v2/models/{MODEL}/infer"), &JSON, request(&[value]).to_string().as_bytes());
    let ask = |port: &u16| send(*port, &bytes).ok().filter(|answer| answer.status == 200);
    let Some(_) = ports.first().and_then(ask) else { return false };
    let found_by = Instant::now() + Duration::from_millis(300);
    // The result is on its way to the tier.
    while Instant::now() < found_by {
        let Some(answer) = ports.last().and_then(ask) else { return false };
        if answer.nearest_cache().ends_with("detail=l2") {
            return true;
        }
    }
    false
}

fn run(fault: &Fault) -> Row {
    let mut mesh = mesh(fault);
    let ports = mesh.all_ports();
    let mut values = (0..100_000_u32).map(|number| 5_000_000.0 + number as f32);
    until("results are shared", || shares(&ports, &mut values).then_some(()));
    let load = Load::start(&ports);
    load.until_answered(200);
    let mut ends = Instant::now();
    (fault.begins)(&mut mesh);
    if let Some(mends) = fault.mends {
        let over = Instant::now() + LASTS;
        until("the fault has lasted", || (Instant::now() >= over).then_some(()));
        ends = Instant::now();
        mends(&mut mesh);
    }
    let left: Vec<u16> = if fault.takes_a_proxy { ports[..1].to_vec() } else { ports };
    until("results are shared again", || shares(&left, &mut values).then_some(()));
    let recovered = ends.elapsed();
    load.until_answered(200);
    let (outcomes, longest) = load.end();
    let count = |of: fn(&Outcome) -> bool| outcomes.iter().filter(|outcome| of(outcome)).count();
    let mut errors: Vec<(String, usize)> = Vec::new();
    for outcome in &outcomes {
        let Outcome::Failed(why) = outcome else { continue };
        match errors.iter_mut().find(|(known, _)| known == why) {
            Some((_, count)) => *count += 1,
            None => errors.push((why.clone(), 1)),
        }
    }
    Row {
        name: fault.name,
        requests: outcomes.len(),
        hits: count(|outcome| matches!(outcome, Outcome::Right { is_hit: true })),
        wrong: count(|outcome| matches!(outcome, Outcome::Wrong)),
        errors,
        longest,
        recovered,
    }
}

fn table(rows: &[Row]) -> String {
    let mut text = "| fault | requests | hits | wrong | errors | longest request, s | shared again after, s |\n|---|---:|---:|---:|---|---:|---:|\n".to_owned();
    for row in rows {
        let errors: Vec<String> = row.errors.iter().map(|(why, count)| format!("{count} {why}")).collect();
        let errors = if errors.is_empty() { "0".to_owned() } else { errors.join(", ") };
        let Row { name, requests, hits, wrong, .. } = row;
        let [longest, recovered] = [row.longest, row.recovered].map(|time| time.as_secs_f64());
        let _ = writeln!(
            text,
            "| {name} | {requests} | {hits} | {wrong} | {errors} | {longest:.1} | {recovered:.1} |"
        );
    }
    text
}

#[test]
fn whatever_fails_no_answer_is_wrong_no_request_fails_of_it_and_results_are_soon_shared_again() {
    let all = std::env::var_os(TABLE);
    let longest = if all.is_some() { RECOVERS } else { RECOVERS_BESIDE_OTHERS };
    let mut rows = Vec::new();
    let mut broken = Vec::new();
    for fault in FAULTS.iter().filter(|fault| fault.is_quick || all.is_some()) {
        let row = run(fault);
        let allowed = |why: &str| fault.allows.iter().any(|allowed| why.contains(allowed));
        if row.wrong > 0 || row.errors.iter().any(|(why, _)| !allowed(why)) || row.recovered > longest {
            broken.push(fault.name);
        }
        eprint!("{}", table(std::slice::from_ref(&row)));
        rows.push(row);
    }
    if let Some(file) = all {
        std::fs::write(file, table(&rows)).expect("the table is written");
    }
    assert!(broken.is_empty(), "{broken:?}:\n{}", table(&rows));
}
