//! Equal requests at several servers that share a pool: one of them computes, the others wait for what it keeps.

use std::thread::{Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

use rig::http::{Answer, post};
use rig::process::until;
use rig::tier::Server;
use serde_json::json;

use crate::client::{begun, fp32};
use crate::mesh::Mesh;
use crate::process::{Forebay, repository_with};
use crate::redis_replicas::{FROM_REPLICAS, replica, until_fit};

const MODEL: &str = "identity_fp32";
/// It computes nothing before two rows wait.
const CONFIG: &str = "max_batch_size: 8 response_cache { enable: true } priority_levels: 2 default_priority_level: 2 \
    dynamic_batching { preferred_batch_size: [ 2 ] max_queue_delay_microseconds: 60000000 }";

/// So many servers, and what they share.
struct Servers {
    mesh: Mesh,
    all: Vec<Forebay>,
    repository: tempfile::TempDir,
}

impl Servers {
    fn start(mesh: Mesh, count: usize, more: &[&str]) -> Self {
        let repository = repository_with(MODEL, CONFIG);
        let mut servers = Self { mesh, all: Vec::new(), repository };
        (0..count).for_each(|_| servers.add(more));
        servers
    }

    fn add(&mut self, more: &[&str]) {
        let arguments = self.mesh.arguments(&[&["--instances", "1"], more].concat());
        self.all.push(Forebay::serve_from(self.repository.path(), &arguments));
    }

    fn inferences(&self) -> Vec<u64> {
        self.all.iter().map(|one| one.metric("nv_inference_count", MODEL)).collect()
    }

    /// One that waits until another row comes, in the first server; and whoever asks for the same at the others.
    fn asked<'s>(&'s self, scope: &'s Scope<'s, '_>) -> Vec<ScopedJoinHandle<'s, Answer>> {
        let (first, others) = self.all.split_first().unwrap();
        let mut asked = vec![scope.spawn(|| ask(first, 1.0))];
        until("it is queued", || (pending(first) == 1).then_some(()));
        for other in others {
            asked.extend((0..3).map(|_| scope.spawn(|| ask(other, 1.0))));
            // One of them asks the pool, the others wait for it.
            until("they wait", || (other.metric("forebay_waiters", MODEL) == 3).then_some(()));
        }
        asked
    }
}

fn ask(forebay: &Forebay, value: f32) -> Answer {
    let answer = forebay.infer(MODEL, &[], &fp32(&[value]));
    assert_eq!(answer.status, 200, "{answer:?}");
    answer
}

fn pending(forebay: &Forebay) -> u64 {
    forebay.metric("nv_inference_pending_request_count", MODEL)
}

fn waits(forebay: &Forebay, outcome: &str) -> u64 {
    forebay.metric_line(&format!("forebay_lease_waits{{outcome=\"{outcome}\"}}"))
}

/// Another row comes to a server, which both are computed with.
fn complete(forebay: &Forebay, value: f32) {
    assert_eq!(ask(forebay, value).status, 200);
}

#[test]
fn equal_requests_at_several_servers_are_computed_once() {
    for mesh in Mesh::each() {
        let servers = Servers::start(mesh, 3, &[]);
        std::thread::scope(|scope| {
            let asked = servers.asked(scope);
            complete(&servers.all[0], 2.0);
            for answer in asked.into_iter().map(|asked| asked.join().unwrap()) {
                assert_eq!(answer.json()["outputs"][0]["data"], json!([1.0]));
            }
        });
        assert_eq!(servers.inferences(), [2, 0, 0]);
        assert_eq!([waits(&servers.all[1], "found"), waits(&servers.all[2], "found")], [1, 1]);
    }
}

#[test]
fn leases_are_the_masters_though_lookups_go_to_replicas() {
    let mut mesh = Mesh::redis();
    let link = rig::link::Link::start(mesh.servers[0].port);
    mesh.servers.push(replica(link.port, &[]));
    let servers = Servers::start(mesh, 3, &FROM_REPLICAS);
    servers.all.iter().for_each(|one| until_fit(one, 1));
    // The replica hears of no mark and of no result.
    link.silence();
    std::thread::scope(|scope| {
        let asked = servers.asked(scope);
        complete(&servers.all[0], 2.0);
        for answer in asked.into_iter().map(|asked| asked.join().unwrap()) {
            assert_eq!(answer.json()["outputs"][0]["data"], json!([1.0]));
        }
    });
    assert_eq!(servers.inferences(), [2, 0, 0]);
}

#[test]
fn the_lease_of_one_whose_client_leaves_passes_on_at_once() {
    for mesh in Mesh::each() {
        let servers = Servers::start(mesh, 2, &[]);
        let [first, second] = &servers.all[..] else { unreachable!() };
        let request = post(&format!("/v2/models/{MODEL}/infer"), &[], fp32(&[1.0]).to_string().as_bytes());
        let leads = begun(first.http_port, &request);
        until("it is queued", || (pending(first) == 1).then_some(()));
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| ask(second, 1.0));
            until("it waits", || (second.metric("forebay_waiters", MODEL) == 1).then_some(()));
            let left = Instant::now();
            drop(leads);
            until("it computes", || (pending(second) == 1).then_some(()));
            assert!(
                left.elapsed() < Duration::from_secs(1),
                "{:?}: it is not waited for a mark's end",
                left.elapsed()
            );
            complete(second, 2.0);
            waiting.join().unwrap();
        });
        assert_eq!(servers.inferences(), [0, 2]);
        assert_eq!(waits(second, "passed_on"), 1);
    }
}

#[test]
fn the_lease_of_a_server_that_is_killed_passes_on_and_one_more_computes() {
    for mesh in Mesh::each() {
        let mut servers = Servers::start(mesh, 3, &[]);
        let first = servers.all.remove(0);
        let request = post(&format!("/v2/models/{MODEL}/infer"), &[], fp32(&[1.0]).to_string().as_bytes());
        let _leads = begun(first.http_port, &request);
        until("it is queued", || (pending(&first) == 1).then_some(()));
        std::thread::scope(|scope| {
            let asked: Vec<_> = servers.all.iter().map(|one| scope.spawn(|| ask(one, 1.0))).collect();
            for one in &servers.all {
                until("they wait", || (one.metric("forebay_waiters", MODEL) == 1).then_some(()));
            }
            drop(first);
            let next = until("one of them computes", || servers.all.iter().find(|one| pending(one) == 1));
            complete(next, 2.0);
            for asked in asked {
                asked.join().unwrap();
            }
        });
        assert_eq!(servers.inferences().iter().sum::<u64>(), 2);
    }
}

#[test]
fn where_the_tier_is_killed_each_server_computes_once_and_no_request_fails() {
    for mesh in Mesh::each() {
        let mut servers = Servers::start(mesh, 3, &[]);
        let tiers: Vec<Server> = std::mem::take(&mut servers.mesh.servers);
        std::thread::scope(|scope| {
            let asked = servers.asked(scope);
            drop(tiers);
            for one in &servers.all {
                until("it computes by itself", || (pending(one) == 1).then_some(()));
                complete(one, 2.0);
            }
            for asked in asked {
                asked.join().unwrap();
            }
        });
        // What each has computed it has at hand.
        servers.all.iter().for_each(|one| assert!(ask(one, 1.0).is_hit()));
        assert_eq!(servers.inferences(), [2, 2, 2]);
    }
}

#[test]
fn what_cannot_be_kept_frees_those_who_wait_at_once_and_is_remembered() {
    for mesh in Mesh::each() {
        let servers = Servers::start(mesh, 2, &["--max-entry-bytes", "16"]);
        let [first, second] = &servers.all[..] else { unreachable!() };
        std::thread::scope(|scope| {
            let asked = servers.asked(scope);
            complete(first, 2.0);
            let freed = Instant::now();
            until("it computes", || (pending(second) == 1).then_some(()));
            assert!(freed.elapsed() < Duration::from_secs(1), "{:?}", freed.elapsed());
            // Nobody waits for the second's.
            let third = scope.spawn(|| ask(first, 1.0));
            until("it computes, too", || (pending(first) == 1).then_some(()));
            complete(second, 3.0);
            complete(first, 3.0);
            third.join().unwrap();
            for asked in asked {
                asked.join().unwrap();
            }
        });
        assert_eq!(servers.inferences(), [4, 2]);
        assert_eq!(waits(second, "in_vain"), 1);
    }
}

#[test]
fn an_urgent_request_waits_for_no_other_server() {
    for mesh in Mesh::each() {
        let servers = Servers::start(mesh, 2, &[]);
        let [first, second] = &servers.all[..] else { unreachable!() };
        std::thread::scope(|scope| {
            let asked = scope.spawn(|| ask(first, 1.0));
            until("it is queued", || (pending(first) == 1).then_some(()));
            let mut urgent = fp32(&[1.0]);
            urgent["parameters"] = json!({ "priority": 1 });
            let urgent = scope.spawn(move || second.infer(MODEL, &[], &urgent));
            until("it is queued, too", || (pending(second) == 1).then_some(()));
            complete(second, 2.0);
            assert_eq!(urgent.join().unwrap().status, 200);
            complete(first, 2.5);
            asked.join().unwrap();
        });
    }
}
