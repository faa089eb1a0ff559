//! Files that a container's arguments, variables and mounts name inside a volume whose files are known: a key that is missing there is
//! a file that is missing.

use std::collections::BTreeSet;

use crate::Failure;
use crate::rules::field::Field;
use crate::rules::known::{Found, Known};
use crate::rules::pods::{Pod, said};

pub(super) fn check(known: &Known<'_>, failures: &mut Vec<Failure>) {
    for pod in Pod::whole(known.world) {
        let namespace = pod.object.namespace.as_deref();
        let volumes = pod.spec.at("volumes").list();
        let files: Vec<(&str, Option<BTreeSet<String>>)> = volumes
            .iter()
            .map(|volume| (volume.at("name").text_or_empty(), files(known, volume, namespace)))
            .collect();
        let of = |name: &str| files.iter().find(|(of, _)| *of == name).and_then(|(_, files)| files.as_ref());
        for container in pod.all_containers() {
            let mounts: Vec<Mount<'_>> = container
                .at("volumeMounts")
                .list()
                .into_iter()
                .map(|mount| Mount {
                    path: mount.at("mountPath").text_or_empty().trim_end_matches('/').to_owned(),
                    files: of(mount.at("name").text_or_empty()),
                    sub: mount.at("subPath"),
                })
                .collect();
            for mount in &mounts {
                let Some((files, part)) = mount.files.zip(mount.sub.text()) else { continue };
                if !holds(files, part.trim_end_matches('/')) {
                    mount.sub.fail(failures, format!("the volume has no file {part}"), one_of(files));
                }
            }
            for said in said(&container) {
                names(&said, &mounts, failures);
            }
        }
    }
}

struct Mount<'a> {
    path: String,
    files: Option<&'a BTreeSet<String>>,
    sub: Field<'a>,
}

fn names(said: &Field<'_>, mounts: &[Mount<'_>], failures: &mut Vec<Failure>) {
    let Some(text) = said.text() else { return };
    let ends = |c: char| c.is_whitespace() || "\"'`,;|&<>(){}$*?[]:".contains(c);
    for path in text.split(|c: char| ends(c) || c == '=').filter(|path| path.starts_with('/')) {
        let within = |mount: &&Mount<'_>| {
            path == mount.path || path.strip_prefix(&mount.path).is_some_and(|rest| rest.starts_with('/'))
        };
        let Some(mount) = mounts.iter().filter(within).max_by_key(|mount| mount.path.len()) else { continue };
        let (Some(files), None) = (mount.files, mount.sub.text()) else { continue };
        let rest = path[mount.path.len()..].trim_matches('/');
        // A script goes on after its path, and a pattern is no name.
        let after = text.find(path).map_or("", |place| &text[place + path.len()..]);
        let pattern = after.starts_with(['*', '?', '{', '[', '$', '(']);
        if !rest.is_empty() && !pattern && !holds(files, rest) {
            said.fail(failures, format!("{path} is not in the volume at {}", mount.path), one_of(files));
        }
    }
}

/// A file, or a folder of files.
fn holds(files: &BTreeSet<String>, path: &str) -> bool {
    files.iter().any(|file| file == path || file.strip_prefix(path).is_some_and(|rest| rest.starts_with('/')))
}

fn one_of(files: &BTreeSet<String>) -> String {
    format!("one of its files: {}", files.iter().map(String::as_str).collect::<Vec<_>>().join(", "))
}

/// Files of a volume, where all are known.
fn files(known: &Known<'_>, volume: &Field<'_>, namespace: Option<&str>) -> Option<BTreeSet<String>> {
    let projected = volume.at("projected");
    if projected.is_said() {
        let parts = projected.at("sources").list();
        let parts = parts.iter().map(|source| {
            let token = source.at("serviceAccountToken");
            if token.is_said() {
                return Some(BTreeSet::from([token.at("path").text_or_empty().to_owned()]));
            }
            of_source(known, &source.at("secret"), "Secret", "name", namespace)
                .or_else(|| of_source(known, &source.at("configMap"), "ConfigMap", "name", namespace))
                .or_else(|| source.at("downwardAPI").is_said().then(|| paths(&source.at("downwardAPI"))))
        });
        return parts.collect::<Option<Vec<_>>>().map(|parts| parts.into_iter().flatten().collect());
    }
    if volume.at("downwardAPI").is_said() {
        return Some(paths(&volume.at("downwardAPI")));
    }
    of_source(known, &volume.at("secret"), "Secret", "secretName", namespace)
        .or_else(|| of_source(known, &volume.at("configMap"), "ConfigMap", "name", namespace))
}

fn of_source(
    known: &Known<'_>,
    source: &Field<'_>,
    kind: &str,
    name: &str,
    namespace: Option<&str>,
) -> Option<BTreeSet<String>> {
    if source.at("optional").is_true() {
        return None;
    }
    if !source.at("items").is_empty() {
        return Some(paths(source));
    }
    match known.find(kind, source.at(name).text()?, namespace) {
        Found::There(keys) => keys,
        Found::Nowhere => None,
    }
}

fn paths(source: &Field<'_>) -> BTreeSet<String> {
    source.at("items").list().iter().map(|item| item.at("path").text_or_empty().to_owned()).collect()
}
