//! What `cargo xtask optimize-table` makes models and samples of: locked lists of wheels and of Debian's packages enter,
//! `.forebay/optimize-table/{packages,material,debian}` leave. Next: the scripts of tests/optimize-table make models of them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use bytesize::ByteSize;

use super::{Plan, Scratch, debian, put};
use crate::command::{command, watched};
use crate::layout::Layout;

const PACKAGES: &str = include_str!("../../../tests/optimize-table/requirements.txt");
const MATERIAL: &str = include_str!("../../../tests/optimize-table/material/requirements.txt");
const DEBIAN: &str = include_str!("../../../tests/optimize-table/debian.txt");

/// What is fetched, about.
const PACKAGES_SIZE: ByteSize = ByteSize::mb(55);
const MATERIAL_SIZE: ByteSize = ByteSize::mb(204);
const DEBIAN_SIZE: ByteSize = ByteSize::mb(66);

/// scikit-learn, beside what the virtual environment has.
pub(super) fn packages(layout: &Layout) -> Plan {
    let to = layout.optimize_table().join("packages");
    Plan {
        pin: PACKAGES.to_owned(),
        files: vec![to.join("sklearn")],
        doing: "scikit-learn, scipy, skl2onnx, pillow".into(),
        size: PACKAGES_SIZE,
        install: Box::new(move |layout| install(layout, PACKAGES, PACKAGES_SIZE, &to)),
    }
}

/// Models, and files that they are asked of.
pub(super) fn material(layout: &Layout) -> Plan {
    let [material, debian] = ["material", "debian"].map(|name| layout.optimize_table().join(name));
    let files = vec![material.join("magika"), debian.join("usr/share/pocketsphinx")];
    Plan {
        pin: format!("{MATERIAL}{DEBIAN}"),
        files,
        doing: "models and what they are asked, from wheels and from Debian".into(),
        size: ByteSize::b(MATERIAL_SIZE.0 + DEBIAN_SIZE.0),
        install: Box::new(move |layout| {
            install(layout, MATERIAL, MATERIAL_SIZE, &material)?;
            debian::unpack_locked(layout, DEBIAN, DEBIAN_SIZE, &debian)
        }),
    }
}

/// Puts wheels into a folder, and nothing that they need.
fn install(layout: &Layout, lock: &str, size: ByteSize, to: &Path) -> Result<()> {
    let scratch = Scratch::new(layout, "optimize-table")?;
    let [list, target, fetched]: [PathBuf; 3] =
        ["requirements.txt", "target", "fetched"].map(|name| scratch.0.join(name));
    fs::write(&list, lock)?;
    fs::create_dir(&fetched)?;
    let mut pip =
        command(layout.python(), ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
    pip.args(["--no-deps", "--no-compile", "--only-binary=:all:", "--require-hashes"]);
    pip.arg("--target").arg(&target).arg("--requirement").arg(&list).env("TMPDIR", &fetched);
    watched(pip, &fetched, size)?;
    put(&target, to)
}
