//! Container images of one program each, without any container engine: a program enters, an OCI layout leaves.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::tools::Tools;
use crate::command::{command, output};

/// A folder in OCI's image layout, with one image in it.
pub(super) struct Layout {
    folder: PathBuf,
    /// Digest of the image's manifest, as `sha256:…`.
    pub(super) manifest: String,
}

impl Layout {
    /// The same as an archive, in which it has no name.
    ///
    /// # Errors
    /// A file can't be read or written.
    pub(super) fn archive(&self) -> Result<PathBuf> {
        let blob = self.folder.join("blobs").join(self.manifest.replacen(':', "/", 1));
        let manifest = json!({
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": self.manifest,
            "size": blob.metadata()?.len(),
        });
        let index = json!({"schemaVersion": 2, "manifests": [manifest]});
        fs::write(self.folder.join("index.json"), index.to_string())?;
        fs::write(self.folder.join("oci-layout"), json!({"imageLayoutVersion": "1.0.0"}).to_string())?;
        let archive = self.folder.with_extension("tar");
        let mut tar = command("tar", ["-cf"]);
        tar.arg(&archive).arg("-C").arg(&self.folder).arg(".");
        output(tar)?;
        Ok(archive)
    }

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
    pub(super) fn of(folder: &Path, files: &[(PathBuf, String)], tools: &Tools) -> Result<Self> {
        Self::of_user(folder, files, "", tools)
    }

    /// The same, for what runs as that user where a pod does not say another.
    ///
    /// # Errors
    /// As [`Self::of`].
    pub(super) fn of_user(
        folder: &Path,
        files: &[(PathBuf, String)],
        user: &str,
        tools: &Tools,
    ) -> Result<Self> {
        let layout = Self::empty(folder)?;
        let layer = layout.layer(files, tools)?;
        let architecture = if std::env::consts::ARCH == "aarch64" { "arm64" } else { "amd64" };
        let config = json!({
            "architecture": architecture,
            "os": "linux",
            "config": {"Entrypoint": [files[0].1], "Env": ["PATH=/usr/bin"], "User": user},
            "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]},
        });
        layout.finished(&config, &[layer])
    }

    /// An image of a module for proxies alone, as their agents want it: one file in one layer, compressed.
    ///
    /// # Errors
    /// As [`Self::of`].
    pub(super) fn of_module(folder: &Path, module: &Path, tools: &Tools) -> Result<Self> {
        let layout = Self::empty(folder)?;
        let layer = layout.layer(&[(module.to_owned(), "/plugin.wasm".to_owned())], tools)?;
        let content = layer["digest"].as_str().context("a layer has no digest")?;
        let packed = layout.packed(content, tools)?;
        let rootfs = json!({"type": "layers", "diff_ids": [content]});
        layout.finished(&json!({"architecture": "wasm", "os": "wasi", "rootfs": rootfs}), &[packed])
    }

    /// A layer in place of its own compressed form, as a manifest names it.
    fn packed(&self, digest: &str, tools: &Tools) -> Result<Value> {
        let file = self.folder.join("blobs").join(digest.replacen(':', "/", 1));
        tools.output("gzip", [OsStr::new("--no-name"), OsStr::new("--force"), file.as_os_str()])?;
        let file = file.with_extension("gz");
        let (digest, size) = (digest_of(&file)?, file.metadata()?.len());
        fs::rename(file, self.folder.join("blobs").join(digest.replacen(':', "/", 1)))?;
        Ok(
            json!({"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": digest, "size": size}),
        )
    }

    /// A program and the libraries that it is linked with, each with its place.
    ///
    /// # Errors
    /// The program can't be run here.
    pub(super) fn linked(program: &Path, place: &str, tools: &Tools) -> Result<Vec<(PathBuf, String)>> {
        let mut files = vec![(program.to_owned(), place.to_owned())];
        let mut ldd = tools.command("ldd", [program]);
        // Those that set-up unpacked beside it.
        let unpacked = program.parent().and_then(Path::parent).map(|usr| usr.join("lib").join(TRIPLET));
        ldd.env("LD_LIBRARY_PATH", unpacked.unwrap_or_default());
        for line in crate::command::output(ldd)?.lines() {
            let mut words = line.split_whitespace();
            // "name => path (address)", and the loader as "path (address)".
            let Some(path) = words.find(|word| word.starts_with('/')) else { continue };
            let name = Path::new(path).file_name().unwrap_or_default().to_string_lossy();
            let is_loader = name.starts_with("ld-linux");
            let place = if is_loader { path.to_owned() } else { format!("/usr/lib/{name}") };
            files.push((path.into(), place));
        }
        Ok(files)
    }

    /// This one with a layer more.
    ///
    /// # Errors
    /// As [`Self::of`].
    pub(super) fn with(&self, folder: &Path, files: &[(PathBuf, String)], tools: &Tools) -> Result<Self> {
        let layout = Self::empty(folder)?;
        for (hex, file) in self.blobs()? {
            fs::copy(file, folder.join("blobs/sha256").join(hex))?;
        }
        let manifest = self.manifest()?;
        let digest = manifest["config"]["digest"].as_str().context("the manifest names no config")?;
        let mut config: Value =
            serde_json::from_slice(&fs::read(folder.join("blobs").join(digest.replacen(':', "/", 1)))?)?;
        let layer = layout.layer(files, tools)?;
        config["rootfs"]["diff_ids"]
            .as_array_mut()
            .context("the config lists no layers")?
            .push(layer["digest"].clone());
        let mut layers = manifest["layers"].as_array().context("the manifest has no layers")?.clone();
        layers.push(layer);
        layout.finished(&config, &layers)
    }

    fn empty(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder.join("blobs/sha256"))?;
        Ok(Self { folder: folder.to_owned(), manifest: String::new() })
    }

    /// A layer of those files and folders, as a manifest names it. It is not compressed, so that its digest is its content's.
    fn layer(&self, files: &[(PathBuf, String)], tools: &Tools) -> Result<Value> {
        let root = self.folder.join("root");
        for (from, to) in files {
            let to = root.join(to.trim_start_matches('/'));
            fs::create_dir_all(to.parent().context("a file of an image has no folder")?)?;
            let mut copy = tools.command("cp", ["-rL"]);
            crate::command::output({
                copy.arg(from).arg(to);
                copy
            })?;
        }
        let layer = self.folder.join("layer.tar");
        let mut tar =
            tools.command("tar", ["--sort=name", "--mtime=@0", "--owner=0", "--group=0", "--numeric-owner"]);
        tar.arg("--mode=u+rwX,go+rX").arg("-cf").arg(&layer).arg("-C").arg(&root).arg(".");
        crate::command::output(tar)?;
        fs::remove_dir_all(root)?;
        let (digest, size) = (digest_of(&layer)?, layer.metadata()?.len());
        fs::rename(layer, self.folder.join("blobs").join(digest.replacen(':', "/", 1)))?;
        Ok(json!({"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest, "size": size}))
    }

    fn finished(self, config: &Value, layers: &[Value]) -> Result<Self> {
        let (digest, size) = self.blob(config)?;
        let config =
            json!({"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest, "size": size});
        let (manifest, _) = self
            .blob(&json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers}))?;
        Ok(Self { manifest, ..self })
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
        let named =
            |path: PathBuf| path.file_name().map(|name| (name.to_string_lossy().into_owned(), path.clone()));
        Ok(entries.flatten().filter_map(|entry| named(entry.path())).collect())
    }

    /// The manifest's text.
    ///
    /// # Errors
    /// It isn't there.
    pub(super) fn manifest(&self) -> Result<Value> {
        let file = self.folder.join("blobs").join(self.manifest.replacen(':', "/", 1));
        Ok(serde_json::from_slice(
            &fs::read(&file).with_context(|| format!("can't read {}", file.display()))?,
        )?)
    }
}

/// Debian's folder of libraries.
const TRIPLET: &str = if cfg!(target_arch = "aarch64") { "aarch64-linux-gnu" } else { "x86_64-linux-gnu" };

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

fn digest_of(file: &Path) -> Result<String> {
    let mut hash = Sha256::new();
    io::copy(&mut File::open(file)?, &mut hash)?;
    Ok(format!("sha256:{}", hex(&hash.finalize())))
}

/// In hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // A string takes all that is written.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_files_are_the_same_image_and_a_layer_more_is_another() {
        let layout = crate::layout::Layout::find().unwrap();
        let tools = Tools::new(&layout);
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("program");
        fs::write(&program, "a program").unwrap();
        let files = [(program.clone(), "/program".to_owned())];
        let once = Layout::of(&folder.path().join("once"), &files, &tools).unwrap();
        let twice = Layout::of(&folder.path().join("twice"), &files, &tools).unwrap();
        assert_eq!(once.manifest, twice.manifest);
        let more =
            once.with(&folder.path().join("more"), &[(program, "/models/m/1".to_owned())], &tools).unwrap();
        assert_ne!(more.manifest, once.manifest);
        assert_eq!(more.manifest().unwrap()["layers"].as_array().unwrap().len(), 2);
        // Two layers, two configs, two manifests; the old config and manifest are still among the files.
        assert_eq!(more.blobs().unwrap().len(), 6);
    }
}
