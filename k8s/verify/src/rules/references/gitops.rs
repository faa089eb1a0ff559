//! What Argo CD's Applications say of others: their project, and what that lets them take and touch.

use crate::rules::field::Field;
use crate::rules::known::Known;
use crate::{Failure, Object};

/// The cluster that Argo CD itself runs on.
const HERE: [&str; 2] = ["https://kubernetes.default.svc", "in-cluster"];

pub(super) fn check(known: &Known<'_>, failures: &mut Vec<Failure>) {
    for object in known.world.of("argoproj.io", "Application") {
        application(known, object, &Field::root(object).at("spec"), failures);
    }
    for object in known.world.of("argoproj.io", "ApplicationSet") {
        application(known, object, &Field::root(object).down("spec.template.spec"), failures);
    }
}

fn application(known: &Known<'_>, object: &Object, spec: &Field<'_>, failures: &mut Vec<Failure>) {
    let project = spec.at("project");
    let Some(name) = project.text().filter(|name| !name.contains("{{")) else { return };
    let namespace = object.namespace.as_deref();
    let target = spec.at("destination");
    cluster(known, &target, failures);
    // Argo CD makes the project `default` itself.
    let found = known.world.of("argoproj.io", "AppProject").find(|one| one.name == name);
    let Some(found) = found else {
        if name != "default" {
            known.need("AppProject", &project, namespace, failures);
        }
        return;
    };
    let allowed = Field::root(found).at("spec");
    let sources = spec.at("sources").list();
    let sources = if sources.is_empty() { vec![spec.at("source")] } else { sources };
    for source in sources {
        let url = source.at("repoURL");
        let Some(text) = url.text().filter(|text| !text.contains("{{")) else { continue };
        let repos: Vec<&str> = allowed.at("sourceRepos").list().iter().filter_map(Field::text).collect();
        if !repos.iter().any(|repo| takes(repo, text)) {
            url.fail(
                failures,
                format!("project {name} lets nobody take {text}"),
                format!("one of its sourceRepos: {}", repos.join(", ")),
            );
        }
    }
    let into = target.at("namespace");
    let Some(text) = into.text().filter(|text| !text.contains("{{")) else { return };
    let place = target.at("server").text().or(target.at("name").text()).unwrap_or(HERE[0]);
    let is_here = |place: &str| HERE.contains(&place);
    let lets = allowed.at("destinations").list().iter().any(|one| {
        let cluster = one.at("server").text().or(one.at("name").text()).unwrap_or("*");
        takes(one.at("namespace").text().unwrap_or("*"), text)
            && (takes(cluster, place) || is_here(cluster) && is_here(place))
    });
    if !lets && !place.contains("{{") {
        into.fail(
            failures,
            format!("project {name} lets nobody touch {text} on {place}"),
            "a namespace of its destinations, or one more of them",
        );
    }
}

/// A cluster is known by a Secret with its address, unless it is Argo CD's own.
fn cluster(known: &Known<'_>, target: &Field<'_>, failures: &mut Vec<Failure>) {
    let (server, name) = (target.at("server"), target.at("name"));
    if server.text().is_some() && name.text().is_some() {
        name.fail(failures, "stands beside server", "one of the two");
        return;
    }
    let said = if server.text().is_some() { server } else { name };
    let Some(text) = said.text().filter(|text| !HERE.contains(text) && !text.contains("{{")) else { return };
    let made = known.world.of("", "Secret").map(Field::root).any(|secret| {
        let label = secret.at("metadata").at("labels").at("argocd.argoproj.io/secret-type");
        let of = |key: &str| secret.at("stringData").at(key).text() == Some(text);
        label.text() == Some("cluster") && (of("server") || of("name") || !secret.at("data").is_empty())
    });
    if !made && !known.world.outsiders.holds("Cluster", text, None) {
        let right =
            format!("{}, or declare it in --outsiders: - {{kind: Cluster, name: {text}, why: …}}", HERE[0]);
        said.fail(failures, format!("no Secret makes cluster {text} known to Argo CD"), right);
    }
}

/// Whether a pattern with `*` takes a text.
fn takes(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        match rest.find(part) {
            Some(place) => rest = &rest[place + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}
