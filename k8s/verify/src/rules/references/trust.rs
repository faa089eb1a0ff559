//! What Istio's rules of trust say of others: ports of pods, and namespaces.

use crate::rules::field::Field;
use crate::rules::known::Known;
use crate::rules::targets::{Form, Targets, Within};
use crate::{Failure, Object};

pub(super) fn check(known: &Known<'_>, failures: &mut Vec<Failure>) {
    let targets = Targets::of(known.world);
    for object in known.world.of("security.istio.io", "PeerAuthentication") {
        peer_ports(&targets, object, failures);
    }
    for object in known.world.of("security.istio.io", "AuthorizationPolicy") {
        namespaces(known, object, failures);
    }
}

/// Ports with a mode of their own are the pods', not a Service's.
fn peer_ports(targets: &Targets<'_>, object: &Object, failures: &mut Vec<Failure>) {
    let spec = Field::root(object).at("spec");
    let within = Within::Namespace(object.namespace.as_deref());
    let pods = targets.taken(&spec.down("selector.matchLabels"), Form::Plain, within);
    let ports = targets.ports(&pods);
    for (number, mode) in spec.at("portLevelMtls").map() {
        let Ok(number) = number.parse::<i64>() else { continue };
        if !pods.is_empty() && ports.are_all_said && !ports.numbers.contains(&number) {
            let said = ports.numbers.iter().map(i64::to_string).collect::<Vec<_>>().join(", ");
            mode.fail(
                failures,
                format!("the pods that are selected say no port {number}"),
                format!("one of {said}"),
            );
        }
    }
}

/// Namespaces that may ask.
fn namespaces(known: &Known<'_>, object: &Object, failures: &mut Vec<Failure>) {
    for source in Field::root(object).down("spec.rules").list().iter().flat_map(|rule| rule.at("from").list())
    {
        for name in source.at("source").at("namespaces").list() {
            if name.text().is_some_and(|name| !name.contains('*')) {
                known.need("Namespace", &name, None, failures);
            }
        }
    }
}
