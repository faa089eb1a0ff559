//! An archive of an image, as the Open Container Initiative lays it out: the file enters, the image's digest leaves.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::command::{command, output};

/// The digest that a registry and Kubernetes would name it by.
///
/// # Errors
/// It is no such archive, as docker's from before version 25.
pub(super) fn digest(archive: &Path) -> Result<String> {
    let mut tar = command("tar", ["-xOf"]);
    tar.arg(archive).arg("index.json");
    let index: Value = serde_json::from_str(&output(tar)?)?;
    let digest = index["manifests"][0]["digest"].as_str();
    Ok(digest.with_context(|| format!("{} names no manifest", archive.display()))?.to_owned())
}
