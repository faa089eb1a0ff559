//! Amounts of resources: that they can be read, that requests fit limits, and that devices are whole.

use std::collections::BTreeSet;

use crate::rules::field::Field;
use crate::rules::pods::Pod;
use crate::rules::quantity::Quantity;
use crate::rules::text;
use crate::{Failure, World};

const NATIVE: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];

/// Says what is wrong with amounts.
pub fn check(world: &World, failures: &mut Vec<Failure>) {
    for pod in Pod::whole(world) {
        let claims: BTreeSet<&str> = pod
            .spec
            .at("resourceClaims")
            .list()
            .iter()
            .map(|claim| claim.at("name").text_or_empty())
            .collect();
        for container in pod.all_containers() {
            let resources = container.at("resources");
            resources_of(&resources, failures);
            for claim in resources.at("claims").list() {
                let name = claim.at("name");
                if name.text().is_some_and(|name| !claims.contains(name)) {
                    name.fail(
                        failures,
                        format!("the pod has no claim {}", name.quoted()),
                        "a name of spec.resourceClaims",
                    );
                }
            }
        }
        resources_of(&pod.spec.at("resources"), failures);
        of_pod(&pod, failures);
        for volume in pod.spec.at("volumes").list() {
            if amount(&volume.at("emptyDir").at("sizeLimit"), failures) == Some(Quantity::ZERO) {
                volume.at("emptyDir").at("sizeLimit").fail(
                    failures,
                    "nothing fits into it",
                    "an amount above 0, or none",
                );
            }
        }
    }
}

/// An amount that is not negative; none where there is none or it is wrong.
pub(crate) fn amount(field: &Field<'_>, failures: &mut Vec<Failure>) -> Option<Quantity> {
    let text = match field.value()? {
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Number(number) => number.to_string(),
        _ => return None,
    };
    match Quantity::parse(&text) {
        Ok(quantity) if quantity < Quantity::ZERO => {
            field.fail(failures, format!("{text} is negative"), "an amount of at least 0");
            None
        }
        Ok(quantity) => Some(quantity),
        Err(wrong) => {
            field.fail(failures, wrong, "a number with m, k, M, G, T, P, E, Ki, Mi, Gi, Ti, Pi, Ei, or none");
            None
        }
    }
}

/// Devices and huge pages can't be shared out twice.
fn is_overcommitted(name: &str) -> bool {
    !name.contains('/') && !name.starts_with("hugepages-") || name.contains("kubernetes.io/")
}

fn resources_of(resources: &Field<'_>, failures: &mut Vec<Failure>) {
    let (limits, requests) = (resources.at("limits"), resources.at("requests"));
    for (name, field) in limits.map().into_iter().chain(requests.map()) {
        named(name, &field, failures);
        let Some(amount) = amount(&field, failures) else { continue };
        check_unit(name, &field, amount, failures);
    }
    for (name, field) in requests.map() {
        let limit = limits.at(name);
        match (field.quantity(), limit.quantity()) {
            (Some(asked), Some(most)) if asked > most => {
                field.fail(
                    failures,
                    format!("{} is above the limit of {}", field.quoted(), limit.quoted()),
                    "at most the limit",
                );
            }
            (Some(asked), Some(most)) if asked != most && !is_overcommitted(name) => {
                field.fail(
                    failures,
                    format!("{} differs from the limit of {}", field.quoted(), limit.quoted()),
                    "the same: it can't be overcommitted",
                );
            }
            (Some(_), None) if !is_overcommitted(name) && !limit.is_said() => {
                field.fail(
                    failures,
                    format!("{name} has no limit"),
                    "the same amount in limits: it can't be overcommitted",
                );
            }
            _ => {}
        }
    }
    let said = |name: &str| limits.at(name).is_said() || requests.at(name).is_said();
    let huge = limits.map().iter().chain(&requests.map()).any(|(name, _)| name.starts_with("hugepages-"));
    if huge && !said("cpu") && !said("memory") {
        resources.fail(failures, "asks for huge pages alone", "cpu or memory beside them");
    }
}

/// The name of a resource that a container can ask for.
pub(crate) fn named(name: &str, field: &Field<'_>, failures: &mut Vec<Failure>) {
    if NATIVE.contains(&name) {
        return;
    }
    if let Some(size) = name.strip_prefix("hugepages-") {
        if Quantity::parse(size).is_err() {
            field.fail(failures, format!("\"{name}\" has no size"), "as hugepages-2Mi");
        }
    } else if !name.contains('/') {
        let wrong = format!("a container has no resource \"{name}\"");
        field.fail(
            failures,
            wrong,
            "cpu, memory, ephemeral-storage, hugepages-SIZE, or a device as nvidia.com/gpu",
        );
    } else if let Some((wrong, right)) = text::key(name) {
        field.fail(failures, wrong, right);
    } else if name.starts_with("requests.") {
        field.fail(failures, format!("\"{name}\" is a quota's name"), "the device's name alone");
    }
}

fn check_unit(name: &str, field: &Field<'_>, amount: Quantity, failures: &mut Vec<Failure>) {
    let smallest_memory = Quantity::parse("1Mi").unwrap_or(Quantity::ONE);
    if name.contains('/') && !amount.is_whole() {
        field.fail(failures, format!("{} of {name} is no whole number", field.quoted()), "whole devices");
    } else if let Some(size) = name.strip_prefix("hugepages-") {
        if Quantity::parse(size).is_ok_and(|size| !amount.is_multiple_of(size)) {
            field.fail(failures, format!("{} is no multiple of {size}", field.quoted()), "whole pages");
        }
    } else if (name == "memory" || name == "ephemeral-storage")
        && amount > Quantity::ZERO
        && amount < smallest_memory
    {
        // `128m` is 0.128 bytes, `64` is 64 bytes: an API server takes both.
        field.fail(
            failures,
            format!("{} is less than 1Mi", field.quoted()),
            "a unit such as Mi or Gi: `m` is a thousandth of a byte",
        );
    } else if name == "cpu" && amount > Quantity::ONE.times(1024) {
        field.fail(
            failures,
            format!("{} is more than any machine has", field.quoted()),
            "cores, or thousandths of them with `m`",
        );
    }
}

/// What a pod asks for as a whole holds what its containers ask for.
fn of_pod(pod: &Pod<'_>, failures: &mut Vec<Failure>) {
    let whole = pod.spec.at("resources").at("requests");
    for (name, field) in whole.map() {
        let parts = pod.containers();
        let parts =
            parts.iter().filter_map(|container| container.at("resources").at("requests").at(name).quantity());
        let sum = parts.fold(Quantity::ZERO, Quantity::plus);
        if field.quantity().is_some_and(|whole| whole < sum) {
            let sum = if name == "cpu" { sum.as_cores() } else { sum.as_bytes() };
            field.fail(
                failures,
                format!("{} is less than the containers' {sum}", field.quoted()),
                "at least their sum",
            );
        }
    }
    let whole = pod.spec.at("resources").at("limits");
    for container in pod.containers() {
        for (name, limit) in container.at("resources").at("limits").map() {
            let most = whole.at(name);
            if limit.quantity().zip(most.quantity()).is_some_and(|(limit, most)| limit > most) {
                limit.fail(
                    failures,
                    format!("{} is above the pod's {}", limit.quoted(), most.quoted()),
                    "at most the pod's limit",
                );
            }
        }
    }
}
