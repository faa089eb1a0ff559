//! `CustomResourceDefinitions` and the expressions (CEL) of admission's policies: what an API server refuses of them.

use crate::rules::field::Field;
use crate::schema::cel::Rules;
use crate::{Failure, World};

/// What an expression of a policy may look at.
const LOOKED_AT: [&str; 7] =
    ["object", "oldObject", "request", "params", "namespaceObject", "authorizer", "variables"];
const TYPES: [&str; 6] = ["object", "array", "string", "integer", "number", "boolean"];

/// Says what is wrong with them.
pub fn check(world: &World, failures: &mut Vec<Failure>) {
    let rules = Rules::default();
    for object in world.of("apiextensions.k8s.io", "CustomResourceDefinition") {
        definition(&rules, &Field::root(object), failures);
    }
    for kind in ["ValidatingAdmissionPolicy", "MutatingAdmissionPolicy"] {
        for object in world.of("admissionregistration.k8s.io", kind) {
            policy(&rules, &Field::root(object).at("spec"), failures);
        }
    }
    for object in world.of("admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding") {
        for action in Field::root(object).down("spec.validationActions").list() {
            action.one_of(failures, &["Deny", "Warn", "Audit"]);
        }
    }
}

fn definition(rules: &Rules, root: &Field<'_>, failures: &mut Vec<Failure>) {
    let spec = root.at("spec");
    let (plural, group) = (spec.at("names").at("plural"), spec.at("group"));
    let name = root.at("metadata").at("name");
    let right = format!("{}.{}", plural.text_or_empty(), group.text_or_empty());
    if name.text().is_some_and(|name| name != right) {
        name.fail(failures, format!("{} is not its plural and group", name.quoted()), right);
    }
    spec.at("scope").one_of(failures, &["Namespaced", "Cluster"]);
    let versions = spec.at("versions");
    let stored = versions.list().iter().filter(|version| version.at("storage").is_true()).count();
    if stored != 1 && !versions.is_empty() {
        versions.fail(failures, format!("{stored} of them are stored"), "storage: true in exactly one");
    }
    for version in versions.list() {
        schema(rules, &version.at("schema").at("openAPIV3Schema"), failures);
    }
}

fn schema(rules: &Rules, of: &Field<'_>, failures: &mut Vec<Failure>) {
    of.at("type").one_of(failures, &TYPES);
    for rule in of.at("x-kubernetes-validations").list() {
        for field in ["rule", "messageExpression"] {
            let expression = rule.at(field);
            if let Some(wrong) = expression.text().and_then(|text| rules.unreadable(text)) {
                expression.fail(failures, format!("can't be read: {wrong}"), "an expression of CEL");
            }
        }
    }
    let maps = ["properties", "patternProperties"].iter().flat_map(|map| of.at(map).map());
    let lists = ["allOf", "anyOf", "oneOf"].iter().flat_map(|list| of.at(list).list());
    let others = ["items", "additionalProperties", "not"].into_iter().map(|other| of.at(other));
    let parts: Vec<Field<'_>> = maps.map(|(_, part)| part).chain(lists).chain(others).collect();
    for part in parts.iter().filter(|part| part.is_said()) {
        schema(rules, part, failures);
    }
}

fn policy(rules: &Rules, spec: &Field<'_>, failures: &mut Vec<Failure>) {
    let lists = ["matchConditions", "variables", "validations"].iter().flat_map(|list| spec.at(list).list());
    for one in lists {
        for field in ["expression", "messageExpression"] {
            let expression = one.at(field);
            let Some(text) = expression.text() else { continue };
            if let Some(wrong) = rules.unreadable(text) {
                expression.fail(failures, format!("can't be read: {wrong}"), "an expression of CEL");
                continue;
            }
            for name in rules.free(text).into_iter().filter(|name| !LOOKED_AT.contains(&name.as_str())) {
                expression.fail(
                    failures,
                    format!("there is no `{name}`"),
                    format!("one of {}", LOOKED_AT.join(", ")),
                );
            }
        }
    }
    for rule in spec.down("matchConstraints.resourceRules").list() {
        for resource in rule.at("resources").list() {
            if resource.text().is_some_and(|text| text.bytes().any(|byte| byte.is_ascii_uppercase())) {
                resource.fail(
                    failures,
                    format!("{} is no resource", resource.quoted()),
                    "the plural in small letters, as deployments",
                );
            }
        }
    }
}
