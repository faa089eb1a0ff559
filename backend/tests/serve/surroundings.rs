//! What a cluster puts around the server: variables that are no settings, folders that are no models, and who reads its last line.

use serde_json::Value;

use crate::client::send;
use crate::process::{Forebay, refused, repository_with, serve_command};

#[test]
fn empty_variables_and_those_that_kubernetes_makes_for_a_service_are_no_settings() {
    let repository = repository_with("identity_fp32", "");
    let mut command = serve_command(repository.path(), &[]);
    command.env("FOREBAY_MAX_BODY_BYTES", "").env("FOREBAY_POOL", "");
    command.env("FOREBAY_WORKER_THREADS", "").env("FOREBAY_BUSY_POLL_US", "tcp://10.0.0.1:8000");
    let forebay = Forebay::start(command);
    assert_eq!(send(forebay.http_port, "GET", "/v2/health/ready", &[], b"").status, 200);
    let mut wrong = serve_command(repository.path(), &[]);
    let (code, said) = refused(wrong.env("FOREBAY_WORKER_THREADS", "many"));
    assert!(code == Some(2) && said.contains("many"), "{said}");
}

#[test]
fn folders_without_a_version_are_listed_and_keep_nobody_from_being_ready() {
    let repository = repository_with("identity_fp32", "");
    for empty in ["lost+found", "notes/drafts"] {
        std::fs::create_dir_all(repository.path().join(empty)).unwrap();
    }
    let forebay = Forebay::serve_from(repository.path(), &[]);
    assert_eq!(send(forebay.http_port, "GET", "/v2/health/ready", &[], b"").status, 200);
    let index = send(forebay.http_port, "POST", "/v2/repository/index", &[], b"").json();
    let listed = |name: &str| index.as_array().unwrap().iter().find(|entry| entry["name"] == name).cloned();
    for name in ["lost+found", "notes"] {
        let entry = listed(name).unwrap();
        assert_eq!(entry["state"], "UNAVAILABLE");
        assert!(entry["reason"].as_str().unwrap().contains("has no version"), "{entry}");
    }
    assert_eq!(listed("identity_fp32").unwrap()["state"], "READY");
    let named = ["--model-control-mode", "explicit", "--load-model", "notes"];
    let (code, said) = refused(&mut serve_command(repository.path(), &named));
    assert!(code == Some(1) && said.contains("has no version"), "{said}");
}

#[test]
fn why_it_does_not_start_is_a_line_as_all_others_are() {
    let repository = repository_with("identity_fp32", "");
    for (arguments, code) in
        [(&["--no-such-flag"][..], 2), (&["--service", "a.b"], 2), (&["--tls-cert-file", "/no"], 2)]
    {
        let said = serve_command(repository.path(), arguments).output().unwrap();
        assert_eq!(said.status.code(), Some(code));
        let said = String::from_utf8(said.stderr).unwrap();
        let line: Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
        assert_eq!((&line["level"], &line["target"]), (&"ERROR".into(), &"forebay".into()), "{line}");
        let (_, said) = refused(&mut serve_command(repository.path(), arguments));
        assert!(said.lines().last().unwrap().starts_with("forebay: "), "{said}");
        let text = [arguments, &["--log-format", "text"]].concat();
        let said = serve_command(repository.path(), &text).output().unwrap();
        let said = String::from_utf8(said.stderr).unwrap();
        assert!(said.lines().last().unwrap().starts_with("forebay: "), "{said}");
    }
}
