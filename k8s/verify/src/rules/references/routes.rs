//! Ways to pods: Services to pods and their ports, Ingresses and webhooks to Services, policies to both ends.

use crate::rules::field::Field;
use crate::rules::known::Known;
use crate::rules::targets::{Form, Ports, Targets, Within, declared};
use crate::{Failure, Object};

pub(super) fn check(known: &Known<'_>, failures: &mut Vec<Failure>) {
    let targets = Targets::of(known.world);
    for object in &known.world.objects {
        let root = Field::root(object);
        match (object.group(), object.kind.as_str()) {
            ("", "Service") => service(&targets, object, failures),
            ("networking.k8s.io", "Ingress") => ingress(known, object, failures),
            ("networking.k8s.io", "NetworkPolicy") => policy(known, &targets, object, failures),
            ("gateway.networking.k8s.io", "HTTPRoute" | "GRPCRoute" | "TLSRoute" | "TCPRoute") => {
                route(known, object, failures);
            }
            (
                "admissionregistration.k8s.io",
                "ValidatingWebhookConfiguration" | "MutatingWebhookConfiguration",
            ) => {
                for hook in root.at("webhooks").list() {
                    webhook(known, &hook.down("clientConfig.service"), failures);
                }
            }
            ("admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding") => {
                known.need("ValidatingAdmissionPolicy", &root.down("spec.policyName"), None, failures);
            }
            ("apiextensions.k8s.io", "CustomResourceDefinition") => {
                webhook(known, &root.down("spec.conversion.webhook.clientConfig.service"), failures);
            }
            ("apiregistration.k8s.io", "APIService") => webhook(known, &root.down("spec.service"), failures),
            _ => {}
        }
    }
}

fn service(targets: &Targets<'_>, object: &Object, failures: &mut Vec<Failure>) {
    let spec = Field::root(object).at("spec");
    let selector = spec.at("selector");
    if selector.is_empty() || spec.at("type").text() == Some("ExternalName") {
        return;
    }
    let within = Within::Namespace(object.namespace.as_deref());
    let pods = targets.taken(&selector, Form::Plain, within);
    if pods.is_empty() {
        if !targets.are_declared(&selector, Form::Plain, within) {
            selector.fail(
                failures,
                "selects no pod",
                declared(&selector, Form::Plain, object.namespace.as_deref()),
            );
        }
        return;
    }
    let ports = spec.at("ports").list().into_iter().map(|port| {
        let target = port.at("targetPort");
        if target.is_said() { target } else { port.at("port") }
    });
    let ports: Vec<Field<'_>> = ports.collect();
    targets.ports(&pods).need_all(&ports, "the pods that are selected", failures);
    Ports::need_everywhere(&pods, &ports, failures);
}

/// Fails where a Service is missing, or has not the port.
pub(super) fn backend(
    known: &Known<'_>,
    name: &Field<'_>,
    port: &Field<'_>,
    namespace: Option<&str>,
    failures: &mut Vec<Failure>,
) {
    if known.need("Service", name, namespace, failures) {
        service_port(known, name.text_or_empty(), port, namespace, failures);
    }
}

/// Fails where a Service that is here has not the port.
pub(super) fn service_port(
    known: &Known<'_>,
    name: &str,
    port: &Field<'_>,
    namespace: Option<&str>,
    failures: &mut Vec<Failure>,
) {
    let Some(service) = known.object("Service", name, namespace) else { return };
    let spec = Field::root(service).at("spec");
    let ports = spec.at("ports").list();
    let names: Vec<&str> = ports.iter().filter_map(|port| port.at("name").text()).collect();
    let numbers: Vec<i64> = ports.iter().filter_map(|port| port.at("port").number()).collect();
    let there = match (port.text(), port.number()) {
        (Some(text), _) => {
            names.contains(&text) || text.parse().is_ok_and(|number| numbers.contains(&number))
        }
        (_, Some(number)) => numbers.contains(&number),
        _ => return,
    };
    if !there && spec.at("type").text() != Some("ExternalName") {
        let all: Vec<String> =
            names.iter().map(|name| (*name).to_owned()).chain(numbers.iter().map(i64::to_string)).collect();
        port.fail(
            failures,
            format!("Service {name} has no port {}", port.quoted()),
            format!("one of {}", all.join(", ")),
        );
    }
}

fn ingress(known: &Known<'_>, object: &Object, failures: &mut Vec<Failure>) {
    let namespace = object.namespace.as_deref();
    let spec = Field::root(object).at("spec");
    known.need("IngressClass", &spec.at("ingressClassName"), None, failures);
    let rules = spec.at("rules").list();
    let paths = rules.iter().flat_map(|rule| rule.down("http.paths").list()).map(|path| path.at("backend"));
    for to in paths.chain([spec.at("defaultBackend")]) {
        let (service, port) = (to.at("service"), to.at("service").at("port"));
        let port = if port.at("name").is_said() { port.at("name") } else { port.at("number") };
        backend(known, &service.at("name"), &port, namespace, failures);
    }
    for tls in spec.at("tls").list() {
        let secret = tls.at("secretName");
        if known.need("Secret", &secret, namespace, failures)
            && !known.has_key("Secret", secret.text_or_empty(), namespace, "tls.crt")
        {
            secret.fail(
                failures,
                format!("Secret {} holds no certificate", secret.quoted()),
                "one with tls.crt and tls.key",
            );
        }
    }
}

fn route(known: &Known<'_>, object: &Object, failures: &mut Vec<Failure>) {
    let spec = Field::root(object).at("spec");
    let own = object.namespace.as_deref();
    for parent in spec.at("parentRefs").list() {
        if parent.at("kind").text().unwrap_or("Gateway") == "Gateway" {
            let namespace = parent.at("namespace").text().or(own);
            if known.need("Gateway", &parent.at("name"), namespace, failures) {
                listener(known, &parent, namespace, failures);
            }
        }
    }
    for to in spec.at("rules").list().iter().flat_map(|rule| rule.at("backendRefs").list()) {
        if to.at("kind").text().unwrap_or("Service") == "Service" {
            backend(known, &to.at("name"), &to.at("port"), to.at("namespace").text().or(own), failures);
        }
    }
}

fn listener(known: &Known<'_>, parent: &Field<'_>, namespace: Option<&str>, failures: &mut Vec<Failure>) {
    let section = parent.at("sectionName");
    let Some(gateway) = known.object("Gateway", parent.at("name").text_or_empty(), namespace) else { return };
    let listeners = Field::root(gateway).down("spec.listeners").list();
    let names: Vec<&str> = listeners.iter().filter_map(|listener| listener.at("name").text()).collect();
    if section.text().is_some_and(|name| !names.contains(&name)) {
        section.fail(
            failures,
            format!("the Gateway has no listener {}", section.quoted()),
            format!("one of {}", names.join(", ")),
        );
    }
}

fn webhook(known: &Known<'_>, service: &Field<'_>, failures: &mut Vec<Failure>) {
    let namespace = service.at("namespace").text();
    if known.need("Service", &service.at("name"), namespace, failures) {
        service_port(known, service.at("name").text_or_empty(), &service.at("port"), namespace, failures);
    }
}

/// Labels of pods that every cluster runs in `kube-system`.
const SYSTEM: [(&str, &str); 6] = [
    ("k8s-app", "kube-dns"),
    ("k8s-app", "kube-proxy"),
    ("component", "kube-apiserver"),
    ("component", "kube-controller-manager"),
    ("component", "kube-scheduler"),
    ("component", "etcd"),
];

fn policy(known: &Known<'_>, targets: &Targets<'_>, object: &Object, failures: &mut Vec<Failure>) {
    let spec = Field::root(object).at("spec");
    let namespace = object.namespace.as_deref();
    let selector = spec.at("podSelector");
    let within = Within::Namespace(namespace);
    let own = targets.taken(&selector, Form::Full, within);
    if own.is_empty() && !is_all(&selector) && !targets.are_declared(&selector, Form::Full, within) {
        selector.fail(failures, "selects no pod", declared(&selector, Form::Full, namespace));
    }
    for rule in spec.at("ingress").list() {
        if !own.is_empty() && !is_all(&selector) {
            targets.ports(&own).need_all(&single(&rule), "the pods that are selected", failures);
        }
        for peer in rule.at("from").list() {
            peer_pods(known, targets, &peer, namespace, failures);
        }
    }
    for rule in spec.at("egress").list() {
        let peers = rule.at("to").list();
        let mut pods = Vec::new();
        let mut are_here = !peers.is_empty();
        for peer in &peers {
            let found = peer_pods(known, targets, peer, namespace, failures);
            are_here &= !found.is_empty()
                && !peer.at("namespaceSelector").is_said()
                && !is_all(&peer.at("podSelector"));
            pods.extend(found);
        }
        if are_here {
            targets.ports(&pods).need_all(&single(&rule), "the pods that are let to", failures);
        }
    }
}

/// Ports of a rule that are one each.
fn single<'a>(rule: &Field<'a>) -> Vec<Field<'a>> {
    let ports = rule.at("ports").list().into_iter().filter(|port| !port.at("endPort").is_said());
    ports.map(|port| port.at("port")).collect()
}

fn is_all(selector: &Field<'_>) -> bool {
    selector.at("matchLabels").is_empty() && selector.at("matchExpressions").is_empty()
}

/// Whether the rule of a peer lets port 53 through.
fn asks_dns(peer: &Field<'_>) -> bool {
    let Some((rule, _)) = peer.path.rsplit_once(".to[") else { return true };
    let place =
        rule.trim_end_matches(']').rsplit_once('[').and_then(|(_, place)| place.parse::<usize>().ok());
    let rules = Field::root(peer.object).down("spec.egress").list();
    let Some(rule) = place.and_then(|place| rules.get(place)) else { return true };
    let ports = rule.at("ports").list();
    ports.is_empty()
        || ports.iter().any(|port| {
            matches!(port.at("port").number(), Some(53))
                || !port.at("port").is_said()
                || port.at("port").text().is_some()
        })
}

fn peer_pods<'a, 'b>(
    known: &Known<'_>,
    targets: &'b Targets<'a>,
    peer: &Field<'_>,
    namespace: Option<&str>,
    failures: &mut Vec<Failure>,
) -> Vec<&'b crate::rules::pods::Pod<'a>> {
    let (pods, namespaces) = (peer.at("podSelector"), peer.at("namespaceSelector"));
    let named = namespaces.at("matchLabels").at("kubernetes.io/metadata.name");
    if let Some(name) = named.text()
        && !known.has_namespace(name)
    {
        known.need("Namespace", &named, None, failures);
        return Vec::new();
    }
    let within = match (namespaces.is_said(), named.text()) {
        (false, _) => Within::Namespace(namespace),
        (true, Some(name)) => Within::Namespace(Some(name)),
        (true, None) => Within::Everywhere,
    };
    if !pods.is_said() || is_all(&pods) {
        return Vec::new();
    }
    let found = targets.taken(&pods, Form::Full, within);
    let labels = pods.at("matchLabels").map();
    let system = named.text() == Some("kube-system") || namespaces.is_said() && named.text().is_none();
    let is_system =
        system && labels.iter().any(|(key, value)| SYSTEM.contains(&(key, value.text_or_empty())));
    if is_system
        && labels.iter().any(|(key, value)| (*key, value.text_or_empty()) == SYSTEM[0])
        && !asks_dns(peer)
    {
        // Where the rule lets no port 53, nothing is asked of DNS.
        peer.fail(failures, "is DNS, and the rule lets nothing to port 53", "port 53, UDP and TCP");
    }
    if found.is_empty() && !is_system && !targets.are_declared(&pods, Form::Full, within) {
        let place = named.text().or(namespace.filter(|_| !namespaces.is_said()));
        pods.fail(failures, "selects no pod", declared(&pods, Form::Full, place));
    }
    found
}
