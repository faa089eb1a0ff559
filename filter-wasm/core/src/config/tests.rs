//! Settings that are taken, and what the refusal of others says.

use super::*;

fn refusal(json: &str) -> String {
    Config::parse(json.as_bytes()).unwrap_err().to_string()
}

#[test]
fn a_service_is_all_that_is_needed() {
    let config = Config::parse(br#"{"service": "demo"}"#).unwrap();
    assert_eq!((config.mode, config.max_body_bytes, config.gate), (Mode::On, 4 << 20, None));
}

#[test]
fn a_tenant_can_be_a_property_for_all_or_by_route() {
    let config = Config::parse(
        br#"{"service": "demo", "tenancy": "required", "tenant": {"property": ["connection", "x"]},
             "routes": {"r": {"service": "demo", "tenant": "team-a"}}}"#,
    );
    let config = config.unwrap();
    assert_eq!(config.tenant, Some(Tenant::Property { property: vec!["connection".into(), "x".into()] }));
    assert_eq!(config.routes["r"].tenant, Some(Tenant::Fixed("team-a".into())));
}

#[test]
fn an_authority_is_made_of_istios_names_and_can_be_set() {
    let authority = |gate: &str| {
        let config = Config::parse(format!(r#"{{"service": "a", "gate": {gate}}}"#).as_bytes());
        config.map(|config| config.gate.unwrap().authority().to_owned())
    };
    assert_eq!(authority(r#"{"cluster": "forebay-gate"}"#).unwrap(), "forebay-gate");
    let istios = r#"{"cluster": "outbound|8010||gate.ns.svc.cluster.local"}"#;
    assert_eq!(authority(istios).unwrap(), "gate.ns.svc.cluster.local");
    assert_eq!(authority(r#"{"cluster": "c", "authority": "gate:8010"}"#).unwrap(), "gate:8010");
    for wrong in [r#"{"cluster": "a|"}"#, r#"{"cluster": "a b"}"#, r#"{"cluster": "c", "authority": "a|b"}"#]
    {
        assert!(authority(wrong).unwrap_err().to_string().contains("`gate.authority`"), "{wrong}");
    }
}

#[test]
fn every_refusal_names_the_field() {
    for (json, field) in [
        ("{}", "service"),
        (r#"{"service": ""}"#, "`service`"),
        (r#"{"service": "a b"}"#, "`service`"),
        (r#"{"service": "a", "mode": "maybe"}"#, "`mode`"),
        (r#"{"service": "a", "backends": {"on_demand": {"b": ["m"]}}}"#, "`backends.on_demand.b`"),
        (r#"{"service": "a", "backends": {"on_demand": {"a": ["m\n"]}}}"#, "`backends.on_demand.a`"),
        (r#"{"service": "a", "backends": {"hot": []}}"#, "`backends.hot`"),
        (r#"{"service": "a", "policies": {"b": {}}}"#, "`policies.b`"),
        (r#"{"service": "a", "policies": {"a": {"m": {"max_age_s": 1}}}}"#, "`generation`"),
        (
            r#"{"service": "a", "policies": {"a": {"m": {"generation": " ", "max_age_s": 1}}}}"#,
            "`policies.a.m.generation`",
        ),
        (
            r#"{"service": "a", "policies": {"a": {"m": {"generation": "w", "max_age_s": 0}}}}"#,
            "`policies.a.m.max_age_s`",
        ),
        (r#"{"service": "a", "policies": {"a": {"": {"generation": "w", "max_age_s": 1}}}}"#, "`policies.a`"),
        (
            r#"{"service": "a", "policies": {"a": {"m": {"generation": "w", "max_age_s": 1, "ttl": 1}}}}"#,
            "`policies.a.m.ttl`",
        ),
        (r#"{"service": "a", "max_body_bytes": 0}"#, "`max_body_bytes`"),
        (r#"{"service": "a", "l1": {"vm_bytes": -1}}"#, "`l1.vm_bytes`"),
        (r#"{"service": "a", "l1": {"vm_byte": 1}}"#, "`l1.vm_byte`"),
        (r#"{"service": "a", "l1": {"vm_bytes": 536870912}}"#, "`l1.vm_bytes`"),
        (r#"{"service": "a", "max_held_bytes": 469762049}"#, "`max_held_bytes`"),
        (r#"{"service": "a", "gate": {"cluster": "g", "timeout_ms": 0}}"#, "`gate.timeout_ms`"),
        (r#"{"service": "a", "routes": {"r": {"service": "/"}}}"#, "`routes.r.service`"),
        (r#"{"service": "a", "gate": {"cluster": "g", "token": "t"}}"#, "`gate.token`"),
        (r#"{"service": "a", "tenancy": "maybe"}"#, "`tenancy`"),
        (r#"{"service": "a", "tenant": "t"}"#, "`tenant`"),
        (r#"{"service": "a", "tenancy": "required"}"#, "`tenant`"),
        (r#"{"service": "a", "tenancy": "required", "tenant": "a "}"#, "`tenant`"),
        (r#"{"service": "a", "tenancy": "required", "tenant": ""}"#, "`tenant`"),
        (r#"{"service": "a", "tenancy": "required", "tenant": {"property": []}}"#, "`tenant`"),
        (
            r#"{"service": "a", "tenancy": "required", "routes": {"r": {"service": "a"}}}"#,
            "`routes.r.tenant`",
        ),
        (r#"{"service": "a", "routes": {"r": {"service": "a", "tenant": "t"}}}"#, "`routes.r.tenant`"),
        (
            r#"{"service": "a", "routes": {"r": {"service": "a"}, "r": {"service": "b"}}}"#,
            "`routes`: invalid entry: found duplicate key",
        ),
        (r#"{"service": "a", "authorization": "names-tenant"}"#, "`authorization`"),
        (
            r#"{"service": "a", "authorization": "names-tenant", "tenancy": "required", "tenant": "t"}"#,
            "`authorization`",
        ),
        (
            r#"{"service": "a", "authorization": "names-tenant", "tenancy": "required", "tenant": {"property": ["a"]},
                "routes": {"r": {"service": "a", "tenant": "t"}}}"#,
            "`authorization`",
        ),
        (r#"{"service": "a", "tenancy": "required", "tenant": {"property": ["a", ""]}}"#, "`tenant`"),
        (r#"{"service": "a", "tenancy": "required", "tenant": {"property": ["a"], "y": 1}}"#, "`tenant`"),
        (r#"{"service": "a", "cookie": "eaten"}"#, "`cookie`"),
        (r#"{"service": "a"} x"#, "trailing"),
    ] {
        assert!(refusal(json).contains(field), "{json}: {}", refusal(json));
    }
}
