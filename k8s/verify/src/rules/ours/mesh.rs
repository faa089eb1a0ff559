//! Istio's routes to our backends: what a backend may have begun is not sent again, which Istio does of itself.

use crate::rules::field::Field;
use crate::{Failure, World};

const ISTIO: &str = "networking.istio.io";
/// Pods that answer for a pool of backends say so, and hosts of the mesh select them by it (`k8s/istio`).
const ANSWERS: &str = "forebay.dev/answers";

pub(super) fn check(world: &World, failures: &mut Vec<Failure>) {
    let selects_ours = |entry: &Field<'_>| entry.down("workloadSelector.labels").at(ANSWERS).is_said();
    let entries = world.of(ISTIO, "ServiceEntry").map(|entry| Field::root(entry).at("spec"));
    let hosts: Vec<&str> = entries
        .filter(selects_ours)
        .flat_map(|entry| entry.at("hosts").list())
        .filter_map(|host| host.text())
        .collect();
    for object in world.of(ISTIO, "VirtualService") {
        for http in Field::root(object).down("spec.http").list() {
            let is_ours =
                |to: &Field<'_>| to.down("destination.host").text().is_some_and(|host| hosts.contains(&host));
            if http.at("route").list().iter().any(is_ours) && !http.at("retries").is_said() {
                http.fail(
                    failures,
                    "has Istio's own retries, which send a call again that a backend may have begun",
                    "retries on `connect-failure,refused-stream,reset-before-request`, or `attempts: 0`",
                );
            }
        }
    }
}
