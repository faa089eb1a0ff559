//! Schedules: five fields or a word, in a time zone that is one.

use crate::Failure;
use crate::rules::field::Field;

/// When Jobs are made, and how.
pub(super) fn check(spec: &Field<'_>, failures: &mut Vec<Failure>) {
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
/// What is wrong with a schedule.
pub(super) fn wrong_schedule(schedule: &str) -> Option<String> {
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
