//! Kubernetes' Gateway API: what a Gateway listens with, and names that a route has at it.

use crate::rules::clashes::is_under;
use crate::rules::field::Field;
use crate::rules::known::Known;
use crate::{Failure, Object};

const GROUP: &str = "gateway.networking.k8s.io";
const PROTOCOLS: [&str; 5] = ["HTTP", "HTTPS", "TLS", "TCP", "UDP"];

pub(super) fn check(known: &Known<'_>, failures: &mut Vec<Failure>) {
    for gateway in known.world.of(GROUP, "Gateway") {
        known.need("GatewayClass", &Field::root(gateway).down("spec.gatewayClassName"), None, failures);
        for listener in Field::root(gateway).down("spec.listeners").list() {
            listens(known, gateway, &listener, failures);
        }
    }
    for route in known.world.objects.iter().filter(|object| object.group() == GROUP) {
        for parent in Field::root(route).down("spec.parentRefs").list() {
            let namespace = parent.at("namespace").text().or(route.namespace.as_deref());
            if let Some(gateway) = known.object("Gateway", parent.at("name").text_or_empty(), namespace) {
                names(route, &parent, gateway, failures);
            }
        }
    }
}

fn listens(known: &Known<'_>, gateway: &Object, listener: &Field<'_>, failures: &mut Vec<Failure>) {
    let protocol = listener.at("protocol");
    let class = Field::root(gateway).down("spec.gatewayClassName");
    let is_waypoints = (class.text(), protocol.text()) == (Some("istio-waypoint"), Some("HBONE"));
    // Another implementation's own begin with its domain.
    if !is_waypoints && protocol.text().is_some_and(|text| !text.contains('/') && !PROTOCOLS.contains(&text))
    {
        let right = format!("one of {}", PROTOCOLS.join(", "));
        protocol.fail(failures, format!("there is no protocol {}", protocol.quoted()), right);
    }
    for reference in listener.at("tls").at("certificateRefs").list() {
        if matches!(reference.at("kind").text(), None | Some("Secret")) {
            let namespace = reference.at("namespace").text().or(gateway.namespace.as_deref());
            known.need("Secret", &reference.at("name"), namespace, failures);
        }
    }
    let from = listener.down("allowedRoutes.namespaces");
    if from.at("from").text() == Some("Selector") && from.at("selector").is_empty() {
        from.at("selector").fail(
            failures,
            "is missing: from: Selector lets nobody in",
            "labels of namespaces",
        );
    }
}

/// A route's names are those of a listener that it is at, or below them.
fn names(route: &Object, parent: &Field<'_>, gateway: &Object, failures: &mut Vec<Failure>) {
    let listeners = Field::root(gateway).down("spec.listeners").list();
    let at = |listener: &&Field<'_>| {
        let section = parent.at("sectionName").text();
        let port = parent.at("port").number();
        section.is_none_or(|section| listener.at("name").text() == Some(section))
            && port.is_none_or(|port| listener.at("port").number() == Some(port))
    };
    let hosts: Vec<Option<&str>> =
        listeners.iter().filter(at).map(|listener| listener.at("hostname").text()).collect();
    if hosts.is_empty() || hosts.contains(&None) {
        return;
    }
    for name in Field::root(route).down("spec.hostnames").list() {
        let Some(text) = name.text() else { continue };
        let meets = |host: &&str| *host == text || is_under(host, text) || is_under(text, host);
        if !hosts.iter().flatten().any(meets) {
            let right = hosts.iter().flatten().copied().collect::<Vec<_>>().join(", ");
            let wrong = format!("is no name of Gateway {}: nothing comes by it", gateway.name);
            name.fail(failures, wrong, format!("within {right}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::World;
    use crate::rules::known::Known;

    const GOOD: &str = "apiVersion: gateway.networking.k8s.io/v1\nkind: GatewayClass\nmetadata: {name: eg}\nspec: {controllerName: a.b/c}\n---\n\
        apiVersion: v1\nkind: Secret\nmetadata: {name: tls, namespace: ml}\ndata: {}\n---\n\
        apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: door, namespace: ml}\nspec:\n  gatewayClassName: eg\n  \
        listeners:\n    - {name: https, port: 443, protocol: HTTPS, hostname: \"*.example.com\", tls: {certificateRefs: [{name: tls}]}}\n    \
        - {name: http, port: 80, protocol: HTTP, allowedRoutes: {namespaces: {from: All}}}\n---\n\
        apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: web, namespace: ml}\nspec:\n  \
        parentRefs: [{name: door, sectionName: https}]\n  hostnames: [web.example.com]\n";

    fn said(from: &str, to: &str) -> Vec<String> {
        assert_eq!(GOOD.matches(from).count(), 1, "{from}");
        let mut world = World::default();
        world.take(Path::new("a.yaml"), &GOOD.replace(from, to));
        let mut failures = Vec::new();
        super::check(&Known::of(&world), &mut failures);
        failures.into_iter().map(|failure| failure.path).collect()
    }

    #[test]
    fn a_waypoint_of_istios_speaks_hbone() {
        let text =
            GOOD.replace("{name: eg}", "{name: istio-waypoint}").replace("Name: eg", "Name: istio-waypoint");
        let mut world = World::default();
        world.take(Path::new("a.yaml"), &text.replace("protocol: HTTPS", "protocol: HBONE"));
        let mut failures = Vec::new();
        super::check(&Known::of(&world), &mut failures);
        assert!(failures.is_empty(), "{failures:?}");
    }

    #[test]
    fn doors_have_a_class_a_protocol_a_certificate_and_the_names_of_their_routes() {
        for (from, to, at) in [
            ("gatewayClassName: eg", "gatewayClassName: egg", "spec.gatewayClassName"),
            ("protocol: HTTPS", "protocol: HTPPS", "spec.listeners[0].protocol"),
            ("protocol: HTTPS", "protocol: HBONE", "spec.listeners[0].protocol"),
            ("[{name: tls}]", "[{name: tsl}]", "spec.listeners[0].tls.certificateRefs[0].name"),
            ("from: All", "from: Selector", "spec.listeners[1].allowedRoutes.namespaces.selector"),
            ("web.example.com]", "web.example.org]", "spec.hostnames[0]"),
            ("web.example.com]", "\"*.com\", example.com]", "spec.hostnames[1]"),
        ] {
            assert_eq!(said(from, to), [at], "{to}");
        }
        for (from, to) in [
            ("web.example.com]", "\"*.example.com\", a.b.example.com]"),
            ("sectionName: https", "sectionName: http"),
            ("protocol: HTTPS", "protocol: example.com/QUIC"),
            ("from: All", "from: Selector, selector: {matchLabels: {a: b}}"),
        ] {
            assert_eq!(said(from, to), [""; 0], "{to}");
        }
    }
}
