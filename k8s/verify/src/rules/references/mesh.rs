//! What Istio's objects say of others: hosts, ports, subsets, gateways, workloads.

use std::collections::BTreeSet;

use crate::rules::clashes::is_under;
use crate::rules::field::Field;
use crate::rules::known::{Known, reaches};
use crate::rules::pods::selects_plainly;
use crate::rules::targets::{Form, Targets, Within, declared};
use crate::{Failure, Object};

use super::routes::service_port;

/// Selectors of workloads, by kind; each with the form that it has.
const SELECTORS: &[(&str, &str)] = &[
    ("AuthorizationPolicy", "spec.selector.matchLabels"),
    ("PeerAuthentication", "spec.selector.matchLabels"),
    ("RequestAuthentication", "spec.selector.matchLabels"),
    ("Telemetry", "spec.selector.matchLabels"),
    ("WasmPlugin", "spec.selector.matchLabels"),
    ("ProxyConfig", "spec.selector.matchLabels"),
    ("EnvoyFilter", "spec.workloadSelector.labels"),
    ("Sidecar", "spec.workloadSelector.labels"),
    ("ServiceEntry", "spec.workloadSelector.labels"),
    ("DestinationRule", "spec.workloadSelector.matchLabels"),
];
/// The namespace whose objects hold for the whole mesh.
const ROOT: &str = "istio-system";

pub(super) fn check(known: &Known<'_>, failures: &mut Vec<Failure>) {
    let targets = Targets::of(known.world);
    for object in known.world.objects.iter().filter(|object| object.group().ends_with(".istio.io")) {
        let root = Field::root(object);
        for (_, path) in SELECTORS.iter().filter(|(kind, _)| *kind == object.kind) {
            workloads(&targets, object, &root.down(path), failures);
        }
        for reference in root.down("spec.targetRefs").list().into_iter().chain([root.down("spec.targetRef")])
        {
            let kind = reference.at("kind").text_or_empty();
            if matches!(kind, "Gateway" | "Service" | "ServiceEntry" | "GatewayClass") {
                let namespace = object.namespace.as_deref().filter(|_| kind != "GatewayClass");
                known.need(kind, &reference.at("name"), namespace, failures);
            }
        }
        match object.kind.as_str() {
            "VirtualService" => virtual_service(known, object, failures),
            "DestinationRule" => {
                let host = root.down("spec.host");
                if need_host(known, object, &host, &host, failures) {
                    subsets(known, &targets, object, failures);
                }
            }
            "Gateway" => gateway(known, &targets, object, failures),
            _ => {}
        }
    }
}

fn workloads(targets: &Targets<'_>, object: &Object, selector: &Field<'_>, failures: &mut Vec<Failure>) {
    if selector.is_empty() {
        return;
    }
    let namespace = object.namespace.as_deref();
    let within = if namespace == Some(ROOT) { Within::Everywhere } else { Within::Namespace(namespace) };
    if targets.taken(selector, Form::Plain, within).is_empty()
        && !targets.are_declared(selector, Form::Plain, within)
    {
        selector.fail(failures, "selects no pod", declared(selector, Form::Plain, namespace));
    }
}

/// A Service that a host means, as name and namespace; none for a name of another world.
fn service<'a>(host: &'a str, own: Option<&'a str>) -> Option<(&'a str, Option<&'a str>)> {
    let parts: Vec<&str> = host.split('.').collect();
    match parts[..] {
        [name] => Some((name, own)),
        [name, namespace, "svc"] | [name, namespace, "svc", "cluster", "local"] => {
            Some((name, Some(namespace)))
        }
        _ => None,
    }
}

/// Whether a host is one that an entry of the mesh brings.
fn is_entry(known: &Known<'_>, host: &str) -> bool {
    let hosts = known
        .world
        .of("networking.istio.io", "ServiceEntry")
        .flat_map(|entry| Field::root(entry).down("spec.hosts").list());
    hosts.into_iter().any(|entry| {
        let entry = entry.text_or_empty();
        entry == host || entry.strip_prefix('*').is_some_and(|end| host.ends_with(end))
    })
}

/// Fails at `said` where a host means nothing; else whether it means something.
fn need_host(
    known: &Known<'_>,
    object: &Object,
    host: &Field<'_>,
    said: &Field<'_>,
    failures: &mut Vec<Failure>,
) -> bool {
    let Some(text) = host.text() else { return false };
    if text.contains('*') || is_entry(known, text) {
        return true;
    }
    match service(text, object.namespace.as_deref()) {
        Some((name, namespace)) => {
            let there = known.has("Service", name, namespace);
            if !there {
                known.missing("Service", name, namespace, said, failures);
            }
            there
        }
        None if known.world.outsiders.holds("ServiceEntry", text, None)
            || known.world.outsiders.holds("Service", text, None) =>
        {
            true
        }
        None => {
            let right = format!(
                "a ServiceEntry for it, or declare it in --outsiders: - {{kind: ServiceEntry, name: {text}, why: …}}"
            );
            said.fail(failures, format!("the mesh knows no host {text}"), right);
            false
        }
    }
}

fn virtual_service(known: &Known<'_>, object: &Object, failures: &mut Vec<Failure>) {
    let spec = Field::root(object).at("spec");
    let gateways = spec.at("gateways").list();
    for gateway in &gateways {
        let Some(text) = gateway.text().filter(|text| *text != "mesh") else { continue };
        let (namespace, name) =
            text.split_once('/').map_or((object.namespace.as_deref(), text), |(of, name)| (Some(of), name));
        if !known.has("Gateway", name, namespace) {
            known.missing("Gateway", name, namespace, gateway, failures);
        } else if let Some(gateway) =
            known.object("Gateway", name, namespace).filter(|one| one.group() == object.group())
        {
            let servers = Field::root(gateway).down("spec.servers").list();
            let opened: Vec<&str> = servers
                .iter()
                .flat_map(|server| server.at("hosts").list())
                .filter_map(|host| host.text())
                .collect();
            let opens = |host: &str| {
                opened.iter().any(|opened| {
                    let opened = opened.split_once('/').map_or(*opened, |(_, host)| host);
                    opened == host || is_under(opened, host) || is_under(host, opened)
                })
            };
            // For the mesh beside it a host may be a Service's.
            let beside = gateways.len() > 1;
            for host in spec.at("hosts").list() {
                if let Some(text) = host.text().filter(|text| !beside && !opens(text)) {
                    host.fail(
                        failures,
                        format!("Gateway {name} opens no host {text}"),
                        format!("one of {}", opened.join(", ")),
                    );
                }
            }
        }
    }
    // For the mesh itself a host is what clients ask for, and so must be known to them.
    if gateways.is_empty() || gateways.iter().any(|gateway| gateway.text() == Some("mesh")) {
        for host in spec.at("hosts").list() {
            let is_service =
                host.text().is_some_and(|text| service(text, None).is_some() && !text.contains('*'));
            if is_service && gateways.is_empty() {
                need_host(known, object, &host, &host, failures);
            }
        }
    }
    for kind in ["http", "tls", "tcp"] {
        for route in spec.at(kind).list() {
            let shares = route.at("route").list();
            for to in &shares {
                destination(known, object, &to.at("destination"), failures);
            }
            let weights: Vec<i64> = shares.iter().filter_map(|to| to.at("weight").number()).collect();
            if weights.len() > 1 && weights.iter().sum::<i64>() == 0 {
                route.at("route").fail(failures, "has no weight above 0", "weights above 0");
            }
            destination(known, object, &route.at("mirror"), failures);
            for mirror in route.at("mirrors").list() {
                destination(known, object, &mirror.at("destination"), failures);
            }
            let delegate = route.at("delegate");
            known.need(
                "VirtualService",
                &delegate.at("name"),
                delegate.at("namespace").text().or(object.namespace.as_deref()),
                failures,
            );
        }
    }
}

fn destination(known: &Known<'_>, object: &Object, to: &Field<'_>, failures: &mut Vec<Failure>) {
    let host = to.at("host");
    if !to.is_said() || !need_host(known, object, &host, &host, failures) {
        return;
    }
    let text = host.text_or_empty();
    if let Some((name, namespace)) = service(text, object.namespace.as_deref()) {
        service_port(known, name, &to.at("port").at("number"), namespace, failures);
    }
    let subset = to.at("subset");
    let Some(wanted) = subset.text() else { return };
    let own = object.namespace.as_deref();
    let rules: Vec<Field<'_>> = known
        .world
        .of("networking.istio.io", "DestinationRule")
        .filter(|rule| {
            let said = rule.text("/spec/host").unwrap_or_default();
            let (one, other) = (service(said, rule.namespace.as_deref()), service(text, own));
            said == text
                || one.zip(other).is_some_and(|(one, other)| {
                    one.0 == other.0 && (reaches(other.1, one.1) || reaches(one.1, other.1))
                })
        })
        .map(Field::root)
        .collect();
    let names: BTreeSet<&str> = rules
        .iter()
        .flat_map(|rule| rule.down("spec.subsets").list())
        .filter_map(|subset| subset.at("name").text())
        .collect();
    if !names.contains(wanted) {
        let right = if names.is_empty() {
            format!("a DestinationRule of {text} with it")
        } else {
            format!("one of {}", names.into_iter().collect::<Vec<_>>().join(", "))
        };
        subset.fail(failures, format!("no DestinationRule gives {text} a subset {wanted}"), right);
    }
}

/// Subsets are pods of the host's Service.
fn subsets(known: &Known<'_>, targets: &Targets<'_>, object: &Object, failures: &mut Vec<Failure>) {
    let spec = Field::root(object).at("spec");
    let Some((name, namespace)) = service(spec.at("host").text_or_empty(), object.namespace.as_deref())
    else {
        return;
    };
    let Some(found) = known.object("Service", name, namespace) else { return };
    let selector = Field::root(found).down("spec.selector");
    if selector.is_empty() {
        return;
    }
    let pods = targets.taken(&selector, Form::Plain, Within::Namespace(found.namespace.as_deref()));
    for subset in spec.at("subsets").list() {
        let labels = subset.at("labels");
        if !pods.is_empty() && !pods.iter().any(|pod| selects_plainly(&labels, &pod.labels())) {
            labels.fail(
                failures,
                format!("no pod of Service {name} has them"),
                "labels that some of its pods have",
            );
        }
    }
}

fn gateway(known: &Known<'_>, targets: &Targets<'_>, object: &Object, failures: &mut Vec<Failure>) {
    let spec = Field::root(object).at("spec");
    let selector = spec.at("selector");
    if !selector.is_empty()
        && targets.taken(&selector, Form::Plain, Within::Everywhere).is_empty()
        && !targets.are_declared(&selector, Form::Plain, Within::Everywhere)
    {
        selector.fail(failures, "selects no pod", declared(&selector, Form::Plain, None));
    }
    let mut names = BTreeSet::new();
    for server in spec.at("servers").list() {
        let name = server.at("port").at("name");
        let key = (server.at("port").at("number").number(), name.text_or_empty());
        if name.text().is_some() && !names.insert(key) {
            name.fail(failures, format!("{} is there twice", name.quoted()), "another name");
        }
        // The Secret is the gateway's pods', which may be in another namespace.
        let secret = server.down("tls.credentialName");
        let somewhere = secret.text().is_none_or(|name| {
            let made = known.world.objects.iter().any(|one| one.name == name && one.kind.contains("Secret"));
            made || known.has("Secret", name, object.namespace.as_deref())
                || known.world.outsiders.holds("Secret", name, None)
        });
        if !somewhere {
            known.missing("Secret", secret.text_or_empty(), object.namespace.as_deref(), &secret, failures);
        }
    }
}
