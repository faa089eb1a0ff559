//! `EndpointSlices` written by hand: addresses of their type, and the Service that they are of.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::rules::field::Field;
use crate::rules::known::Known;
use crate::rules::text;
use crate::{Failure, World};

/// Says what is wrong with them.
pub fn check(world: &World, failures: &mut Vec<Failure>) {
    let known = Known::of(world);
    for object in world.of("discovery.k8s.io", "EndpointSlice") {
        let root = Field::root(object);
        let kind = root.at("addressType");
        kind.require(failures, "IPv4, IPv6 or FQDN");
        kind.one_of(failures, &["IPv4", "IPv6", "FQDN"]);
        for address in root.at("endpoints").list().iter().flat_map(|endpoint| endpoint.at("addresses").list())
        {
            let said = address.text_or_empty();
            let fits = match kind.text() {
                Some("IPv4") => said.parse::<Ipv4Addr>().is_ok(),
                Some("IPv6") => said.parse::<Ipv6Addr>().is_ok(),
                Some("FQDN") => text::subdomain(said).is_none(),
                _ => true,
            };
            if !fits {
                address.fail(
                    failures,
                    format!("{} is no {}", address.quoted(), kind.text_or_empty()),
                    "an address of addressType",
                );
            }
        }
        let of = root.at("metadata").at("labels").at("kubernetes.io/service-name");
        let namespace = object.namespace.as_deref();
        if of.text().is_none() || !known.need("Service", &of, namespace, failures) {
            continue;
        }
        let Some(service) = known.object("Service", of.text_or_empty(), namespace) else { continue };
        let ports = Field::root(service).down("spec.ports").list();
        let names: Vec<&str> = ports.iter().map(|port| port.at("name").text_or_empty()).collect();
        for port in root.at("ports").list() {
            let name = port.at("name");
            if !names.contains(&name.text_or_empty()) {
                port.at("name").fail(
                    failures,
                    format!("Service {} has no port {:?}", service.name, name.text_or_empty()),
                    format!("one of {}", names.join(", ")),
                );
            }
        }
    }
}
