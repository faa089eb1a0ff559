//! `cargo xtask verify-k8s`: manifests enter, one line for each thing that is wrong in them leaves. This sets up what the checks run
//! and builds `k8s/verify`, which makes them.

use std::ffi::OsString;
use std::process::{ExitCode, Stdio};

use anyhow::{Context, Result};
use clap::Args;

use crate::command::{cargo, command, output, target_folder};
use crate::layout::Layout;
use crate::setup::{self, Part};

/// What the checks run.
const PARTS: [Part; 6] =
    [Part::Envoy, Part::Helm3, Part::Helm4, Part::Kustomize, Part::Promtool, Part::KubernetesSchemas];

/// Settings of `cargo xtask verify-k8s`: those of `verify-k8s` itself.
#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Settings {
    /// --manifests FILE|FOLDER, --crds FOLDER, --outsiders FILE, --skips FILE; without any: the project's chart and overlays. --help says more
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
    arguments: Vec<OsString>,
}

/// Sets up, builds, and judges. The exit code is that of `verify-k8s`: 0 where nothing is wrong, 1 where something is, 2 where the
/// command line is.
///
/// # Errors
/// The tools can't be set up, or something does not build.
pub(crate) fn run(layout: &Layout, settings: &Settings) -> Result<ExitCode> {
    judge(layout, &settings.arguments)
}

/// The same, for others: without arguments it judges what is in `k8s/`.
///
/// # Errors
/// As [`run`].
pub(crate) fn judge(layout: &Layout, arguments: &[OsString]) -> Result<ExitCode> {
    setup::install(layout, &PARTS)?;
    let mut build = cargo();
    build.args(["build", "--quiet", "--package", "forebay-verify"]).current_dir(&layout.root);
    output(build).context("the checks do not build")?;
    // Without default features there is no engine in it: its command line alone is asked.
    let mut build = cargo();
    build.args(["build", "--quiet", "--package", "forebay"]).current_dir(&layout.root);
    output(build).context("forebay does not build")?;
    let target = target_folder(&layout.root)?.join("debug");
    let mut verify = command(target.join("verify-k8s"), arguments);
    verify.arg("--root").arg(&layout.root);
    verify.arg("--kubernetes").arg(layout.kubernetes_schemas());
    verify.arg("--bin").arg(layout.dir.join("bin"));
    verify.arg("--forebay").arg(target.join("forebay"));
    let status = verify.stdin(Stdio::null()).status().context("can't run verify-k8s")?;
    Ok(ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(2)))
}
