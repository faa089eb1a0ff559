//! Which generations are live: proxies hear of it by long polls, and who changes them hears that they have.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use forebay_protocol::gate::{GENERATIONS_PATH, LOOKUP_PATH, POLL_PATH};
use forebay_protocol::generations::Table;
use serde_json::{Value, json};

use crate::client::{Answer, fp32, send};
use crate::control::{EXPLICIT, load, unload};
use crate::poll::install;
use crate::process::{Forebay, until};
use crate::redis::{Mesh, lookup};

/// One poll as a proxy sends it.
fn poll(gate: &Forebay, proxy: &str, epoch: u64, wait_ms: u64) -> Answer {
    report(gate, proxy, epoch, wait_ms, 1, &json!({}))
}

fn report(gate: &Forebay, proxy: &str, epoch: u64, wait_ms: u64, seq: u64, report: &Value) -> Answer {
    let poll = json!({
        "format": 2, "proxy": proxy, "vm": 1, "epoch": epoch, "wait_ms": wait_ms, "seq": seq, "report": report,
    });
    let answer = send(gate.gate_port, "POST", POLL_PATH, &[], poll.to_string().as_bytes());
    assert_eq!(answer.header("x-forebay-format"), "2", "{answer:?}");
    answer
}

fn table(answer: &Answer) -> Table {
    assert_eq!(answer.status, 200, "{answer:?}");
    Table::parse(&answer.body).unwrap()
}

/// The generations of `m`.
fn live(table: &Table) -> Vec<String> {
    let rows = table.models.iter().filter(|row| row.model == "m" && row.version.is_empty());
    rows.flat_map(|row| row.generations.iter().map(ToString::to_string)).collect()
}

/// A proxy that goes on polling until the scope ends; what it has.
fn polls_on(gate: &Forebay, epoch: &AtomicU64, ends: &AtomicU64) {
    while ends.load(Ordering::SeqCst) == 0 {
        let answer = poll(gate, "polling", epoch.load(Ordering::SeqCst), 200);
        if answer.status == 200 {
            let new = table(&answer).epoch;
            assert!(epoch.swap(new, Ordering::SeqCst) < new, "epochs grow");
        }
    }
}

struct Served {
    root: tempfile::TempDir,
    mesh: Option<Mesh>,
    one: Forebay,
    gate: Option<Forebay>,
}

impl Served {
    fn in_memory(more: &[&str]) -> Self {
        let root = tempfile::tempdir().unwrap();
        install(root.path(), 1, "identity_fp32");
        let one = Forebay::serve_from(root.path(), &[&EXPLICIT, &["--load-model", "m"], more].concat());
        Self { root, mesh: None, one, gate: None }
    }

    fn in_redis(more: &[&str]) -> Self {
        let root = tempfile::tempdir().unwrap();
        install(root.path(), 1, "identity_fp32");
        let mesh = Mesh::new();
        let arguments = [&EXPLICIT, &["--load-model", "m"], more].concat();
        let one = Forebay::serve_from(root.path(), &mesh.arguments(&arguments));
        let gate = mesh.gate();
        until("the gate knows what is live", || {
            let answer = gate.get_of_gate(GENERATIONS_PATH);
            (answer.status == 200 && !live(&Table::parse(&answer.body).unwrap()).is_empty()).then_some(())
        });
        Self { root, mesh: Some(mesh), one, gate: Some(gate) }
    }

    fn gate(&self) -> &Forebay {
        self.gate.as_ref().unwrap_or(&self.one)
    }

    /// The model's files become those of another.
    fn replace(&self) {
        install(self.root.path(), 1, "slow");
    }

    fn generation(&self) -> String {
        self.one.infer("m", &[], &fp32(&[1.0])).header("x-forebay-generation").to_owned()
    }
}

#[test]
fn a_poll_is_answered_at_once_when_something_changes_and_else_when_its_time_is_over() {
    let soon = ["--generations-timeout-secs", "1"];
    for served in [Served::in_memory(&soon), Served::in_redis(&soon)] {
        let gate = served.gate();
        let first = table(&poll(gate, "p", 0, 10_000));
        assert_eq!(live(&first), [served.generation()]);
        let began = Instant::now();
        let unchanged = poll(gate, "p", first.epoch, 300);
        assert_eq!((unchanged.status, unchanged.body.len()), (204, 0));
        assert!(began.elapsed() >= Duration::from_millis(300));
        assert_eq!(unchanged.header("x-forebay-epoch"), first.epoch.to_string());
        assert!(unchanged.header("x-forebay-now-ms").parse::<u64>().unwrap() > 1_700_000_000_000);
        served.replace();
        std::thread::scope(|scope| {
            let held = scope.spawn(|| (poll(gate, "p", first.epoch, 20_000), Instant::now()));
            assert_eq!(load(&served.one, "m", &json!({})).status, 200);
            let loaded = Instant::now();
            let (answer, answered) = held.join().unwrap();
            let second = table(&answer);
            assert!(second.epoch > first.epoch && live(&second) == [served.generation()]);
            assert!(answered.saturating_duration_since(loaded) < Duration::from_secs(2));
        });
    }
}

#[test]
fn a_load_and_an_unload_answer_when_every_proxy_that_polls_has_heard() {
    for served in [Served::in_memory(&[]), Served::in_redis(&[])] {
        let gate = served.gate();
        let (epoch, ends) = (AtomicU64::new(0), AtomicU64::new(0));
        std::thread::scope(|scope| {
            scope.spawn(|| polls_on(gate, &epoch, &ends));
            until("it polls", || (epoch.load(Ordering::SeqCst) > 0).then_some(()));
            served.replace();
            for change in [load(&served.one, "m", &json!({})), unload(&served.one, "m")] {
                assert_eq!(change.status, 200, "{change:?}");
            }
            let newest = table(&poll(gate, "p", 0, 0));
            assert_eq!(epoch.load(Ordering::SeqCst), newest.epoch, "the proxy has it when the call returns");
            assert!(live(&newest).is_empty());
            ends.store(1, Ordering::SeqCst);
        });
    }
}

#[test]
fn a_load_waits_for_a_proxy_that_has_the_old_table_as_long_as_it_says() {
    let soon = ["--generations-timeout-secs", "1"];
    for served in [Served::in_memory(&soon), Served::in_redis(&soon)] {
        let old = table(&poll(served.gate(), "silent", 0, 0));
        assert_eq!(poll(served.gate(), "silent", old.epoch, 0).status, 204);
        served.replace();
        let began = Instant::now();
        assert_eq!(load(&served.one, "m", &json!({})).status, 200);
        assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
    }
}

#[test]
fn what_could_not_be_said_to_the_pool_is_a_503_and_gates_stop_giving_hits() {
    let served = Served::in_redis(&["--generations-timeout-secs", "1"]);
    let (mesh, gate) = (served.mesh.as_ref().unwrap(), served.gate());
    let before = table(&poll(gate, "p", 0, 0));
    mesh.redis.tell("CONFIG SET maxmemory 1");
    served.replace();
    let loaded = load(&served.one, "m", &json!({}));
    assert_eq!(loaded.status, 503, "{loaded:?}");
    assert!(loaded.error().contains("the pool was not told"), "{}", loaded.error());
    let began = Instant::now();
    until("the gate trusts its table no more", || {
        (poll(gate, "p", before.epoch, 0).status == 503).then_some(())
    });
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    assert_eq!(lookup(gate, 1.0).status, 503);
    let ready = gate.get_of_gate("/v2/health/ready");
    assert_eq!(ready.status, 503);
    mesh.redis.tell("CONFIG SET maxmemory 0");
    let after = until("it is told after all", || {
        Some(poll(gate, "p", before.epoch, 1000)).filter(|answer| answer.status == 200)
    });
    assert_eq!(live(&table(&after)), [served.generation()]);
}

#[test]
fn no_gate_answers_below_what_a_proxy_knows_though_redis_forgets() {
    let served = Served::in_redis(&[]);
    let (mesh, gate) = (served.mesh.as_ref().unwrap(), served.gate());
    let before = table(&poll(gate, "p", 0, 0));
    mesh.redis.tell("FLUSHALL");
    let other = mesh.gate();
    for gate in [gate, &other] {
        let after = until("it knows again", || {
            Some(poll(gate, "p", before.epoch, 1000)).filter(|answer| answer.status == 200)
        });
        assert!(table(&after).epoch > before.epoch);
    }
    until("the server has said it again", || {
        let answer = poll(&other, "p", 0, 0);
        (answer.status == 200 && live(&table(&answer)) == [served.generation()]).then_some(())
    });
}

#[test]
fn polls_that_are_none_are_refused_by_a_sentence() {
    let served = Served::in_memory(&[]);
    let send = |body: &str| send(served.one.gate_port, "POST", POLL_PATH, &[], body.as_bytes());
    for (body, named) in [
        ("{}", "format"),
        (r#"{"format":3}"#, "format 3"),
        (r#"{"format":2,"proxy":"p","vm":1,"epoch":18446744073709551615,"wait_ms":0,"seq":1}"#, "epoch"),
        (r#"{"format":2,"proxy":"p","vm":1,"epoch":0,"wait_ms":99999999,"seq":1}"#, "wait_ms"),
    ] {
        let answer = send(body);
        assert_eq!((answer.status, answer.error().contains(named)), (400, true), "{answer:?}");
        assert_eq!(answer.header("x-forebay-format"), "2");
    }
    assert_eq!(send(&" ".repeat(300 << 10)).status, 413);
    assert_eq!(served.one.get_of_gate(LOOKUP_PATH).header("x-forebay-format"), "2");
}

#[test]
fn what_proxies_count_is_summed_up_and_counted_once() {
    let served = Served::in_memory(&[]);
    let saved = json!({ "saved": [{ "service": "s", "model": "m", "hits": 3, "cost_us": 700 }] });
    for (proxy, seq) in [("a", 1), ("a", 1), ("b", 1), ("a", 2)] {
        report(&served.one, proxy, 0, 0, seq, &saved);
    }
    let metrics = send(served.one.metrics_port, "GET", "/metrics", &[], b"");
    let text = String::from_utf8(metrics.body).unwrap();
    for line in [
        r#"forebay_proxy_hits{service="s",model="m"} 9"#,
        r#"forebay_proxy_saved_us{service="s",model="m"} 2100"#,
    ] {
        assert!(text.contains(line), "{text}");
    }
}
