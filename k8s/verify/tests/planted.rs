//! Planted mistakes in what schemas, Envoy, our own programs and controllers read: a good world, one text changed in it at a time.
//! Each change is caught at the right object and field, and harmless ones are minded by nobody.

// Tables are as long as they are.
#![allow(clippy::too_many_lines)]

#[path = "planted/contracts.rs"]
mod contracts;
#[path = "planted/controllers.rs"]
mod controllers;
#[path = "planted/envoy.rs"]
mod envoy;
#[path = "planted/read.rs"]
mod read;
#[path = "planted/schemas.rs"]
mod schemas;
#[path = "planted/security.rs"]
mod security;
#[path = "planted/settings.rs"]
mod settings;
mod table;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use forebay_verify::{Failure, Tools, World, rules};
use table::{Good, Mistake};

const FILES: [(&str, &str); 4] = [
    ("front.yaml", include_str!("good/front.yaml")),
    ("around.yaml", include_str!("good/around.yaml")),
    ("server.yaml", include_str!("good/server.yaml")),
    ("lighter.yaml", include_str!("good/lighter.yaml")),
];

/// Families whose mistakes are here.
const FAMILIES: [&str; 8] =
    ["head", "schemas", "envoy", "contracts", "settings", "prometheus", "secrets", "restricted"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// What set-up installed: `cargo xtask verify-k8s` does it.
fn installed() -> PathBuf {
    std::env::var_os("FOREBAY_DIR").map_or_else(|| root().join(".forebay"), PathBuf::from)
}

/// Schemas and programs, read once.
fn base() -> &'static World {
    static BASE: OnceLock<World> = OnceLock::new();
    BASE.get_or_init(|| {
        let tools = Tools { forebay: forebay(), ..Tools::of(&installed().join("bin")) };
        assert!(
            tools.envoy.is_some() && tools.promtool.is_some(),
            "run `cargo xtask verify-k8s` once: it sets up what is asked"
        );
        let mut world = World { tools, ..World::default() };
        world.schemas.read_kubernetes(&installed().join("kubernetes-schemas")).expect("set-up");
        world.read_crds(&root().join("k8s/crds")).expect("k8s/crds");
        world
    })
}

/// `forebay`, where it was built beside this test.
fn forebay() -> Option<PathBuf> {
    let test = std::env::current_exe().ok()?;
    Some(test.parent()?.parent()?.join("forebay")).filter(|program| program.is_file())
}

/// What is said of the good world with one text changed.
fn judged(from: &str, to: &str) -> Vec<Failure> {
    let mut world = base().clone();
    let found: usize = FILES.iter().map(|(_, text)| text.matches(from).count()).sum();
    assert!(from.is_empty() || found == 1, "`{from}` stands {found} times in the good world");
    // No file of the good world says anything of another.
    for (file, text) in FILES.iter().filter(|(_, text)| text.contains(from)) {
        let text = if from.is_empty() { (*text).to_owned() } else { text.replace(from, to) };
        world.take(Path::new(file), &text);
    }
    let mut failures = world.faults.clone();
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

#[test]
fn nobody_minds_harmless_changes() {
    GOOD.nobody_minds(&[
        ("replicas: 3\n", "replicas: 0x3 # three\n"),
        ("kind: Deployment\nmetadata:", "kind: \"Deployment\"\nmetadata:"),
        ("labels: {app: server}\n  annotations", "labels: {\"app\": 'server', more: \"yes\"}\n  annotations"),
        ("# Our own server, beside another program.", "---\n# only a comment\n---"),
        ("- {name: FOREBAY_POOL, value: redis}\n            ", ""),
        ("{service: plugged}", "{\"service\": \"plugged\"}"),
        (
            "ports: [{name: http, port: 80, targetPort: http}]",
            "ports:\n  - targetPort: http\n    port: 80\n    name: http\n    protocol: TCP",
        ),
        ("replicas: 6}", "replicas: 6, behavior: static}"),
        ("emptyDir: {}", "emptyDir: {sizeLimit: 1Gi}"),
    ]);
}
