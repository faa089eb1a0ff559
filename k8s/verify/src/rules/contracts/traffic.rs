//! Istio's traffic: times that fit each other, patterns that can be read, protocols that there are.

use regex::Regex;

use crate::failure::Failure;
use crate::object::Object;
use crate::rules::field::Field;
use crate::rules::span;
use crate::world::World;

/// As istiod reads them, whatever their case.
const PROTOCOLS: [&str; 12] = [
    "HTTP",
    "HTTPS",
    "HTTP_PROXY",
    "HTTP2",
    "GRPC",
    "GRPC-WEB",
    "MONGO",
    "MYSQL",
    "REDIS",
    "TCP",
    "TLS",
    "UDP",
];

pub(super) fn check(world: &World, failures: &mut Vec<Failure>) {
    for object in world.objects.iter().filter(|object| object.group() == "networking.istio.io") {
        let spec = Field::root(object).at("spec");
        match object.kind.as_str() {
            "VirtualService" => routes(object, failures),
            "ServiceEntry" => spec.at("ports").list().iter().for_each(|port| protocol(port, failures)),
            "Gateway" => servers(&spec.at("servers"), failures),
            "Sidecar" => servers(&spec.at("ingress"), failures),
            _ => {}
        }
    }
}

fn servers(servers: &Field<'_>, failures: &mut Vec<Failure>) {
    for server in servers.list() {
        protocol(&server.at("port"), failures);
    }
}

fn protocol(port: &Field<'_>, failures: &mut Vec<Failure>) {
    let protocol = port.at("protocol");
    if protocol.text().is_some_and(|text| !PROTOCOLS.contains(&text.to_uppercase().as_str())) {
        protocol.fail(
            failures,
            format!("there is no protocol {}", protocol.quoted()),
            format!("one of {}", PROTOCOLS.join(", ")),
        );
    }
}

fn routes(object: &Object, failures: &mut Vec<Failure>) {
    for http in Field::root(object).down("spec.http").list() {
        let (whole, one) = (http.at("timeout"), http.down("retries.perTryTimeout"));
        let millis = |field: &Field<'_>| field.text().and_then(span::millis);
        if let (Some(all), Some(each)) = (millis(&whole), millis(&one))
            && all > 0.0
            && each > all
        {
            one.fail(
                failures,
                format!("{} never ends before timeout of {}", one.quoted(), whole.quoted()),
                "at most timeout",
            );
        }
        for fault in ["delay", "abort"] {
            share(&http.at("fault").at(fault).at("percentage").at("value"), failures);
        }
        share(&http.at("mirrorPercentage").at("value"), failures);
        for one in http.at("match").list() {
            for field in ["uri", "scheme", "method", "authority"] {
                pattern(&one.at(field), failures);
            }
            for map in ["headers", "withoutHeaders", "queryParams"] {
                for (_, value) in one.at(map).map() {
                    pattern(&value, failures);
                }
            }
        }
    }
}

fn share(share: &Field<'_>, failures: &mut Vec<Failure>) {
    let value = share.value().and_then(serde_json::Value::as_f64);
    if value.is_some_and(|value| !(0.0..=100.0).contains(&value)) {
        share.fail(failures, format!("{} is no share", share.quoted()), "0 to 100");
    }
}

fn pattern(of: &Field<'_>, failures: &mut Vec<Failure>) {
    let regex = of.at("regex");
    if let Some(Err(error)) = regex.text().map(Regex::new) {
        let said = error.to_string();
        let said = said.lines().last().unwrap_or_default();
        regex.fail(
            failures,
            format!("{} can't be read: {said}", regex.quoted()),
            "a pattern as RE2 reads it",
        );
    }
}
