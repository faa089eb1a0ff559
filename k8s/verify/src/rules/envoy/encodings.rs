//! Our filter stands before gRPC too where it stands before HTTP: without it calls of on-demand models go to backends that don't have them,
//! and before backends a client could say itself whose tenant it is.

use serde_json::Value;

use super::{filter, patches, text};
use crate::failure::Failure;
use crate::object::Object;

/// Ports of `forebay serve` and of the chart's Service.
const HTTP: u64 = 8000;
const GRPC: u64 = 8001;

/// Where a patch says a port: outbound, and inbound.
const PORTS: [&str; 2] = ["portNumber", "filterChain/destinationPort"];

pub(super) fn check(object: &Object, failures: &mut Vec<Failure>) {
    let modules = patches(object).filter(|(_, patch)| text(patch, "/applyTo") == "EXTENSION_CONFIG");
    let ours: Vec<&str> = modules
        .filter(|(_, patch)| {
            let config = ["config", "value/config"].into_iter();
            let mut config =
                config.filter_map(|at| patch.pointer(&format!("/patch/value/typed_config/{at}")));
            config.any(filter::is_ours)
        })
        .map(|(_, patch)| text(patch, "/patch/value/name"))
        .collect();
    let stands: Vec<(String, &Value)> = patches(object)
        .filter(|(_, patch)| text(patch, "/applyTo") == "HTTP_FILTER")
        .filter(|(_, patch)| ours.contains(&text(patch, "/patch/value/name")))
        .collect();
    for (at, patch) in &stands {
        let of_the_same = |other: &Value| {
            ["/match/context", "/patch/value/name"].iter().all(|part| text(other, part) == text(patch, part))
        };
        for port in PORTS {
            let says = |patch: &Value| patch.pointer(&format!("/match/listener/{port}"))?.as_u64();
            let has_grpc = || stands.iter().any(|(_, other)| of_the_same(other) && says(other) == Some(GRPC));
            if says(patch) == Some(HTTP) && !has_grpc() {
                let wrong =
                    format!("the filter stands before port {HTTP} and not before {GRPC}, which is gRPC");
                let right = format!("a second patch, for {GRPC}");
                let port = port.replace('/', ".");
                failures.push(object.failure(&format!("{at}.match.listener.{port}"), wrong, &right));
            }
        }
    }
}
