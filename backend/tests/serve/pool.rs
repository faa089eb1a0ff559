//! A pool that goes wrong: it is found out, told, and used again when it is back. No request fails of it.

use std::time::{Duration, Instant};

use rig::http::request;
use rig::link::Link;
use rig::process::until;
use rig::tier::{Server, Tier};

use crate::client::{begun, fp32};
use crate::mesh::{Mesh, ask, lookup, lookup_request};
use crate::process::{Forebay, gate_command, refused, serve_command, test_repository};

/// Whether an answer that was computed is said to be kept.
fn is_stored(forebay: &Forebay, value: f32) -> bool {
    ask(forebay, value).header("cache-status").contains("stored")
}

fn hits_again(one: &Forebay, gate: &Forebay, values: std::ops::Range<u16>) {
    let mut values = values.map(f32::from);
    until("results are kept again", || {
        let value = values.next()?;
        (is_stored(one, value) && until_hit(one, value)).then_some(())
    });
    let value = values.next().unwrap();
    ask(one, value);
    until("the gate finds them", || (lookup(gate, value).status == 200).then_some(()));
}

fn until_hit(one: &Forebay, value: f32) -> bool {
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(1) {
        if ask(one, value).is_hit() {
            return true;
        }
    }
    false
}

#[test]
fn connections_that_fell_silent_are_replaced_by_ones_to_whoever_has_the_address_now() {
    let (before, after) = (Server::start(Tier::Redis), Server::start(Tier::Redis));
    let link = Link::start(before.port);
    let mesh = Mesh::at(Tier::Redis, vec![before], &format!("redis://127.0.0.1:{}/", link.port));
    let (one, gate) = (mesh.serve(), mesh.gate());
    ask(&one, 1.0);
    until("the gate finds it", || (lookup(&gate, 1.0).status == 200).then_some(()));
    link.move_to(after.port);
    let began = Instant::now();
    hits_again(&one, &gate, 100..5000);
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert_ne!(after.tell("EXISTS forebay:3:beats"), ":0");
}

#[test]
fn a_tier_that_stands_still_costs_hits_and_no_request_and_is_used_again() {
    for mesh in Mesh::each() {
        let (one, gate) = (mesh.serve(), mesh.gate());
        ask(&one, 1.0);
        until("the gate finds it", || (lookup(&gate, 1.0).status == 200).then_some(()));
        mesh.servers.iter().for_each(|server| server.process.freeze());
        until("the gate says why", || {
            let ready = gate.get_of_gate("/v2/health/ready");
            (ready.status == 503 && ready.error().contains("no answer")).then_some(())
        });
        for number in 2..20_u8 {
            ask(&one, f32::from(number));
        }
        until("what is live is not known any more", || (lookup(&gate, 1.0).status == 503).then_some(()));
        mesh.servers.iter().for_each(|server| server.process.thaw());
        hits_again(&one, &gate, 100..5000);
        until("the gate is ready", || (gate.get_of_gate("/v2/health/ready").status == 200).then_some(()));
    }
}

#[test]
fn what_only_the_cache_may_answer_is_waited_for_where_others_are_computed() {
    const ONLY: [(&str, &str); 1] = [("cache-control", "only-if-cached")];
    for mesh in Mesh::each() {
        let (one, gate) = (mesh.serve(), mesh.gate());
        ask(&one, 1.0);
        until("the gate finds it", || (lookup(&gate, 1.0).status == 200).then_some(()));
        // On a machine that is busy with other things it may take longer than that is waited for; each further try begins with a
        // pool that is believed in again.
        let waited = (0..5_u16).any(|attempt| {
            mesh.servers.iter().for_each(|server| server.process.freeze());
            let body = fp32(&[1.0]).to_string();
            let asked = request("POST", "/v2/models/identity_fp32/infer", &ONLY, body.as_bytes());
            let mut late = [begun(one.http_port, &asked), begun(gate.gate_port, &lookup_request(1.0, &ONLY))];
            // All the time that a lookup has is over.
            let answer = ask(&one, f32::from(2 + attempt));
            assert!(!answer.is_hit(), "{answer:?}");
            mesh.servers.iter().for_each(|server| server.process.thaw());
            let statuses = late.each_mut().map(|late| late.read().unwrap().status);
            hits_again(&one, &gate, 1000 * (attempt + 1)..1000 * (attempt + 2));
            statuses == [200, 200]
        });
        assert!(waited, "nobody waited");
    }
}

#[test]
fn an_answer_that_shrinks_lies_packed_in_the_pool_and_is_the_same_for_another_server() {
    const VALUES: usize = 20_000;
    let body = fp32(&vec![0.0; VALUES]);
    for mesh in Mesh::each() {
        let [one, other] = [(); 2].map(|()| mesh.serve());
        let asked = |forebay: &Forebay| forebay.infer("identity_fp32", &[], &body);
        let first = asked(&one);
        assert_eq!(first.status, 200, "{}", first.error());
        until("the other finds it", || asked(&other).is_hit().then_some(()));
        assert_eq!(asked(&other).body, first.body);
        if mesh.is_redis() {
            let script = "return redis.call('STRLEN', redis.call('KEYS', 'forebay:e:*')[1])";
            let length = mesh.servers[0].tell(&format!("EVAL \"{script}\" 0"));
            let length: usize = length.trim_start_matches(':').parse().unwrap();
            assert!(length < VALUES / 10, "{length} bytes");
        }
    }
}

#[test]
fn what_redis_refuses_is_not_said_to_be_stored() {
    let mesh = Mesh::redis();
    let (one, gate) = (mesh.serve(), mesh.gate());
    assert!(is_stored(&one, 1.0));
    mesh.servers[0].tell("CONFIG SET maxmemory 1");
    let mut values = (2..5000_u16).map(f32::from);
    until("it is found out", || (!is_stored(&one, values.next()?)).then_some(()));
    assert!((5000..5020_u16).all(|value| !is_stored(&one, f32::from(value))));
    mesh.servers[0].tell("CONFIG SET maxmemory 0");
    hits_again(&one, &gate, 6000..9000);
}

#[test]
fn a_server_that_became_a_replica_is_left_for_whoever_has_the_address_now() {
    let (before, after) = (Server::start(Tier::Redis), Server::start(Tier::Redis));
    let link = Link::start(before.port);
    let mesh = Mesh::at(Tier::Redis, vec![before], &format!("redis://127.0.0.1:{}/", link.port));
    let (one, gate) = (mesh.serve(), mesh.gate());
    ask(&one, 1.0);
    until("the gate finds it", || (lookup(&gate, 1.0).status == 200).then_some(()));
    mesh.servers[0].tell(&format!("REPLICAOF 127.0.0.1 {}", after.port));
    until("the gate trusts it no more", || {
        (gate.get_of_gate("/v2/health/ready").status == 503).then_some(())
    });
    link.move_to(after.port);
    hits_again(&one, &gate, 100..5000);
}

#[test]
fn what_can_be_known_to_be_wrong_is_refused_at_start() {
    let redis = Server::start_with(Tier::Redis, &["--requirepass", "right", "--databases", "4"]);
    let cluster = Server::start_with(Tier::Redis, &["--cluster-enabled", "yes"]);
    let (port, of_cluster) = (redis.port, cluster.port);
    for (url, named) in [
        (format!("redis://:hidden@127.0.0.1:{port}/"), "assword"),
        (format!("redis://127.0.0.1:{port}/"), "NOAUTH"),
        (format!("redis://:right@127.0.0.1:{port}/99"), "database"),
        (format!("redis://127.0.0.1:{of_cluster}/"), "cluster mode"),
        ("memcached://127.0.0.1/".to_owned(), "memcached"),
        ("redis://127.0.0.1/main".to_owned(), "database"),
    ] {
        let mesh = Mesh::at(Tier::Redis, vec![], &url);
        let arguments = mesh.arguments(&[]);
        let gate = refused(&mut gate_command(&arguments));
        let serve = refused(&mut serve_command(&test_repository(), &arguments));
        for (code, line) in [gate, serve] {
            assert_eq!(code, Some(2), "{url}: {line}");
            assert!(line.contains("--redis-url") && line.contains(named), "{url}: {line}");
            assert!(!line.contains("hidden") && !line.contains("right"), "{line}");
        }
    }
    let gate = Mesh::at(Tier::Redis, vec![], &format!("redis://:right@127.0.0.1:{port}/3")).gate();
    until("it is ready", || (gate.get_of_gate("/v2/health/ready").status == 200).then_some(()));
}

#[test]
fn a_pool_that_is_not_there_is_told_in_few_lines_and_nothing_is_said_to_be_stored() {
    let mesh = Mesh::at(Tier::Redis, vec![], "redis://nowhere.invalid:6379/");
    let began = Instant::now();
    let (one, gate) = (mesh.serve(), mesh.gate());
    let ready = gate.get_of_gate("/v2/health/ready");
    assert_eq!(ready.status, 503);
    assert!(ready.error().contains("the pool (lookups)"), "{}", ready.error());
    assert!((0..50_u8).all(|value| !is_stored(&one, f32::from(value))));
    assert_eq!(lookup(&gate, 1.0).status, 503);
    let lines = until("it is told", || {
        let lines = one.log();
        let lines = lines.lines().filter(|line| line.contains("the pool can't be used")).count();
        (lines > 0).then_some(lines)
    });
    assert!(lines as u64 <= began.elapsed().as_secs() + 1, "{lines} lines in {:?}", began.elapsed());
}

#[test]
fn meshes_of_another_prefix_share_a_pool_and_know_nothing_of_each_other() {
    for mesh in Mesh::each() {
        let [named, other] = ["stage", "prod"].map(|prefix| mesh.arguments(&["--pool-prefix", prefix]));
        let (one, gate) = (Forebay::serve(&named), Forebay::gate(&named));
        let (another, stranger) = (Forebay::serve(&other), Forebay::gate(&other));
        let mut values = (1..u16::MAX).map(f32::from);
        let kept = until("it is kept and found", || {
            let value = values.next().unwrap();
            ask(&one, value);
            (lookup(&gate, value).status == 200).then_some(value)
        });
        assert!(!ask(&another, kept).is_hit());
        until("the other mesh has it too", || (lookup(&stranger, kept).status == 200).then_some(()));
        let only = values.next().unwrap();
        ask(&one, only);
        until("one mesh has it", || (lookup(&gate, only).status == 200).then_some(()));
        assert_ne!(lookup(&stranger, only).status, 200);
        if mesh.is_redis() {
            let strangers = "#redis.call('KEYS', 'forebay:*')";
            assert_eq!(mesh.servers[0].tell(&format!("EVAL \"return {strangers}\" 0")), ":0");
        }
    }
}

/// Does something to all entries.
fn with_entries(mesh: &Mesh, script: &str) {
    let script = format!("local k=redis.call('KEYS','forebay:e:*') {script} return 'done'");
    let answer = mesh.servers[0].tell(&format!("EVAL \"{script}\" 0"));
    assert_eq!(answer, "$4", "{script}");
}

#[test]
fn an_entry_in_anothers_place_is_nobodys_answer() {
    let mesh = Mesh::redis();
    let one = mesh.serve();
    for value in [1.0, 2.0] {
        ask(&one, value);
        assert!(until_hit(&one, value));
    }
    with_entries(
        &mesh,
        "local a,b=redis.call('GET',k[1]),redis.call('GET',k[2]) redis.call('SET',k[1],b) redis.call('SET',k[2],a)",
    );
    for value in [1.0, 2.0_f32] {
        let answer = ask(&one, value);
        assert!(!answer.is_hit() && answer.json()["outputs"][0]["data"][0] == f64::from(value), "{answer:?}");
    }
    assert_eq!(one.metric_line("forebay_pool_bad_entries"), 2);
    // They took the place of what was wrong.
    assert!([1.0, 2.0].into_iter().all(|value| until_hit(&one, value)));
}

#[test]
fn a_lease_that_somebody_made_up_costs_a_request_some_seconds_and_no_more() {
    let mesh = Mesh::redis();
    let one = mesh.serve();
    ask(&one, 1.0);
    assert!(until_hit(&one, 1.0));
    with_entries(&mesh, "redis.call('SET',k[1],'FBL1 made up')");
    let began = Instant::now();
    assert!(!ask(&one, 1.0).is_hit());
    let waited = began.elapsed();
    assert!((Duration::from_secs(9)..Duration::from_secs(15)).contains(&waited), "{waited:?}");
    assert_eq!(one.metric_line("forebay_lease_waits{outcome=\"late\"}"), 1);
    assert!(until_hit(&one, 1.0), "its result took the lease's place");
}

#[test]
fn a_generation_that_somebody_made_up_finds_nothing_and_takes_nothing_away() {
    let mesh = Mesh::redis();
    let (one, gate) = (mesh.serve(), mesh.gate());
    let generation = ask(&one, 1.0).header("x-forebay-generation").to_owned();
    assert!(until_hit(&one, 1.0));
    until("the gate finds it", || (lookup(&gate, 1.0).status == 200).then_some(()));
    let redis = &mesh.servers[0];
    let name = redis.ask("HKEYS forebay:3:records").nth(2).unwrap();
    let [record, beat] =
        ["records", "beats"].map(|key| redis.ask(&format!("HGET forebay:3:{key} {name}")).nth(1).unwrap());
    let made_up = "f".repeat(64);
    redis.tell(&format!("HSET forebay:3:records other '{}'", record.replace(&generation, &made_up)));
    redis.tell(&format!("HSET forebay:3:beats other '{beat}'"));
    let missed = until("it is told as live", || {
        let missed = lookup(&gate, 7.0);
        missed.header("x-forebay-generation").contains(&made_up).then_some(missed)
    });
    assert_eq!(missed.status, 404);
    // What was sealed lies under another key, where it proves nothing.
    with_entries(&mesh, "for _,e in ipairs(k) do redis.call('SET',e..'0',redis.call('GET',e)) end");
    assert_eq!(lookup(&gate, 7.0).status, 404);
    let found = lookup(&gate, 1.0);
    assert_eq!((found.status, found.header("x-forebay-generation")), (200, generation.as_str()));
}
