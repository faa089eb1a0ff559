//! Container images of one program each, without any container engine: a program enters, an OCI layout leaves.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::tools::Tools;

/// A folder in OCI's image layout, with one image in it.
pub(super) struct Layout {
    folder: PathBuf,
    /// Digest of the image's manifest, as `sha256:…`.
    pub(super) manifest: String,
}

impl Layout {
    /// One that is there.
    ///
    /// # Errors
    /// It is none, or holds several images.
    pub(super) fn open(folder: &Path) -> Result<Self> {
        let index = folder.join("index.json");
        let text = fs::read(&index).with_context(|| format!("can't read {}", index.display()))?;
        let index: Value = serde_json::from_slice(&text)?;
        let manifest = index["manifests"][0]["digest"].as_str().context("index.json names no manifest")?;
        Ok(Self { folder: folder.to_owned(), manifest: manifest.to_owned() })
    }

    /// An image of nothing but those files, put where the pairs say; the first is what runs.
    ///
    /// # Errors
    /// A file can't be read or written.
    pub(super) fn of(folder: &Path, files: &[(&Path, &str)], tools: &Tools) -> Result<Self> {
        let root = folder.join("root");
        for (from, to) in files {
            let to = root.join(to.trim_start_matches('/'));
            fs::create_dir_all(to.parent().context("a file of an image has no folder")?)?;
            fs::copy(from, &to).with_context(|| format!("can't read {}", from.display()))?;
        }
        let layer = folder.join("layer.tar");
        let mut tar = tools.command("tar", ["--sort=name", "--mtime=@0", "--owner=0", "--group=0", "--numeric-owner"]);
        tar.arg("-cf").arg(&layer).arg("-C").arg(&root).arg(".");
        crate::command::output(tar)?;
        fs::remove_dir_all(root)?;
        let layout = Self { folder: folder.to_owned(), manifest: String::new() };
        let blobs = folder.join("blobs/sha256");
        fs::create_dir_all(&blobs)?;
        let (layer_digest, layer_size) = (digest_of(&layer)?, layer.metadata()?.len());
        fs::rename(layer, blobs.join(&layer_digest["sha256:".len()..]))?;
        let architecture = if std::env::consts::ARCH == "aarch64" { "arm64" } else { "amd64" };
        let config = layout.blob(&json!({
            "architecture": architecture,
            "os": "linux",
            "config": {"Entrypoint": [files[0].1]},
            "rootfs": {"type": "layers", "diff_ids": [layer_digest]},
        }))?;
        let manifest = layout.blob(&json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config.0, "size": config.1},
            "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": layer_digest,
                "size": layer_size}],
        }))?;
        Ok(Self { manifest: manifest.0, ..layout })
    }

    fn blob(&self, value: &Value) -> Result<(String, usize)> {
        let text = value.to_string();
        let hex = hex(&Sha256::digest(&text));
        fs::write(self.folder.join("blobs/sha256").join(&hex), &text)?;
        Ok((format!("sha256:{hex}"), text.len()))
    }

    /// Its blobs, each with its digest in hexadecimal.
    ///
    /// # Errors
    /// The folder can't be read.
    pub(super) fn blobs(&self) -> Result<Vec<(String, PathBuf)>> {
        let entries = fs::read_dir(self.folder.join("blobs/sha256"))?;
        let named = |path: PathBuf| path.file_name().map(|name| (name.to_string_lossy().into_owned(), path.clone()));
        Ok(entries.flatten().filter_map(|entry| named(entry.path())).collect())
    }

    /// The manifest's text.
    ///
    /// # Errors
    /// It isn't there.
    pub(super) fn manifest(&self) -> Result<Value> {
        let file = self.folder.join("blobs").join(self.manifest.replacen(':', "/", 1));
        Ok(serde_json::from_slice(&fs::read(&file).with_context(|| format!("can't read {}", file.display()))?)?)
    }
}

pub(super) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

fn digest_of(file: &Path) -> Result<String> {
    let mut hash = Sha256::new();
    io::copy(&mut File::open(file)?, &mut hash)?;
    Ok(format!("sha256:{}", hex(&hash.finalize())))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
