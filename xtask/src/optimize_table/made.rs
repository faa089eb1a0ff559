//! Packages of set-up and a model's name enter; its file, its samples and what its metric reads leave, by tests/optimize-table/make.py.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use sha2::{Digest as _, Sha256};
use walkdir::WalkDir;

use super::SCRIPTS;
use super::models::{MODELS, Model};
use crate::command::{command, output};
use crate::layout::Layout;

/// The folder with the model and its samples, made anew where scripts or packages changed. `None`: it is not there, nor asked for.
pub(super) fn made(layout: &Layout, model: &Model, is_asked: bool) -> Result<Option<PathBuf>> {
    let place = layout.optimize_table();
    let (folder, stamp) =
        (place.join("made").join(model.name), place.join("made").join(format!("{}.of", model.name)));
    let sources = sources(layout, model)?;
    if folder.is_dir() && fs::read_to_string(&stamp).is_ok_and(|of| of == sources) {
        return Ok(Some(folder));
    }
    if !is_asked {
        return Ok(None);
    }
    println!("{}: the model and what it is asked", model.name);
    let draft = place.join("made").join(format!(".{}", model.name));
    for old in [&draft, &folder].into_iter().filter(|old| old.exists()) {
        fs::remove_dir_all(old)?;
    }
    fs::create_dir_all(&draft)?;
    let mut make = python(layout);
    make.arg(layout.root.join(SCRIPTS).join("make.py")).arg(model.name).args([&place, &draft]);
    output(make)?;
    fs::rename(&draft, &folder)?;
    fs::write(&stamp, sources)?;
    Ok(Some(folder))
}

/// The interpreter with the packages of the table.
fn python(layout: &Layout) -> Command {
    let mut python = command(layout.python(), ["-B"]);
    python.env("PYTHONPATH", layout.optimize_table().join("packages"));
    python
}

/// The digest of the scripts and lists by which a model is made and measured.
pub(super) fn sources(layout: &Layout, model: &Model) -> Result<String> {
    let of_others = |path: &Path| {
        let name = path.file_stem().unwrap_or_default();
        MODELS.iter().any(|other| name == other.name && name != model.name)
    };
    digest_but(&layout.root.join(SCRIPTS), of_others)
}

/// Of all files in a folder, or of one.
pub(super) fn digest(path: &Path) -> Result<String> {
    digest_but(path, |_| false)
}

fn digest_but(path: &Path, is_left_out: impl Fn(&Path) -> bool) -> Result<String> {
    let mut digest = Sha256::new();
    for entry in WalkDir::new(path).sort_by_file_name() {
        let entry = entry?;
        if entry.file_type().is_file() && !is_left_out(entry.path()) {
            let content = fs::read(entry.path())?;
            digest.update(entry.file_name().as_encoded_bytes());
            digest.update((content.len() as u64).to_le_bytes());
            digest.update(content);
        }
    }
    Ok(format!("{:x}", digest.finalize()))
}
