//! What happens with a plugin configuration that is wrong: every request passes, and the log names the field.

use super::{FRESH, answering, asking, forwarded, hit, infer, sound};
use e2e::wasm_host::Host;

const WRONG: [(&str, &str); 16] = [
    ("", "EOF"),
    ("[]", "`.`"),
    ("\u{fffd}", "`.`"),
    ("{}", "service"),
    (r#"{"service": "demo", "mode": "maybe"}"#, "`mode`"),
    (r#"{"service": "demo", "mdoe": "on"}"#, "mdoe"),
    (r#"{"service": "demo", "max_body_bytes": "4"}"#, "`max_body_bytes`"),
    (r#"{"service": "demo", "l1": {"shared_bytes": -1}}"#, "`l1.shared_bytes`"),
    (r#"{"service": "demo", "join": {"timeout_ms": 0}}"#, "`join.timeout_ms`"),
    (r#"{"service": "demo", "policies": {"demo": {"m": {"max_age_s": 1}}}}"#, "generation"),
    (r#"{"service": "demo", "gate": {}}"#, "cluster"),
    (r#"{"service": "demo", "gate": {"cluster": "g", "poll_ms": 1}}"#, "`gate.poll_ms`"),
    (r#"{"service": "demo", "gate": {"cluster": "g", "token": "t"}}"#, "`gate.token`"),
    (r#"{"service": "demo", "tenant": "team-a"}"#, "`tenant`"),
    (r#"{"service": "demo", "tenancy": "required"}"#, "`tenant`"),
    (r#"{"service": "demo", "routes": {"r": {"service": "no spaces"}}}"#, "`routes.r.service`"),
];

#[test]
fn a_wrong_configuration_is_taken_and_told_once_by_the_fields_name_and_counted() {
    for (configuration, field) in WRONG {
        let mut host = Host::load(&e2e::filter(), configuration).expect("settings are never refused");
        for _ in 0..3 {
            host.tick();
        }
        let logs = host.worker(0).logs();
        let told: Vec<_> = logs.iter().filter(|line| line.starts_with("error: ")).collect();
        assert!(told.len() == 1 && told[0].contains(field), "{configuration}: {logs:?}");
        // By the main thread and by the worker.
        assert_eq!(host.metric("forebay_config_errors"), 2, "{configuration}");
    }
}

#[test]
fn with_a_wrong_configuration_every_request_passes_without_what_only_the_filter_may_say() {
    for (configuration, _) in WRONG {
        let mut host = Host::load(&e2e::filter(), configuration).expect("settings are never refused");
        let worker = host.worker(0);
        for _ in 0..2 {
            let id =
                worker.open(infer(asking(7)).header("x-forebay-tenant", "victim").header("x-mine", "stays"));
            assert!(worker.forwarded(id).is_some(), "held: {configuration}");
            worker.body(id, asking(7), true);
            let seen = worker.forwarded(id).expect("forwarded");
            assert!(
                !seen.headers.iter().any(|(name, _)| name.starts_with("x-forebay-")),
                "{:?}",
                seen.headers
            );
            assert_eq!((seen.header("x-mine").as_deref(), &seen.body), (Some("stays"), &asking(7)));
            worker.respond(id, 200, &FRESH, &answering(7));
            assert_eq!(
                (worker.response(id).cache_status(), &worker.response(id).body),
                (String::new(), &answering(7))
            );
        }
        assert!(worker.calls().is_empty());
        sound(worker);
    }
}

#[test]
fn a_service_is_all_that_is_needed() {
    let mut host = Host::load(&e2e::filter(), r#"{"service": "demo"}"#).expect("it starts");
    let worker = host.worker(0);
    let id = forwarded(worker, infer(asking(7)));
    worker.respond(id, 200, &FRESH, &answering(7));
    hit(worker, infer(asking(7)));
    assert_eq!(worker.logs(), [""; 0]);
    assert_eq!(host.metric("forebay_config_errors"), 0);
}
