//! What the image of `forebay optimize` holds beside the program: the names of packages enter; Debian's Python, unpacked, and the locked
//! packages of `backend/optimize/requirements.txt` as wheels for it, leave. Nothing of it is installed.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use bytesize::ByteSize;

use super::{Plan, Scratch, debian, foreign, put};
use crate::command::{command, watched};
use crate::layout::Layout;

const REQUIREMENTS: &str = include_str!("../../../backend/optimize/requirements.txt");
/// The package that needs the one of the version that Debian has.
const DEFAULT: &str = "python3-minimal";
const DEBIAN: ByteSize = ByteSize::mb(6);
const WHEELS: ByteSize = ByteSize::mb(61);

/// Name of the folder of either, `.forebay/image-python` with wheels and `.forebay/debian/image-python` with what was unpacked.
const FOLDER: &str = "image-python";

/// Debian's Python, as if `/` were there.
pub(crate) fn unpacked(layout: &Layout) -> PathBuf {
    layout.dir.join("debian").join(FOLDER)
}

/// The wheels.
pub(crate) fn wheels(layout: &Layout) -> PathBuf {
    layout.dir.join(FOLDER)
}

pub(super) fn plan(layout: &Layout) -> Plan {
    Plan {
        pin: format!("{DEFAULT}\n{REQUIREMENTS}"),
        files: vec![unpacked(layout).join("usr/bin/python3"), wheels(layout)],
        doing: "Debian's Python and the packages of `forebay optimize`, for its image".into(),
        size: ByteSize::b(DEBIAN.0 + WHEELS.0),
        install: Box::new(install),
    }
}

fn install(layout: &Layout) -> Result<()> {
    let version = version()?;
    let python = format!("python{version}");
    let packages =
        [format!("{python}-minimal"), format!("lib{python}-minimal"), format!("lib{python}-stdlib")];
    debian::unpack(layout, FOLDER, &packages, DEBIAN)?;
    symlink(&python, unpacked(layout).join("usr/bin/python3"))?;
    fetch(layout, &version)
}

/// Of Debian's own Python, such as 3.11.
fn version() -> Result<String> {
    let ask = || {
        let said = debian::cache(&["depends", DEFAULT])?;
        let mut names = said.lines().filter_map(|line| line.split_whitespace().last());
        let version = names.find_map(|name| {
            name.strip_prefix("python")?.strip_suffix("-minimal").filter(|it| it.contains('.'))
        });
        Ok(version.with_context(|| format!("apt does not say of which version {DEFAULT} is"))?.to_owned())
    };
    ask().or_else(|_: anyhow::Error| debian::update().and_then(|()| ask()))
}

/// Fetches the packages; pip refuses what has another digest than the list says.
fn fetch(layout: &Layout, version: &str) -> Result<()> {
    let scratch = Scratch::new(layout, "image-python")?;
    let fetched = scratch.0.join("wheels");
    let mut pip =
        command(layout.python(), ["-m", "pip", "download", "--quiet", "--disable-pip-version-check"]);
    pip.args(["--no-deps", "--only-binary=:all:", "--require-hashes"]);
    pip.args(["--implementation", "cp", "--python-version", version]);
    pip.args(foreign::platforms(std::env::consts::ARCH));
    pip.arg("--requirement").arg(layout.root.join("backend/optimize/requirements.txt"));
    pip.arg("--dest").arg(&fetched).env("TMPDIR", &scratch.0);
    watched(pip, &scratch.0, WHEELS)?;
    put(&fetched, &wheels(layout))
}

/// The version of a Debian package among those that were unpacked.
///
/// # Errors
/// It is not among them.
pub(crate) fn debian_version(layout: &Layout, package: &str) -> Result<String> {
    let file = unpacked(layout).join("versions");
    let versions = fs::read_to_string(&file).with_context(|| format!("can't read {}", file.display()))?;
    let found = versions.lines().find_map(|line| line.strip_prefix(package)?.strip_prefix('\t'));
    Ok(found.with_context(|| format!("{package} was not unpacked"))?.to_owned())
}

/// The interpreter, by its own name, such as python3.11.
///
/// # Errors
/// It is not there.
pub(crate) fn interpreter(layout: &Layout) -> Result<String> {
    let link = fs::read_link(unpacked(layout).join("usr/bin/python3"))?;
    Ok(Path::new(&link).file_name().context("the link leads nowhere")?.to_string_lossy().into_owned())
}
