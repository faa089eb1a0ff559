//! Planted mistakes: a good world of small manifests, one text changed in it at a time. Each change is a mistake that is caught at the
//! right object and field, or a harmless one that nobody minds.

// Tables are as long as they are.
#![allow(clippy::too_many_lines)]

#[path = "mistakes/api.rs"]
mod api;
#[path = "mistakes/arithmetic.rs"]
mod arithmetic;
#[path = "mistakes/controllers.rs"]
mod controllers;
#[path = "mistakes/external.rs"]
mod external;
#[path = "mistakes/harmless.rs"]
mod harmless;
#[path = "mistakes/hold.rs"]
mod hold;
#[path = "mistakes/kinds.rs"]
mod kinds;
#[path = "mistakes/lighter.rs"]
mod lighter;
#[path = "mistakes/pods.rs"]
mod pods;
#[path = "mistakes/references.rs"]
mod references;
mod table;

use std::path::Path;
use std::sync::OnceLock;

use forebay_verify::outsiders::Outsiders;
use forebay_verify::{Failure, Object, World, rules};
use table::{Good, Mistake};

/// The good world, file by file.
const FILES: [(&str, &str); 11] = [
    ("web.yaml", include_str!("good/web.yaml")),
    ("cache.yaml", include_str!("good/cache.yaml")),
    ("ways.yaml", include_str!("good/ways.yaml")),
    ("bounds.yaml", include_str!("good/bounds.yaml")),
    ("data.yaml", include_str!("good/data.yaml")),
    ("mesh.yaml", include_str!("good/mesh.yaml")),
    ("kinds.yaml", include_str!("good/kinds.yaml")),
    ("lighter.yaml", include_str!("good/lighter.yaml")),
    ("warm.yaml", include_str!("good/warm.yaml")),
    ("hold.yaml", include_str!("good/hold.yaml")),
    ("external.yaml", include_str!("good/external.yaml")),
];

/// Families whose mistakes are here.
const FAMILIES: [&str; 28] = [
    "definitions",
    "slices",
    "contracts",
    "names",
    "metadata",
    "selectors",
    "workload",
    "batch",
    "pod",
    "containers",
    "ports",
    "probes",
    "quantities",
    "volumes",
    "scheduling",
    "security",
    "service",
    "network",
    "storage",
    "data",
    "policy",
    "autoscaling",
    "rbac",
    "references",
    "arithmetic",
    "ours",
    "admission",
    "clashes",
];

/// Objects of the good world's files: most stay as they are.
fn read() -> &'static [Vec<Object>; FILES.len()] {
    static READ: OnceLock<[Vec<Object>; FILES.len()]> = OnceLock::new();
    READ.get_or_init(|| {
        FILES.map(|(file, text)| {
            let mut world = World::default();
            world.take(Path::new(file), text);
            world.objects
        })
    })
}

/// What is said of the good world with one text changed.
fn judged(from: &str, to: &str) -> Vec<Failure> {
    let mut world = World {
        outsiders: Outsiders::parse(include_str!("good/outsiders.yaml")).unwrap(),
        ..World::default()
    };
    let found: usize = FILES.iter().map(|(_, text)| text.matches(from).count()).sum();
    assert!(from.is_empty() || found == 1, "`{from}` stands {found} times in the good world");
    for (place, (file, text)) in FILES.iter().enumerate() {
        if !from.is_empty() && text.contains(from) {
            world.take(Path::new(file), &text.replace(from, to));
        } else {
            world.objects.extend(read()[place].iter().cloned());
        }
    }
    assert_eq!(world.faults, [], "`{to}` can't be read");
    let mut failures = Vec::new();
    for (_, check) in rules::FAMILIES.iter().filter(|(family, _)| FAMILIES.contains(family)) {
        check(&world, &mut failures);
    }
    failures
}

const GOOD: Good = Good { files: &FILES, judge: judged };

fn all_are_caught(mistakes: &[Mistake]) {
    GOOD.all_are_caught(mistakes);
}

#[test]
fn nobody_minds_the_good_world() {
    GOOD.nobody_minds(&[("", "")]);
}
