//! Argo CD: options that it knows, and sources that are whole.

use crate::failure::Failure;
use crate::object::Object;
use crate::rules::cron::wrong_schedule;
use crate::rules::field::Field;
use crate::rules::span;
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
        application(world, &Field::root(object).at("spec"), failures);
    }
    for object in world.of("argoproj.io", "ApplicationSet") {
        application(world, &Field::root(object).down("spec.template.spec"), failures);
    }
    for object in world.of("argoproj.io", "AppProject") {
        project(object, failures);
    }
    for object in &world.objects {
        let annotations = Field::root(object).at("metadata").at("annotations");
        let options = annotations.at("argocd.argoproj.io/sync-options");
        for option in options.text().into_iter().flat_map(|text| text.split(',')) {
            sync_option(&options, option.trim(), failures);
        }
    }
}

fn application(world: &World, spec: &Field<'_>, failures: &mut Vec<Failure>) {
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
        let makers = ["helm", "kustomize", "directory", "plugin"];
        let said: Vec<&str> = makers.into_iter().filter(|maker| !source.at(maker).is_empty()).collect();
        if said.len() > 1 {
            source.fail(failures, format!("has {} together", said.join(" and ")), "one of them");
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
    back_off(&spec.down("syncPolicy.retry.backoff"), failures);
    let ignored = spec.at("ignoreDifferences").list();
    for one in &ignored {
        kind(world, one, failures);
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

fn back_off(back_off: &Field<'_>, failures: &mut Vec<Failure>) {
    for time in ["duration", "maxDuration"].map(|time| back_off.at(time)) {
        // Whole seconds may stand alone.
        if time.text().is_some_and(|text| span::millis(text).is_none() && text.parse::<u64>().is_err()) {
            time.fail(failures, format!("{} is no time", time.quoted()), "as 5s or 3m");
        }
    }
}

/// A group and a kind that are nobody's: what is known of the group is all that it has.
fn kind(world: &World, of: &Field<'_>, failures: &mut Vec<Failure>) {
    let (group, kind) = (of.at("group"), of.at("kind"));
    let Some(name) = kind.text().filter(|name| !name.contains('*')) else { return };
    let said = group.text_or_empty();
    if world.schemas.kubernetes.is_empty() || said.contains('*') || !world.schemas.has_group(said) {
        return;
    }
    let groups = world.schemas.groups_of(name);
    if groups.contains(&said) {
        return;
    }
    if groups.is_empty() {
        let near = nearest(name, world.schemas.kinds());
        let right = near.map_or("a kind of that group".to_owned(), |near| format!("perhaps `{near}`"));
        kind.fail(failures, format!("there is no kind {name} in group {said:?}"), right);
    } else {
        group.fail(failures, format!("{said:?} has no {name}"), format!("one of {}", groups.join(", ")));
    }
}

/// When a project lets deploy, and who may.
fn project(object: &Object, failures: &mut Vec<Failure>) {
    let spec = Field::root(object).at("spec");
    for window in spec.at("syncWindows").list() {
        let (schedule, duration) = (window.at("schedule"), window.at("duration"));
        if let Some(wrong) = schedule.text().and_then(wrong_schedule) {
            schedule.fail(failures, wrong, "minute hour day month weekday, as \"0 22 * * *\"");
        }
        if duration.text().is_some_and(|text| span::millis(text).is_none()) {
            duration.fail(failures, format!("{} is no time", duration.quoted()), "as 1h");
        }
        window.at("kind").one_of(failures, &["allow", "deny"]);
    }
    for role in spec.at("roles").list() {
        let own = format!("proj:{}:{}", object.name, role.at("name").text_or_empty());
        for policy in role.at("policies").list() {
            let parts: Vec<&str> = policy.text_or_empty().split(',').map(str::trim).collect();
            let right = format!("p, {own}, applications, get, {}/*, allow", object.name);
            if parts.len() != 6 || parts[0] != "p" {
                policy.fail(failures, format!("{} is no policy", policy.quoted()), right);
            } else if parts[1] != own {
                policy.fail(failures, format!("is of {}, which is not this role", parts[1]), right);
            } else if !parts[4].starts_with(&format!("{}/", object.name)) {
                policy.fail(failures, format!("lets to {}, which is not this project's", parts[4]), right);
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
