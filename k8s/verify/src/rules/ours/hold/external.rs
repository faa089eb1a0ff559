//! Gates that Kubernetes asks for External metrics: it is told to ask them, at that port; they may read who asks; and nobody else gives
//! such metrics.

use super::{Gate, RBAC, said, token};
use crate::rules::field::Field;
use crate::rules::known::reaches;
use crate::{Failure, Object, World};

const PORT: &str = "FOREBAY_EXTERNAL_METRICS_PORT";
const GROUP: &str = "external.metrics.k8s.io";
/// What lets an aggregated API read who asks it, in kube-system.
const READER: &str = "extension-apiserver-authentication-reader";

pub(super) fn check(world: &World, gates: &[Gate<'_>], failures: &mut Vec<Failure>) {
    let is_ours = |api: &&Object| Field::root(api).down("spec.group").text() == Some(GROUP);
    let apis: Vec<&Object> = world.of("apiregistration.k8s.io", "APIService").filter(is_ours).collect();
    for gate in gates {
        let asked: Vec<&&Object> = apis.iter().filter(|api| asks(world, api, gate)).collect();
        for api in &asked {
            at_its_port(world, api, gate, failures);
            alone(world, gate, failures);
        }
        let Some(port) = said(&gate.container, PORT) else { continue };
        if asked.is_empty() {
            let right = format!("APIService v1beta1.{GROUP} with a Service of the gate, or without it");
            port.fail(failures, "gives External metrics, and Kubernetes is not told to ask for them", right);
        }
        reads(world, gate, &port, failures);
        token(gate, &port, failures);
    }
}

/// The Service that an API is asked at.
fn service<'a>(world: &'a World, api: &Object) -> Option<&'a Object> {
    let spec = Field::root(api).down("spec.service");
    let (name, namespace) = (spec.at("name").text()?, spec.at("namespace").text());
    world
        .of("", "Service")
        .find(|service| service.name == name && reaches(namespace, service.namespace.as_deref()))
}

fn asks(world: &World, api: &Object, gate: &Gate<'_>) -> bool {
    service(world, api).is_some_and(|service| gate.is_behind(service))
}

/// The port of the Service leads to where the gate gives metrics.
fn at_its_port(world: &World, api: &Object, gate: &Gate<'_>, failures: &mut Vec<Failure>) {
    let root = Field::root(api);
    let spec = root.down("spec.service");
    let number = spec.at("port").number().unwrap_or(443);
    let ports = service(world, api).map(|service| Field::root(service).down("spec.ports").list());
    let leads = ports.into_iter().flatten().find(|port| port.at("port").number() == Some(number));
    let Some(leads) = leads else { return };
    let target = leads.at("targetPort");
    let is_it = |port: &Field<'_>| port.at("name").text().is_some_and(|name| Some(name) == target.text());
    let named = gate.container.at("ports").list().into_iter().find(is_it);
    let to = named.map_or(target.number(), |port| port.at("containerPort").number()).unwrap_or(number);
    let gives = said(&gate.container, PORT).map(|port| port.text_or_empty().to_owned());
    if gives.as_deref() != Some(to.to_string().as_str()) {
        let wrong = format!(
            "port {number} leads to {to} of a gate that gives External metrics at {}",
            gives.as_deref().unwrap_or("no port")
        );
        spec.fail(failures, wrong, format!("the port that {PORT} says"));
    }
}

/// KEDA gives them in each cluster where it is.
fn alone(world: &World, gate: &Gate<'_>, failures: &mut Vec<Failure>) {
    for object in
        world.of("keda.sh", "ScaledObject").filter(|one| reaches(one.namespace.as_deref(), gate.namespace()))
    {
        let wrong = format!(
            "wants KEDA, which gives {GROUP} itself, and {} {} gives it here",
            gate.pod.object.kind, gate.pod.object.name
        );
        Field::root(object).at("spec").fail(failures, wrong, "one who gives External metrics");
    }
}

/// It may read whose certificates are those of the API server.
fn reads(world: &World, gate: &Gate<'_>, port: &Field<'_>, failures: &mut Vec<Failure>) {
    let account = gate.pod.spec.at("serviceAccountName").text().unwrap_or("default");
    let is_bound = world.of(RBAC, "RoleBinding").any(|binding| {
        let root = Field::root(binding);
        let is_subject = |subject: &Field<'_>| {
            subject.at("kind").text() == Some("ServiceAccount")
                && subject.at("name").text() == Some(account)
                && reaches(subject.at("namespace").text(), gate.namespace())
        };
        binding.namespace.as_deref() == Some("kube-system")
            && root.down("roleRef.name").text() == Some(READER)
            && root.at("subjects").list().iter().any(is_subject)
    });
    if !is_bound {
        let wrong = format!("ServiceAccount {account} may not read who asks for them");
        port.fail(failures, wrong, format!("a RoleBinding in kube-system to Role {READER}"));
    }
}
