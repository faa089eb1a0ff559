//! Istio: what must stand together, and what would do nothing.

use crate::failure::Failure;
use crate::object::Object;
use crate::rules::field::Field;
use crate::world::World;

pub(super) fn check(world: &World, failures: &mut Vec<Failure>) {
    for object in &world.objects {
        if !object.group().ends_with(".istio.io") {
            continue;
        }
        match object.kind.as_str() {
            "DestinationRule" => destination_rule(object, failures),
            "VirtualService" => virtual_service(object, failures),
            "ServiceEntry" => service_entry(object, failures),
            "Gateway" => gateway(object, failures),
            "PeerAuthentication" => peer_authentication(object, failures),
            "WasmPlugin" => plugin(object, failures),
            _ => {}
        }
    }
}

fn destination_rule(object: &Object, failures: &mut Vec<Failure>) {
    let root = Field::root(object).at("spec");
    policy(&root.at("trafficPolicy"), failures);
    let mut names = Vec::new();
    for subset in root.at("subsets").list() {
        policy(&subset.at("trafficPolicy"), failures);
        let name = subset.at("name");
        if name.text().is_some_and(|name| names.contains(&name)) {
            name.fail(failures, format!("a second subset {}", name.quoted()), "each name once");
        }
        names.extend(name.text());
    }
}

fn policy(policy: &Field<'_>, failures: &mut Vec<Failure>) {
    let locality = policy.at("loadBalancer").at("localityLbSetting");
    let fails_over = locality.at("failover").is_said() || locality.at("failoverPriority").is_said();
    if fails_over && !policy.at("outlierDetection").is_said() {
        locality.fail(
            failures,
            "never fails over without outlierDetection",
            "outlierDetection beside loadBalancer",
        );
    }
    for port in policy.at("portLevelSettings").list() {
        self::policy(&port, failures);
    }
}

fn virtual_service(object: &Object, failures: &mut Vec<Failure>) {
    let spec = Field::root(object).at("spec");
    let kinds = ["http", "tls", "tcp"];
    if kinds.iter().all(|kind| spec.at(kind).is_empty()) {
        spec.fail(failures, "routes nothing", "http, tls or tcp");
    }
    for (place, http) in spec.at("http").list().iter().enumerate() {
        let acts = ["route", "redirect", "directResponse", "delegate"];
        let said: Vec<&str> = acts.into_iter().filter(|act| http.at(act).is_said()).collect();
        if said.is_empty() {
            http.fail(failures, "does nothing with a request", format!("one of {}", acts.join(", ")));
        }
        if said.len() > 1 {
            http.fail(failures, format!("has {} together", said.join(" and ")), "one of them");
        }
        weights(http, failures);
        retries(http, failures);
        let later = spec.at("http").list();
        let hidden = later.iter().skip(place + 1).any(|later| !later.at("match").is_empty());
        if http.at("match").is_empty() && hidden {
            http.fail(
                failures,
                "takes every request: what follows it is never asked",
                "a match, or a place at the end",
            );
        }
    }
    for kind in ["tls", "tcp"] {
        for route in spec.at(kind).list() {
            weights(&route, failures);
        }
    }
}

fn weights(route: &Field<'_>, failures: &mut Vec<Failure>) {
    let shares = route.at("route").list();
    let weights: Vec<Option<i64>> = shares.iter().map(|share| share.at("weight").number()).collect();
    if shares.len() > 1 && weights.iter().any(Option::is_some) {
        for share in shares.iter().filter(|share| share.at("weight").number().is_none()) {
            share.at("weight").fail(
                failures,
                "is missing beside others that have one: nothing comes here",
                "a weight",
            );
        }
        // Shares of any sum are right; one near a hundred is a slip.
        let sum: i64 = weights.iter().flatten().sum();
        if weights.iter().all(Option::is_some) && sum != 100 && (80..=120).contains(&sum) {
            route.at("route").fail(
                failures,
                format!("weights are {sum} together"),
                "100, so that each reads as a share",
            );
        }
    }
}

const RETRY_ON: &[&str] = &[
    "5xx",
    "gateway-error",
    "reset",
    "reset-before-request",
    "connect-failure",
    "envoy-ratelimited",
    "retriable-4xx",
    "refused-stream",
    "retriable-status-codes",
    "retriable-headers",
    "http3-post-connect-failure",
    "cancelled",
    "deadline-exceeded",
    "internal",
    "resource-exhausted",
    "unavailable",
];

fn retries(http: &Field<'_>, failures: &mut Vec<Failure>) {
    let on = http.at("retries").at("retryOn");
    let words = on.text().into_iter().flat_map(|text| text.split(',')).map(str::trim);
    for word in words.filter(|word| !RETRY_ON.contains(word) && word.parse::<u16>().is_err()) {
        on.fail(failures, format!("there is no {word:?}"), format!("among {}", RETRY_ON.join(", ")));
    }
}

fn service_entry(object: &Object, failures: &mut Vec<Failure>) {
    let spec = Field::root(object).at("spec");
    let resolution = spec.at("resolution").text().unwrap_or("NONE");
    let selects = spec.at("workloadSelector").is_said();
    if resolution == "NONE" && !spec.at("endpoints").is_empty() {
        spec.at("resolution").fail(failures, "NONE takes no endpoints", "STATIC or DNS");
    }
    if resolution == "STATIC" && !selects && spec.at("endpoints").is_empty() {
        spec.at("resolution").fail(failures, "STATIC has nowhere to go", "endpoints or a workloadSelector");
    }
    for endpoint in spec.at("endpoints").list() {
        let address = endpoint.at("address");
        let is_address = address
            .text()
            .is_some_and(|text| text.parse::<std::net::IpAddr>().is_ok() || text.starts_with("unix://"));
        if resolution == "STATIC" && address.is_said() && !is_address {
            address.fail(
                failures,
                format!("{} is no address", address.quoted()),
                "an IP address, or resolution: DNS",
            );
        }
    }
}

fn gateway(object: &Object, failures: &mut Vec<Failure>) {
    for server in Field::root(object).down("spec.servers").list() {
        let protocol = server.at("port").at("protocol");
        let (mode, tls) = (server.at("tls").at("mode").text().unwrap_or("SIMPLE"), server.at("tls"));
        let secure = matches!(protocol.text(), Some("HTTPS" | "TLS"));
        let redirects = tls.at("httpsRedirect").is_true();
        if secure && !tls.is_said() {
            tls.fail(
                failures,
                format!("{} without a certificate", protocol.quoted()),
                "tls with mode and credentialName",
            );
        }
        if !secure
            && tls.is_said()
            && !redirects
            && matches!(protocol.text(), Some("HTTP" | "HTTP2" | "GRPC" | "TCP"))
        {
            protocol.fail(failures, format!("{} with tls", protocol.quoted()), "HTTPS or TLS");
        }
        let shows = ["credentialName", "credentialNames", "serverCertificate", "tlsCertificates"];
        let shows = shows.iter().any(|field| tls.at(field).is_said());
        if secure && tls.is_said() && matches!(mode, "SIMPLE" | "MUTUAL") && !shows {
            tls.fail(failures, format!("mode {mode} shows no certificate"), "credentialName");
        }
    }
}

fn peer_authentication(object: &Object, failures: &mut Vec<Failure>) {
    let spec = Field::root(object).at("spec");
    if spec.at("portLevelMtls").is_said() && spec.at("selector").is_empty() {
        spec.at("portLevelMtls").fail(
            failures,
            "holds for no port without a selector",
            "a selector beside it",
        );
    }
}

fn plugin(object: &Object, failures: &mut Vec<Failure>) {
    let url = Field::root(object).down("spec.url");
    let known = ["oci://", "http://", "https://", "file://"];
    if url
        .text()
        .is_some_and(|text| text.contains("://") && !known.iter().any(|scheme| text.starts_with(scheme)))
    {
        url.fail(
            failures,
            format!("{} is no place of a module", url.quoted()),
            "oci://, https:// or file://",
        );
    }
}
