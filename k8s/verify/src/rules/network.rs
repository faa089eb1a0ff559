//! Ingresses and policies of networks: hosts, paths, backends, peers and networks that can be.

use crate::rules::field::Field;
use crate::rules::selectors;
use crate::rules::text::{self, Network};
use crate::{Failure, World};

/// Says what is wrong with Ingresses and policies of networks.
pub fn check(world: &World, failures: &mut Vec<Failure>) {
    for object in world.of("networking.k8s.io", "Ingress") {
        ingress(&Field::root(object), failures);
    }
    for object in world.of("networking.k8s.io", "NetworkPolicy") {
        policy(&Field::root(object).at("spec"), failures);
    }
    for object in world.of("networking.k8s.io", "IngressClass") {
        let controller = Field::root(object).down("spec.controller");
        if controller.text().is_some_and(|text| !text.contains('/')) {
            controller.fail(
                failures,
                format!("{} has no path", controller.quoted()),
                "a domain and a path, as example.com/ingress",
            );
        }
    }
}

fn ingress(root: &Field<'_>, failures: &mut Vec<Failure>) {
    let spec = root.at("spec");
    let (rules, default) = (spec.at("rules"), spec.at("defaultBackend"));
    if rules.is_empty() && !default.is_said() {
        rules.fail(failures, "are missing", "a rule, or defaultBackend");
    }
    if default.is_said() {
        backend(&default, failures);
    }
    spec.at("ingressClassName").form(failures, text::subdomain);
    let old = root.at("metadata").at("annotations").at("kubernetes.io/ingress.class");
    if old.text().is_some()
        && spec.at("ingressClassName").is_said()
        && old.text() != spec.at("ingressClassName").text()
    {
        old.fail(failures, "differs from spec.ingressClassName", "spec.ingressClassName alone");
    }
    for rule in rules.list() {
        let host = rule.at("host");
        host.form(failures, text::host);
        if host.text().is_some_and(|host| text::address(host).is_none()) {
            host.fail(failures, format!("{} is an address", host.quoted()), "a name");
        }
        if rule.at("http").is_said() {
            rule.at("http").at("paths").require(failures, "one path at least");
        }
        for path in rule.down("http.paths").list() {
            one_path(&path, failures);
        }
    }
    for tls in spec.at("tls").list() {
        tls.at("secretName").form(failures, text::subdomain);
        for host in tls.at("hosts").list() {
            host.require(failures, "a host");
            host.form(failures, text::host);
        }
    }
}

fn one_path(path: &Field<'_>, failures: &mut Vec<Failure>) {
    let (kind, text) = (path.at("pathType"), path.at("path"));
    kind.require(failures, "Exact, Prefix or ImplementationSpecific");
    kind.one_of(failures, &["Exact", "Prefix", "ImplementationSpecific"]);
    if text.text().map_or(kind.text() != Some("ImplementationSpecific"), |path| !path.starts_with('/')) {
        text.fail(failures, format!("{} is no path", text.quoted()), "one that begins with '/'");
    }
    if matches!(kind.text(), Some("Exact" | "Prefix")) {
        let never = ["//", "/./", "/../", "%2f", "%2F"];
        let said = text.text_or_empty();
        if never.iter().any(|never| said.contains(never)) || said.ends_with("/..") || said.ends_with("/.") {
            text.fail(failures, format!("{} holds //, a dot alone or %2f", text.quoted()), "a plain path");
        }
    }
    backend(&path.at("backend"), failures);
}

fn backend(backend: &Field<'_>, failures: &mut Vec<Failure>) {
    let (service, resource) = (backend.at("service"), backend.at("resource"));
    if service.is_said() == resource.is_said() {
        backend.fail(failures, "leads to two places or none", "service or resource");
        return;
    }
    if resource.is_said() {
        for of in ["kind", "name"] {
            resource.at(of).require(failures, "what it leads to");
            resource.at(of).form(failures, text::segment);
        }
        resource.at("apiGroup").form(failures, text::subdomain);
    }
    if service.is_said() {
        service.at("name").require(failures, "a Service's name");
        service.at("name").form(failures, text::label);
        let port = service.at("port");
        if port.at("name").text().is_some() == port.at("number").is_said() {
            port.fail(failures, "is said twice or not at all", "a name or a number");
        }
        port.at("name").form(failures, text::port_name);
        port.at("number").between(failures, 1, 65_535);
    }
}

fn policy(spec: &Field<'_>, failures: &mut Vec<Failure>) {
    let types: Vec<&str> = spec.at("policyTypes").list().iter().filter_map(Field::text).collect();
    for kind in spec.at("policyTypes").list() {
        kind.one_of_said(failures, &["Ingress", "Egress"]);
    }
    if types.len() > 2 {
        spec.at("policyTypes").fail(
            failures,
            format!("are {}", types.len()),
            "Ingress and Egress, each once",
        );
    }
    for (kind, rules, peers) in [("Ingress", "ingress", "from"), ("Egress", "egress", "to")] {
        if !types.is_empty() && !types.contains(&kind) && !spec.at(rules).is_empty() {
            spec.at(rules).fail(
                failures,
                format!("counts for nothing without {kind} in policyTypes"),
                format!("{kind} among policyTypes"),
            );
        }
        for rule in spec.at(rules).list() {
            for key in rule.map().into_iter().filter(|(key, _)| *key != "ports" && *key != peers) {
                key.1.fail(failures, format!("{rules} knows no such field"), format!("ports or {peers}"));
            }
            for port in rule.at("ports").list() {
                one_port(&port, failures);
            }
            for peer in rule.at(peers).list() {
                one_peer(&peer, failures);
            }
        }
    }
}

fn one_port(port: &Field<'_>, failures: &mut Vec<Failure>) {
    let (first, last) = (port.at("port"), port.at("endPort"));
    port.at("protocol").one_of(failures, &["TCP", "UDP", "SCTP"]);
    first.between(failures, 1, 65_535);
    first.form(failures, text::port_name);
    last.between(failures, 1, 65_535);
    match (first.number(), last.number()) {
        (Some(first), Some(until)) if until < first => {
            last.fail(failures, format!("{until} is below port {first}"), "at least the port");
        }
        (None, Some(_)) => {
            last.fail(failures, "ends no range: port is no number", "a number in port, or without endPort");
        }
        _ => {}
    }
}

fn one_peer(peer: &Field<'_>, failures: &mut Vec<Failure>) {
    let [pods, namespaces, block] = ["podSelector", "namespaceSelector", "ipBlock"].map(|of| peer.at(of));
    selectors::form(&pods, failures);
    selectors::form(&namespaces, failures);
    if !pods.is_said() && !namespaces.is_said() && !block.is_said() {
        peer.fail(failures, "names nobody", "podSelector, namespaceSelector or ipBlock");
    } else if block.is_said() && (pods.is_said() || namespaces.is_said()) {
        block.fail(failures, "stands beside a selector", "an entry of its own");
    }
    if block.is_said() {
        block.at("cidr").require(failures, "a network");
    }
    block.at("cidr").form(failures, text::network);
    let whole = block.at("cidr").text().and_then(Network::parse);
    for except in block.at("except").list() {
        except.form(failures, text::network);
        let part = except.text().and_then(Network::parse);
        if whole.as_ref().zip(part).is_some_and(|(whole, part)| !whole.holds(&part)) {
            except.fail(
                failures,
                format!("{} is no part of {}", except.quoted(), block.at("cidr").quoted()),
                "a smaller network inside it",
            );
        }
    }
}
