//! Prometheus' monitors: what its operator leaves out without a word to whoever applied it.

use regex::Regex;

use crate::failure::Failure;
use crate::rules::field::Field;
use crate::rules::span;
use crate::world::World;

pub(super) fn check(world: &World, failures: &mut Vec<Failure>) {
    for (kind, endpoints) in [("PodMonitor", "podMetricsEndpoints"), ("ServiceMonitor", "endpoints")] {
        for object in world.of("monitoring.coreos.com", kind) {
            for endpoint in Field::root(object).at("spec").at(endpoints).list() {
                times(&endpoint, failures);
                for relabel in
                    ["relabelings", "metricRelabelings"].iter().flat_map(|list| endpoint.at(list).list())
                {
                    relabeling(&relabel, failures);
                }
            }
        }
    }
}

fn times(endpoint: &Field<'_>, failures: &mut Vec<Failure>) {
    let (every, patience) = (endpoint.at("interval"), endpoint.at("scrapeTimeout"));
    let millis = |field: &Field<'_>| field.text().and_then(span::millis);
    if let (Some(interval), Some(timeout)) = (millis(&every), millis(&patience))
        && timeout > interval
    {
        patience.fail(
            failures,
            format!(
                "{} is longer than interval of {}: the operator leaves it out",
                patience.quoted(),
                every.quoted()
            ),
            "at most interval",
        );
    }
}

fn relabeling(relabel: &Field<'_>, failures: &mut Vec<Failure>) {
    let regex = relabel.at("regex");
    if regex.text().is_some_and(|text| Regex::new(&format!("^(?:{text})$")).is_err()) {
        regex.fail(failures, format!("{} can't be read", regex.quoted()), "a pattern as RE2 reads it");
    }
    let action = relabel.at("action").text().unwrap_or("replace").to_lowercase();
    let into = relabel.at("targetLabel");
    if matches!(action.as_str(), "replace" | "hashmod" | "lowercase" | "uppercase") && into.is_empty() {
        into.fail(failures, format!("is missing: {action} writes one"), "the label that is written");
    }
}
