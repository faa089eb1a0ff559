//! What only one object can have: ports of nodes, paths of a host, being the default.

use std::collections::BTreeMap;

use crate::rules::field::Field;
use crate::rules::pods::Pod;
use crate::{Failure, Object, World};

/// Says what two objects claim.
pub fn check(world: &World, failures: &mut Vec<Failure>) {
    let mut on_nodes: BTreeMap<(i64, &str), &Object> = BTreeMap::new();
    for service in world.of("", "Service") {
        for port in Field::root(service).down("spec.ports").list() {
            let Some(number) = port.at("nodePort").number().filter(|number| *number != 0) else { continue };
            let over = port.at("protocol").text().unwrap_or("TCP");
            if let Some(other) = on_nodes.insert((number, over), service)
                && !std::ptr::eq(other, service)
            {
                port.at("nodePort").fail(
                    failures,
                    format!("{number}/{over} is Service {}'s", other.name),
                    "another port",
                );
            }
        }
    }
    on_every_node(world, failures);
    let mut paths: BTreeMap<(&str, &str, &str, &str), &Object> = BTreeMap::new();
    for ingress in world.of("networking.k8s.io", "Ingress") {
        let spec = Field::root(ingress).at("spec");
        let class = spec.at("ingressClassName").text_or_empty();
        for rule in spec.at("rules").list() {
            for path in rule.down("http.paths").list() {
                let host = rule.at("host").text_or_empty();
                let said =
                    (class, host, path.at("path").text_or_empty(), path.at("pathType").text_or_empty());
                if let Some(other) = paths.insert(said, ingress) {
                    let wrong = format!(
                        "{} of host \"{host}\" is Ingress {}'s",
                        path.at("path").quoted(),
                        other.name
                    );
                    path.at("path").fail(failures, wrong, "another path, or one rule");
                }
            }
        }
        certificates(&spec, failures);
    }
    let defaults: Vec<&Object> = world
        .of("scheduling.k8s.io", "PriorityClass")
        .filter(|class| Field::root(class).at("globalDefault").is_true())
        .collect();
    for class in defaults.iter().skip(1) {
        let wrong = format!("PriorityClass {} is the default already", defaults[0].name);
        Field::root(class).at("globalDefault").fail(failures, wrong, "one default");
    }
}

/// Two pods on each node can't have one port of it.
fn on_every_node(world: &World, failures: &mut Vec<Failure>) {
    let mut taken: BTreeMap<(i64, &str, &str), &Object> = BTreeMap::new();
    for object in world.of("apps", "DaemonSet") {
        let Some(pod) = Pod::of(object)
            .filter(|pod| pod.spec.at("nodeSelector").is_empty() && !pod.spec.at("affinity").is_said())
        else {
            continue;
        };
        let on_host = pod.spec.at("hostNetwork").is_true();
        for port in pod.running().iter().flat_map(|container| container.at("ports").list()) {
            let said = port.at("hostPort");
            let said = if on_host && !said.is_said() { port.at("containerPort") } else { said };
            let Some(number) = said.number().filter(|number| *number != 0) else { continue };
            let over = port.at("protocol").text().unwrap_or("TCP");
            let key = (number, over, port.at("hostIP").text_or_empty());
            if let Some(other) = taken.insert(key, object)
                && !std::ptr::eq(other, object)
            {
                said.fail(
                    failures,
                    format!("{number}/{over} of each node is DaemonSet {}'s", other.name),
                    "another port",
                );
            }
        }
    }
}

/// A certificate for a host that no rule serves.
fn certificates(spec: &Field<'_>, failures: &mut Vec<Failure>) {
    let rules = spec.at("rules").list();
    let hosts: Vec<&str> = rules.iter().filter_map(|rule| rule.at("host").text()).collect();
    if hosts.len() < rules.len() || hosts.is_empty() {
        return;
    }
    for host in spec.at("tls").list().iter().flat_map(|tls| tls.at("hosts").list()) {
        let Some(text) = host.text() else { continue };
        let serves = |of: &&str| *of == text || is_under(of, text) || is_under(text, of);
        if !hosts.iter().any(serves) {
            host.fail(failures, format!("no rule serves {text}"), format!("one of {}", hosts.join(", ")));
        }
    }
}

/// Whether a wildcard takes a host.
pub(crate) fn is_under(wildcard: &str, host: &str) -> bool {
    wildcard == "*"
        || wildcard
            .strip_prefix('*')
            .is_some_and(|end| end.starts_with('.') && host.ends_with(end) && host.len() > end.len())
}
