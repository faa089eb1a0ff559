//! Jobs, and what makes them by the clock: schedules that can be read, restarts that end, indexes that fit.

use crate::rules::cron;
use crate::rules::field::Field;
use crate::rules::pods::Pod;
use crate::rules::text;
use crate::{Failure, World};

/// Says what is wrong with Jobs and what makes them.
pub fn check(world: &World, failures: &mut Vec<Failure>) {
    for pod in Pod::whole(world).filter(|pod| pod.object.group() == "batch") {
        let root = Field::root(pod.object);
        let is_cron = pod.object.kind == "CronJob";
        job(&root.down(if is_cron { "spec.jobTemplate.spec" } else { "spec" }), failures);
        let restart = pod.spec.at("restartPolicy");
        if restart.text().is_none() {
            restart.fail(failures, "is missing: the default, Always, never ends", "OnFailure or Never");
        } else if restart.text() == Some("Always") {
            restart.fail(failures, "Always never ends", "OnFailure or Never");
        }
        if is_cron {
            cron::check(&root.at("spec"), failures);
        }
    }
}

fn job(spec: &Field<'_>, failures: &mut Vec<Failure>) {
    for count in [
        "parallelism",
        "completions",
        "backoffLimit",
        "ttlSecondsAfterFinished",
        "backoffLimitPerIndex",
        "maxFailedIndexes",
    ] {
        spec.at(count).between(failures, 0, i64::from(i32::MAX));
    }
    spec.at("activeDeadlineSeconds").between(failures, 0, i64::MAX);
    let mode = spec.at("completionMode");
    mode.one_of_said(failures, &["NonIndexed", "Indexed"]);
    if mode.text() == Some("Indexed") {
        // Without both there is one.
        spec.at("parallelism").between(failures, 0, 100_000);
        if spec.at("parallelism").is_said() {
            spec.at("completions").require(failures, "the number of indexes");
        }
    } else {
        for indexed in ["backoffLimitPerIndex", "maxFailedIndexes", "successPolicy"] {
            if spec.at(indexed).is_said() {
                spec.at(indexed).fail(
                    failures,
                    "counts for indexed Jobs alone",
                    "completionMode: Indexed, or without",
                );
            }
        }
    }
    let policy = spec.at("podFailurePolicy");
    spec.at("podReplacementPolicy").one_of_said(failures, &["TerminatingOrFailed", "Failed"]);
    if policy.is_said() {
        if spec.down("template.spec.restartPolicy").text() != Some("Never") {
            spec.down("template.spec.restartPolicy").fail(
                failures,
                "a podFailurePolicy sees no pod that is restarted",
                "Never",
            );
        }
        let template = spec.down("template.spec");
        let names: Vec<&str> = ["containers", "initContainers"]
            .iter()
            .flat_map(|of| template.at(of).list())
            .map(|container| container.at("name").text_or_empty())
            .collect();
        for rule in policy.at("rules").list() {
            failure_rule(&rule, &names, failures);
        }
    }
    success(spec, failures);
    let (failed, completions) = (spec.at("maxFailedIndexes"), spec.at("completions"));
    if failed.is_said() && !spec.at("backoffLimitPerIndex").is_said() {
        failed.fail(failures, "stands beside no backoffLimitPerIndex", "backoffLimitPerIndex too");
    }
    if failed.number().zip(completions.number()).is_some_and(|(failed, all)| failed > all) {
        failed.fail(
            failures,
            format!("{} is above completions of {}", failed.quoted(), completions.quoted()),
            "at most completions",
        );
    }
}

fn failure_rule(rule: &Field<'_>, names: &[&str], failures: &mut Vec<Failure>) {
    rule.at("action").require(failures, "FailJob, FailIndex, Ignore or Count");
    rule.at("action").one_of(failures, &["FailJob", "FailIndex", "Ignore", "Count"]);
    let codes = rule.at("onExitCodes");
    if codes.is_said() != rule.at("onPodConditions").is_empty() {
        rule.fail(failures, "looks at two things or none", "onExitCodes or onPodConditions");
    }
    for condition in rule.at("onPodConditions").list() {
        condition.at("type").require(failures, "a condition's type");
        condition.at("type").form(failures, text::key);
        condition.at("status").one_of(failures, &["True", "False", "Unknown"]);
    }
    if !codes.is_said() {
        return;
    }
    let (name, operator, values) = (codes.at("containerName"), codes.at("operator"), codes.at("values"));
    if name.text().is_some_and(|name| !names.contains(&name)) {
        name.fail(
            failures,
            format!("the pod has no container {}", name.quoted()),
            format!("one of {}", names.join(", ")),
        );
    }
    operator.require(failures, "In or NotIn");
    operator.one_of(failures, &["In", "NotIn"]);
    values.require(failures, "one code at least");
    let numbers: Vec<i64> = values.list().iter().filter_map(Field::number).collect();
    if operator.text() == Some("In") && numbers.contains(&0) {
        values.fail(failures, "hold 0, which is no failure", "codes above 0");
    }
    if !numbers.is_sorted_by(|one, next| one < next) {
        values.fail(failures, "are not in order, each once", "codes that rise");
    }
}

/// Which indexes make a Job a success.
fn success(spec: &Field<'_>, failures: &mut Vec<Failure>) {
    let (policy, completions) = (spec.at("successPolicy"), spec.at("completions").number().unwrap_or(1));
    if policy.is_said() {
        policy.at("rules").require(failures, "one at least");
    }
    for rule in policy.at("rules").list() {
        let (count, indexes) = (rule.at("succeededCount"), rule.at("succeededIndexes"));
        if !count.is_said() && !indexes.is_said() {
            rule.fail(failures, "says nothing", "succeededCount or succeededIndexes");
        }
        count.between(failures, 0, completions);
        let Some(text) = indexes.text() else { continue };
        match indexes_of(text, completions) {
            None => indexes.fail(
                failures,
                format!("\"{text}\" are no indexes below {completions}"),
                "as 0,2-3, rising",
            ),
            Some(all) if count.number().is_some_and(|count| count > all) => {
                count.fail(
                    failures,
                    format!("{} is more than the {all} indexes beside it", count.quoted()),
                    "at most as many",
                );
            }
            Some(_) => {}
        }
    }
}

/// How many indexes a text as `0,2-3` names, if it names any.
fn indexes_of(text: &str, completions: i64) -> Option<i64> {
    let (mut last, mut all) = (-1, 0);
    for part in text.split(',') {
        let (from, to) = part.split_once('-').map_or((part, None), |(from, to)| (from, Some(to)));
        let from: i64 = from.parse().ok()?;
        let to: i64 = match to {
            Some(to) => to.parse().ok().filter(|to| *to > from)?,
            None => from,
        };
        if from <= last || to >= completions {
            return None;
        }
        last = to;
        all += to - from + 1;
    }
    Some(all)
}
