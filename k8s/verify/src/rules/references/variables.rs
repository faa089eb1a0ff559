//! Variables that a container's texts name as `$(NAME)`: what is not set stays as it stands.

use std::collections::BTreeSet;

use crate::Failure;
use crate::rules::field::Field;
use crate::rules::known::{Found, Known};
use crate::rules::pods::Pod;

pub(super) fn check(known: &Known<'_>, failures: &mut Vec<Failure>) {
    for pod in Pod::whole(known.world) {
        let namespace = pod.object.namespace.as_deref();
        for container in pod.all_containers() {
            let Some(mut set) = taken(known, &container, namespace) else { continue };
            // A variable sees those before it.
            for variable in container.at("env").list() {
                need(&variable.at("value"), &set, failures);
                set.insert(variable.at("name").text_or_empty().to_owned());
            }
            let texts = ["command", "args"].iter().flat_map(|list| container.at(list).list());
            let paths = container.at("volumeMounts").list().into_iter().map(|mount| mount.at("subPathExpr"));
            for text in texts.chain(paths) {
                need(&text, &set, failures);
            }
        }
    }
}

/// What is set from elsewhere, where all of it is known.
fn taken(known: &Known<'_>, container: &Field<'_>, namespace: Option<&str>) -> Option<BTreeSet<String>> {
    let mut set = BTreeSet::new();
    for from in container.at("envFrom").list() {
        let prefix = from.at("prefix").text_or_empty();
        for (of, kind) in [("configMapRef", "ConfigMap"), ("secretRef", "Secret")] {
            let Some(name) = from.at(of).at("name").text() else { continue };
            let Found::There(Some(keys)) = known.find(kind, name, namespace) else { return None };
            set.extend(keys.into_iter().map(|key| format!("{prefix}{key}")));
        }
    }
    Some(set)
}

fn need(text: &Field<'_>, set: &BTreeSet<String>, failures: &mut Vec<Failure>) {
    let said = text.text_or_empty();
    for (place, _) in said.match_indices("$(") {
        let Some(name) = said[place + 2..].split_once(')').map(|(name, _)| name) else { continue };
        // Lower case is a shell's: $(hostname).
        let is_variable = name.starts_with(|c: char| c.is_ascii_uppercase() || c == '_')
            && name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
        // Kubernetes sets these for each Service.
        let is_given = name.ends_with("_SERVICE_HOST") || name.contains("_SERVICE_PORT");
        if is_variable && !is_given && !set.contains(name) && !said[..place].ends_with('$') {
            text.fail(
                failures,
                format!("no variable {name} is set before it"),
                "a variable in env, above where it is used",
            );
        }
    }
}
