//! What pods ask for, against the quotas and ranges of their namespace.

use crate::Failure;
use crate::rules::field::Field;
use crate::rules::pods::Pod;
use crate::rules::quantity::Quantity;
use crate::rules::text::Share;

use super::Scaled;

pub(super) fn check(scaled: &Scaled<'_>, failures: &mut Vec<Failure>) {
    let world = scaled.known.world;
    for object in world.of("", "LimitRange") {
        for limit in Field::root(object).down("spec.limits").list() {
            if limit.at("type").text() == Some("Container") {
                for pod in Pod::whole(world).filter(|pod| pod.object.namespace == object.namespace) {
                    for container in pod.all_containers() {
                        within(&container.at("resources"), &limit, failures);
                    }
                }
            }
        }
    }
    for object in world.of("", "ResourceQuota") {
        let spec = Field::root(object).at("spec");
        if !spec.at("scopes").is_empty() || spec.at("scopeSelector").is_said() {
            continue;
        }
        let pods: Vec<Pod<'_>> =
            Pod::whole(world).filter(|pod| pod.object.namespace == object.namespace).collect();
        let defaults = world.of("", "LimitRange").any(|range| range.namespace == object.namespace);
        for (name, hard) in spec.at("hard").map() {
            against_quota(scaled, name, &hard, &pods, defaults, failures);
        }
    }
}

fn within(resources: &Field<'_>, limit: &Field<'_>, failures: &mut Vec<Failure>) {
    for (name, most) in limit.at("max").map() {
        let said = resources.at("limits").at(name);
        if said.quantity().zip(most.quantity()).is_some_and(|(said, most)| said > most) {
            said.fail(
                failures,
                format!("{} is above the namespace's max of {}", said.quoted(), most.quoted()),
                "at most that",
            );
        }
    }
    for (name, least) in limit.at("min").map() {
        let said = resources.at("requests").at(name);
        if said.quantity().zip(least.quantity()).is_some_and(|(said, least)| said < least) {
            said.fail(
                failures,
                format!("{} is below the namespace's min of {}", said.quoted(), least.quoted()),
                "at least that",
            );
        }
    }
    for (name, ratio) in limit.at("maxLimitRequestRatio").map() {
        let (most, asked) = (resources.at("limits").at(name), resources.at("requests").at(name));
        if let (Some(most_amount), Some(asked), Some(ratio_amount)) =
            (most.quantity(), asked.quantity(), ratio.quantity())
            && most_amount > asked.times(ratio_amount.whole())
        {
            most.fail(
                failures,
                format!("{} is more than {} times the request", most.quoted(), ratio.quoted()),
                "a smaller limit",
            );
        }
    }
}

fn against_quota(
    scaled: &Scaled<'_>,
    name: &str,
    hard: &Field<'_>,
    pods: &[Pod<'_>],
    defaults: bool,
    failures: &mut Vec<Failure>,
) {
    let Some(most) = hard.quantity() else { return };
    if name == "pods" {
        let count: i64 = pods.iter().filter_map(|pod| scaled.replicas(pod)).map(|(_, most)| most).sum();
        if Quantity::ONE.times(count) > most {
            hard.fail(
                failures,
                format!("{} pods are let in, and {count} are asked for", hard.quoted()),
                format!("{count} at least, and what a rollout adds"),
            );
        }
        return;
    }
    let (of, resource) = match name.split_once('.') {
        Some((of @ ("requests" | "limits"), resource)) => (of, resource),
        _ if matches!(name, "cpu" | "memory" | "ephemeral-storage") => ("requests", name),
        _ => return,
    };
    if resource == "storage" {
        return;
    }
    let (mut sum, mut more) = (Quantity::ZERO, Vec::new());
    for pod in pods {
        let mut of_pod = Quantity::ZERO;
        for container in pod.running() {
            let said = container.at("resources").at(of).at(resource);
            let other = container.at("resources").at("limits").at(resource);
            let said = if said.is_said() || of == "limits" { said } else { other };
            match said.quantity() {
                Some(amount) => of_pod = of_pod.plus(amount),
                None if !defaults && matches!(resource, "cpu" | "memory") && !said.is_said() => {
                    let wrong =
                        format!("is missing, and the namespace's quota bounds {name}: the pod is refused");
                    container.at("resources").at(of).at(resource).fail(
                        failures,
                        wrong,
                        "an amount, or a LimitRange with a default",
                    );
                }
                None => {}
            }
        }
        if let Some(surge) = surge(scaled, pod) {
            more.push((pod, of_pod.times(surge)));
        }
        sum = sum.plus(of_pod.times(scaled.replicas(pod).map_or(0, |(_, most)| most)));
    }
    // A rollout that may take no pod down needs room for one more.
    for (pod, _) in more.iter().filter(|(_, extra)| sum <= most && sum.plus(*extra) > most) {
        let field = Field::root(pod.object).down("spec.strategy.rollingUpdate.maxSurge");
        let wrong =
            format!("the pods of a rollout find no {resource} left: the quota lets {} in", hard.quoted());
        field.fail(failures, wrong, "maxSurge 0 and maxUnavailable 1, or a larger quota");
    }
    if sum > most {
        let sum = if resource == "cpu" {
            sum.as_cores()
        } else if resource.contains('/') {
            sum.whole().to_string()
        } else {
            sum.as_bytes()
        };
        hard.fail(
            failures,
            format!("{} is let in, and {sum} is asked for", hard.quoted()),
            format!("{sum} at least, and what a rollout adds"),
        );
    }
}

/// How many pods a rollout adds before it takes one down, where it may take none down first.
fn surge(scaled: &Scaled<'_>, pod: &Pod<'_>) -> Option<i64> {
    let (_, most) = scaled.replicas(pod).filter(|_| pod.object.is("apps", "Deployment"))?;
    let strategy = Field::root(pod.object).down("spec.strategy");
    if strategy.at("type").text() == Some("Recreate") || most == 0 {
        return None;
    }
    let read = |field: &str| {
        strategy.at("rollingUpdate").at(field).value().and_then(Share::read).unwrap_or(Share::Percent(25))
    };
    let taken = read("maxUnavailable").of_rounded_down(most);
    (taken == 0).then_some(1)
}
