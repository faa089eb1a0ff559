//! Autoscalers: bounds, metrics of the type they say, behaviour that can be.

use crate::rules::field::Field;
use crate::rules::{quantities, text};
use crate::{Failure, World};

const TYPES: [(&str, &str); 5] = [
    ("Object", "object"),
    ("Pods", "pods"),
    ("Resource", "resource"),
    ("ContainerResource", "containerResource"),
    ("External", "external"),
];

/// Says what is wrong with autoscalers.
pub fn check(world: &World, failures: &mut Vec<Failure>) {
    for object in world.of("autoscaling", "HorizontalPodAutoscaler") {
        let spec = Field::root(object).at("spec");
        bounds(&spec, failures);
        let target = spec.at("scaleTargetRef");
        target.at("kind").require(failures, "the kind of what is scaled");
        target.at("name").require(failures, "the name of what is scaled");
        target.at("kind").form(failures, text::segment);
        target.at("name").form(failures, text::segment);
        let api = target.at("apiVersion");
        let grouped = !matches!(target.at("kind").text(), Some("ReplicationController"));
        if grouped && api.text().is_none_or(|version| !version.contains('/')) {
            api.fail(failures, format!("{} names no group", api.quoted()), "as apps/v1");
        }
        for metric in spec.at("metrics").list() {
            one(&metric, failures);
        }
        for way in ["scaleUp", "scaleDown"] {
            behaviour(&spec.at("behavior").at(way), failures);
        }
    }
}

fn bounds(spec: &Field<'_>, failures: &mut Vec<Failure>) {
    let (least, most) = (spec.at("minReplicas"), spec.at("maxReplicas"));
    most.require(failures, "1 at least");
    most.between(failures, 1, i64::from(i32::MAX));
    least.between(failures, 0, i64::from(i32::MAX));
    if let (Some(min), Some(max)) = (least.number(), most.number())
        && min > max
    {
        most.fail(failures, format!("{max} is below minReplicas of {min}"), "at least minReplicas");
    }
    let outside = |metric: &Field<'_>| matches!(metric.at("type").text(), Some("Object" | "External"));
    if least.number() == Some(0) && !spec.at("metrics").list().iter().any(outside) {
        least.fail(
            failures,
            "is 0, and pods that are not there measure nothing",
            "1, or a metric of type Object or External",
        );
    }
}

fn one(metric: &Field<'_>, failures: &mut Vec<Failure>) {
    let kind = metric.at("type");
    kind.require(failures, "Object, Pods, Resource, ContainerResource or External");
    kind.one_of(failures, &TYPES.map(|(kind, _)| kind));
    for (of, field) in TYPES {
        let source = metric.at(field);
        match (kind.text() == Some(of), source.is_said()) {
            (true, false) => {
                source.fail(failures, "is missing", format!("what a metric of type {of} measures"));
            }
            (false, true) => source.fail(
                failures,
                format!("stands in a metric of type {}", kind.quoted()),
                format!("type: {of}, or without"),
            ),
            _ => {}
        }
        if source.is_said() {
            target(field, &source, failures);
        }
    }
}

fn target(kind: &str, source: &Field<'_>, failures: &mut Vec<Failure>) {
    let target = source.at("target");
    let [by, value, average, share] =
        ["type", "value", "averageValue", "averageUtilization"].map(|of| target.at(of));
    by.require(failures, "Utilization, Value or AverageValue");
    by.one_of(failures, &["Utilization", "Value", "AverageValue"]);
    share.between(failures, 1, i64::from(i32::MAX));
    for amount in [&value, &average] {
        if amount.is_said()
            && amount.quantity().is_none_or(|amount| amount <= crate::rules::quantity::Quantity::ZERO)
        {
            amount.fail(failures, format!("{} is no amount above 0", amount.quoted()), "as 10 or 500m");
        }
    }
    let needed: &[&str] = match kind {
        "resource" | "containerResource" => &["averageUtilization", "averageValue"],
        "pods" => &["averageValue"],
        _ => &["value", "averageValue"],
    };
    if !needed.iter().any(|needed| target.at(needed).is_said()) {
        target.fail(failures, "says no amount", needed.join(" or "));
    }
    let field = match by.text() {
        Some("Utilization") => "averageUtilization",
        Some("AverageValue") => "averageValue",
        Some("Value") => "value",
        _ => return,
    };
    if !target.at(field).is_said() {
        by.fail(
            failures,
            format!("{} goes with {field}, which is missing", by.quoted()),
            format!("{field}, or another type"),
        );
    }
    match kind {
        "resource" | "containerResource" => {
            let name = source.at("name");
            name.require(failures, "cpu or memory");
            name.one_of(failures, &["cpu", "memory"]);
        }
        _ => {
            source.down("metric.name").require(failures, "the metric's name");
            source.down("metric.name").form(failures, text::segment);
        }
    }
    if kind == "object" {
        for of in ["kind", "name"] {
            source.at("describedObject").at(of).require(failures, "what the metric is of");
            source.at("describedObject").at(of).form(failures, text::segment);
        }
    }
    if kind == "containerResource" {
        source.at("container").require(failures, "the container's name");
        source.at("container").form(failures, text::label);
        if let Some(name) = source.at("name").text() {
            quantities::named(name, &source.at("name"), failures);
        }
    }
}

/// How fast it may go one way.
pub(crate) fn behaviour(rules: &Field<'_>, failures: &mut Vec<Failure>) {
    rules.at("stabilizationWindowSeconds").between(failures, 0, 3600);
    rules.at("selectPolicy").one_of_said(failures, &["Max", "Min", "Disabled"]);
    if rules.at("policies").is_said() {
        rules.at("policies").require(failures, "one at least, or none said");
    }
    for policy in rules.at("policies").list() {
        policy.at("type").require(failures, "Pods or Percent");
        policy.at("type").one_of(failures, &["Pods", "Percent"]);
        policy.at("value").require(failures, "above 0");
        policy.at("value").between(failures, 1, i64::from(i32::MAX));
        policy.at("periodSeconds").require(failures, "1 to 1800");
        policy.at("periodSeconds").between(failures, 1, 1800);
    }
}
