//! Starts of pods: what kills a container before it is up, and what gives a rollout up before its pods are ready.

use crate::rules::field::Field;
use crate::rules::pods::{Pod, is_sidecar};
use crate::{Failure, World};

pub(super) fn check(world: &World, failures: &mut Vec<Failure>) {
    for pod in Pod::whole(world) {
        for container in pod.running() {
            by_liveness(&container, failures);
        }
        deadline(&pod, failures);
    }
    for object in world.of("batch", "CronJob") {
        let spec = Field::root(object).at("spec");
        let deadline = spec.down("jobTemplate.spec.activeDeadlineSeconds");
        let period = spec.at("schedule").text().and_then(period_seconds);
        if spec.at("concurrencyPolicy").text() == Some("Forbid")
            && let (Some(deadline_seconds), Some(period)) = (deadline.number(), period)
            && deadline_seconds > period
        {
            let wrong = format!(
                "a Job may run {deadline_seconds} s, one begins each {period} s, and none may begin beside another"
            );
            deadline.fail(failures, wrong, format!("{period} at most"));
        }
    }
}

/// Seconds of a probe's field, or its default.
fn seconds(probe: &Field<'_>, field: &str, default: i64) -> i64 {
    probe.at(field).number().unwrap_or(default)
}

/// How long a container has until a probe gives it up.
pub(crate) fn budget(probe: &Field<'_>) -> i64 {
    seconds(probe, "initialDelaySeconds", 0)
        + seconds(probe, "periodSeconds", 10) * seconds(probe, "failureThreshold", 3)
}

/// Without a startup probe, liveness counts from the start: a program that is ready later than liveness gives up, never is.
fn by_liveness(container: &Field<'_>, failures: &mut Vec<Failure>) {
    let [liveness, readiness, startup] =
        ["livenessProbe", "readinessProbe", "startupProbe"].map(|probe| container.at(probe));
    if !liveness.is_said() || startup.is_said() || !readiness.is_said() {
        return;
    }
    let (gives_up, first_asked) = (budget(&liveness), seconds(&readiness, "initialDelaySeconds", 0));
    if first_asked >= gives_up {
        let wrong = format!(
            "gives up after {gives_up} s, and the container is first asked whether it is ready after {first_asked} s"
        );
        liveness.fail(failures, wrong, "a startupProbe, or more time");
    }
}

/// A rollout that is given up before its pods may be up.
fn deadline(pod: &Pod<'_>, failures: &mut Vec<Failure>) {
    if !pod.object.is("apps", "Deployment") {
        return;
    }
    let spec = Field::root(pod.object).at("spec");
    let deadline = spec.at("progressDeadlineSeconds");
    let allowed = deadline.number().unwrap_or(600);
    let ready = spec.at("minReadySeconds").number().unwrap_or(0);
    let sidecars: i64 =
        pod.init_containers().iter().filter(|init| is_sidecar(init)).map(|init| start(init)).sum();
    let Some(longest) = pod.containers().iter().map(start).max() else { return };
    let needed = longest + sidecars + ready;
    if longest + sidecars > 0 && needed >= allowed && allowed > ready {
        let wrong = format!(
            "a pod may take {} s to start and {ready} s to count, and the rollout is given up after {allowed} s",
            longest + sidecars
        );
        deadline.fail(failures, wrong, format!("more than {needed}"));
    }
}

/// How long a container may take to start by its startup probe, or until readiness first asks.
fn start(container: &Field<'_>) -> i64 {
    let (startup, readiness) = (container.at("startupProbe"), container.at("readinessProbe"));
    let until_up = if startup.is_said() { budget(&startup) } else { 0 };
    until_up + if readiness.is_said() { seconds(&readiness, "initialDelaySeconds", 0) } else { 0 }
}

/// How often the simplest schedules come.
fn period_seconds(schedule: &str) -> Option<i64> {
    let fields: Vec<&str> = schedule.split_whitespace().collect();
    match fields[..] {
        ["@hourly"] => Some(3600),
        ["@daily" | "@midnight"] => Some(86_400),
        ["*", "*", "*", "*", "*"] => Some(60),
        [minutes, "*", "*", "*", "*"] => match minutes.strip_prefix("*/") {
            Some(step) => step.parse::<i64>().ok().map(|step| step * 60),
            None => minutes.parse::<i64>().ok().map(|_| 3600),
        },
        [minute, "*/1", "*", "*", "*"] if minute.parse::<i64>().is_ok() => Some(3600),
        [minute, hour, "*", "*", "*"] if minute.parse::<i64>().is_ok() && hour.parse::<i64>().is_ok() => {
            Some(86_400)
        }
        _ => None,
    }
}
