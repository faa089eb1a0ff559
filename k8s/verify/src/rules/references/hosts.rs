//! Services that texts name by their DNS names: in arguments, variables and the configuration that pods mount.

use serde_json::Value;

use crate::Failure;
use crate::read;
use crate::rules::field::Field;
use crate::rules::known::Known;
use crate::rules::pods::{Pod, said};
use crate::rules::targets::{Form, Targets, Within};

pub(super) fn check(known: &Known<'_>, failures: &mut Vec<Failure>) {
    let targets = Targets::of(known.world);
    for pod in Pod::all(known.world) {
        for text in pod.all_containers().iter().flat_map(said) {
            for host in hosts(text.text_or_empty()) {
                need(known, &targets, &host, &text, failures);
            }
        }
    }
    for object in
        known.world.objects.iter().filter(|object| object.is("", "ConfigMap") || object.is("", "Secret"))
    {
        for (_, text) in ["data", "stringData"].iter().flat_map(|of| Field::root(object).at(of).map()) {
            for host in sockets(text.text_or_empty()) {
                need(known, &targets, &host, &text, failures);
            }
            // Configuration names much that only its program knows how to take: there a name counts that is almost one.
            for host in hosts(text.text_or_empty()) {
                let namespace = host.namespace.as_deref().or(object.namespace.as_deref());
                if known.object("Service", &host.name, namespace).is_some()
                    || known.is_almost("Service", &host.name)
                {
                    need(known, &targets, &host, &text, failures);
                }
            }
        }
    }
    for object in known.world.of("keda.sh", "ScaledObject") {
        for trigger in Field::root(object).down("spec.triggers").list() {
            for (_, value) in trigger.at("metadata").map() {
                for host in hosts(value.text_or_empty()) {
                    need(known, &targets, &host, &value, failures);
                }
            }
        }
    }
}

/// A name that only a cluster's DNS knows, with the port behind it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Host {
    pub(super) name: String,
    pub(super) namespace: Option<String>,
    pub(super) port: Option<i64>,
}

/// Names in a text: after `://`, and those that end as Services' do.
pub(super) fn hosts(text: &str) -> Vec<Host> {
    let mut found = Vec::new();
    let ends = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | ':'));
    for (place, _) in text.match_indices("://") {
        let rest = &text[place + 3..];
        let authority = &rest[..rest
            .find(|c: char| c == '/' || c.is_whitespace() || "\"'`,;?#".contains(c))
            .unwrap_or(rest.len())];
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        if host.contains(ends) || host.is_empty() {
            continue;
        }
        found.extend(service(host, true));
    }
    for word in text.split(ends).filter(|word| word.contains(".svc")) {
        let host = service(word, false);
        if let Some(host) = host.filter(|host| !found.contains(host)) {
            found.push(host);
        }
    }
    found
}

/// A Service's name of the forms `name`, `name.namespace.svc` and `name.namespace.svc.cluster.local`, with a port or without.
fn service(host: &str, alone: bool) -> Option<Host> {
    let (host, port) = match host.split_once(':') {
        Some((host, port)) => (host, Some(port.parse().ok()?)),
        None => (host, None),
    };
    let parts: Vec<&str> = host.trim_end_matches('.').split('.').collect();
    let is_name = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_lowercase()) && crate::rules::text::label(part).is_none()
    };
    let (name, namespace) = match parts[..] {
        [name] if alone && name != "localhost" => (name, None),
        // A pod of a headless Service stands before its name.
        [.., name, namespace, "svc"] | [.., name, namespace, "svc", "cluster", "local"]
            if parts.len() <= 6 =>
        {
            (name, Some(namespace.to_owned()))
        }
        _ => return None,
    };
    is_name(name).then(|| Host { name: name.to_owned(), namespace, port })
}

/// Addresses of an Envoy's configuration that are names.
pub(super) fn sockets(text: &str) -> Vec<Host> {
    if !text.contains("socket_address") && !text.contains("socketAddress") {
        return Vec::new();
    }
    let mut found = Vec::new();
    for document in read::documents(text).0 {
        walk(&document.value, &mut found);
    }
    found
}

fn walk(value: &Value, found: &mut Vec<Host>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| walk(item, found)),
        Value::Object(members) => {
            for (key, member) in members {
                if key == "socket_address" || key == "socketAddress" {
                    let address = member.get("address").and_then(Value::as_str).unwrap_or_default();
                    let port =
                        member.get("port_value").or_else(|| member.get("portValue")).and_then(Value::as_i64);
                    found.extend(service(address, true).map(|host| Host { port, ..host }));
                } else {
                    walk(member, found);
                }
            }
        }
        _ => {}
    }
}

fn need(
    known: &Known<'_>,
    targets: &Targets<'_>,
    host: &Host,
    said: &Field<'_>,
    failures: &mut Vec<Failure>,
) {
    let own = said.object.namespace.as_deref();
    let namespace = host.namespace.as_deref().or(own);
    let Some(service) = known.object("Service", &host.name, namespace) else {
        if !known.has("Service", &host.name, namespace) {
            known.missing("Service", &host.name, namespace, said, failures);
        }
        return;
    };
    let Some(port) = host.port else { return };
    let spec = Field::root(service).at("spec");
    let ports = spec.at("ports").list();
    let numbers: Vec<i64> = ports.iter().filter_map(|port| port.at("port").number()).collect();
    if numbers.contains(&port) || spec.at("type").text() == Some("ExternalName") {
        return;
    }
    // A headless name is the pods' own: any port of theirs is reached.
    if spec.at("clusterIP").text() == Some("None") {
        let pods =
            targets.taken(&spec.at("selector"), Form::Plain, Within::Namespace(service.namespace.as_deref()));
        let theirs = targets.ports(&pods);
        if !theirs.are_all_said || theirs.numbers.contains(&port) {
            return;
        }
    }
    let all = numbers.iter().map(i64::to_string).collect::<Vec<_>>().join(", ");
    said.fail(failures, format!("Service {} has no port {port}", host.name), format!("one of {all}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_services_are_found_in_texts() {
        let names = |text| {
            hosts(text)
                .into_iter()
                .map(|host| format!("{}/{:?}/{:?}", host.name, host.namespace, host.port))
                .collect::<Vec<_>>()
        };
        assert_eq!(names("--redis-url=redis://:pw@cache:6379/0"), ["cache/None/Some(6379)"]);
        assert_eq!(names("gate.ml.svc.cluster.local:8010"), ["gate/Some(\"ml\")/Some(8010)"]);
        assert_eq!(names("http://a-0.a.ml.svc:80/x?b=http://c"), ["a/Some(\"ml\")/Some(80)", "c/None/None"]);
        assert!(
            names("https://example.com, http://$(HOST):80, http://localhost:1, http://127.0.0.1:2, x.svcs")
                .is_empty()
        );
    }
}
