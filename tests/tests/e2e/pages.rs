//! Flags that the pages name.

use rig::installed::{checkout, forebay};
use std::collections::BTreeSet;
use std::fs;
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

#[test]
fn the_pages_name_no_flag_that_forebay_does_not_have() {
    let mut known: BTreeSet<String> = OTHERS.map(str::to_owned).into();
    let commands = help(&[]);
    let commands = commands.lines().skip_while(|line| *line != "Commands:").skip(1);
    let names = commands.map_while(|line| line.strip_prefix("  ")?.split(' ').next());
    // A line that goes on with what the one before it says has none.
    for command in names.filter(|name| !name.is_empty()) {
        let help = help(&[command]);
        let words = help.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'));
        known.extend(words.filter(|word| word.starts_with("--")).map(str::to_owned));
    }
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
