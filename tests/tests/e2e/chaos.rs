//! What a mesh does while a part of it fails: under load over JSON and gRPC something is killed, stopped or spoilt, and mended. For each
//! fault: wrong answers, errors that the backends did not cause, and the time until results are shared again.
//!
//! `cargo xtask chaos` runs all of them and writes the table; without it those that are quick.

mod clocks;
mod elected;
mod faults;
mod links;
mod load;

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use e2e::stack::{Running, Stack};
use rig::http::{post, send};
use rig::process::until;
use rig::v2::{JSON, request};
use serde_json::json;

use faults::{Fault, Of};
use load::{CLIENTS, Load, Outcome};

/// All are wanted, and here goes the table.
const TABLE: &str = "FOREBAY_CHAOS_TABLE";
/// How long a fault lasts that is mended.
const LASTS: Duration = Duration::from_secs(3);
/// The longest time until results are shared again.
const RECOVERS: Duration = Duration::from_secs(5);
/// The same where other tests keep the machine busy.
const RECOVERS_BESIDE_OTHERS: Duration = Duration::from_secs(20);

/// Results are shared when so many in a row are: each of a tier's servers has its part of them.
const IN_A_ROW: usize = 12;

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
    /// A crowd was none: less than ten times what was computed of what it asked for.
    is_weak: bool,
}

fn mesh(fault: &Fault) -> Running {
    let stack = Stack::new()
        .models(&[fault.model])
        .pool(fault.pool)
        .workers(2)
        .proxies(2)
        .replicas(3)
        .serve(fault.serve);
    let stack = match fault.of {
        Of::Processes => stack,
        Of::Links => stack.links(),
        Of::Clocks => stack.clocks(),
    };
    // What is looked for below is to be found by the gate.
    stack.filter(json!({"gate": {"ask": "always"}})).start()
}

/// Results of one Envoy are found by the other one: a value that nobody asked for before is a hit there, of the tier by way of the gate.
fn shares(model: &str, ports: &[u16], values: &mut impl Iterator<Item = f32>) -> bool {
    let value = values.next().expect("there are enough");
    let bytes = post(&format!("/v2/models/{model}/infer"), &JSON, request(&[value]).to_string().as_bytes());
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

/// How long it took, since then, until what is shared stayed so.
fn until_shared(since: Instant, wanted: usize, mut shares: impl FnMut() -> bool) -> Duration {
    let (mut in_a_row, mut first) = (0, Duration::ZERO);
    until("results are shared", || {
        in_a_row = if shares() { in_a_row + 1 } else { 0 };
        if in_a_row == 1 {
            first = since.elapsed();
        }
        (in_a_row == wanted).then_some(first)
    })
}

fn run(fault: &Fault) -> Row {
    let mut mesh = mesh(fault);
    let ports = mesh.all_ports();
    let mut values = (0..100_000_u32).map(|number| 5_000_000.0 + number as f32);
    until_shared(Instant::now(), IN_A_ROW, || shares(fault.model, &ports, &mut values));
    let load = Load::start(&ports, fault.model, CLIENTS);
    load.until_answered(200);
    let crowd = Load::start(&ports, fault.model, fault.crowd);
    (fault.begins)(&mut mesh);
    let mut ends = Instant::now();
    if let Some(mends) = fault.mends {
        let over = Instant::now() + LASTS;
        until("the fault has lasted", || (Instant::now() >= over).then_some(()));
        ends = Instant::now();
        mends(&mut mesh);
    }
    let (of_crowd, longest_of_crowd) = crowd.end();
    let is_weak = fault.crowd > 0 && !is_tenfold(&of_crowd);
    // An Envoy that is left alone finds in the pool what it asked for itself only where its other worker is asked.
    let (left, wanted) = if fault.takes_a_proxy { (&ports[..1], 1) } else { (&*ports, IN_A_ROW) };
    let recovered = until_shared(ends, wanted, || shares(fault.model, left, &mut values));
    load.until_answered(200);
    mesh.until_clocks_are_shown();
    let (mut outcomes, longest) = load.end();
    outcomes.extend(of_crowd);
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
        longest: longest.max(longest_of_crowd),
        recovered,
        is_weak,
    }
}

/// Of ten that were no hits one was computed at most.
fn is_tenfold(outcomes: &[Outcome]) -> bool {
    let refused = outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Failed(_))).count();
    let computed =
        outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Right { is_hit: false })).count();
    refused >= 9 * computed
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
    let faults = faults::FAULTS.iter().chain(elected::FAULTS).chain(links::FAULTS).chain(clocks::FAULTS);
    for fault in faults.filter(|fault| fault.is_quick || all.is_some()) {
        let row = run(fault);
        let allowed = |why: &str| fault.allows.iter().any(|allowed| why.contains(allowed));
        if row.wrong > 0
            || row.is_weak
            || row.errors.iter().any(|(why, _)| !allowed(why))
            || row.recovered > longest
        {
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
