//! The images that the checks use: archives enter; what nodes can pull by the chart's names leaves.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::Settings;
use crate::cluster::image;
use crate::cluster::instance::Instance;
use crate::cluster::registry::Registry;
use crate::cluster::tools::Tools;
use crate::command::{command, output};
use crate::images;
use crate::layout::Layout;
use crate::setup::{self, Part};

/// The server with models in it, as a user makes one of `forebay/serve`.
pub(super) const SERVE: &str = "forebay/serve-with-models";
/// Models that are in it.
pub(super) const MODELS: [&str; 2] = ["vad", "magika"];
/// The pool of dev, as the chart names it behind its registry.
const REDIS: &str = "redis:7.4";

#[derive(Clone)]
pub(super) struct Images {
    /// Archives.
    folder: PathBuf,
    /// The models' repository.
    pub(super) repository: PathBuf,
    redis: PathBuf,
    /// The program, which is the client too.
    pub(super) forebay: PathBuf,
}

impl Images {
    /// Makes what is missing.
    ///
    /// # Errors
    /// It can't be made.
    pub(super) fn get(layout: &Layout, settings: &Settings) -> Result<Self> {
        setup::install(layout, &[Part::Models, Part::Redis])?;
        let (folder, forebay) = match (&settings.images, &settings.forebay) {
            (Some(folder), Some(forebay)) => (folder.clone(), forebay.clone()),
            _ => images::for_this_machine(layout)?,
        };
        let redis = of_debian(layout, "redis", "redis-server")?;
        Ok(Self { folder, repository: layout.repository(), redis, forebay })
    }

    /// Puts them into the cluster's registry.
    ///
    /// # Errors
    /// An archive is missing or is none.
    pub(super) fn load(&self, instance: &Instance, tools: &Tools) -> Result<()> {
        let registry = Registry::of(instance);
        self.each(&instance.folder.join("images"), tools, |image, name| registry.put(image, name))
    }

    /// Sends them to a registry of whoever has a cluster of their own.
    ///
    /// # Errors
    /// An archive is missing or is none, or the registry refuses.
    pub(super) fn send(&self, layout: &Layout, registry: &str, plain_http: bool) -> Result<()> {
        let scratch = layout.dir.join("images/sent");
        self.each(&scratch, &Tools::new(layout), |image, name| {
            let to = format!("{registry}/{name}");
            println!("sending {to}");
            images::send(layout, &image.archive()?, &to, plain_http)
        })
    }

    /// Each with its name and tag.
    fn each(
        &self,
        scratch: &Path,
        tools: &Tools,
        mut put: impl FnMut(&image::Layout, &str) -> Result<()>,
    ) -> Result<()> {
        let tag = env!("CARGO_PKG_VERSION");
        for name in ["serve", "gate", "front"] {
            let image = self.unpacked(name, scratch)?;
            put(&image, &format!("forebay/{name}:{tag}"))?;
            if name == "serve" {
                // No GPU is there, and no image of NVIDIA's: what prod's objects say is shown with this one.
                put(&image, &format!("forebay/serve-gpu:{tag}"))?;
                let models: Vec<_> = MODELS
                    .iter()
                    .map(|model| (self.repository.join(model), format!("/models/{model}")))
                    .collect();
                let with = image.with(&scratch.join("serve-with-models"), &models, tools)?;
                put(&with, &format!("{SERVE}:{tag}"))?;
            }
        }
        let redis = image::Layout::linked(&self.redis, "/usr/bin/redis-server", tools)?;
        put(&image::Layout::of(&scratch.join("redis"), &redis, tools)?, REDIS)
    }

    /// Puts the image that makes models lighter there too, which few checks need.
    ///
    /// # Errors
    /// As [`Self::load`], and it can't be made.
    pub(super) fn load_optimize(&self, layout: &Layout, instance: &Instance) -> Result<()> {
        let is_here = self.archive("optimize").exists();
        let made =
            if is_here { self.clone() } else { Self { folder: images::optimize(layout)?, ..self.clone() } };
        let image = made.unpacked("optimize", &instance.folder.join("images"))?;
        Registry::of(instance).put(&image, &format!("forebay/optimize:{}", env!("CARGO_PKG_VERSION")))
    }

    /// Puts the filter's image there too, as `forebay/filter`, and tells the digest of its manifest.
    ///
    /// # Errors
    /// As [`Self::load`], and it can't be made.
    pub(super) fn load_filter(&self, layout: &Layout, instance: &Instance) -> Result<String> {
        let is_here = self.archive("filter").exists();
        let made =
            if is_here { self.clone() } else { Self { folder: images::filter(layout)?, ..self.clone() } };
        let image = made.unpacked("filter", &instance.folder.join("images"))?;
        Registry::of(instance).put(&image, &format!("forebay/filter:{}", env!("CARGO_PKG_VERSION")))?;
        Ok(image.manifest)
    }

    fn unpacked(&self, name: &str, scratch: &Path) -> Result<image::Layout> {
        let folder = scratch.join(name);
        fs::create_dir_all(&folder)?;
        let archive = self.archive(name);
        let mut tar = command("tar", ["-xf"]);
        tar.arg(&archive).arg("-C").arg(&folder);
        output(tar).with_context(|| format!("{} is no image's archive", archive.display()))?;
        image::Layout::open(&folder)
    }

    fn archive(&self, name: &str) -> PathBuf {
        let machine = if std::env::consts::ARCH == "aarch64" { "arm64" } else { "amd64" };
        self.folder.join(format!("{name}-{machine}.tar"))
    }
}

/// A program that set-up unpacked in that folder, or else found on PATH: not the script by which it runs here.
///
/// # Errors
/// It is in neither place.
pub(super) fn of_debian(layout: &Layout, folder: &str, program: &str) -> Result<PathBuf> {
    let unpacked = layout.dir.join("debian").join(folder).join("usr/bin").join(program);
    Ok(if unpacked.exists() { unpacked } else { layout.bin(program).canonicalize()? })
}
