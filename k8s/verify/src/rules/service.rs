//! Services: types and the fields that go with each, ports and their names, addresses.

use std::collections::BTreeSet;

use crate::rules::field::Field;
use crate::rules::known::is_near;
use crate::rules::text;
use crate::{Failure, World};

/// What a port can say that it speaks, as proxies know it.
const SPOKEN: &[&str] = &[
    "http",
    "https",
    "http2",
    "http3",
    "h2c",
    "grpc",
    "grpc-web",
    "tcp",
    "tls",
    "udp",
    "mongo",
    "mysql",
    "redis",
    "kubernetes.io/h2c",
    "kubernetes.io/ws",
    "kubernetes.io/wss",
    "hbone",
];
/// Ports of nodes that an API server gives out by default.
const NODE_PORTS: (i64, i64) = (30_000, 32_767);

/// Says what is wrong with Services.
pub fn check(world: &World, failures: &mut Vec<Failure>) {
    for object in world.of("", "Service") {
        let spec = Field::root(object).at("spec");
        spec.at("type").one_of(failures, &["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"]);
        by_type(&spec, failures);
        ports(&spec, failures);
        addresses(&spec, failures);
        affinity(&spec, failures);
        spec.at("internalTrafficPolicy").one_of_said(failures, &["Cluster", "Local"]);
        spec.at("trafficDistribution").one_of(failures, &["PreferClose", "PreferSameZone", "PreferSameNode"]);
    }
}

fn by_type(spec: &Field<'_>, failures: &mut Vec<Failure>) {
    let kind = spec.at("type").text().unwrap_or("ClusterIP");
    let headless = spec.at("clusterIP").text() == Some("None");
    if headless && matches!(kind, "NodePort" | "LoadBalancer") {
        spec.at("clusterIP").fail(
            failures,
            format!("None is headless, and a {kind} is not"),
            "type: ClusterIP, or without clusterIP",
        );
    }
    if kind == "ExternalName" {
        let name = spec.at("externalName");
        name.require(failures, "the name that it stands for");
        if let Some((wrong, right)) = name.text().and_then(|name| text::subdomain(name.trim_end_matches('.')))
        {
            name.fail(failures, wrong, right);
        } else if name.text().is_some_and(|name| text::address(name).is_none()) {
            name.fail(
                failures,
                format!("{} is an address: DNS answers it as a name", name.quoted()),
                "a name, or a Service without selector",
            );
        }
        for never in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
            if !spec.at(never).is_empty() {
                spec.at(never).fail(failures, "an ExternalName has none", "leave it out");
            }
        }
    } else if spec.at("externalName").text().is_some() {
        spec.at("externalName").fail(
            failures,
            format!("counts for nothing in a {kind}"),
            "type: ExternalName, or without",
        );
    }
    if kind != "LoadBalancer" {
        for only in [
            "loadBalancerClass",
            "loadBalancerIP",
            "loadBalancerSourceRanges",
            "allocateLoadBalancerNodePorts",
        ] {
            if !spec.at(only).is_empty() {
                spec.at(only).fail(
                    failures,
                    format!("counts for nothing in a {kind}"),
                    "type: LoadBalancer, or without",
                );
            }
        }
    }
    let external = spec.at("externalTrafficPolicy");
    external.one_of(failures, &["Cluster", "Local"]);
    if !matches!(kind, "NodePort" | "LoadBalancer")
        && spec.at("externalIPs").is_empty()
        && external.text().is_some()
    {
        external.fail(
            failures,
            format!("nothing outside reaches a {kind}"),
            "type: NodePort or LoadBalancer, or without",
        );
    }
    spec.at("loadBalancerClass").form(failures, text::key);
    let health = spec.at("healthCheckNodePort");
    if health.number() != Some(0) {
        health.between(failures, 30_000, 32_767);
    }
    if health.number().is_some_and(|port| port != 0)
        && !(kind == "LoadBalancer" && external.text() == Some("Local"))
    {
        health.fail(
            failures,
            "counts for a LoadBalancer with externalTrafficPolicy: Local alone",
            "leave it out",
        );
    }
}

fn ports(spec: &Field<'_>, failures: &mut Vec<Failure>) {
    let kind = spec.at("type").text().unwrap_or("ClusterIP");
    let ports = spec.at("ports").list();
    let headless = spec.at("clusterIP").text() == Some("None");
    if ports.is_empty() && !headless && kind != "ExternalName" {
        spec.at("ports").fail(failures, "are missing", "one at least");
    }
    let (mut names, mut numbers, mut on_nodes) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for port in &ports {
        let [name, number, target, on_node, protocol] =
            ["name", "port", "targetPort", "nodePort", "protocol"].map(|of| port.at(of));
        if ports.len() > 1 {
            name.require(failures, "a name: there is more than one port");
        }
        name.form(failures, text::label);
        number.require(failures, "the port's number");
        number.between(failures, 1, 65_535);
        protocol.one_of(failures, &["TCP", "UDP", "SCTP"]);
        target.between(failures, 0, 65_535); // 0 is the port itself
        target.form(failures, text::port_name);
        let speaks = port.at("appProtocol");
        speaks.form(failures, text::key);
        let near = speaks
            .text()
            .filter(|text| !SPOKEN.contains(text))
            .and_then(|text| SPOKEN.iter().find(|spoken| is_near(text, spoken)));
        if let Some(near) = near.filter(|near| near.len() > 3) {
            speaks.fail(failures, format!("nothing speaks {}", speaks.quoted()), *near);
        }
        if name.text().is_some_and(|name| !names.insert(name)) {
            name.fail(failures, format!("{} is there twice", name.quoted()), "another name");
        }
        let over = protocol.text().unwrap_or("TCP");
        if number.number().is_some_and(|number| !numbers.insert((number, over))) {
            number.fail(failures, format!("{}/{over} is there twice", number.quoted()), "another port");
        }
        let Some(node) = on_node.number().filter(|port| *port != 0) else { continue };
        if kind == "ClusterIP" || kind == "ExternalName" {
            on_node.fail(
                failures,
                format!("a {kind} has no port on nodes"),
                "type: NodePort or LoadBalancer, or without",
            );
        }
        on_node.between(failures, NODE_PORTS.0, NODE_PORTS.1);
        if !on_nodes.insert((node, over)) {
            on_node.fail(failures, format!("{node}/{over} is there twice"), "another port");
        }
    }
}

fn addresses(spec: &Field<'_>, failures: &mut Vec<Failure>) {
    let (one, all, families) = (spec.at("clusterIP"), spec.at("clusterIPs"), spec.at("ipFamilies"));
    if spec.at("type").text() != Some("ExternalName") {
        let address = |field: &Field<'_>, failures: &mut Vec<Failure>| {
            if field.text() != Some("None") {
                field.form(failures, text::address);
            }
        };
        address(&one, failures);
        for entry in all.list() {
            address(&entry, failures);
        }
        let is_new = |text: &str| text.contains(':');
        let texts: Vec<&str> = all.list().iter().filter_map(Field::text).collect();
        if texts.len() > 2
            || texts.len() == 2 && (is_new(texts[0]) == is_new(texts[1]) || texts.contains(&"None"))
        {
            all.fail(failures, "are not one of each family", "one IPv4 and one IPv6 address at most");
        }
        let first = all.list().first().and_then(Field::text);
        if first.is_some() && first != one.text() {
            all.fail(failures, "do not begin with clusterIP", "clusterIP first");
        }
    }
    let mut seen = BTreeSet::new();
    for family in families.list() {
        family.one_of(failures, &["IPv4", "IPv6"]);
        if !seen.insert(family.text_or_empty()) {
            family.fail(failures, format!("{} is there twice", family.quoted()), "each once");
        }
    }
    let policy = spec.at("ipFamilyPolicy");
    policy.one_of_said(failures, &["SingleStack", "PreferDualStack", "RequireDualStack"]);
    if families.list().len() > 1 && policy.text().unwrap_or("SingleStack") == "SingleStack" {
        families.fail(failures, "are two for one stack", "ipFamilyPolicy: PreferDualStack, or one family");
    }
    for outer in spec.at("externalIPs").list() {
        outer.require(failures, "an address");
        outer.form(failures, text::address);
        if outer.text().is_some_and(|ip| {
            ip.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback() || ip.is_unspecified())
        }) {
            outer.fail(
                failures,
                format!("{} reaches nobody else", outer.quoted()),
                "an address that others have",
            );
        }
    }
    for range in spec.at("loadBalancerSourceRanges").list() {
        if let Some((wrong, right)) = range.text().and_then(|range| text::network(range.trim())) {
            range.fail(failures, wrong, right);
        }
    }
}

fn affinity(spec: &Field<'_>, failures: &mut Vec<Failure>) {
    let (affinity, config) = (spec.at("sessionAffinity"), spec.at("sessionAffinityConfig"));
    affinity.one_of(failures, &["ClientIP", "None"]);
    if config.is_said() && affinity.text() != Some("ClientIP") {
        config.fail(failures, "counts for ClientIP alone", "sessionAffinity: ClientIP, or without");
    }
    config.down("clientIP.timeoutSeconds").between(failures, 1, 86_400);
}
