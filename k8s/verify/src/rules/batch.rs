//! Jobs, and what makes them by the clock: schedules that can be read, restarts that end, indexes that fit.

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
        if !restart.is_said() {
            restart.fail(failures, "is missing: the default, Always, never ends", "OnFailure or Never");
        } else if restart.text() == Some("Always") {
            restart.fail(failures, "Always never ends", "OnFailure or Never");
        }
        if is_cron {
            cron(&root.at("spec"), failures);
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

fn cron(spec: &Field<'_>, failures: &mut Vec<Failure>) {
    let schedule = spec.at("schedule");
    schedule.require(failures, "a schedule, as \"*/5 * * * *\"");
    if let Some(wrong) = schedule.text().and_then(wrong_schedule) {
        schedule.fail(failures, wrong, "minute hour day month weekday, as \"*/5 * * * *\", or @hourly");
    }
    spec.at("concurrencyPolicy").one_of(failures, &["Allow", "Forbid", "Replace"]);
    spec.at("startingDeadlineSeconds").between(failures, 0, i64::MAX);
    for count in ["successfulJobsHistoryLimit", "failedJobsHistoryLimit"] {
        spec.at(count).between(failures, 0, i64::from(i32::MAX));
    }
    if spec.at("startingDeadlineSeconds").number().is_some_and(|seconds| seconds < 10) {
        // The controller looks each ten seconds.
        spec.at("startingDeadlineSeconds").fail(
            failures,
            "is shorter than the controller's 10 s between looks: no Job may ever start",
            "10 at least",
        );
    }
    let zone = spec.at("timeZone");
    if zone.text().is_some_and(|zone| !is_zone(zone)) {
        zone.fail(
            failures,
            format!("{} is no time zone", zone.quoted()),
            "a name of IANA's, as Europe/Berlin or Etc/UTC",
        );
    }
    let template = spec.down("jobTemplate.spec");
    if template.at("selector").is_said() {
        template.at("selector").fail(failures, "is made by the API server", "leave it out");
    }
}

/// Names by IANA's rules; `Local` is none.
fn is_zone(zone: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty()
            && part.len() <= 14
            && !part.starts_with('-')
            && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '+'))
    };
    let first = zone.split('/').next().unwrap_or_default();
    let areas = [
        "Africa",
        "America",
        "Antarctica",
        "Arctic",
        "Asia",
        "Atlantic",
        "Australia",
        "Brazil",
        "Canada",
        "Chile",
        "Europe",
        "Etc",
        "Indian",
        "Mexico",
        "Pacific",
        "US",
    ];
    let alone = [
        "UTC",
        "GMT",
        "UCT",
        "Zulu",
        "Universal",
        "Greenwich",
        "EST",
        "MST",
        "HST",
        "CET",
        "EET",
        "MET",
        "WET",
        "Japan",
        "Cuba",
        "Egypt",
        "Eire",
        "GB",
        "Hongkong",
        "Iceland",
        "Iran",
        "Israel",
        "Jamaica",
        "Libya",
        "NZ",
        "Navajo",
        "PRC",
        "Poland",
        "Portugal",
        "ROC",
        "ROK",
        "Singapore",
        "Turkey",
        "W-SU",
        "EST5EDT",
        "CST6CDT",
        "MST7MDT",
        "PST8PDT",
    ];
    zone.split('/').all(part)
        && if zone.contains('/') { areas.contains(&first) } else { alone.contains(&zone) }
}

/// What is wrong with a schedule of five fields.
fn wrong_schedule(schedule: &str) -> Option<String> {
    if schedule.contains("TZ") {
        return Some(format!("\"{schedule}\" holds a time zone: timeZone is its place"));
    }
    if let Some(word) = schedule.strip_prefix('@') {
        let known = ["yearly", "annually", "monthly", "weekly", "daily", "midnight", "hourly"];
        let every = word.strip_prefix("every ").is_some_and(|time| time.ends_with(['s', 'm', 'h']));
        return (!known.contains(&word) && !every).then(|| format!("there is no @{word}"));
    }
    let fields: Vec<&str> = schedule.split_whitespace().collect();
    if fields.len() != 5 {
        return Some(format!("\"{schedule}\" has {} fields", fields.len()));
    }
    let bounds = [(0, 59), (0, 23), (1, 31), (1, 12), (0, 6)];
    let words: [&[&str]; 5] = [
        &[],
        &[],
        &[],
        &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
        &["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
    ];
    for ((field, (least, most)), words) in fields.iter().zip(bounds).zip(words) {
        for part in field.split(',') {
            if !is_part(part, least, most, words) {
                return Some(format!(
                    "\"{part}\" in \"{schedule}\" is out of {least} to {most}, or can't be read"
                ));
            }
        }
    }
    // Days that no month has, so that the Job never runs.
    let (day, month) = (fields[2], fields[3]);
    let longest = match month {
        "2" => 29,
        "4" | "6" | "9" | "11" => 30,
        _ => 31,
    };
    day.parse::<u32>().is_ok_and(|day| day > longest).then(|| format!("month {month} has no day {day}"))
}

fn is_part(part: &str, least: u32, most: u32, words: &[&str]) -> bool {
    let (range, step) = part.split_once('/').map_or((part, None), |(range, step)| (range, Some(step)));
    let number = |text: &str| {
        let word = words.iter().position(|word| text.eq_ignore_ascii_case(word));
        let word = word.and_then(|place| u32::try_from(place).ok()).map(|place| place + least);
        word.or_else(|| text.parse().ok()).filter(|number| (least..=most).contains(number))
    };
    let in_range = match range.split_once('-') {
        Some((from, to)) => number(from).zip(number(to)).is_some_and(|(from, to)| from <= to),
        None => range == "*" || range == "?" || number(range).is_some(),
    };
    in_range && step.is_none_or(|step| step.parse::<u32>().is_ok_and(|step| step > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_are_read_as_the_controller_reads_them() {
        for right in
            ["*/5 * * * *", "0 0 1 JAN mon-fri", "@hourly", "@every 5m", "0,30 8-18/2 ? * 0", "0 0 29 2 *"]
        {
            assert_eq!(wrong_schedule(right), None, "{right}");
        }
        for wrong in [
            "* * * *",
            "60 * * * *",
            "* 24 * * *",
            "* * 0 * *",
            "* * * 13 *",
            "* * * * 7",
            "*/0 * * * *",
            "@often",
            "0 0 31 2 *",
            "5-1 * * * *",
            "x * * * *",
        ] {
            assert!(wrong_schedule(wrong).is_some(), "{wrong}");
        }
        assert!(is_zone("Europe/Berlin") && is_zone("Etc/UTC") && is_zone("UTC"));
        assert!(!is_zone("Local") && !is_zone("Berlin") && !is_zone("Europe/") && !is_zone("europe/berlin"));
    }
}
