//! Probes: one handler each, numbers that can be, ports that are.

use crate::rules::field::Field;
use crate::rules::pods::Pod;
use crate::rules::text;
use crate::{Failure, World};

/// The three of a container.
pub(crate) const PROBES: [&str; 3] = ["livenessProbe", "readinessProbe", "startupProbe"];

/// Says what is wrong with probes.
pub fn check(world: &World, failures: &mut Vec<Failure>) {
    for pod in Pod::whole(world) {
        for container in pod.all_containers() {
            let numbers = numbers(&pod, &container);
            for probe in PROBES.map(|probe| container.at(probe)).into_iter().filter(Field::is_said) {
                one(&probe, failures);
                handler(&container, &probe, &numbers, failures);
            }
            for hook in ["postStart", "preStop"] {
                handler(&container, &container.at("lifecycle").at(hook), &numbers, failures);
            }
        }
    }
}

fn one(probe: &Field<'_>, failures: &mut Vec<Failure>) {
    let kinds = ["exec", "httpGet", "tcpSocket", "grpc"];
    let said = kinds.iter().filter(|kind| probe.at(kind).is_said()).count();
    if said != 1 {
        probe.fail(failures, format!("names {said} handlers"), format!("one of {}", kinds.join(", ")));
    }
    // Zero is read as the default by an API server, and never what was meant.
    for (number, least) in [
        ("initialDelaySeconds", 0),
        ("timeoutSeconds", 1),
        ("periodSeconds", 1),
        ("successThreshold", 1),
        ("failureThreshold", 1),
    ] {
        probe.at(number).between(failures, least, i64::from(i32::MAX));
    }
    let grace = probe.at("terminationGracePeriodSeconds");
    if probe.path.ends_with("readinessProbe") {
        if grace.is_said() {
            grace.fail(failures, "a readiness probe ends no container", "leave it out");
        }
    } else {
        grace.between(failures, 1, i64::MAX);
        let successes = probe.at("successThreshold");
        if successes.number().is_some_and(|number| number > 1) {
            successes.fail(failures, format!("{} successes are never counted here", successes.quoted()), "1");
        }
    }
}

/// Where a probe or a hook asks.
fn handler(container: &Field<'_>, handler: &Field<'_>, numbers: &[i64], failures: &mut Vec<Failure>) {
    if handler.at("exec").is_said() {
        handler.at("exec").at("command").require(failures, "a command");
    }
    let http = handler.at("httpGet");
    if http.is_said() {
        http.at("scheme").one_of(failures, &["HTTP", "HTTPS"]);
        let path = http.at("path");
        if path.text().is_some_and(|path| !path.starts_with('/')) {
            path.fail(failures, format!("{} is no path", path.quoted()), "one that begins with '/'");
        }
        for header in http.at("httpHeaders").list() {
            header.at("name").require(failures, "a header's name");
            header.at("name").form(failures, text::header);
        }
    }
    for asked in ["httpGet", "tcpSocket", "grpc"] {
        if handler.at(asked).is_said() {
            let elsewhere = handler.at(asked).at("host").text().is_some();
            port(container, &handler.at(asked).at("port"), if elsewhere { &[] } else { numbers }, failures);
        }
    }
}

/// Ports on which a pod says that it listens: its containers share one address. None where that says nothing of a container's probes:
/// a port need not be listed, and many programs answer for their health on one that is not.
fn numbers(pod: &Pod<'_>, container: &Field<'_>) -> Vec<i64> {
    let ports = pod.running().into_iter().flat_map(|container| container.at("ports").list());
    let numbers: Vec<i64> = ports.filter_map(|port| port.at("containerPort").number()).collect();
    let asked = PROBES
        .iter()
        .flat_map(|probe| ["httpGet", "tcpSocket", "grpc"].map(|by| container.at(probe).at(by).at("port")));
    let is_listed = |port: Field<'_>| {
        port.text().is_some() || port.number().is_some_and(|number| numbers.contains(&number))
    };
    // Our own images list what they listen on; of others it is known where another probe asks a port that is listed.
    let is_ours = container.at("image").text_or_empty().contains("forebay");
    let is_known = is_ours || asked.into_iter().any(is_listed);
    if is_known { numbers } else { Vec::new() }
}

fn port(container: &Field<'_>, port: &Field<'_>, numbers: &[i64], failures: &mut Vec<Failure>) {
    if !port.require(failures, "the port that is asked") {
        return;
    }
    port.between(failures, 1, 65_535);
    let ports = container.at("ports").list();
    let names: Vec<&str> = ports.iter().filter_map(|port| port.at("name").text()).collect();
    if let Some(name) = port.text() {
        if name.chars().all(|c| c.is_ascii_digit()) {
            port.fail(
                failures,
                format!("\"{name}\" is a text: it would be a port's name"),
                "the number without quotes",
            );
        } else if !names.contains(&name) {
            let right = if names.is_empty() {
                "a port of this container".to_owned()
            } else {
                format!("one of {}", names.join(", "))
            };
            port.fail(failures, format!("this container has no port \"{name}\""), right);
        }
    } else if let Some(number) = port.number()
        && (1..=65_535).contains(&number)
        && !numbers.is_empty()
        && !numbers.contains(&number)
    {
        let known = numbers.iter().map(i64::to_string).collect::<Vec<_>>().join(", ");
        port.fail(
            failures,
            format!("no container says that it listens on {number}"),
            format!("one of {known}, or that port among a container's"),
        );
    }
}
