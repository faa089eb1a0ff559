//! What is Memcached's own: several servers, the bound of an item, a tier that forgets, passwords and TLS.

mod items;

use std::io::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use forebay_protocol::generations::Table;
use rig::authority::Authority;
use rig::process::until;
use rig::tier::{Server, Tier};
use serde_json::{Value, json};
use tempfile::TempDir;

use self::items::{count, delete_all, fill, stat};
use crate::client::fp32;
use crate::control::load;
use crate::generations::{SOON, Served};
use crate::mesh::{Mesh, ask, lookup};
use crate::process::{Forebay, gate_command, refused, serve_command, test_repository};
use crate::proxied::{NONE, live, looked_up, poll, table};

/// Which of the values are hits.
fn hits(forebay: &Forebay, values: impl Iterator<Item = u16>) -> Vec<u16> {
    values.filter(|value| ask(forebay, f32::from(*value)).is_hit()).collect()
}

#[test]
fn what_a_lost_server_had_are_misses_and_all_else_goes_on() {
    let mut mesh = Mesh::memcached(2);
    let (one, gate) = (mesh.serve(), mesh.gate());
    let values = || 0..40_u16;
    hits(&one, values());
    until("all are kept", || (hits(&one, values()).len() == 40).then_some(()));
    let kept: Vec<u64> = mesh.servers.iter().map(|server| stat(server, "curr_items")).collect();
    assert!(kept[1] > 5 && kept[0] > 5, "both have some: {kept:?}");
    mesh.servers[1].process.kill();
    let left = hits(&one, values());
    assert!((5..=35).contains(&left.len()), "{left:?}");
    let of_gate = |value: u16| lookup(&gate, f32::from(value)).status;
    until("the gate finds what is left", || left.iter().all(|value| of_gate(*value) == 200).then_some(()));
    let lost = values().find(|value| !left.contains(value)).unwrap();
    assert_eq!(of_gate(lost), 404, "and says what is live of the others");
    assert_eq!(gate.get_of_gate("/v2/health/ready").status, 200);
    mesh.servers[1].restart();
    until("it is used again", || (hits(&one, values()).len() == 40).then_some(()));
}

#[test]
fn without_the_first_server_nothing_is_live_and_no_request_fails() {
    let mut mesh = Mesh::memcached(2);
    let (one, gate) = (mesh.serve(), mesh.gate());
    let values = || 0..40_u16;
    until("all are kept", || (hits(&one, values()).len() == 40).then_some(()));
    mesh.servers[0].process.kill();
    until("the gate trusts its table no more", || (lookup(&gate, 0.0).status == 503).then_some(()));
    let left = hits(&one, values());
    assert!((5..=35).contains(&left.len()), "a server knows its own generations: {left:?}");
    mesh.servers[0].restart();
    until("all are kept again", || (hits(&one, values()).len() == 40).then_some(()));
    until("the gate finds them", || (lookup(&gate, 0.0).status == 200).then_some(()));
}

#[test]
fn an_entry_above_the_bound_of_an_item_is_not_said_to_be_stored() {
    let mesh = Mesh::memcached(1);
    let one = mesh.serve();
    for (numbers, stored) in [(200_000_usize, true), (300_000, false), (300_000, false)] {
        let answer = one.infer_binary(
            "identity_fp32",
            "FP32",
            &[1, i64::try_from(numbers).unwrap()],
            &vec![1; 4 * numbers],
        );
        assert_eq!(answer.status, 200, "{answer:?}");
        let status = answer.header("cache-status");
        assert_eq!(status.contains("stored"), stored, "{numbers} numbers: {status}");
    }
    let dropped = r#"forebay_pool_dropped_writes{tier="memcached",reason="too_large"}"#;
    assert_eq!(one.metric_line(dropped), 2);
    until("the smaller one is a hit", || {
        one.infer_binary("identity_fp32", "FP32", &[1, 200_000], &vec![1; 800_000]).is_hit().then_some(())
    });
}

/// Tells a thread to end, also when a test fails.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Polls as a proxy does, and keeps all tables.
fn polls_on(gate: &Forebay, has: &Mutex<Vec<Table>>, ends: &AtomicBool) {
    while !ends.load(Ordering::SeqCst) {
        let known = has.lock().unwrap().last().cloned();
        let answer = poll(gate, "polling", known.as_ref(), 200);
        if answer.status == 200 {
            has.lock().unwrap().push(table(&answer));
        }
    }
}

/// Replaces the model while a proxy polls, and disturbs the tier before that and after: once a table has listed what is served now,
/// none lists what was replaced, whatever was lost, and epochs grow.
fn dead_stay_dead(mut served: Served, mut disturb: impl FnMut(&mut Mesh)) {
    let (mut mesh, dead) = (served.mesh.take().unwrap(), served.generation());
    let (has, ends) = (Mutex::new(Vec::new()), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| polls_on(served.gate(), &has, &ends));
        let _ends = Ends(&ends);
        until("it polls", || (!has.lock().unwrap().is_empty()).then_some(()));
        disturb(&mut mesh);
        served.replace();
        let loaded = load(&served.one, "m", &json!({}));
        // While the tier is gone nobody can be told.
        assert!([200, 503].contains(&loaded.status), "{loaded:?}");
        for _ in 0..3 {
            served.until_known();
            disturb(&mut mesh);
        }
        served.until_known();
    });
    let tables = has.into_inner().unwrap();
    assert!(tables.windows(2).all(|two| two[0].epoch < two[1].epoch));
    let alive = served.generation();
    assert_ne!(dead, alive);
    let mut later = tables.iter().map(live).skip_while(|live| *live != [alive.clone()]);
    assert!(later.all(|live| !live.contains(&dead)), "{dead} is dead: {tables:?}");
    let other = mesh.gate();
    until("another gate knows", || (looked_up(&other, "m").as_ref() == Some(&alive)).then_some(()));
    // What was lost last may still be on its way back: until then a gate lists nothing.
    for gate in [served.gate(), &other] {
        let listed = || {
            let answer = poll(gate, "late", NONE, 0);
            let live = if answer.status == 200 { live(&table(&answer)) } else { Vec::new() };
            assert!(!live.contains(&dead), "{dead} is dead: {live:?}");
            (live == [alive.clone()]).then_some(())
        };
        until("each gate lists what is served", listed);
    }
}

#[test]
fn no_dead_generation_comes_alive_when_memcached_starts_again() {
    dead_stay_dead(Served::in_memcached(&SOON), |mesh| {
        mesh.kill();
        mesh.restart();
    });
}

#[test]
fn no_dead_generation_comes_alive_when_memcached_is_filled_until_it_evicts() {
    let mesh = Mesh::of(Tier::Memcached, vec![Server::start_with(Tier::Memcached, &["-m", "8"])]);
    dead_stay_dead(Served::shared(mesh, &SOON), |mesh| {
        let first = &mesh.servers[0];
        let before = stat(first, "evictions");
        until("it evicts", || {
            fill(first);
            (stat(first, "evictions") > before + 200).then_some(())
        });
    });
}

#[test]
fn no_dead_generation_comes_alive_when_single_items_are_lost() {
    let mut round = 0;
    dead_stay_dead(Served::in_memcached(&SOON), |mesh| {
        round += 1;
        let first = &mesh.servers[0];
        if round % 2 == 0 {
            // What was lost before may have taken it along; it comes back.
            until("the board is lost", || (first.tell("delete forebay:3:board") == "DELETED").then_some(()));
        } else {
            let lost = delete_all(first, "forebay:2:record:");
            assert!(lost > 0);
        }
    });
}

#[test]
fn a_record_that_a_gate_knows_is_put_back() {
    let served = Served::in_memcached(&[]);
    let before = table(&poll(served.gate(), "p", NONE, 0));
    served.one.terminate();
    until("the server has left", || std::net::TcpStream::connect(("127.0.0.1", served.one.http_port)).err());
    let first = &served.mesh.as_ref().unwrap().servers[0];
    until("the record is lost", || (delete_all(first, "forebay:2:record:") > 0).then_some(()));
    until("it is there again", || (count(first, "forebay:2:record:") > 0).then_some(()));
    let other = served.mesh.as_ref().unwrap().gate();
    let known =
        until("another gate knows the last word", || looked_up(&other, "m").filter(|live| !live.is_empty()));
    assert_eq!(vec![known], live(&before));
}

#[test]
fn what_can_be_known_to_be_wrong_is_refused_at_start() {
    let folder = tempfile::tempdir().unwrap();
    let users = folder.path().join("users");
    std::fs::write(&users, "forebay:right\n").unwrap();
    let memcached = Server::start_with(Tier::Memcached, &["-Y", users.to_str().unwrap()]);
    let port = memcached.port;
    for (url, named) in [
        (format!("memcached://forebay:hidden@127.0.0.1:{port}"), "refused the user or the password"),
        (format!("memcached://127.0.0.1:{port}"), "refused the user or the password"),
        ("redis://127.0.0.1".to_owned(), "the scheme \"redis\""),
        (format!("memcached://127.0.0.1:{port},127.0.0.1:{port}"), "named twice"),
    ] {
        let mesh = Mesh::at(Tier::Memcached, vec![], &url);
        let arguments = mesh.arguments(&[]);
        let gate = refused(&mut gate_command(&arguments));
        let serve = refused(&mut serve_command(&test_repository(), &arguments));
        for (code, line) in [gate, serve] {
            assert_eq!(code, Some(2), "{url}: {line}");
            assert!(line.contains("--memcached-url") && line.contains(named), "{url}: {line}");
            assert!(!line.contains("hidden") && !line.contains("right"), "{line}");
        }
    }
    let right = format!("memcached://forebay:right@127.0.0.1:{port}");
    let gate = Mesh::at(Tier::Memcached, vec![], &right).gate();
    until("it is ready", || (gate.get_of_gate("/v2/health/ready").status == 200).then_some(()));
}

#[test]
fn servers_with_a_certificate_are_spoken_to_by_tls_and_others_refused() {
    let [folder, another] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let authority = Authority::new();
    authority.write(folder.path());
    authority.sign(None).write(folder.path(), "server");
    Authority::new().write(another.path());
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let options = format!("ssl_chain_cert={},ssl_key={}", file("server.pem"), file("server.key"));
    let memcached = Server::start_with(Tier::Memcached, &["-Z", "-o", &options]);
    let port = memcached.port;
    let mesh = Mesh::at(Tier::Memcached, vec![memcached], &format!("memcacheds://localhost:{port}"));
    let gate = |trusted: &TempDir| {
        let ca_file = trusted.path().join("ca.pem").to_str().unwrap().to_owned();
        Forebay::gate(&mesh.arguments(&["--memcached-ca-file", &ca_file]))
    };
    let (right, wrong) = (gate(&folder), gate(&another));
    until("it is ready", || (right.get_of_gate("/v2/health/ready").status == 200).then_some(()));
    until("the certificate is refused", || {
        let ready = wrong.get_of_gate("/v2/health/ready");
        assert_eq!(ready.status, 503, "{ready:?}");
        ready.error().contains("certificate").then_some(())
    });
}

#[test]
fn a_server_that_answers_nonsense_costs_no_request() {
    let nonsense = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = nonsense.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for (number, stream) in nonsense.incoming().enumerate() {
            let answers =
                ["VERSION 1.6.18\r\nEND\r\nVA 99999999999 c1\r\n", "VA 3\r\nabcdef", "\0\r\n", "HD"];
            let _ = stream.unwrap().write_all(answers[number % answers.len()].as_bytes());
        }
    });
    let one = Mesh::at(Tier::Memcached, vec![], &format!("memcached://127.0.0.1:{port}")).serve();
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(1) {
        ask(&one, 1.0);
    }
    let json: Value = one.infer("identity_fp32", &[], &fp32(&[2.0])).json();
    assert_eq!(json["outputs"][0]["data"], json!([2.0]));
}
