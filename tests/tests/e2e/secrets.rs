//! Secrets: Vault's agent brings them by the templates of k8s/secrets, certificates come as a kubelet mounts them; what replaces them is
//! taken under load.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use e2e::mounted::mount;
use e2e::stack::{Brought, Pool, Running, Stack, Tls};
use e2e::vault::Vault;
use forebay_protocol::gate::LOOKUP_PATH;
use rig::authority::{Authority, Identity};
use rig::http::{Answer, get, head, post, send};
use rig::installed::{checkout, installed};
use rig::mtls;
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
    fn start(send: impl Fn(&[u8]) -> std::io::Result<Answer> + Send + 'static) -> Self {
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
                    match send(&request) {
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

    /// It ends, and nothing went wrong in it.
    fn ends_well(self) {
        self.stop.store(true, Ordering::Relaxed);
        let (count, wrong) = self.running.join().expect("the load's thread");
        assert!(wrong.is_empty(), "{} of {count}: {:?}", wrong.len(), &wrong[..wrong.len().min(5)]);
        assert!(count > 100, "{count} requests are no load");
    }
}

/// Waits until the gate finds results in Redis again: in the other encoding only the gate has them.
fn until_found_in_redis(stack: &Running) {
    let found = || -> u64 {
        stack.stats("forebay_requests.service=demo.result=hit_l2").iter().map(|(_, count)| *count).sum()
    };
    let before = found();
    until("hits come out of Redis", || (found() > before + 10).then_some(()));
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

    let mut stack = Stack::new()
        .pool(Pool::Redis)
        .tenant("team-a")
        .brought(Brought {
            token: OLD.into(),
            password: PASSWORD.into(),
            serve: of("backend"),
            gate: of("gate"),
        })
        .with(
            "path: .forebay/credential.yaml # up:credential",
            &format!("path: {}", of("front/credential.yaml").display()),
        )
        .start();
    let gate = stack.gate_port().expect("a gate of its own");
    let port = stack.port;
    let load = Load::start(move |request| send(port, request));

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

    // The pool's secret: gate and backend hear of it at moments of their own, and find each other's results all the while.
    vault.put("forebay/prod/pool", &json!({"pool-secret": "fedcba9876543210fedcba9876543210"}));
    let said = "the pool's secret is another: believed now";
    until("the backend believes the new secret", || {
        stack.backends[0].process.log().contains(said).then_some(())
    });
    let gates = |stack: &mut Running| stack.gate().expect("a gate of its own").log();
    until("the gate believes the new secret", || gates(&mut stack).contains(said).then_some(()));

    // Redis' password: both are taken for a while, and connections that end come back with the new one.
    redis(&stack, PASSWORD, "ACL SETUSER default >of-redis-anew");
    vault.put("forebay/prod/redis", &json!({"password": "of-redis-anew", "ca.crt": "none"}));
    for program in ["backend", "gate"] {
        let file = of(program).join("pool-password");
        until("the file is another", || (fs::read_to_string(&file).ok()? == "of-redis-anew").then_some(()));
    }
    redis(&stack, PASSWORD, &format!("ACL SETUSER default <{PASSWORD}"));
    redis(&stack, "of-redis-anew", "CLIENT KILL TYPE normal SKIPME yes");
    until_found_in_redis(&stack);
    let bad = "forebay_pool_bad_entries";
    let metrics =
        send(stack.gate_metrics_port().expect("a gate of its own"), &get("/metrics")).expect("metrics");
    let metrics = String::from_utf8_lossy(&metrics.body).into_owned();
    let refused = metrics.lines().filter(|line| line.starts_with(bad) && !line.ends_with(" 0"));
    assert_eq!(refused.collect::<Vec<_>>(), [""; 0]);
    assert_eq!(stack.backend_metric(0, bad, ""), 0);

    load.ends_well();
    let refused = stack.stats("forebay_events.event=gate_refused");
    assert!(refused.iter().all(|(_, count)| *count == 0), "{refused:?}");
    stack.sound();
}

/// What a Secret of certificates holds.
fn secret(trusted: &[&Authority], identity: &Identity) -> [(&'static str, String); 3] {
    let (certificate, key) = identity.pem();
    let believed = trusted.iter().map(|authority| authority.pem()).collect();
    [("tls.crt", certificate), ("tls.key", key), ("ca.crt", believed)]
}

#[test]
fn certificates_of_backend_gate_and_front_are_replaced_under_load_and_no_request_fails() {
    let folder = TempDir::new().expect("a folder");
    let [old, new] = [(); 2].map(|()| Authority::new());
    mount(folder.path(), &secret(&[&old], &old.sign(None)));
    let client = Authority::client_of(&[&old, &new], None);
    // Envoy connects anew all the while, and so has to believe what it is shown.
    let stack = Stack::new()
        .pool(Pool::Redis)
        .tls(Tls { folder: folder.path().to_owned(), client: client.clone() })
        .serve(&["--max-connection-age-secs", "1"])
        .start();
    let port = stack.port;
    let load = Load::start(move |request| mtls::send(&client, port, request));
    let ports = [
        ("front", port),
        ("gate", stack.gate_port().expect("a gate of its own")),
        ("backend", stack.backend_ports(0).0),
    ];
    // By the same authority first, then by another one, which all believe from then on.
    for (trusted, by) in [(vec![&old], &old), (vec![&old, &new], &new)] {
        let (identity, client) = (by.sign(None), by.client(None));
        mount(folder.path(), &secret(&trusted, &identity));
        for (program, port) in ports {
            until(&format!("the {program} shows the new certificate"), || {
                (mtls::shown(&client, port)? == identity.certificate).then_some(())
            });
        }
        let connected = || {
            stack
                .stats("cluster.forebay-backend.upstream_cx_total")
                .iter()
                .map(|(_, count)| *count)
                .sum::<u64>()
        };
        let before = connected();
        until("Envoy connects anew", || (connected() > before).then_some(()));
        until_found_in_redis(&stack);
    }
    load.ends_well();
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
