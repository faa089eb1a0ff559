//! Changes of a good world enter; those that a real API server refuses leave, with its words. `cargo xtask cluster test` says which
//! server: `FOREBAY_KUBECTL` is the kubectl that reaches it, by `KUBECONFIG`. Without it there is none to ask.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Stdio};

/// What each server refuses: so it is seen that one was asked. kubectl names files where it has more than one fault to tell of.
const CONTROL: &str = "control.yaml";
const NO_NAME: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: No_Name, namespace: ml}\n---\n\
                       apiVersion: v1\nkind: ConfigMap\nmetadata: {name: Nor_This, namespace: ml}\n";

/// By the number of the change.
pub(super) fn refused(
    files: &[(&'static str, &'static str)],
    changes: &[(&str, &str)],
) -> Option<BTreeMap<usize, String>> {
    let kubectl = std::env::var_os("FOREBAY_KUBECTL")?;
    let folder = tempfile::tempdir().expect("a folder");
    for (index, (from, to)) in changes.iter().enumerate() {
        let objects = changed(files, from, to);
        if !objects.is_empty() {
            fs::write(folder.path().join(format!("{index:03}.yaml")), objects.join("\n---\n"))
                .expect("written");
        }
    }
    fs::write(folder.path().join(CONTROL), NO_NAME).expect("written");
    let mut kubectl = Command::new(kubectl);
    kubectl.args(["apply", "--dry-run=server", "--filename"]).arg(folder.path());
    let output = kubectl.stdin(Stdio::null()).output().expect("kubectl");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let mut refused = BTreeMap::new();
    for index in 0..changes.len() {
        // It names the file in whatever it says of it, and goes on with the next.
        let file = format!("/{index:03}.yaml");
        let mut lines = said.lines().filter(|line| line.contains(&file) && !line.starts_with("Warning:"));
        refused.extend(lines.next().map(|line| (index, line.to_owned())));
    }
    assert!(said.contains(CONTROL), "no server was asked:\n{said}");
    Some(refused)
}

/// Objects that the change made what they are; all where nothing is changed.
fn changed(files: &[(&'static str, &'static str)], from: &str, to: &str) -> Vec<String> {
    let objects = |text: &str| text.split("\n---\n").map(str::to_owned).collect::<Vec<_>>();
    let mut found = Vec::new();
    for (_, text) in files {
        let before = if from.is_empty() { Vec::new() } else { objects(text) };
        let after = if from.is_empty() { objects(text) } else { objects(&text.replace(from, to)) };
        found.extend(after.into_iter().filter(|object| !before.contains(object)));
    }
    found
}
