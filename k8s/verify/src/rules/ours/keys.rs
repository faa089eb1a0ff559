//! Files that hold keys and passwords: a flag or a variable names one, and what is mounted there is a Secret.

use crate::Failure;
use crate::rules::field::Field;
use crate::rules::pods::{Pod, mount_of};

/// Flags of the programs that name such a file; as variables with `FOREBAY_` before them.
const FLAGS: [&str; 8] = [
    "credentials-file",
    "data-key-file",
    "memcached-password-file",
    "operators-file",
    "pool-secret-file",
    "record-key-file",
    "redis-password-file",
    "tls-key-file",
];

/// Says which is anybody's to read, or nowhere.
pub(super) fn check(pod: &Pod<'_>, container: &Field<'_>, failures: &mut Vec<Failure>) {
    // Vault's agent brings files to where nothing is mounted yet.
    let is_injected =
        pod.metadata.at("annotations").at("vault.hashicorp.com/agent-inject").text() == Some("true");
    for (place, path) in paths(container, &FLAGS) {
        match mount_of(container, path).map(|mount| pod.volume_of(&mount)) {
            None if is_injected => {}
            None => place.fail(
                failures,
                format!("names {path}, and nothing is mounted there"),
                "a file of a mounted Secret",
            ),
            Some(Some(volume)) if is_of_a_config_map(&volume, path) => {
                let wrong =
                    format!("names {path}, which is of a ConfigMap: whoever may list those may read it");
                place.fail(failures, wrong, "a Secret");
            }
            Some(_) => {}
        }
    }
}

/// Each path that one of the flags has, or its variable, with the place that names it.
pub(super) fn paths<'a>(container: &Field<'a>, flags: &[&str]) -> Vec<(Field<'a>, &'a str)> {
    said(container, flags).into_iter().filter(|(_, path)| path.starts_with('/')).collect()
}

/// Each value that one of the flags has, or its variable, with the place that says it.
pub(super) fn said<'a>(container: &Field<'a>, flags: &[&str]) -> Vec<(Field<'a>, &'a str)> {
    let variable = |name: &str| {
        let flag = name.strip_prefix("FOREBAY_")?.to_lowercase().replace('_', "-");
        flags.contains(&flag.as_str()).then_some(())
    };
    let variables = container.at("env").list().into_iter().filter_map(|one| {
        variable(one.at("name").text()?)?;
        let value = one.at("value");
        value.text().map(|path| (value.clone(), path))
    });
    let words = container.at("command").list().into_iter().chain(container.at("args").list());
    let said = words.filter_map(|word| {
        let (flag, path) = word.text()?.strip_prefix("--")?.split_once('=')?;
        flags.contains(&flag).then_some((word, path))
    });
    variables.chain(said).collect()
}

fn is_of_a_config_map(volume: &Field<'_>, path: &str) -> bool {
    let file = path.rsplit('/').next().unwrap_or_default();
    let gives = |source: &Field<'_>| {
        let items = source.at("items").list();
        items.is_empty() || items.iter().any(|item| item.at("path").text() == Some(file))
    };
    let sources = volume.at("projected").at("sources").list();
    volume.at("configMap").is_said()
        || sources.iter().map(|source| source.at("configMap")).any(|map| map.is_said() && gives(&map))
}
