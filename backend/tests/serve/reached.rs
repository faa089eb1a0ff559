//! How the servers of a shared pool are reached: encrypted, and by passwords that change while they are in use.

use std::path::{Path, PathBuf};

use rig::authority::Authority;
use rig::process::{free_port, until};
use rig::tier::{Server, Tier};
use tempfile::TempDir;

use crate::mesh::{Mesh, TIER_ALONE, ask, lookup};
use crate::process::{Forebay, gate_command, refused, serve_command, test_repository};

/// Paths as arguments take them.
fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A file with that content.
fn file(folder: &TempDir, name: &str, content: &str) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::write(&path, content).unwrap();
    path
}

/// A value that was not asked for yet, kept by one and found by the gate.
fn kept_and_found(one: &Forebay, gate: &Forebay, values: &mut impl Iterator<Item = f32>) {
    until("results are kept", || {
        let value = values.next().unwrap();
        (ask(one, value).header("cache-status").contains("stored") && ask(one, value).is_hit()).then_some(())
    });
    let value = values.next().unwrap();
    ask(one, value);
    until("the gate finds them", || (lookup(gate, value).status == 200).then_some(()));
}

#[test]
fn a_redis_with_a_certificate_is_spoken_to_by_tls_and_one_of_another_ca_refused_until_the_file_has_its_own() {
    let [folder, another] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let authority = Authority::new();
    authority.write(folder.path());
    authority.sign(None).write(folder.path(), "server");
    Authority::new().write(another.path());
    let [ca, certificate, key] = ["ca.pem", "server.pem", "server.key"].map(|name| folder.path().join(name));
    let port = free_port();
    let files = ["--tls-cert-file", text(&certificate), "--tls-key-file", text(&key)];
    let tls = ["--tls-port", &port.to_string(), "--tls-auth-clients", "no", "--tls-ca-cert-file", text(&ca)];
    let redis = Server::start_with(Tier::Redis, &[&tls[..], &files].concat());
    let mesh = Mesh::at(Tier::Redis, vec![redis], &format!("rediss://localhost:{port}"));
    let arguments = mesh.arguments(&["--redis-ca-file", text(&ca)]);
    let [one, two] = [(); 2].map(|()| Forebay::serve(&[&arguments[..], &TIER_ALONE].concat()));
    let gate = Forebay::gate(&arguments);
    ask(&one, 1.0);
    until("the other finds it", || ask(&two, 1.0).is_hit().then_some(()));
    until("the gate finds it", || (lookup(&gate, 1.0).status == 200).then_some(()));
    let other_ca = another.path().join("ca.pem");
    let stranger = Forebay::gate(&mesh.arguments(&["--redis-ca-file", text(&other_ca)]));
    until("the certificate is refused", || {
        let ready = stranger.get_of_gate("/v2/health/ready");
        assert_eq!(ready.status, 503, "{ready:?}");
        let said = ready.error();
        (said.contains("invalid peer certificate") && said.contains("--redis-ca-file")).then_some(())
    });
    std::fs::rename(&ca, &other_ca).unwrap();
    until("the certificate is believed", || {
        (stranger.get_of_gate("/v2/health/ready").status == 200).then_some(())
    });
}

#[test]
fn a_password_of_redis_that_is_rotated_needs_no_restart_and_costs_no_request() {
    for user in ["default", "app"] {
        let folder = tempfile::tempdir().unwrap();
        let password = file(&folder, "password", "first\n");
        let all = ["~*", "&*", "+@all"];
        let users =
            [&["--user", "admin", "on", ">root"], &all[..], &["--user", user, "on", ">first"], &all].concat();
        let redis = Server::start_with(Tier::Redis, &users);
        let by_admin = |command: &str| {
            let answers = redis.ask(&format!("AUTH admin root\r\n{command}")).take(2).collect::<Vec<_>>();
            assert!(answers[0] == "+OK" && !answers[1].starts_with('-'), "{command}: {answers:?}");
        };
        let name = if user == "default" { String::new() } else { format!("{user}@") };
        let mesh = Mesh::at(Tier::Redis, vec![], &format!("redis://{name}127.0.0.1:{}", redis.port));
        let arguments = mesh.arguments(&["--redis-password-file", text(&password)]);
        let (one, gate) =
            (Forebay::serve(&[&arguments[..], &TIER_ALONE].concat()), Forebay::gate(&arguments));
        let mut values = (1..60_000_u16).map(f32::from);
        kept_and_found(&one, &gate, &mut values);
        // Connections that there are live on, and new ones are made with what the file says then.
        by_admin(&format!("ACL SETUSER {user} resetpass >second"));
        kept_and_found(&one, &gate, &mut values);
        file(&folder, "password", "second");
        by_admin(&format!("CLIENT KILL USER {user}"));
        kept_and_found(&one, &gate, &mut values);
        // The server first, and the file later.
        by_admin(&format!("ACL SETUSER {user} resetpass >third"));
        by_admin(&format!("CLIENT KILL USER {user}"));
        until("the gate says what is wrong", || {
            ask(&one, values.next().unwrap());
            gate.get_of_gate("/v2/health/ready").error().contains("assword").then_some(())
        });
        file(&folder, "password", "third\r\n");
        kept_and_found(&one, &gate, &mut values);
        assert!(!gate.log().contains("first") && !one.log().contains("first"));
    }
}

#[test]
fn a_password_of_memcached_is_read_whenever_a_connection_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let users = file(&folder, "users", "forebay:first\n");
    let password = file(&folder, "password", "first\n");
    let mut memcached = Server::start_with(Tier::Memcached, &["-Y", text(&users)]);
    let mesh =
        Mesh::at(Tier::Memcached, vec![], &format!("memcached://forebay@127.0.0.1:{}", memcached.port));
    let arguments = mesh.arguments(&["--memcached-password-file", text(&password)]);
    let (one, gate) = (Forebay::serve(&[&arguments[..], &TIER_ALONE].concat()), Forebay::gate(&arguments));
    let mut values = (1..60_000_u16).map(f32::from);
    kept_and_found(&one, &gate, &mut values);
    file(&folder, "users", "forebay:second\n");
    memcached.process.kill();
    memcached.restart();
    until("the gate says what is wrong", || {
        ask(&one, values.next().unwrap());
        gate.get_of_gate("/v2/health/ready")
            .error()
            .contains("refused the user or the password")
            .then_some(())
    });
    file(&folder, "password", "second\n");
    kept_and_found(&one, &gate, &mut values);
}

#[test]
fn files_that_say_nothing_or_too_much_are_refused_at_start() {
    let redis = Server::start_with(Tier::Redis, &["--requirepass", "right"]);
    let folder = tempfile::tempdir().unwrap();
    let [empty, wrong, spaced] = [("empty", "\n"), ("wrong", "hidden"), ("spaced", "hid den")]
        .map(|(name, content)| file(&folder, name, content));
    let missing = folder.path().join("missing");
    let plain = format!("redis://127.0.0.1:{}", redis.port);
    for (tier, url, flag, path, named) in [
        (Tier::Redis, plain.as_str(), "--redis-password-file", &missing, "can't read"),
        (Tier::Redis, &plain, "--redis-password-file", &empty, "holds no password"),
        (Tier::Redis, &plain, "--redis-password-file", &wrong, "assword"),
        (Tier::Redis, "redis://:hidden@h", "--redis-password-file", &wrong, "leave one of them out"),
        (Tier::Redis, &plain, "--redis-ca-file", &missing, "asks for no encryption"),
        (Tier::Redis, "rediss://localhost", "--redis-ca-file", &missing, "can't read"),
        (Tier::Redis, "rediss://localhost", "--redis-ca-file", &empty, "holds no certificate"),
        (Tier::Memcached, "memcached://u@h", "--memcached-password-file", &missing, "can't read"),
        (Tier::Memcached, "memcached://u@h", "--memcached-password-file", &spaced, "no spaces"),
        (Tier::Memcached, "memcached://u:hidden@h", "--memcached-password-file", &wrong, "leave one"),
        (Tier::Memcached, "memcached://h", "--memcached-password-file", &wrong, "names no user"),
        (Tier::Memcached, "memcached://h", "--memcached-ca-file", &missing, "asks for no encryption"),
    ] {
        let mesh = Mesh::at(tier, vec![], url);
        let arguments = mesh.arguments(&[flag, text(path)]);
        let gate = refused(&mut gate_command(&arguments));
        let serve = refused(&mut serve_command(&test_repository(), &arguments));
        for (code, line) in [gate, serve] {
            assert_eq!(code, Some(2), "{url} {flag}: {line}");
            let about = flag.trim_end_matches("-password-file").trim_end_matches("-ca-file");
            assert!(line.contains(about) && line.contains(named), "{url} {flag}: {line}");
            assert!(!line.contains("hid") && !line.contains("right"), "{line}");
        }
    }
}

#[test]
fn a_user_of_redis_with_the_rights_that_the_page_names_is_enough_and_its_newer_protocol_is_spoken() {
    let redis = Server::start(Tier::Redis);
    let (user, rights) = ("app", rights_of_the_page("on >the-password "));
    assert_eq!(redis.tell(&format!("ACL SETUSER {user} on >secret {rights}")), "+OK");
    assert_eq!(redis.tell("ACL SETUSER default off"), "+OK");
    let url = format!("redis://{user}:secret@127.0.0.1:{}/?protocol=resp3", redis.port);
    let mesh = Mesh::at(Tier::Redis, vec![redis], &url);
    let (one, gate) = (mesh.serve(), mesh.gate());
    kept_and_found(&one, &gate, &mut (1..u16::MAX).map(f32::from));
    assert_eq!(gate.get_of_gate("/v2/health/ready").status, 200);
}

/// What stands behind the user, and behind that, in the page's command that begins so and goes on with names of keys.
pub(crate) fn rights_of_the_page(begin: &str) -> String {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let begin = format!("ACL SETUSER app {begin}");
    let rights = |line| Some(str::trim(line).strip_prefix(&begin)?).filter(|rights| rights.starts_with('~'));
    let line = page.lines().find_map(rights);
    line.expect("the page says which rights").to_owned()
}
