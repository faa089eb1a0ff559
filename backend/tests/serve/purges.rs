//! `forebay cache`: what was purged is found by nobody who knows of it, and the command ends when everybody does.

use std::path::PathBuf;
use std::process::Output;
use std::time::{Duration, Instant};

use rig::http::{Answer, post, request, send};
use rig::process::{Signal, until};

use crate::client::fp32;
use crate::mesh::{Mesh, ask, lookup};
use crate::process::{Forebay, command, gate_command, refused, serve_command, test_repository};
use crate::redis_replicas::{FROM_REPLICAS, fit, replica, until_fit};

const TOKEN: &str = "an-operators-token";
const MODEL: &str = "identity_fp32";
/// How long a server goes by what it knows, and is waited for.
const LEASE: Duration = Duration::from_secs(10);

/// The file of an operator's token.
pub(crate) struct Token(tempfile::TempDir);

impl Token {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("token"), TOKEN).unwrap();
        Self(folder)
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("token")
    }

    fn serve(&self, arguments: &[&str]) -> Forebay {
        let mut command = serve_command(&test_repository(), arguments);
        command.arg("--operators-file").arg(self.file());
        Forebay::start(command)
    }

    pub(crate) fn gate(&self, mesh: &Mesh) -> Forebay {
        self.gate_with(mesh, &[])
    }

    fn gate_with(&self, mesh: &Mesh, more: &[&str]) -> Forebay {
        let mut command = gate_command(&mesh.arguments(more));
        command.arg("--operators-file").arg(self.file());
        Forebay::start(command)
    }

    /// `forebay cache` of that gate.
    fn cache(&self, gate: &Forebay, arguments: &[&str]) -> Output {
        let mut command = command(&[&["cache"][..], arguments].concat());
        command
            .arg(format!("--gate=http://127.0.0.1:{}", gate.gate_port))
            .arg("--token-file")
            .arg(self.file());
        command.output().unwrap()
    }

    /// What it prints when all is well.
    fn told(&self, gate: &Forebay, arguments: &[&str]) -> String {
        let output = self.cache(gate, arguments);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) fn purge(&self, gate: &Forebay, more: &[&str]) -> String {
        self.told(gate, &[&["purge", "--service", "default"][..], more].concat())
    }
}

/// What is kept of 1.0 is found by the server itself.
fn is_kept(serve: &Forebay) -> bool {
    ask(serve, 1.0).header("cache-status").starts_with("forebay-serve; hit")
}

fn generation(answer: &Answer) -> String {
    answer.header("x-forebay-generation").to_owned()
}

/// A server and its gate, in each tier; the gate of a pool in memory is the server.
fn each(token: &Token) -> Vec<(Option<Mesh>, Forebay, Option<Forebay>)> {
    let shared = Mesh::each().map(|mesh| {
        let (serve, gate) = (mesh.serve(), token.gate(&mesh));
        (Some(mesh), serve, Some(gate))
    });
    let alone = (None, token.serve(&["--instances", "1"]), None);
    shared.into_iter().chain([alone]).collect()
}

/// The gate knows of what is served.
fn until_known(gate: &Forebay) {
    until("the gate knows what is live", || (lookup(gate, 0.5).status == 404).then_some(()));
}

#[test]
fn what_was_purged_is_computed_anew_and_kept_again_in_each_tier() {
    let token = Token::new();
    for (_mesh, serve, gate) in each(&token) {
        let gate = gate.as_ref().unwrap_or(&serve);
        until_known(gate);
        let before = generation(&ask(&serve, 1.0));
        until("it is kept", || is_kept(&serve).then_some(()));
        assert_eq!(lookup(gate, 1.0).status, 200);
        let told = token.purge(gate, &["--model", MODEL]);
        assert!(told.contains("service default, model identity_fp32 purged: number "), "{told}");
        assert!(told.contains("known to every gate, proxy and server after "), "{told}");
        assert_eq!(lookup(gate, 1.0).status, 404);
        let anew = ask(&serve, 1.0);
        assert!(anew.header("cache-status").contains("fwd=uri-miss"), "{anew:?}");
        assert_ne!(generation(&anew), before);
        until("it is kept again", || is_kept(&serve).then_some(()));
        let found = lookup(gate, 1.0);
        assert_eq!((found.status, generation(&found)), (200, generation(&anew)));
        // Of another model nothing was purged.
        assert!(token.purge(gate, &["--model", "another"]).contains("purged"));
        assert!(is_kept(&serve));
        token.purge(gate, &[]);
        assert!(!is_kept(&serve));
    }
}

#[test]
fn the_result_of_one_request_is_purged_and_no_other_in_each_tier() {
    let token = Token::new();
    let request = token.0.path().join("request.json");
    std::fs::write(&request, fp32(&[1.0]).to_string()).unwrap();
    for (_mesh, serve, gate) in each(&token) {
        let gate = gate.as_ref().unwrap_or(&serve);
        until_known(gate);
        for value in [1.0, 2.0] {
            ask(&serve, value);
            until("it is kept", || (lookup(gate, value).status == 200).then_some(()));
        }
        let of = ["get", MODEL, "--service", "default", "--data", request.to_str().unwrap()];
        let kept = token.told(gate, &of);
        let digest = kept.lines().find_map(|line| line.strip_prefix("digest      ")).unwrap();
        let told = token.purge(gate, &["--digest", digest]);
        assert!(told.contains(&format!("request {digest} purged")), "{told}");
        assert_eq!([1.0, 2.0].map(|value| lookup(gate, value).status), [404, 200]);
        assert!(!is_kept(&serve));
        until("it is kept again", || is_kept(&serve).then_some(()));
        assert_eq!(lookup(gate, 1.0).status, 200);
    }
}

#[test]
fn what_was_purged_is_not_found_at_a_replica_that_has_not_heard_of_it() {
    let (token, mut mesh) = (Token::new(), Mesh::redis());
    let link = rig::link::Link::start(mesh.servers[0].port);
    mesh.servers.push(replica(link.port, &[]));
    let (serve, gate) = (mesh.serve(), token.gate_with(&mesh, &FROM_REPLICAS));
    let request = token.0.path().join("request.json");
    std::fs::write(&request, fp32(&[2.0]).to_string()).unwrap();
    until_known(&gate);
    for value in [1.0, 2.0] {
        ask(&serve, value);
        until("it is kept", || (lookup(&gate, value).status == 200).then_some(()));
    }
    let kept =
        token.told(&gate, &["get", MODEL, "--service", "default", "--data", request.to_str().unwrap()]);
    let digest = kept.lines().find_map(|line| line.strip_prefix("digest      ")).unwrap();
    for (purge, of) in [(["--digest", digest], [2.0].as_slice()), (["--model", MODEL], &[1.0, 2.0])] {
        until_fit(&gate, 1);
        let size = mesh.servers[1].tell("DBSIZE");
        link.silence();
        assert!(token.purge(&gate, &purge).contains(", 0 of "));
        let gone = || of.iter().all(|value| lookup(&gate, *value).status == 404);
        until("the replica is found to lag", || {
            assert!(gone());
            (fit(&gate) == 0).then_some(())
        });
        assert!(gone());
        assert_eq!(mesh.servers[1].tell("DBSIZE"), size, "it has it all the same");
        for value in of {
            assert!(!ask(&serve, *value).is_hit());
            until("it is kept again", || (lookup(&gate, *value).status == 200).then_some(()));
        }
        // Connections that are new are carried.
        assert!(mesh.servers[1].tell("CLIENT KILL TYPE master").starts_with(':'));
    }
}

#[test]
fn one_tenants_results_are_purged_and_no_others() {
    let token = Token::new();
    let credentials = token.0.path().join("credentials.json");
    let row = r#"{"name": "all", "token": "a-proxys-token-000", "service": "default", "tenants": ["*"]}"#;
    std::fs::write(&credentials, format!(r#"{{"credentials": [{row}]}}"#)).unwrap();
    let tenancy = ["--tenancy", "required", "--credentials-file", credentials.to_str().unwrap()];
    let serve = token.serve(&[&["--instances", "1"][..], &tenancy].concat());
    let infer = |tenant: &str| {
        let headers = [
            ("x-forebay-token", "a-proxys-token-000"),
            ("x-forebay-tenancy", "required"),
            ("x-forebay-tenant", tenant),
        ];
        serve.infer(MODEL, &headers, &fp32(&[1.0])).header("cache-status").to_owned()
    };
    for tenant in ["shop", "bank"] {
        assert!(infer(tenant).contains("stored"));
    }
    token.purge(&serve, &["--tenant", "shop"]);
    assert!(infer("bank").contains("hit"));
    assert!(infer("shop").contains("fwd=uri-miss"));
    assert!(infer("shop").contains("hit"));
}

#[test]
fn who_shows_no_operators_token_purges_nothing() {
    let token = Token::new();
    let body = br#"{"service": "default"}"#;
    let purge = |gate: &Forebay, shown: &str, body: &[u8]| {
        let headers = [("content-type", "application/json"), ("x-forebay-token", shown)];
        send(gate.gate_port, &post("/forebay/v2/purge", &headers, body)).unwrap()
    };
    let closed = Forebay::serve(&["--instances", "1"]);
    let answer = purge(&closed, TOKEN, body);
    assert_eq!(answer.status, 403);
    assert!(answer.json()["error"].as_str().unwrap().contains("--operators-file"), "{answer:?}");
    let open = token.serve(&["--instances", "1"]);
    for shown in ["", "another-token-of-someone"] {
        assert_eq!(purge(&open, shown, body).status, 401, "{shown}");
        let stats = request("GET", "/forebay/v2/stats", &[("x-forebay-token", shown)], b"");
        assert_eq!(send(open.gate_port, &stats).unwrap().status, 401);
    }
    for (body, said) in [
        (&b"{}"[..], "missing field `service`"),
        (b"{\"service\": \"default\", \"modell\": \"m\"}", "unknown field `modell`"),
        (b"{\"service\": \"a b\"}", "service \"a b\""),
        (b"{\"service\": \"default\", \"tenant\": \"a b\"}", "tenant \"a b\""),
        (b"{\"service\": \"default\", \"model\": \"a\\nb\"}", "control characters"),
        (b"{\"service\": \"s\", \"model\": \"m\", \"digest\": \"0000000000000000000000000000000000000000000000000000000000000000\"}", "beside it"),
        (b"purge", "expected"),
    ] {
        let answer = purge(&open, TOKEN, body);
        assert_eq!(answer.status, 400);
        let error = answer.json()["error"].as_str().unwrap().to_owned();
        assert!(error.contains(said), "{error}");
    }
    assert_eq!(purge(&open, TOKEN, body).status, 200);
    let asked = request("GET", "/forebay/v2/purge?epoch=x", &[("x-forebay-token", TOKEN)], b"");
    let answer = send(open.gate_port, &asked).unwrap();
    assert!(answer.status == 400 && answer.json()["error"].as_str().unwrap().contains("epoch"), "{answer:?}");
    std::fs::write(token.file(), "hush").unwrap();
    let mut unusable = serve_command(&test_repository(), &[]);
    let (code, said) = refused(unusable.arg("--operators-file").arg(token.file()));
    assert!(code == Some(2) && said.contains("line 1 has 4 bytes"), "{said}");
    let mut nowhere = serve_command(&test_repository(), &["--pool", "none"]);
    let (code, said) = refused(nowhere.arg("--operators-file").arg(token.file()));
    assert!(code == Some(2) && said.contains("no gate is in this server"), "{said}");
}

#[test]
fn what_a_tier_forgets_of_purges_is_said_again_and_higher() {
    let token = Token::new();
    for mesh in Mesh::each() {
        let (serve, gate) = (mesh.serve(), token.gate(&mesh));
        until_known(&gate);
        let raw = generation(&ask(&serve, 1.0));
        token.purge(&gate, &[]);
        let purged = generation(&ask(&serve, 1.0));
        assert_ne!(purged, raw);
        mesh.forget();
        let again = until("it has another number", || {
            let now = generation(&ask(&serve, 1.0));
            assert_ne!(now, raw, "never what it was before the purge");
            (now != purged).then_some(now)
        });
        until("the gate goes by it too", || {
            let found = lookup(&gate, 1.0);
            assert_ne!(generation(&found), raw);
            (generation(&found) == again).then_some(())
        });
    }
}

#[test]
fn a_server_that_is_silent_is_waited_for_by_name_and_has_nothing_when_it_speaks_again() {
    let (token, mesh) = (Token::new(), Mesh::redis());
    let (serve, gate) = (Forebay::serve(&mesh.arguments(&["--instances", "1"])), token.gate(&mesh));
    until_known(&gate);
    ask(&serve, 1.0);
    until("it is kept", || is_kept(&serve).then_some(()));
    serve.signal(Signal::STOP);
    let began = Instant::now();
    let told = token.cache(&gate, &["purge", "--service", "default"]);
    let took = began.elapsed();
    serve.signal(Signal::CONT);
    assert!(told.status.success(), "{told:?}");
    let said = String::from_utf8(told.stderr).unwrap();
    assert!(said.contains("waiting for server "), "{said}");
    assert!(took > LEASE / 2 && took < LEASE + Duration::from_secs(3), "{took:?}");
    assert!(!is_kept(&serve), "neither from the pool nor from what it kept lately");
    let one = token.told(&gate, &["purge", "--service", "default", "--no-wait"]);
    assert!(one.contains("not waited for: ") || one.contains("everybody knows it"), "{one}");
}

#[test]
fn a_server_that_has_not_heard_the_registry_for_long_answers_nothing_from_what_it_kept() {
    let mut mesh = Mesh::redis();
    let serve = Forebay::serve(&mesh.arguments(&["--instances", "1"]));
    ask(&serve, 1.0);
    until("it is kept", || is_kept(&serve).then_some(()));
    mesh.kill();
    let killed = Instant::now();
    assert!(is_kept(&serve), "for a while it can't matter");
    until("it is too long", || (!is_kept(&serve)).then_some(()));
    assert!(killed.elapsed() > LEASE / 2 && killed.elapsed() < LEASE + Duration::from_secs(3));
}

#[test]
fn a_purge_waits_for_the_copies_of_its_tier() {
    let token = Token::new();
    let mesh = Mesh::redis();
    let copy = rig::tier::Server::start(rig::tier::Tier::Redis);
    assert_eq!(copy.tell(&format!("REPLICAOF 127.0.0.1 {}", mesh.servers[0].port)), "+OK");
    // Role, host, port, state, offset, with their lengths.
    until("it is a copy", || copy.ask("ROLE").take(9).any(|line| line == "connected").then_some(()));
    let gate = token.gate(&mesh);
    let _serve = mesh.serve();
    until_known(&gate);
    let told = token.purge(&gate, &[]);
    assert!(told.contains("1 of 1 copies of the pool have it"), "{told}");
    assert_eq!(copy.tell("HLEN forebay:3:purges"), ":1");
}

#[test]
fn a_gate_says_what_is_live_and_what_is_kept_of_a_request() {
    let token = Token::new();
    let serve = token.serve(&["--instances", "1", "--pool", "memory", "--pool-bytes", "1MiB"]);
    let request = token.0.path().join("request.json");
    std::fs::write(&request, fp32(&[1.0]).to_string()).unwrap();
    let of = ["get", MODEL, "--service", "default", "--data", request.to_str().unwrap()];
    let nothing = token.cache(&serve, &of);
    assert_eq!(nothing.status.code(), Some(1));
    assert!(String::from_utf8(nothing.stderr).unwrap().contains("nothing is kept of it"));
    let generation = generation(&ask(&serve, 1.0));
    let kept = token.told(&serve, &of);
    assert!(kept.contains(&format!("generation  {generation}")), "{kept}");
    assert!(kept.contains("output      y FP32 [1]") || kept.contains("FP32"), "{kept}");
    let stats = token.told(&serve, &["stats"]);
    assert!(stats.contains("nothing was purged") && stats.contains(&generation[..16]), "{stats}");
    let json: serde_json::Value = serde_json::from_str(&token.told(&serve, &["stats", "--json"])).unwrap();
    assert!(json["live"].as_array().unwrap().iter().any(|row| row["model"] == MODEL));
    assert!(token.told(&serve, &["top"]).starts_with("service"));
}
