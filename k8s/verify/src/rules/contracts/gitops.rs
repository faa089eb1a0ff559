//! Argo CD: options that it knows, and sources that are whole.

use crate::failure::Failure;
use crate::rules::field::Field;
use crate::schema::nearest;
use crate::world::World;

const SYNC_OPTIONS: &[&str] = &[
    "ApplyOutOfSyncOnly",
    "ClientSideApplyMigration",
    "CreateNamespace",
    "Delete",
    "FailOnSharedResource",
    "Force",
    "Prune",
    "PruneLast",
    "PrunePropagationPolicy",
    "Replace",
    "RespectIgnoreDifferences",
    "ServerSideApply",
    "SkipDryRunOnMissingResource",
    "Validate",
];

pub(super) fn check(world: &World, failures: &mut Vec<Failure>) {
    for object in world.of("argoproj.io", "Application") {
        application(&Field::root(object).at("spec"), failures);
    }
    for object in world.of("argoproj.io", "ApplicationSet") {
        application(&Field::root(object).down("spec.template.spec"), failures);
    }
    for object in &world.objects {
        let annotations = Field::root(object).at("metadata").at("annotations");
        let options = annotations.at("argocd.argoproj.io/sync-options");
        for option in options.text().into_iter().flat_map(|text| text.split(',')) {
            sync_option(&options, option.trim(), failures);
        }
    }
}

fn application(spec: &Field<'_>, failures: &mut Vec<Failure>) {
    let (one, several) = (spec.at("source"), spec.at("sources"));
    if !spec.is_said() {
        return;
    }
    if one.is_empty() && several.is_empty() && !spec.at("sourceHydrator").is_said() {
        one.fail(failures, "is missing", "source or sources");
    }
    for source in several.list().iter().chain(one.is_said().then_some(&one)) {
        let (path, chart) = (source.at("path"), source.at("chart"));
        if path.is_empty() && chart.is_empty() && source.at("ref").is_empty() {
            path.fail(failures, "is missing", "path in the repository, or chart");
        }
        if !path.is_empty() && !chart.is_empty() {
            path.fail(
                failures,
                "stands beside chart",
                "path in a repository of Git, or chart in one of Helm's",
            );
        }
        if path.text().is_some_and(|path| path.starts_with('/')) {
            path.fail(
                failures,
                format!("{} is absolute", path.quoted()),
                "from the repository's root, without the slash",
            );
        }
        if !chart.is_empty() && source.at("targetRevision").is_empty() {
            source.at("targetRevision").fail(failures, "is missing", "the chart's version");
        }
    }
    let destination = spec.at("destination");
    let (server, name) = (destination.at("server"), destination.at("name"));
    if server.is_empty() == name.is_empty() {
        let wrong = if server.is_empty() { "says no cluster" } else { "has server and name together" };
        destination.fail(failures, wrong, "exactly one of server and name");
    }
    for option in spec.at("syncPolicy").at("syncOptions").list() {
        sync_option(&option, option.text_or_empty(), failures);
    }
    let ignored = spec.at("ignoreDifferences").list();
    for one in &ignored {
        if ["jsonPointers", "jqPathExpressions", "managedFieldsManagers"]
            .iter()
            .all(|field| one.at(field).is_empty())
        {
            one.fail(failures, "ignores nothing", "jsonPointers, jqPathExpressions or managedFieldsManagers");
        }
        for pointer in one.at("jsonPointers").list() {
            if pointer.text().is_some_and(|text| !text.starts_with('/')) {
                pointer.fail(
                    failures,
                    format!("{} is no pointer", pointer.quoted()),
                    "with a slash at its beginning",
                );
            }
        }
    }
}

fn sync_option(field: &Field<'_>, option: &str, failures: &mut Vec<Failure>) {
    let Some((name, value)) = option.split_once('=') else {
        if !option.is_empty() {
            field.fail(failures, format!("{option:?} says no value"), "NAME=true");
        }
        return;
    };
    if !SYNC_OPTIONS.contains(&name) {
        let near = nearest(name, SYNC_OPTIONS.iter().copied());
        let right =
            near.map_or(format!("one of {}", SYNC_OPTIONS.join(", ")), |near| format!("perhaps `{near}`"));
        field.fail(failures, format!("Argo CD knows no option {name:?}"), right);
    }
    let free = matches!(name, "PrunePropagationPolicy" | "Prune" | "Delete");
    if !free && !matches!(value, "true" | "false") {
        field.fail(failures, format!("{name} is {value:?}"), "true or false");
    }
}
