//! Flags that the pages name.

use rig::installed::{checkout, forebay};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Pages that say how `forebay` is run.
const PAGES: [&str; 12] = [
    "README.md",
    "backend/HOLD.md",
    "backend/OPTIMIZE.md",
    "backend/README.md",
    "backend/UI.md",
    "envoy/README.md",
    "filter-wasm/README.md",
    "k8s/kserve/README.md",
    "k8s/kserve/from-mlserver.md",
    "k8s/kserve/from-modelmesh.md",
    "k8s/kserve/from-triton.md",
    "simulate/README.md",
];
/// Flags of other programs: Envoy, Memcached, Triton, cargo, nvcc, and `cargo xtask`, whose own tests read its commands.
const OTHERS: [&str; 14] = [
    "--auth-file",
    "--cache-config",
    "--concurrency",
    "--cuda-memory-pool-byte-size",
    "--disable-auto-complete-config",
    "--features",
    "--fmad",
    "--halt-poll-ns",
    "--listen",
    "--max-item-size",
    "--pinned-memory-pool-byte-size",
    "--port",
    "--strict-readiness",
    "--test",
];

/// Every `--flag` in what is written as code.
fn flags(text: &str) -> BTreeSet<String> {
    let blocks = text.lines().filter_map(|line| line.strip_prefix("    "));
    let code = text.split('`').skip(1).step_by(2).chain(blocks).filter(|code| !code.contains("cargo xtask"));
    let words = code.flat_map(|code| code.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-')));
    words.filter(|word| word.starts_with("--") && word.len() > 2).map(str::to_owned).collect()
}

fn help(arguments: &[&str]) -> String {
    let help = Command::new(forebay()).args(arguments).arg("--help").output().expect("forebay runs");
    String::from_utf8_lossy(&help.stdout).into_owned()
}

/// The flags of a command and of the commands below it.
fn take_flags(command: &[&str], known: &mut BTreeSet<String>) {
    let help = help(command);
    let words = help.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'));
    known.extend(words.filter(|word| word.starts_with("--")).map(str::to_owned));
    let below = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let names = below.map_while(|line| line.strip_prefix("  ")?.split(' ').next());
    // A line that goes on with what the one before it says has none.
    for name in names.filter(|name| !name.is_empty() && *name != "help") {
        take_flags(&[command, &[name]].concat(), known);
    }
}

/// The text of all sources below a folder.
fn sources(folder: &Path) -> String {
    let mut text = String::new();
    for entry in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
        if entry.is_dir() {
            text += &sources(&entry);
        } else if entry.extension().is_some_and(|extension| extension == "rs") {
            text += &fs::read_to_string(entry).expect("a source");
        }
    }
    text
}

#[test]
fn each_attack_that_the_page_tells_of_is_a_test() {
    let page = fs::read_to_string(checkout().join("SECURITY.md")).expect("the page");
    let (_, tried) = page.split_once("**What was tried.**").expect("its table");
    let (tried, _) = tried.split_once("**What guards it.**").expect("its end");
    let folders = ["backend/src", "backend/tests", "tests/tests"];
    let all: String = folders.map(|folder| sources(&checkout().join(folder))).concat();
    let tests: Vec<&str> =
        tried.split('`').skip(1).step_by(2).filter(|code| code.matches('_').count() > 3).collect();
    assert!(tests.len() > 12, "{tests:?}");
    for test in tests {
        assert!(
            all.contains(&format!("#[test]\nfn {test}()"))
                || all.contains(&format!("#[test]\n    fn {test}()")),
            "{test}"
        );
    }
}

#[test]
fn the_pages_name_no_flag_that_forebay_does_not_have() {
    let mut known: BTreeSet<String> = OTHERS.map(str::to_owned).into();
    take_flags(&[], &mut known);
    let mut found = 0;
    for page in PAGES {
        let text = fs::read_to_string(checkout().join(page)).expect("a page");
        let flags = flags(&text);
        found += flags.len();
        let unknown: Vec<_> = flags.difference(&known).collect();
        assert!(unknown.is_empty(), "{page} names {unknown:?}, which `forebay` does not have");
    }
    assert!(found > 40, "only {found} flags were found: are they still written so?");
}

/// Flags that the chart leaves as they are: they have another name or place there, or fit no pod of it.
const NOT_THE_CHARTS: [&str; 28] = [
    // Addresses and ports are the chart's own.
    "external-metrics-api",
    "gate-port",
    "grpc-address",
    "grpc-port",
    "hold-address",
    "hold-for-grpc-port",
    "hold-for-metrics-port",
    "hold-ports",
    "http-address",
    "http-port",
    "metrics-address",
    "metrics-port",
    // Clients that prove themselves by certificate are the front's.
    "tls-client-ca-file",
    // Kubernetes' own are the defaults.
    "hold-wake-ca-file",
    "hold-wake-token-file",
    // Templates make their names of `pool.kind`.
    "memcached-ca-file",
    "memcached-password-file",
    "memcached-url",
    "redis-ca-file",
    "redis-password-file",
    "redis-url",
    // `gate.keyTraces` says it for gates; a server with a gate in it is for development.
    "key-trace-bytes",
    "key-trace-dir",
    "key-trace-secs",
    // The image has one.
    "onnxruntime",
    // KServe's runtimes say it.
    "model-name",
    "help",
    "version",
];

#[test]
fn each_flag_of_the_servers_is_a_setting_of_the_chart_or_the_charts_own() {
    let chart = checkout().join("k8s/charts/forebay");
    let schema = fs::read_to_string(chart.join("values.schema.json")).expect("the schema");
    let schema: Value = serde_json::from_str(&schema).expect("JSON");
    let mut templates = String::new();
    let mut folders = vec![chart.join("templates")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("templates").map(Result::unwrap) {
            if entry.path().is_dir() {
                folders.push(entry.path());
            } else {
                templates += &fs::read_to_string(entry.path()).expect("a template");
            }
        }
    }
    for (command, other) in [("gate", "serve"), ("serve", "gate")] {
        // What the other one may be told is no setting of this one.
        let mut schema = schema.clone();
        schema["$defs"].as_object_mut().expect("definitions").remove(other).expect("of the other's settings");
        let known = format!("{schema}{templates}");
        let help = help(&[command]);
        let flags = help.lines().filter_map(|line| line.trim_start().strip_prefix("--"));
        let flags = flags
            .map(|line| line.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-')).next().unwrap_or(""));
        let flags: BTreeSet<&str> = flags.collect();
        assert!(
            flags.len() > 30,
            "only {} flags of {command} were found: are they still written so?",
            flags.len()
        );
        let is_known = |flag: &str| {
            let variable = format!("FOREBAY_{}", flag.to_uppercase().replace('-', "_"));
            known.contains(&format!("\"{flag}\"")) || known.contains(&variable)
        };
        let missing: Vec<&str> =
            flags.iter().copied().filter(|flag| !NOT_THE_CHARTS.contains(flag) && !is_known(flag)).collect();
        assert!(
            missing.is_empty(),
            "`forebay {command}` has {missing:?}: settings of the chart, or its own?"
        );
    }
}
