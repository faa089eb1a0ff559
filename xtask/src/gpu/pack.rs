//! `cargo xtask gpu pack`: programs, libraries and models enter; a folder `kit` leaves, and the same as an archive, in pieces where
//! files must be small to be carried to a machine that reaches no registry. NVIDIA's libraries travel with their licence beside them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use bytesize::ByteSize;
use serde_json::Value;

use super::manifest::{self, FILE, Manifest};
use super::{PackSettings, prepare};
use crate::command::{WITH_TENSORRT, cargo, command, output, target_folder};
use crate::layout::Layout;
use crate::setup::{self, Part};

const PARTS: [Part; 6] =
    [Part::Python, Part::Models, Part::NodeTests, Part::CudaHeaders, Part::Libclang, Part::TensorrtRtx];

/// Their packages, and that of the stand-in, whose build script makes it.
const PACKAGES: [&str; 4] = ["forebay", "forebay-bindings", "xtask", "forebay-tensorrt-double"];
const PROGRAMS: [&str; 3] = ["forebay", "forebay-gpu", "xtask"];
const STANDIN: [&str; 2] = ["libnvinfer.so.11", "libnvonnxparser.so.11"];

/// What joins the pieces where they arrive.
const UNPACK: &str = include_str!("unpack.sh");

/// Where a kit is, packed or unpacked.
pub(super) fn unpacked(layout: &Layout) -> PathBuf {
    place(layout).join("kit")
}

fn place(layout: &Layout) -> PathBuf {
    layout.dir.join("gpu")
}

/// Runs `cargo xtask gpu pack`.
///
/// # Errors
/// Something can't be installed, built or written.
pub(super) fn run(layout: &Layout, settings: &PackSettings) -> Result<()> {
    setup::install(layout, &PARTS)?;
    println!("gpu: building");
    let standin = build(layout)?;
    let folder = settings.into.clone().unwrap_or_else(|| place(layout));
    let kit = folder.join("kit");
    if kit.exists() {
        fs::remove_dir_all(&kit)?;
    }
    fill(layout, &kit, &standin)?;
    prepare::all(layout, &kit.join("bin/forebay"), &kit.join("lighter"), &prepare::MODELS)?;
    describe(layout, &kit)?;
    archive(&folder, settings.piece_size)
}

/// Builds everything. Returns the stand-in's folder.
fn build(layout: &Layout) -> Result<PathBuf> {
    let mut build = cargo();
    build.args(["build", "--release", "--message-format=json-render-diagnostics"]).current_dir(&layout.root);
    build.args(PACKAGES.iter().flat_map(|package| ["--package", package])).args(WITH_TENSORRT);
    let messages = output(build)?;
    let folder = messages.lines().find_map(|line| {
        let message: Value = serde_json::from_str(line).ok()?;
        let variables = message["env"].as_array()?;
        let standin = variables.iter().find(|pair| pair[0] == "FOREBAY_STANDIN_FOLDER")?;
        Some(PathBuf::from(standin[1].as_str()?))
    });
    folder.context("the stand-in's build script names no folder")
}

/// Puts everything into the kit.
fn fill(layout: &Layout, kit: &Path, standin: &Path) -> Result<()> {
    let release = target_folder(&layout.root)?.join("release");
    for program in PROGRAMS {
        copy(&release.join(program), &kit.join("bin").join(program))?;
    }
    copy(&layout.onnxruntime(), &kit.join("lib/libonnxruntime.so"))?;
    let [(_, rtx), ..] = layout.tensorrt();
    copy_all(rtx.parent().context("a library in no folder")?, &kit.join("lib/rtx"))?;
    for library in STANDIN {
        copy(&standin.join(library), &kit.join("standin").join(library))?;
    }
    copy_all(&layout.dir.join("models"), &kit.join("models"))?;
    for entry in fs::read_dir(layout.dir.join("test-repository"))? {
        let entry = entry?;
        let name = format!("{}.onnx", entry.file_name().to_string_lossy());
        copy(&entry.path().join("1/model.onnx"), &kit.join("models").join(name))?;
    }
    for entry in fs::read_dir(layout.node_tests())? {
        let entry = entry?;
        let to = kit.join("node-tests").join(entry.file_name());
        // Some folders hold data of tests that are no models.
        if entry.path().join("model.onnx").is_file() {
            copy(&entry.path().join("model.onnx"), &to.join("model.onnx"))?;
            copy_all(&entry.path().join("test_data_set_0"), &to.join("test_data_set_0"))?;
        }
    }
    Ok(())
}

fn describe(layout: &Layout, kit: &Path) -> Result<()> {
    let files: Vec<PathBuf> = PROGRAMS
        .iter()
        .map(|program| kit.join("bin").join(program))
        .chain(STANDIN.iter().map(|library| kit.join("standin").join(library)))
        .collect();
    let mut needs = files.iter().map(|file| manifest::needed(file)).collect::<Result<Vec<_>>>()?.concat();
    needs.sort_unstable();
    needs.dedup();
    let manifest = Manifest {
        commit: manifest::commit(&layout.root)?,
        rustc: output(command("rustc", ["--version"]))?.trim().to_owned(),
        glibc: manifest::newest_glibc(&files)?,
        needs,
    };
    println!("gpu: the programs need glibc {} and {}", manifest.glibc, manifest.needs.join(", "));
    fs::write(kit.join(FILE), serde_json::to_vec_pretty(&manifest)?)?;
    Ok(())
}

/// Makes the archive or its pieces, with their digests, and what joins them.
fn archive(folder: &Path, piece_size: Option<ByteSize>) -> Result<()> {
    let pieces = folder.join("pieces");
    if pieces.exists() {
        fs::remove_dir_all(&pieces)?;
    }
    fs::create_dir_all(&pieces)?;
    let whole = pieces.join("kit.00");
    let mut tar = command("tar", ["-cz", "--owner=0", "--group=0", "-f"]);
    tar.arg(&whole).arg("-C").arg(folder.join("kit")).arg(".");
    output(tar)?;
    if let Some(ByteSize(bytes)) = piece_size {
        let archive = folder.join("kit.tar.gz");
        fs::rename(whole, &archive)?;
        let mut split = command("split", [format!("--bytes={bytes}"), "--numeric-suffixes".to_owned()]);
        split.arg(&archive).arg(pieces.join("kit."));
        output(split)?;
        fs::remove_file(archive)?;
    }
    let mut sums = command("sh", ["-c", "sha256sum kit.* > SHA256SUMS && ls"]);
    sums.current_dir(&pieces);
    let count = output(sums)?.lines().filter(|name| name.starts_with("kit.")).count();
    fs::write(folder.join("unpack.sh"), UNPACK)?;
    let shown = Layout::shown(folder);
    println!(
        "gpu: packed, in files: {count}. Carry {shown}/pieces and {shown}/unpack.sh, and run there, in a checkout:"
    );
    println!("    sh {shown}/unpack.sh && {shown}/kit/bin/xtask gpu run");
    Ok(())
}

/// Copies a file, or what a link leads to.
fn copy(from: &Path, to: &Path) -> Result<()> {
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::copy(from, to).with_context(|| format!("can't copy {} to {}", from.display(), to.display()))?;
    Ok(())
}

/// Copies a folder's files.
fn copy_all(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from).with_context(|| format!("can't read {}", from.display()))? {
        let entry = entry?;
        copy(&entry.path(), &to.join(entry.file_name()))?;
    }
    Ok(())
}
