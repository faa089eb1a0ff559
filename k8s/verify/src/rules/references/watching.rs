//! Who is watched: `PodMonitors` and `ServiceMonitors` to pods, Services and their ports.

use crate::rules::field::Field;
use crate::rules::known::{Known, reaches};
use crate::rules::pods::{labels, selects};
use crate::rules::targets::{Form, Targets, Within, declared};
use crate::{Failure, Object};

pub(super) fn check(known: &Known<'_>, failures: &mut Vec<Failure>) {
    let targets = Targets::of(known.world);
    for object in known.world.of("monitoring.coreos.com", "PodMonitor") {
        for within in places(known, object, failures) {
            pods(&targets, object, within, failures);
        }
    }
    for object in known.world.of("monitoring.coreos.com", "ServiceMonitor") {
        for within in places(known, object, failures) {
            services(known, object, within, failures);
        }
    }
}

/// Namespaces in which a monitor looks.
fn places<'a>(known: &Known<'_>, object: &'a Object, failures: &mut Vec<Failure>) -> Vec<Within<'a>> {
    let selector = Field::root(object).down("spec.namespaceSelector");
    if selector.at("any").is_true() {
        return vec![Within::Everywhere];
    }
    let names = selector.at("matchNames").list();
    if names.is_empty() {
        return vec![Within::Namespace(object.namespace.as_deref())];
    }
    let mut places = Vec::new();
    for name in names {
        match name.text() {
            Some(text) if known.has_namespace(text) => places.push(Within::Namespace(Some(text))),
            _ => {
                known.need("Namespace", &name, None, failures);
            }
        }
    }
    places
}

fn pods(targets: &Targets<'_>, object: &Object, within: Within<'_>, failures: &mut Vec<Failure>) {
    let spec = Field::root(object).at("spec");
    let selector = spec.at("selector");
    let found = targets.taken(&selector, Form::Full, within);
    if found.is_empty() {
        if !targets.are_declared(&selector, Form::Full, within) {
            selector.fail(
                failures,
                "selects no pod",
                declared(&selector, Form::Full, object.namespace.as_deref()),
            );
        }
        return;
    }
    let ports = targets.ports(&found);
    for endpoint in spec.at("podMetricsEndpoints").list() {
        let said = ["port", "portNumber", "targetPort"].map(|port| endpoint.at(port));
        ports.need_all(&said, "the pods that are selected", failures);
    }
}

fn services(known: &Known<'_>, object: &Object, within: Within<'_>, failures: &mut Vec<Failure>) {
    let spec = Field::root(object).at("spec");
    let selector = spec.at("selector");
    let here = |service: &&Object| match within {
        Within::Everywhere => true,
        Within::Namespace(namespace) => reaches(namespace, service.namespace.as_deref()),
    };
    let found: Vec<Field<'_>> = known
        .world
        .of("", "Service")
        .filter(here)
        .map(Field::root)
        .filter(|service| selects(&selector, &labels(&service.at("metadata").at("labels"))))
        .collect();
    if found.is_empty() {
        let outside = known.world.outsiders.list.iter().any(|outsider| outsider.kind == "Service");
        if !outside {
            selector.fail(failures, "selects no Service", "labels that a Service has");
        }
        return;
    }
    let ports: Vec<Field<'_>> = found.iter().flat_map(|service| service.down("spec.ports").list()).collect();
    let names: Vec<&str> = ports.iter().filter_map(|port| port.at("name").text()).collect();
    for endpoint in spec.at("endpoints").list() {
        let port = endpoint.at("port");
        if port.text().is_some_and(|name| !names.contains(&name)) {
            port.fail(
                failures,
                format!("the Services that are selected have no port {}", port.quoted()),
                format!("one of {}", names.join(", ")),
            );
        }
    }
}
