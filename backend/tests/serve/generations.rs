//! Which generations are live: proxies hear of it by long polls, and who changes them hears that they have.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use forebay_protocol::generations::Table;
use rig::process::until;
use serde_json::json;

use crate::client::fp32;
use crate::control::{EXPLICIT, load, unload};
use crate::mesh::{Mesh, lookup};
use crate::poll::install;
use crate::process::Forebay;
use crate::proxied::{NONE, live, looked_up, poll, table};

/// No load waits longer than that in these tests.
pub(crate) const SOON: [&str; 2] = ["--generations-timeout-secs", "1"];

/// A proxy that goes on polling until it is to end; what it has.
fn polls_on(gate: &Forebay, has: &Mutex<Option<Table>>, ends: &AtomicBool) {
    while !ends.load(Ordering::SeqCst) {
        let known = has.lock().unwrap().clone();
        let answer = poll(gate, "polling", known.as_ref(), 200);
        if answer.status == 200 {
            let new = table(&answer);
            assert!(known.is_none_or(|known| known.epoch < new.epoch), "epochs grow");
            *has.lock().unwrap() = Some(new);
        }
    }
}

/// A server with `m`, and the gate that tells of it.
pub(crate) struct Served {
    root: tempfile::TempDir,
    pub(crate) mesh: Option<Mesh>,
    pub(crate) one: Forebay,
    gate: Option<Forebay>,
}

impl Served {
    pub(crate) fn in_memory(more: &[&str]) -> Self {
        let root = tempfile::tempdir().unwrap();
        install(root.path(), 1, "identity_fp32");
        let one = Forebay::serve_from(root.path(), &[&EXPLICIT[..], &["--load-model", "m"], more].concat());
        Self { root, mesh: None, one, gate: None }
    }

    pub(crate) fn in_redis(more: &[&str]) -> Self {
        Self::shared(Mesh::redis(), more)
    }

    pub(crate) fn in_memcached(more: &[&str]) -> Self {
        Self::shared(Mesh::memcached(2), more)
    }

    pub(crate) fn shared(mesh: Mesh, more: &[&str]) -> Self {
        let root = tempfile::tempdir().unwrap();
        install(root.path(), 1, "identity_fp32");
        let arguments = [&EXPLICIT[..], &["--load-model", "m"], more].concat();
        let one = Forebay::serve_from(root.path(), &mesh.arguments(&arguments));
        let gate = mesh.gate();
        let served = Self { root, mesh: Some(mesh), one, gate: Some(gate) };
        served.until_known();
        served
    }

    pub(crate) fn gate(&self) -> &Forebay {
        self.gate.as_ref().unwrap_or(&self.one)
    }

    /// The gate knows what is served.
    pub(crate) fn until_known(&self) {
        let generation = self.generation();
        until("the gate knows what is live", || {
            (looked_up(self.gate(), "m").as_ref() == Some(&generation)).then_some(())
        });
    }

    /// The model's files become those of another.
    pub(crate) fn replace(&self) {
        install(self.root.path(), 1, "slow");
    }

    pub(crate) fn generation(&self) -> String {
        self.one.infer("m", &[], &fp32(&[1.0])).header("x-forebay-generation").to_owned()
    }

    /// Replaces the model by call; how long that took.
    pub(crate) fn load_another(&self) -> Duration {
        self.replace();
        let began = Instant::now();
        let loaded = load(&self.one, "m", &json!({}));
        assert_eq!(loaded.status, 200, "{loaded:?}");
        began.elapsed()
    }
}

#[test]
fn a_poll_is_answered_at_once_when_something_changes_and_else_when_its_time_is_over() {
    for served in [Served::in_memory(&SOON), Served::in_redis(&SOON), Served::in_memcached(&SOON)] {
        let gate = served.gate();
        let first = table(&poll(gate, "p", NONE, 10_000));
        assert_eq!(live(&first), [served.generation()]);
        let began = Instant::now();
        let unchanged = poll(gate, "p", Some(&first), 300);
        assert_eq!((unchanged.status, unchanged.body.len()), (204, 0));
        assert!(began.elapsed() >= Duration::from_millis(300));
        assert_eq!(unchanged.header("x-forebay-epoch"), first.epoch.to_string());
        assert!(unchanged.header("x-forebay-now-ms").parse::<u64>().unwrap() > 1_700_000_000_000);
        std::thread::scope(|scope| {
            let held = scope.spawn(|| (poll(gate, "p", Some(&first), 20_000), Instant::now()));
            served.load_another();
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
    for served in [Served::in_memory(&[]), Served::in_redis(&[]), Served::in_memcached(&[])] {
        let gate = served.gate();
        let (has, ends) = (Mutex::new(None), AtomicBool::new(false));
        std::thread::scope(|scope| {
            scope.spawn(|| polls_on(gate, &has, &ends));
            until("it polls", || has.lock().unwrap().is_some().then_some(()));
            served.replace();
            for change in [load(&served.one, "m", &json!({})), unload(&served.one, "m")] {
                assert_eq!(change.status, 200, "{change:?}");
            }
            let newest = table(&poll(gate, "p", NONE, 0));
            let has = has.lock().unwrap().as_ref().map(|has: &Table| has.epoch);
            assert_eq!(has, Some(newest.epoch), "the proxy has it when the call returns");
            assert!(live(&newest).is_empty());
            ends.store(true, Ordering::SeqCst);
        });
    }
}

#[test]
fn a_load_waits_for_a_proxy_that_has_the_old_table_as_long_as_it_says() {
    for served in [Served::in_memory(&SOON), Served::in_redis(&SOON), Served::in_memcached(&SOON)] {
        let old = table(&poll(served.gate(), "silent", NONE, 0));
        assert_eq!(poll(served.gate(), "silent", Some(&old), 0).status, 204);
        let took = served.load_another();
        assert!(took >= Duration::from_secs(1), "{took:?}");
    }
}

#[test]
fn a_load_waits_for_nobody_where_redis_is_new_and_nobody_polls() {
    for served in [Served::in_memory(&[]), Served::in_redis(&[])] {
        let took = served.load_another();
        assert!(took < Duration::from_secs(2), "{took:?}");
    }
}

#[test]
fn a_load_waits_for_a_proxy_that_redis_has_forgotten_with_its_last_writes() {
    let mut served = Served::in_redis(&SOON);
    let old = table(&poll(served.gate(), "one-more", NONE, 0));
    // Nothing else is lost: it is a time later than this that comes back.
    let redis = &mut served.mesh.as_mut().unwrap().servers[0];
    assert!(redis.tell("HDEL forebay:3:proxies one-more").starts_with(':'));
    assert_eq!(redis.tell("SAVE"), "+OK");
    redis.process.kill();
    redis.restart();
    served.until_known();
    let took = served.load_another();
    assert!(took >= Duration::from_secs(1), "it has epoch {}: {took:?}", old.epoch);
}

#[test]
fn what_could_not_be_said_to_the_pool_is_a_503_and_gates_stop_giving_hits() {
    let served = Served::in_redis(&SOON);
    let (mesh, gate) = (served.mesh.as_ref().unwrap(), served.gate());
    let before = table(&poll(gate, "p", NONE, 0));
    mesh.servers[0].tell("CONFIG SET maxmemory 1");
    served.replace();
    let loaded = load(&served.one, "m", &json!({}));
    assert_eq!(loaded.status, 503, "{loaded:?}");
    assert!(loaded.error().contains("the pool was not told"), "{}", loaded.error());
    let began = Instant::now();
    until("the gate trusts its table no more", || {
        (poll(gate, "p", Some(&before), 0).status == 503).then_some(())
    });
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    assert_eq!(lookup(gate, 1.0).status, 503);
    let ready = gate.get_of_gate("/v2/health/ready");
    assert_eq!(ready.status, 503);
    mesh.servers[0].tell("CONFIG SET maxmemory 0");
    let after = until("it is told after all", || {
        Some(poll(gate, "p", Some(&before), 1000)).filter(|answer| answer.status == 200)
    });
    assert_eq!(live(&table(&after)), [served.generation()]);
}

#[test]
fn no_gate_answers_below_what_a_proxy_knows_though_the_tier_forgets() {
    for served in [Served::in_redis(&[]), Served::in_memcached(&[])] {
        let (mesh, gate) = (served.mesh.as_ref().unwrap(), served.gate());
        let before = table(&poll(gate, "p", NONE, 0));
        mesh.forget();
        let other = mesh.gate();
        for gate in [gate, &other] {
            let after = until("it knows again", || {
                Some(poll(gate, "p", Some(&before), 1000)).filter(|answer| answer.status == 200)
            });
            assert!(table(&after).epoch > before.epoch);
        }
        until("the server has said it again", || {
            let answer = poll(&other, "p", NONE, 0);
            (answer.status == 200 && live(&table(&answer)) == [served.generation()]).then_some(())
        });
    }
}
