//! Charts and overlays enter, the text of their objects leaves, as the programs render them.

use std::path::Path;
use std::process::{Command, Output, Stdio};

/// The cluster that charts are rendered for: the newest that is judged. Helm's own guess is as old as Helm.
const KUBERNETES: &str = "1.37.0";

/// What Helm makes of a chart, linted first.
///
/// # Errors
/// What it says where it refuses.
pub fn helm(
    program: &Path,
    chart: &Path,
    values: &[&Path],
    release: &str,
    namespace: &str,
) -> Result<String, String> {
    let with = |command: &mut Command| {
        for file in values {
            command.arg("--values").arg(file);
        }
        // Nothing of the user's own settings.
        command.env("HELM_CONFIG_HOME", "/nonexistent").env("HELM_PLUGINS", "/nonexistent");
    };
    let mut lint = Command::new(program);
    lint.args(["lint", "--strict", "--quiet"]).arg(chart);
    with(&mut lint);
    run(lint)?;
    let mut template = Command::new(program);
    template.args(["template", release]).arg(chart).args(["--namespace", namespace]);
    template.args(["--kube-version", KUBERNETES]);
    with(&mut template);
    run(template)
}

/// What Kustomize makes of a folder.
///
/// # Errors
/// What it says where it refuses.
pub fn kustomize(program: &Path, folder: &Path) -> Result<String, String> {
    let mut build = Command::new(program);
    build.arg("build").arg(folder);
    run(build)
}

fn run(mut command: Command) -> Result<String, String> {
    let output: Output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{} can't be run: {error}", command.get_program().display()))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    Err(said.trim().to_owned())
}
