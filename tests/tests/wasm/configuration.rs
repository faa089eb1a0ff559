//! What happens with a plugin configuration that is wrong.

use e2e::wasm_host::Host;

#[test]
fn a_wrong_configuration_ends_the_start_with_the_fields_name() {
    for (configuration, field) in [
        ("", "EOF"),
        ("[]", "`.`"),
        ("{}", "service"),
        (r#"{"service": "demo", "mode": "maybe"}"#, "`mode`"),
        (r#"{"service": "demo", "mdoe": "on"}"#, "mdoe"),
        (r#"{"service": "demo", "max_body_bytes": "4"}"#, "`max_body_bytes`"),
        (r#"{"service": "demo", "l1": {"shared_bytes": -1}}"#, "`l1.shared_bytes`"),
        (r#"{"service": "demo", "join": {"timeout_ms": 0}}"#, "`join.timeout_ms`"),
        (r#"{"service": "demo", "gate": {}}"#, "cluster"),
        (r#"{"service": "demo", "gate": {"cluster": "g", "poll_ms": 1}}"#, "`gate.poll_ms`"),
        (r#"{"service": "demo", "routes": {"r": {"service": "no spaces"}}}"#, "`routes.r.service`"),
    ] {
        let refused = Host::load(&e2e::filter(), configuration).err().expect(configuration);
        assert!(refused.contains("error: ") && refused.contains(field), "{configuration}: {refused}");
    }
}

#[test]
fn a_service_is_all_that_is_needed() {
    assert!(Host::load(&e2e::filter(), r#"{"service": "demo"}"#).is_ok());
}
