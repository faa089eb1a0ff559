//! Ports of containers: numbers, names, and clashes within a pod.

use std::collections::{BTreeMap, BTreeSet};

use crate::rules::field::Field;
use crate::rules::pods::Pod;
use crate::rules::text;
use crate::{Failure, World};

const PROTOCOLS: &[&str] = &["TCP", "UDP", "SCTP"];

/// Says what is wrong with ports.
pub fn check(world: &World, failures: &mut Vec<Failure>) {
    for pod in Pod::whole(world) {
        let on_host = pod.spec.at("hostNetwork").is_true();
        let mut taken: BTreeMap<(i64, &str), (usize, String)> = BTreeMap::new();

        let mut on_hosts = BTreeSet::new();
        for (place, container) in pod.running().iter().enumerate() {
            // Two containers may say one name: its first port is then meant.
            let mut named: BTreeMap<&str, String> = BTreeMap::new();
            for port in container.at("ports").list() {
                one(&port, on_host, failures);
                let protocol = port.at("protocol").text().unwrap_or("TCP");
                if let Some(name) = port.at("name").text()
                    && let Some(first) = named.insert(name, port.path.clone())
                {
                    port.at("name").fail(
                        failures,
                        format!("\"{name}\" names {first} too"),
                        "each name once in a container",
                    );
                }
                // All containers of a pod share one address: the second to listen fails.
                if let Some(number) = port.at("containerPort").number()
                    && let Some((before, first)) =
                        taken.insert((number, protocol), (place, port.path.clone()))
                    && before != place
                {
                    let wrong = format!("{number}/{protocol} is taken by {first}: a pod has one address");
                    port.at("containerPort").fail(failures, wrong, "another port");
                }
                if let Some(number) = port.at("hostPort").number().filter(|number| *number != 0)
                    && !on_hosts.insert((number, protocol, port.at("hostIP").text_or_empty()))
                {
                    port.at("hostPort").fail(
                        failures,
                        format!("{number}/{protocol} is taken in this pod"),
                        "another port",
                    );
                }
            }
        }
    }
}

fn one(port: &Field<'_>, on_host: bool, failures: &mut Vec<Failure>) {
    let (container, host) = (port.at("containerPort"), port.at("hostPort"));
    container.require(failures, "the port's number");
    container.between(failures, 1, 65_535);
    if host.number() != Some(0) {
        host.between(failures, 1, 65_535);
    }
    port.at("name").form(failures, text::port_name);
    port.at("protocol").one_of(failures, PROTOCOLS);
    port.at("hostIP").form(failures, text::address);
    if on_host && host.number().is_some_and(|number| number != 0 && Some(number) != container.number()) {
        let wrong =
            format!("{} differs from containerPort, and the pod is on the host's network", host.quoted());
        host.fail(failures, wrong, "the same port, or none");
    }
}
