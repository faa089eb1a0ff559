//! The cluster's registry: an image and its name enter; nodes can pull it, by whatever registry their manifests name.
//!
//! Its files are written as Docker's registry keeps them, beside it as it runs: no client has to be there that speaks its protocol.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::image;
use super::instance::{Addresses, Instance};

pub(super) struct Registry {
    folder: PathBuf,
}

impl Registry {
    pub(super) fn of(instance: &Instance) -> Self {
        Self { folder: instance.folder.join("registry") }
    }

    /// Writes what the registry and containerd read.
    ///
    /// # Errors
    /// A file can't be written.
    pub(super) fn prepare(instance: &Instance, addresses: Addresses) -> Result<Self> {
        let registry = Self::of(instance);
        fs::create_dir_all(&registry.folder)?;
        let address = format!("{}:5000", addresses.control());
        let config = format!(
            "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: {address}\nlog:\n  level: warn\n",
            registry.folder.display()
        );
        fs::write(instance.folder.join("registry.yaml"), config)?;
        // `_default`: in place of every registry there is.
        let mirror = instance.folder.join("mirrors/_default");
        fs::create_dir_all(&mirror)?;
        let hosts = format!(
            "server = \"http://{address}\"\n[host.\"http://{address}\"]\n  capabilities = [\"pull\", \"resolve\"]\n"
        );
        fs::write(mirror.join("hosts.toml"), hosts)?;
        Ok(registry)
    }

    /// Where it listens, without TLS, while the cluster is up.
    ///
    /// # Errors
    /// It was not prepared.
    pub(super) fn address(instance: &Instance) -> Result<String> {
        let config = fs::read_to_string(instance.folder.join("registry.yaml"))?;
        let address = config.lines().find_map(|line| line.trim().strip_prefix("addr: "));
        Ok(address.context("registry.yaml names no address")?.to_owned())
    }

    /// Puts an image there, as `name:tag`. A name without a slash is in `library/`, as everywhere.
    ///
    /// # Errors
    /// The name has no tag, or a file can't be written.
    pub(super) fn put(&self, image: &image::Layout, name: &str) -> Result<()> {
        let Some((name, tag)) = name.rsplit_once(':') else { bail!("image {name} has no tag") };
        let name = if name.contains('/') { name.to_owned() } else { format!("library/{name}") };
        let root = self.folder.join("docker/registry/v2");
        for (hex, file) in image.blobs()? {
            let to = root.join("blobs/sha256").join(&hex[..2]).join(&hex);
            fs::create_dir_all(&to)?;
            copy(&file, &to.join("data"))?;
        }
        let repository = root.join("repositories").join(name);
        let manifest = image.manifest()?;
        let layers = manifest["layers"].as_array().context("the manifest has no layers")?;
        for part in layers.iter().chain([&manifest["config"]]) {
            let digest = part["digest"].as_str().context("a part of the manifest has no digest")?;
            link(&repository.join("_layers"), digest)?;
        }
        link(&repository.join("_manifests/revisions"), &image.manifest)?;
        let tag = repository.join("_manifests/tags").join(tag);
        link(&tag.join("index"), &image.manifest)?;
        write(&tag.join("current"), &image.manifest)
    }
}

/// A digest's own link, in the folder.
fn link(folder: &Path, digest: &str) -> Result<()> {
    write(&folder.join(digest.replacen(':', "/", 1)), digest)
}

fn write(folder: &Path, digest: &str) -> Result<()> {
    fs::create_dir_all(folder)?;
    Ok(fs::write(folder.join("link"), digest)?)
}

/// Blobs are large and never change: one more name for the same file where the disk can.
fn copy(from: &Path, to: &Path) -> Result<()> {
    if !to.exists() && fs::hard_link(from, to).is_err() {
        fs::copy(from, to).with_context(|| format!("can't copy {}", from.display()))?;
    }
    Ok(())
}
