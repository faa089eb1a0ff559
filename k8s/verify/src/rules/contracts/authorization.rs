//! Istio's rules of who may ask: texts that match nothing, or that istiod refuses.

use crate::failure::Failure;
use crate::rules::field::Field;
use crate::world::World;

/// Conditions that there are; those with a name in brackets end in `[`.
const CONDITIONS: &[&str] = &[
    "request.headers[",
    "source.ip",
    "remote.ip",
    "source.namespace",
    "source.principal",
    "source.serviceAccount",
    "request.auth.principal",
    "request.auth.audiences",
    "request.auth.presenter",
    "request.auth.claims[",
    "destination.ip",
    "destination.port",
    "connection.sni",
    "experimental.envoy.filters.",
];

pub(super) fn check(world: &World, failures: &mut Vec<Failure>) {
    for object in world.of("security.istio.io", "AuthorizationPolicy") {
        let spec = Field::root(object).at("spec");
        for rule in spec.at("rules").list() {
            for source in rule.at("from").list() {
                sources(&source.at("source"), failures);
            }
            for operation in rule.at("to").list() {
                operations(&operation.at("operation"), failures);
            }
            for condition in rule.at("when").list() {
                let key = condition.at("key");
                let known = |text: &str| {
                    CONDITIONS.iter().any(|one| {
                        *one == text
                            || one.ends_with('[') && text.starts_with(one) && text.ends_with(']')
                            || one.ends_with('.') && text.starts_with(one)
                    })
                };
                if key.text().is_some_and(|text| !known(text)) {
                    key.fail(
                        failures,
                        format!("there is no condition {}", key.quoted()),
                        format!("one of {}", CONDITIONS.join(", ")),
                    );
                }
                if condition.at("values").is_empty() && condition.at("notValues").is_empty() {
                    condition.fail(failures, "asks for no value", "values or notValues");
                }
            }
        }
    }
}

/// A list and its opposite, as Istio names them.
fn both<'a>(field: &Field<'a>, name: &str) -> Vec<Field<'a>> {
    let mut opposite = format!("not{name}");
    opposite[3..4].make_ascii_uppercase();
    [name, &opposite].iter().flat_map(|name| field.at(name).list()).collect()
}

fn sources(source: &Field<'_>, failures: &mut Vec<Failure>) {
    for principal in both(source, "principals") {
        if principal.text().is_some_and(|text| text.starts_with("spiffe://")) {
            principal.fail(failures, "is matched without its scheme: nobody has it", "without spiffe://");
        }
        stars(&principal, failures);
    }
    for name in ["namespaces", "requestPrincipals", "serviceAccounts"] {
        for one in both(source, name) {
            stars(&one, failures);
        }
    }
    for block in both(source, "ipBlocks").into_iter().chain(both(source, "remoteIpBlocks")) {
        let address = block.text_or_empty().split('/').next().unwrap_or_default();
        if address.parse::<std::net::IpAddr>().is_err() {
            block.fail(failures, format!("{} is no address or network", block.quoted()), "as 10.0.0.0/8");
        }
    }
}

fn operations(operation: &Field<'_>, failures: &mut Vec<Failure>) {
    for path in both(operation, "paths") {
        // `{*}` and `{**}` are templates, which may stand anywhere.
        if !path.text_or_empty().contains('{') {
            stars(&path, failures);
        }
    }
    for host in both(operation, "hosts") {
        stars(&host, failures);
    }
    for method in both(operation, "methods") {
        if method.text().is_some_and(|text| text.bytes().any(|byte| byte.is_ascii_lowercase())) {
            method.fail(
                failures,
                format!("no request has the method {}", method.quoted()),
                "in capital letters",
            );
        }
    }
    for port in both(operation, "ports") {
        if port.text().is_some_and(|text| !text.parse::<u16>().is_ok_and(|port| port > 0)) {
            port.fail(failures, format!("{} is no number of a port", port.quoted()), "1 to 65535, in quotes");
        }
    }
}

/// A star stands for what begins or ends a text; elsewhere it is a star.
fn stars(field: &Field<'_>, failures: &mut Vec<Failure>) {
    let text = field.text_or_empty();
    let inner = text.strip_prefix('*').unwrap_or(text);
    let inner = if inner.len() < text.len() { inner } else { inner.strip_suffix('*').unwrap_or(inner) };
    if inner.contains('*') {
        field.fail(
            failures,
            format!("{} has a star that stands for itself", field.quoted()),
            "one star, first or last; in a path also {*} for a part and {**} for all that follows",
        );
    }
}
