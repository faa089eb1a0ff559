//! Secrets out of Vault, by its agent with the templates of k8s/secrets: they are brought, and what replaces them is taken under load.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use e2e::stack::{Brought, Pool, Running, Stack};
use e2e::vault::Vault;
use forebay_protocol::gate::LOOKUP_PATH;
use rig::authority::Authority;
use rig::http::{head, post, send};
use rig::installed::{checkout, installed};
use rig::process::{printed, until};
use rig::v2::{JSON, binary, fp32, fp32_binary};
use serde_json::{Value, json};
use tempfile::TempDir;

const INFER: &str = "/v2/models/identity_fp32/infer";
const OLD: &str = "the-old-token-of-the-front";
const NEW: &str = "the-new-token-of-the-front";
const PASSWORD: &str = "of-redis";
const ACCOUNTS: [&str; 4] = ["forebay-backend", "forebay-gate", "forebay-front", "forebay-secrets"];
const SERVER: &str = "forebay-prod-server";
const FRONT: &str = "forebay-prod-front";

/// Files and their templates, as the injector's annotations have them.
fn templates(of: &[&str]) -> Vec<(String, String)> {
    let values = fs::read_to_string(checkout().join("k8s/secrets/agent/values.yaml")).expect("the values");
    let mut found = BTreeMap::new();
    let mut lines = values.lines();
    while let Some(line) = lines.next() {
        let Some(name) = line.trim().strip_prefix("vault.hashicorp.com/agent-inject-template-") else {
            continue;
        };
        let template = lines.next().expect("a template stands below its name").trim().to_owned();
        found.insert(name.trim_end_matches(": |").to_owned(), template);
    }
    of.iter().map(|name| ((*name).to_owned(), found.remove(*name).expect("a template"))).collect()
}

/// Who shows one of those tokens speaks for all tenants.
fn credentials(tokens: &[&str]) -> Value {
    let rows: Vec<_> = tokens
        .iter()
        .enumerate()
        .map(|(index, token)| json!({"name": format!("front-{index}"), "token": token, "service": "demo", "tenants": ["*"]}))
        .collect();
    json!({"credentials.json": json!({"credentials": rows}).to_string()})
}

/// What the front proves itself by.
fn credential(token: &str) -> Value {
    let secret = json!({"resources": [{
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
        "name": "forebay",
        "generic_secret": {"secret": {"inline_string": token}},
    }]});
    json!({"credential.yaml": secret.to_string()})
}

/// A Vault that holds all that prod wants.
fn vault() -> Vault {
    let vault = Vault::start("prod", "forebay", &ACCOUNTS);
    vault.put("forebay/prod/pool", &json!({"pool-secret": "0123456789abcdef0123456789abcdef"}));
    vault.put("forebay/prod/redis", &json!({"password": PASSWORD, "ca.crt": "none"}));
    vault.put("forebay/prod/credentials", &credentials(&[OLD]));
    vault.put("forebay/prod/front", &credential(OLD));
    vault
}

/// Misses and hits without end, each checked; what went wrong, and how many there were.
struct Load {
    stop: Arc<AtomicBool>,
    running: JoinHandle<(usize, Vec<String>)>,
}

impl Load {
    fn start(port: u16) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let until = stop.clone();
        let running = std::thread::spawn(move || {
            let (mut count, mut wrong) = (0, Vec::new());
            while !until.load(Ordering::Relaxed) {
                let value = [count as f32];
                let (length, body) = fp32_binary(&value);
                // The second is found at the gate alone: L1 keeps encodings apart.
                let requests = [post(INFER, &JSON, &fp32(&value)), post(INFER, &binary(&length), &body)];
                for request in requests {
                    match send(port, &request) {
                        Err(error) => wrong.push(error.to_string()),
                        Ok(answer) if answer.status != 200 => {
                            wrong.push(format!("{} {}", answer.status, answer.error()));
                        }
                        Ok(answer) if answer.cache_status().contains("no-tenant") => {
                            wrong.push(answer.cache_status());
                        }
                        Ok(_) => {}
                    }
                    count += 1;
                }
            }
            (count, wrong)
        });
        Self { stop, running }
    }

    fn end(self) -> (usize, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        self.running.join().expect("the load's thread")
    }
}

/// What the gate says to who asks with that token: 401 if it is none.
fn gate_says(port: u16, token: &str) -> u16 {
    let digest = "0".repeat(64);
    let headers = [
        ("x-forebay-service", "demo"),
        ("x-forebay-model", "identity_fp32"),
        ("x-forebay-digest", &*digest),
        ("x-forebay-tenancy", "required"),
        ("x-forebay-tenant", "team-a"),
        ("x-forebay-token", token),
    ];
    send(port, &head("GET", LOOKUP_PATH, &headers)).expect("the gate answers").status
}

/// Tells Redis something, as who knows the password.
fn redis(stack: &Running, password: &str, command: &str) {
    let said: Vec<String> = stack.servers[0].ask(&format!("AUTH {password}\r\n{command}")).take(2).collect();
    assert!(said.iter().all(|line| !line.starts_with('-')), "{command}: {said:?}");
}

fn replace(folder: &Path, name: &str, from: &Path) {
    fs::rename(from.join(name), folder.join(name)).expect("a file is replaced");
}

#[test]
fn what_vaults_agent_brings_rotates_under_load_and_no_request_fails() {
    let (vault, folder) = (vault(), TempDir::new().expect("a folder"));
    let of = |name: &str| folder.path().join(name);
    let server = templates(&["pool-secret", "pool-password", "pool-ca.crt", "credentials.json"]);
    let _agents = [
        vault.agent(SERVER, "forebay-backend", &server, &of("backend")),
        vault.agent(SERVER, "forebay-gate", &server, &of("gate")),
        vault.agent(FRONT, "forebay-front", &templates(&["credential.yaml"]), &of("front")),
    ];
    for file in ["backend/pool-secret", "gate/credentials.json", "front/credential.yaml"] {
        let mode = fs::metadata(of(file)).expect("the file").permissions().mode();
        assert_eq!(mode & 0o777, 0o440, "{file}");
    }

    let authority = Authority::new();
    authority.write(folder.path());
    authority.sign(None).write(folder.path(), "serve");
    let file = |name: &str| of(name).to_string_lossy().into_owned();
    let cluster = "    - name: forebay-backend\n      type: STATIC\n";
    let tls = format!(
        "      transport_socket: {{ name: tls, typed_config: {{ \"@type\": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext, \
         sni: localhost, common_tls_context: {{ validation_context: {{ trusted_ca: {{ filename: {} }} }} }} }} }}\n",
        file("ca.pem")
    );
    let stack = Stack::new()
        .pool(Pool::Redis)
        .tenant("team-a")
        .brought(Brought {
            token: OLD.into(),
            password: PASSWORD.into(),
            serve: of("backend"),
            gate: of("gate"),
        })
        .serve(&["--tls-cert-file", &file("serve.pem"), "--tls-key-file", &file("serve.key")])
        .with(
            "path: .forebay/credential.yaml # up:credential",
            &format!("path: {}", file("front/credential.yaml")),
        )
        .with(cluster, &format!("{cluster}{tls}"))
        .start();
    let gate = stack.gate_port().expect("a gate of its own");
    let load = Load::start(stack.port);

    // A token: the new one is taken beside the old, then shown, then the old one goes.
    assert_eq!(gate_says(gate, NEW), 401);
    vault.put("forebay/prod/credentials", &credentials(&[OLD, NEW]));
    let said = "the file of credentials changed and was read again";
    until("the gate takes the new token", || (gate_says(gate, NEW) != 401).then_some(()));
    until("the backend reads its file again", || {
        stack.backends[0].process.log().contains(said).then_some(())
    });
    vault.put("forebay/prod/front", &credential(NEW));
    let updates =
        || stack.stats("sds.forebay.update_success").iter().map(|(_, count)| *count).max().unwrap_or(0);
    until("the front shows it", || (updates() >= 2).then_some(()));
    vault.put("forebay/prod/credentials", &credentials(&[NEW]));
    until("the gate refuses the old token", || (gate_says(gate, OLD) == 401).then_some(()));

    // A certificate, as its Secret is replaced.
    let other = TempDir::new_in(folder.path()).expect("a folder");
    authority.sign(None).write(other.path(), "serve");
    replace(folder.path(), "serve.key", other.path());
    replace(folder.path(), "serve.pem", other.path());
    let read = "TLS: the files changed and were read again";
    until("the backend has the new certificate", || {
        stack.backends[0].process.log().contains(read).then_some(())
    });

    // Redis' password: both are taken for a while, and connections that end come back with the new one.
    redis(&stack, PASSWORD, "ACL SETUSER default >of-redis-anew");
    vault.put("forebay/prod/redis", &json!({"password": "of-redis-anew", "ca.crt": "none"}));
    for program in ["backend", "gate"] {
        let file = of(program).join("pool-password");
        until("the file is another", || (fs::read_to_string(&file).ok()? == "of-redis-anew").then_some(()));
    }
    redis(&stack, PASSWORD, &format!("ACL SETUSER default <{PASSWORD}"));
    redis(&stack, "of-redis-anew", "CLIENT KILL TYPE normal SKIPME yes");
    // In the other encoding only the gate has it, from Redis.
    let found = || {
        stack
            .stats("forebay_requests.service=demo.result=hit_l2")
            .iter()
            .map(|(_, count)| *count)
            .sum::<u64>()
    };
    let before = found();
    until("hits come out of Redis again", || (found() > before + 10).then_some(()));

    let (count, wrong) = load.end();
    assert!(wrong.is_empty(), "{} of {count}: {:?}", wrong.len(), &wrong[..wrong.len().min(5)]);
    assert!(count > 100, "{count} requests are no load");
    let refused = stack.stats("forebay_events.event=gate_refused");
    assert!(refused.iter().all(|(_, count)| *count == 0), "{refused:?}");
    stack.sound();
}

#[test]
fn what_is_sealed_opens_in_its_place_and_nowhere_else() {
    let mut command = Command::new(installed("venv/bin/python"));
    let said = printed(command.arg(checkout().join("tests/clients/sealing.py")));
    assert!(said.contains("sealed and opened in three scopes"), "{said}");
}

#[test]
fn each_account_reads_its_own_secrets_and_writes_none() {
    let vault = vault();
    let reads =
        |token: &str, place: &str| vault.ask(token, &["kv", "get", "-mount=secret", place]).status.success();
    let all = ["pool", "redis", "credentials", "front"].map(|name| format!("forebay/prod/{name}"));
    vault.put("forebay/stage/pool", &json!({"pool-secret": "another"}));
    for (role, account, may) in [
        (SERVER, "forebay-backend", [true, true, true, false]),
        (FRONT, "forebay-front", [false, false, false, true]),
        ("forebay-prod-external", "forebay-secrets", [true; 4]),
    ] {
        let token = vault.login(role, account).expect("its own role");
        assert_eq!(all.each_ref().map(|place| reads(&token, place)), may, "{account}");
        assert!(!reads(&token, "forebay/stage/pool"), "{account} reads of another environment");
        for forbidden in [
            &["kv", "put", "-mount=secret", "forebay/prod/pool", "pool-secret=mine"][..],
            &["kv", "list", "-mount=secret", "forebay"],
            &["token", "create"],
        ] {
            assert!(!vault.ask(&token, forbidden).status.success(), "{account} may {forbidden:?}");
        }
    }
    for (role, account) in
        [(SERVER, "forebay-front"), (FRONT, "forebay-backend"), ("forebay-prod-external", "forebay-gate")]
    {
        let refused = vault.login(role, account).expect_err("another's role");
        assert!(refused.contains("not authorized"), "{refused}");
    }
}
