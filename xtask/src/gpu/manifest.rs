//! What a kit is made of: files enter, as they are packed; a list with digests and what each needs of the machine leaves.

use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::kit::Kit;
use crate::command::{command, output};

/// Its place in a kit.
pub(super) const FILE: &str = "manifest.json";

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Manifest {
    /// The commit, and whether files differ from it.
    pub(super) commit: String,
    pub(super) rustc: String,
    /// The newest version of glibc that a program or library of ours asks for.
    pub(super) glibc: String,
    /// Shared libraries that the programs want from the machine.
    pub(super) needs: Vec<String>,
}

/// The versions `GLIBC_x.y` that a file asks for.
///
/// # Errors
/// `readelf`, which comes with gcc, can't be run.
pub(super) fn newest_glibc(files: &[impl AsRef<Path>]) -> Result<String> {
    let mut newest = (0, 0);
    for file in files {
        let mut readelf = command("readelf", ["--version-info", "--wide"]);
        readelf.arg(file.as_ref());
        newest = newest.max(glibc_in(&output(readelf)?));
    }
    Ok(format!("{}.{}", newest.0, newest.1))
}

fn glibc_in(text: &str) -> (u32, u32) {
    let versions = text.split("GLIBC_").skip(1).filter_map(|rest| {
        let end = rest.find(|character: char| !character.is_ascii_digit() && character != '.');
        let mut numbers = rest[..end.unwrap_or(rest.len())].split('.').map(str::parse);
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
    });
    versions.max().unwrap_or_default()
}

/// The shared libraries that a file is linked with.
///
/// # Errors
/// As [`newest_glibc`].
pub(super) fn needed(file: &Path) -> Result<Vec<String>> {
    let mut readelf = command("readelf", ["--dynamic", "--wide"]);
    readelf.arg(file);
    let said = output(readelf)?;
    let needed = said.lines().filter(|line| line.contains("(NEEDED)"));
    Ok(needed.filter_map(|line| Some(line.split_once('[')?.1.split_once(']')?.0.to_owned())).collect())
}

/// The commit that is checked out, and whether files differ from it.
///
/// # Errors
/// It is no checkout of git.
pub(super) fn commit(root: &Path) -> Result<String> {
    let mut describe = command("git", ["describe", "--always", "--dirty"]);
    describe.current_dir(root);
    Ok(output(describe)?.trim().to_owned())
}

fn of(kit: &Kit) -> Result<Manifest> {
    let file = kit.path(FILE);
    let bytes = std::fs::read(&file).with_context(|| format!("can't read {}", file.display()))?;
    Ok(serde_json::from_slice(&bytes)?)
}

/// What a report says of the kit.
pub(super) fn read(kit: &Kit) -> String {
    match of(kit) {
        Ok(manifest) => format!("commit {}, {}", manifest.commit, manifest.rustc),
        Err(_) => "a kit without a manifest".to_owned(),
    }
}

/// The version of glibc that the programs need.
pub(super) fn glibc(kit: &Kit) -> String {
    of(kit).map_or_else(|_| "not known: the kit has no manifest".to_owned(), |manifest| manifest.glibc)
}

#[cfg(test)]
mod tests {
    use super::glibc_in;

    #[test]
    fn the_newest_version_is_by_number_not_by_letter() {
        assert_eq!(glibc_in("Name: GLIBC_2.9  Flags\n Name: GLIBC_2.34 (3)\n GLIBC_2.2.5"), (2, 34));
        assert_eq!(glibc_in("GLIBC_PRIVATE"), (0, 0));
    }
}
