//! Who may reach whom: what a pod names, its policy of networks lets it ask, and the other's policy lets it answer.

use crate::Failure;
use crate::Object;
use crate::rules::field::Field;
use crate::rules::known::{Known, reaches};
use crate::rules::pods::{Pod, said, selects};
use crate::rules::targets::{Form, Targets, Within};

use super::hosts::{Host, hosts, sockets};

pub(super) fn check(known: &Known<'_>, failures: &mut Vec<Failure>) {
    let policies: Vec<&Object> = known.world.of("networking.k8s.io", "NetworkPolicy").collect();
    if policies.is_empty() {
        return;
    }
    let targets = Targets::of(known.world);
    for pod in Pod::whole(known.world) {
        let egress = of(&policies, &pod, "Egress");
        let mut asks = false;
        for host in named(known, &pod) {
            let namespace = host.namespace.as_deref().or(pod.object.namespace.as_deref());
            asks = true;
            let Some(service) = known.object("Service", &host.name, namespace) else { continue };
            let spec = Field::root(service).at("spec");
            let within = Within::Namespace(service.namespace.as_deref());
            let others: Vec<&Pod<'_>> = targets.taken(&spec.at("selector"), Form::Plain, within);
            let Some(asked) = host.port.filter(|_| !others.is_empty() && !spec.at("selector").is_empty())
            else {
                continue;
            };
            let lets = |policies: &[&Object],
                        rules: &str,
                        peers: &str,
                        from: &Pod<'_>,
                        other: &Pod<'_>,
                        at: &Pod<'_>| {
                let Some(port) = target(&spec, asked, at) else { return true };
                policies.is_empty()
                    || policies.iter().any(|policy| allows(policy, rules, peers, from, other, (port, at)))
            };
            let out = others.iter().any(|other| lets(&egress, "egress", "to", &pod, other, other));
            let into = others
                .iter()
                .any(|other| lets(&of(&policies, other, "Ingress"), "ingress", "from", other, &pod, other));
            let who = format!("{} {}", pod.object.kind, pod.object.name);
            if let (false, Some(policy)) = (out, egress.first()) {
                let right = format!("a rule to its pods and their port for Service port {asked}");
                Field::root(policy).down("spec.egress").fail(
                    failures,
                    format!("keep {who} from Service {}, which it names", host.name),
                    right,
                );
            }
            if let (false, Some(policy)) =
                (into, others.iter().find_map(|other| of(&policies, other, "Ingress").first().copied()))
            {
                let right = format!("a rule from its pods to the port for Service port {asked}");
                Field::root(policy).down("spec.ingress").fail(
                    failures,
                    format!("keep {who} from Service {}, which it names", host.name),
                    right,
                );
            }
        }
        let dns = |policy: &&Object| {
            Field::root(policy).down("spec.egress").list().iter().any(|rule| {
                let ports = rule.at("ports").list();
                ports.is_empty()
                    || ports.iter().any(|port| {
                        covers(port, 53, None) && matches!(port.at("protocol").text(), Some("UDP"))
                    })
            })
        };
        if asks && !egress.is_empty() && !egress.iter().any(dns) {
            let wrong =
                format!("let {} {} ask no DNS, and it names Services", pod.object.kind, pod.object.name);
            Field::root(egress[0]).down("spec.egress").fail(
                failures,
                wrong,
                "a rule for port 53, UDP and TCP",
            );
        }
    }
}

/// Names in what a pod is told and in the configuration that it mounts.
fn named(known: &Known<'_>, pod: &Pod<'_>) -> Vec<Host> {
    let told = pod.all_containers();
    let mut found: Vec<Host> =
        told.iter().flat_map(said).flat_map(|text| hosts(text.text_or_empty())).collect();
    let volumes = pod.spec.at("volumes").list();
    for volume in &volumes {
        for (kind, name) in [
            ("ConfigMap", volume.at("configMap").at("name")),
            ("Secret", volume.at("secret").at("secretName")),
        ] {
            let Some(object) =
                name.text().and_then(|name| known.object(kind, name, pod.object.namespace.as_deref()))
            else {
                continue;
            };
            for (_, text) in ["data", "stringData"].iter().flat_map(|of| Field::root(object).at(of).map()) {
                found.extend(sockets(text.text_or_empty()));
            }
        }
    }
    found
}

/// Policies that hold for a pod in one direction.
fn of<'a>(policies: &[&'a Object], pod: &Pod<'_>, direction: &str) -> Vec<&'a Object> {
    let holds = |policy: &&&Object| {
        let spec = Field::root(policy).at("spec");
        let types: Vec<&str> = spec.at("policyTypes").list().iter().filter_map(Field::text).collect();
        let directed = if types.is_empty() {
            direction == "Ingress" || spec.at("egress").is_said()
        } else {
            types.contains(&direction)
        };
        directed
            && reaches(policy.namespace.as_deref(), pod.object.namespace.as_deref())
            && selects(&spec.at("podSelector"), &pod.labels())
    };
    policies.iter().filter(holds).copied().collect()
}

/// The port of a pod behind a Service's, as number; none where it can't be known.
fn target(spec: &Field<'_>, asked: i64, pod: &Pod<'_>) -> Option<i64> {
    let ports = spec.at("ports").list();
    let port = ports.iter().find(|port| port.at("port").number() == Some(asked));
    let Some(port) = port else { return (spec.at("clusterIP").text() == Some("None")).then_some(asked) };
    if spec.at("clusterIP").text() == Some("None") {
        return Some(asked);
    }
    match (port.at("targetPort").number(), port.at("targetPort").text()) {
        (Some(number), _) => Some(number),
        (_, Some(name)) => number_of(pod, name),
        _ => Some(asked),
    }
}

fn number_of(pod: &Pod<'_>, name: &str) -> Option<i64> {
    let ports = pod.running().into_iter().flat_map(|container| container.at("ports").list());
    ports.into_iter().find(|port| port.at("name").text() == Some(name))?.at("containerPort").number()
}

/// Whether a port of a rule is that number, a range with it, or its name at the pod.
fn covers(port: &Field<'_>, number: i64, pod: Option<&Pod<'_>>) -> bool {
    let said = port.at("port");
    match (said.number(), said.text()) {
        (Some(first), _) => (first..=port.at("endPort").number().unwrap_or(first)).contains(&number),
        (_, Some(name)) => pod.is_some_and(|pod| number_of(pod, name) == Some(number)),
        _ => true,
    }
}

/// Whether a policy of `own` lets it and `other` speak, by the port at one of them.
fn allows(
    policy: &Object,
    rules: &str,
    peers: &str,
    own: &Pod<'_>,
    other: &Pod<'_>,
    (port, at): (i64, &Pod<'_>),
) -> bool {
    Field::root(policy).at("spec").at(rules).list().iter().any(|rule| {
        let ports = rule.at("ports").list();
        let by_port = ports.is_empty() || ports.iter().any(|one| covers(one, port, Some(at)));
        let peers = rule.at(peers).list();
        by_port && (peers.is_empty() || peers.iter().any(|peer| is_peer(peer, own, other)))
    })
}

fn is_peer(peer: &Field<'_>, own: &Pod<'_>, other: &Pod<'_>) -> bool {
    let (pods, namespaces) = (peer.at("podSelector"), peer.at("namespaceSelector"));
    if peer.at("ipBlock").is_said() {
        // Which addresses pods have, is not known.
        return true;
    }
    let named = namespaces.at("matchLabels").at("kubernetes.io/metadata.name");
    let here = match (namespaces.is_said(), named.text()) {
        (false, _) => reaches(own.object.namespace.as_deref(), other.object.namespace.as_deref()),
        (true, Some(name)) => other.object.namespace.as_deref().is_none_or(|namespace| namespace == name),
        (true, None) => true,
    };
    here && (!pods.is_said() || selects(&pods, &other.labels()))
}
