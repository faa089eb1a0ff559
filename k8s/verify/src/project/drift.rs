//! The chart's objects and an overlay's, side by side: where they differ and `drift.yaml` does not say that it is meant.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Map, Value};

use crate::entries;
use crate::failure::Failure;
use crate::object::Object;
use crate::world::World;

/// Differences that are meant, in any environment.
#[derive(Default)]
pub(super) struct List {
    meant: Vec<Meant>,
    /// Those that there are.
    found: RefCell<BTreeSet<usize>>,
}

struct Meant {
    kind: String,
    name: String,
    path: String,
    line: usize,
}

impl List {
    /// Reads the file.
    ///
    /// # Errors
    /// It can't be read, or an item says too little.
    pub(super) fn read(file: &Path) -> Result<Self> {
        let text = fs::read_to_string(file).with_context(|| format!("can't read {}", file.display()))?;
        let meant = meant(&text).with_context(|| format!("{} is no list of drift", file.display()))?;
        Ok(Self { meant, found: RefCell::default() })
    }

    /// Those that there are no more.
    pub(super) fn stale(&self, file: &Path) -> Vec<Failure> {
        let found = self.found.borrow();
        let stale = self.meant.iter().enumerate().filter(|(index, _)| !found.contains(index));
        let failure = |(_, meant): (usize, &Meant)| Failure {
            file: file.to_owned(),
            line: meant.line,
            kind: meant.kind.clone(),
            name: meant.name.clone(),
            path: meant.path.clone(),
            wrong: "chart and overlays don't differ here in any environment".to_owned(),
            right: "without this entry".to_owned(),
        };
        stale.map(failure).collect()
    }
}

fn meant(text: &str) -> Result<Vec<Meant>> {
    let mut meant = Vec::new();
    for entry in entries::read(text)? {
        entry.only(&["kind", "name", "path", "why"])?;
        entry.word("why")?;
        let (kind, name, path) = (entry.word("kind")?, entry.word("name")?, entry.word("path")?);
        meant.push(Meant { kind, name, path, line: entry.line });
    }
    Ok(meant)
}

/// Says where they differ and it is not meant.
pub(super) fn compare(list: &List, chart: &World, overlay: &World, failures: &mut Vec<Failure>) {
    let generated = generated(overlay);
    let (ours, theirs) = (by_name(chart, &BTreeMap::new()), by_name(overlay, &generated));
    let names: BTreeSet<_> = ours.keys().chain(theirs.keys()).collect();
    for name in names {
        match (ours.get(name), theirs.get(name)) {
            (Some((object, one)), Some((_, other))) => {
                let mut found = Vec::new();
                differences(one, other, "", &mut found);
                for (path, wrong) in found {
                    say(list, name, object, &path, &wrong, failures);
                }
            }
            (Some((object, _)), None) => {
                say(list, name, object, "/", "the overlay has no such object", failures);
            }
            (None, Some((object, _))) => {
                say(list, name, object, "/", "the chart has no such object", failures);
            }
            (None, None) => {}
        }
    }
}

type Name = (String, String);

fn say(list: &List, name: &Name, object: &Object, pointer: &str, wrong: &str, failures: &mut Vec<Failure>) {
    let covered = |one: &Meant| {
        let here = pointer == one.path
            || pointer.starts_with(&format!("{}/", one.path))
            || (one.path == "/" && pointer == "/");
        (one.kind == "*" || one.kind == name.0) && (one.name == "*" || one.name == name.1) && here
    };
    let meant: BTreeSet<usize> =
        (0..).zip(&list.meant).filter(|(_, one)| covered(one)).map(|(index, _)| index).collect();
    if meant.is_empty() {
        let path = pointer.trim_start_matches('/').replace('/', ".").replace("~1", "/");
        failures.push(object.failure(
            &path,
            format!("chart and overlay differ: {wrong}"),
            "the same in both, or a line in k8s/drift.yaml that says why",
        ));
    }
    list.found.borrow_mut().extend(meant);
}

/// Names with a hash at their end that Kustomize generated, and what they are without it.
fn generated(world: &World) -> BTreeMap<String, String> {
    let kinds = world.of("", "ConfigMap").chain(world.of("", "Secret"));
    kinds.filter_map(|object| Some((object.name.clone(), without_hash(&object.name)?.to_owned()))).collect()
}

/// Kustomize's hashes are ten of these letters and digits.
fn without_hash(name: &str) -> Option<&str> {
    let (name, hash) = name.rsplit_once('-')?;
    (hash.len() == 10 && hash.bytes().all(|byte| b"bcdfghkmt2456789".contains(&byte))).then_some(name)
}

fn by_name<'a>(
    world: &'a World,
    generated: &BTreeMap<String, String>,
) -> BTreeMap<Name, (&'a Object, Value)> {
    let plain = |name: &str| generated.get(name).cloned().unwrap_or_else(|| name.to_owned());
    let objects = world.objects.iter();
    objects
        .map(|object| {
            ((object.kind.clone(), plain(&object.name)), (object, comparable(&object.value, generated)))
        })
        .collect()
}

/// Lists whose items have names become maps by them, names that were generated become plain.
fn comparable(value: &Value, generated: &BTreeMap<String, String>) -> Value {
    match value {
        Value::String(text) => Value::String(generated.get(text).cloned().unwrap_or_else(|| text.clone())),
        Value::Object(members) => members
            .iter()
            .map(|(key, value)| (key.clone(), comparable(value, generated)))
            .collect::<Map<_, _>>()
            .into(),
        Value::Array(items) => {
            for key in ["name", "mountPath"] {
                let names: Option<BTreeSet<&str>> =
                    items.iter().map(|item| item.get(key)?.as_str()).collect();
                if names.is_some_and(|names| names.len() == items.len() && !items.is_empty()) {
                    let label = |item: &Value| item[key].as_str().unwrap_or_default().to_owned();
                    return items
                        .iter()
                        .map(|item| (label(item), comparable(item, generated)))
                        .collect::<Map<_, _>>()
                        .into();
                }
            }
            items.iter().map(|item| comparable(item, generated)).collect()
        }
        other => other.clone(),
    }
}

fn differences(one: &Value, other: &Value, at: &str, found: &mut Vec<(String, String)>) {
    if one == other {
        return;
    }
    if let (Value::Object(ours), Value::Object(theirs)) = (one, other) {
        for key in ours.keys().chain(theirs.keys()).collect::<BTreeSet<_>>() {
            let here = format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"));
            match (ours.get(key), theirs.get(key)) {
                (Some(one), Some(other)) => differences(one, other, &here, found),
                (Some(_), None) => found.push((here, "the chart alone has it".to_owned())),
                _ => found.push((here, "the overlay alone has it".to_owned())),
            }
        }
        return;
    }
    let short = |value: &Value| value.to_string().chars().take(80).collect::<String>();
    found.push((at.to_owned(), format!("{} in the chart, {} in the overlay", short(one), short(other))));
}
