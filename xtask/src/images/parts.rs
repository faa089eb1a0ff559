//! What an image is made of, part by part: crates, system libraries and what comes as a wheel enter; a list leaves, from which the SBOM
//! and the licences are written next.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

use super::libraries::Library;
use crate::command::{cargo, command, output};
use crate::layout::Layout;

/// One thing that an image holds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Part {
    pub(super) name: String,
    pub(super) version: String,
    /// As a package URL, by which scanners know it.
    pub(super) purl: String,
    /// SPDX's expression; empty where it isn't known.
    pub(super) licence: String,
    /// Digest of its archive or file.
    pub(super) sha256: Option<String>,
    /// Texts of its licences and notices, here.
    pub(super) texts: Vec<PathBuf>,
    /// Of a crate: linked into the program, and one of hundreds.
    pub(super) is_crate: bool,
}

/// The crates that are linked into a package, with Rust's own library.
///
/// # Errors
/// Cargo can't say.
pub(super) fn crates(layout: &Layout, package: &str, target: &str, features: &[&str]) -> Result<Vec<Part>> {
    let mut tree = cargo();
    tree.current_dir(&layout.root).args(["tree", "--locked", "--package", package, "--target", target]);
    // Macros and build scripts are not in the program.
    tree.args(["--edges", "normal,no-proc-macro", "--prefix", "none", "--format", "{p}"]).args(features);
    let linked = output(tree)?;
    let linked: BTreeSet<_> = linked.lines().filter_map(|line| line.split_once(" v")).collect();
    let linked: BTreeSet<_> =
        linked.into_iter().map(|(name, rest)| (name, rest.split(' ').next().unwrap_or(rest))).collect();

    let mut metadata = cargo();
    metadata.current_dir(&layout.root).args([
        "metadata",
        "--format-version=1",
        "--locked",
        "--filter-platform",
        target,
    ]);
    let metadata: Value = serde_json::from_str(&output(metadata)?)?;
    let lock = fs::read_to_string(layout.root.join("Cargo.lock"))?;
    let checksums = checksums(&lock);
    let mut parts = Vec::new();
    for about in metadata["packages"].as_array().context("cargo metadata lists no packages")? {
        let text = |field: &str| about[field].as_str().unwrap_or_default();
        let (name, version) = (text("name"), text("version"));
        // Members have no checksum: they are the product itself.
        let Some(checksum) = checksums.get(&(name, version)).filter(|_| linked.contains(&(name, version)))
        else {
            continue;
        };
        let folder = Path::new(text("manifest_path")).parent().context("a manifest without a folder")?;
        parts.push(Part {
            name: name.to_owned(),
            version: version.to_owned(),
            purl: format!("pkg:cargo/{name}@{version}"),
            // As crates wrote it before SPDX's form.
            licence: text("license").replace('/', " OR ").replace("  OR  ", " OR "),
            sha256: Some((*checksum).to_owned()),
            texts: texts(folder)?,
            is_crate: true,
        });
    }
    parts.push(rust()?);
    parts.sort();
    Ok(parts)
}

/// Rust's own library.
fn rust() -> Result<Part> {
    let said = output(command("rustc", ["--version"]))?;
    let version = said.split(' ').nth(1).context("rustc says no version")?.to_owned();
    Ok(Part {
        name: "rust-std".to_owned(),
        purl: format!("pkg:generic/rust-std@{version}"),
        version,
        licence: "MIT OR Apache-2.0".to_owned(),
        sha256: None,
        texts: Vec::new(),
        is_crate: true,
    })
}

/// Checksums of the lock file, by name and version.
fn checksums(lock: &str) -> HashMap<(&str, &str), &str> {
    let packages = lock.split("[[package]]").skip(1);
    let said = |package: &'_ str, field: &str| -> Option<(usize, usize)> {
        let start = package.find(&format!("\n{field} = \""))? + field.len() + 5;
        Some((start, start + package[start..].find('"')?))
    };
    let found = packages.filter_map(|package| {
        let text = |field| said(package, field).map(|(from, to)| &package[from..to]);
        Some(((text("name")?, text("version")?), text("checksum")?))
    });
    found.collect()
}

/// Files of a crate that hold licences and notices.
fn texts(folder: &Path) -> Result<Vec<PathBuf>> {
    const BEGINNINGS: [&str; 6] = ["LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE", "UNLICENSE"];
    let mut texts = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().to_uppercase();
        if entry.file_type()?.is_file() && BEGINNINGS.iter().any(|beginning| name.starts_with(beginning)) {
            texts.push(entry.path());
        }
    }
    texts.sort();
    Ok(texts)
}

/// Licences of Debian's packages that programs are linked with; a package's own file says the same at length.
const DEBIANS: [(&str, &str); 6] = [
    ("libc6", "LGPL-2.1-or-later"),
    ("libexpat1", "MIT"),
    ("libffi8", "MIT"),
    ("libgcc-s1", "GPL-3.0-or-later WITH GCC-exception-3.1"),
    ("libstdc++6", "GPL-3.0-or-later WITH GCC-exception-3.1"),
    ("zlib1g", "Zlib"),
];

/// A system library. Without a package it is named by its file.
///
/// # Errors
/// It can't be read.
pub(super) fn library(library: &Library) -> Result<Part> {
    let file = library.place.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let sha256 = Some(super::stage::sha256(&fs::read(&library.file)?));
    let Some(package) = &library.package else {
        let purl = format!("pkg:generic/{file}");
        return Ok(Part { name: file, purl, sha256, ..Part::unknown() });
    };
    let licence = DEBIANS.iter().find(|(name, _)| *name == package.name).map_or("", |(_, licence)| licence);
    let mut texts = vec![Path::new("/usr/share/doc").join(&package.name).join("copyright")];
    // The package's file names these without giving them.
    let whole = match licence.split('-').next() {
        Some("LGPL") => Some("LGPL-2.1"),
        Some("GPL") => Some("GPL-3"),
        _ => None,
    };
    texts.extend(whole.map(|whole| Path::new("/usr/share/common-licenses").join(whole)));
    texts.retain(|text| text.is_file());
    Ok(Part {
        name: format!("{}: {file}", package.name),
        version: package.version.clone(),
        purl: format!("pkg:deb/debian/{}@{}?arch={}", package.name, package.version, package.machine),
        licence: licence.to_owned(),
        sha256,
        texts,
        is_crate: false,
    })
}

impl Part {
    /// One of which nothing is said.
    pub(super) fn unknown() -> Self {
        Self {
            name: String::new(),
            version: String::new(),
            purl: String::new(),
            licence: String::new(),
            sha256: None,
            texts: Vec::new(),
            is_crate: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_file_gives_the_checksum_of_each_crate_and_none_of_members() {
        let lock = "version = 4\n\n[[package]]\nname = \"a\"\nversion = \"1.0.0\"\nsource = \"x\"\nchecksum = \"abc\"\n\n\
                    [[package]]\nname = \"ours\"\nversion = \"0.1.0\"\n";
        assert_eq!(checksums(lock), HashMap::from([(("a", "1.0.0"), "abc")]));
    }

    #[test]
    fn the_filters_crates_are_those_that_are_linked_into_it() {
        let layout = Layout::find().unwrap();
        let parts = crates(&layout, "forebay-filter", crate::setup::TARGET, &[]).unwrap();
        let names: Vec<&str> = parts.iter().map(|part| &*part.name).collect();
        for linked in ["blake3", "jiter", "proxy-wasm", "rust-std"] {
            assert!(names.contains(&linked), "{linked}: {names:?}");
        }
        for other in ["tokio", "serde_derive", "forebay-protocol"] {
            assert!(!names.contains(&other), "{other}: {names:?}");
        }
        let blake3 = parts.iter().find(|part| part.name == "blake3").unwrap();
        assert!(blake3.sha256.is_some() && !blake3.texts.is_empty() && blake3.licence.contains("Apache-2.0"));
    }
}
