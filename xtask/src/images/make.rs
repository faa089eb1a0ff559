//! One run of `cargo xtask images`: programs, built or handed over, enter; each image, built, saved, measured and pushed, leaves.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use bytesize::ByteSize;
use clap::ValueEnum as _;

use super::builder::{Builder, Request};
use super::contents::{Image, Programs, lay_out, named};
use super::machine::Machine;
use super::parts::Part;
use super::programs::Workshop;
use super::{Commit, Settings, archive, containerfile, papers};
use crate::command::{command, output};
use crate::layout::Layout;
use crate::setup::{self, Foreign};

/// What one run works with.
pub(super) struct Run<'a> {
    pub(super) layout: &'a Layout,
    pub(super) settings: &'a Settings,
    pub(super) folder: PathBuf,
    pub(super) builder: Builder,
    pub(super) commit: Commit,
}

/// An image, made.
pub(super) struct Made {
    /// Its name and machine, by which its files are called.
    pub(super) stem: String,
    pub(super) archive: PathBuf,
    /// Unpacked.
    pub(super) size: ByteSize,
}

impl Run<'_> {
    /// Makes all for one kind of machine.
    ///
    /// # Errors
    /// Something can't be built, an image is not as it should be, or a registry refuses one.
    pub(super) fn all_for(&self, machine: Machine) -> Result<Vec<Made>> {
        let all = if self.settings.only.is_empty() { Image::value_variants() } else { &self.settings.only };
        let own = Machine::here() == Some(machine);
        let images: Vec<Image> = all.iter().copied().filter(|image| own || image.is_for_others()).collect();
        for image in all.iter().filter(|image| !images.contains(image)) {
            println!("{}-{}: not made: its Python is this machine's Debian's", image.name(), machine.name());
        }
        let programs = self.programs(&images, machine)?;
        let mut made = Vec::new();
        for image in images {
            let one = self.one(image, &programs);
            made.extend(one.with_context(|| format!("{} for {}", image.name(), machine.name()))?);
        }
        Ok(made)
    }

    /// Builds what the images hold, unless it was handed over.
    fn programs(&self, images: &[Image], machine: Machine) -> Result<Programs> {
        let workshop = Workshop::new(self.layout, &self.folder)?;
        let own = self.settings.forebay.as_deref().filter(|_| Machine::here() == Some(machine));
        let forebay = match own {
            _ if !images.iter().any(|image| image.needs_forebay()) => None,
            Some(own) => Some(self.stripped(own)?),
            None => Some(workshop.forebay(machine)?),
        };
        let filter = match &self.settings.filter {
            _ if !images.iter().any(|image| image.needs_filter()) => None,
            Some(own) => Some(own.clone()),
            None => Some(workshop.filter()?),
        };
        let fetched = if Machine::here() == Some(machine) {
            Foreign {
                onnxruntime: self.layout.onnxruntime().canonicalize()?,
                envoy: self.layout.bin("envoy"),
            }
        } else {
            setup::foreign(self.layout, machine.processor())?
        };
        let Foreign { onnxruntime, envoy } = fetched;
        Ok(Programs { machine, forebay, filter, envoy, onnxruntime })
    }

    /// Without what debuggers alone read, as one that is built here.
    fn stripped(&self, program: &Path) -> Result<PathBuf> {
        let to = self.folder.join("forebay");
        let mut strip = command("strip", ["--strip-all", "-o"]);
        strip.arg(&to).arg(program);
        output(strip)?;
        Ok(to)
    }

    /// None of an image whose base isn't named.
    fn one(&self, image: Image, programs: &Programs) -> Result<Option<Made>> {
        let machine = programs.machine;
        let file = image.containerfile(self.layout);
        let text = fs::read_to_string(&file).with_context(|| format!("can't read {}", file.display()))?;
        let unnamed = format!("base@sha256:{}", "0".repeat(64));
        let base = self.settings.tensorrt_base.as_deref().unwrap_or(&unnamed);
        let arguments = if image == Image::ServeGpu { &[("TENSORRT_BASE", base)][..] } else { &[] };
        containerfile::rendered(&text, arguments, image.runs())
            .with_context(|| file.display().to_string())?;

        let stem = format!("{}-{}", image.name(), machine.name());
        let (stage, parts) = lay_out(self.layout, image, programs, self.folder.join("contexts").join(&stem))?;
        stage.finish(self.commit.epoch)?;
        let size = stage.size()?;
        if let Some(bound) = image.bound().filter(|_| self.settings.forebay.is_none()) {
            ensure!(size <= bound, "it is {size} unpacked, and may be {bound}");
        }
        let sbom = papers::sbom(&named(image), env!("CARGO_PKG_VERSION"), &parts)?;
        fs::write(self.folder.join(format!("{stem}.cdx.json")), sbom)?;
        if image == Image::ServeGpu && self.settings.tensorrt_base.is_none() {
            println!("{stem}: laid out and checked, not built: --tensorrt-base names NVIDIA's image");
            return Ok(None);
        }

        // As Kubernetes completes a name without a registry.
        let own = Machine::here() == Some(machine);
        let tag =
            if own { self.settings.tag.clone() } else { format!("{}-{}", self.settings.tag, machine.name()) };
        let name = format!("docker.io/{}:{tag}", named(image));
        self.builder.build(&Request {
            containerfile: &file,
            context: &stage.context,
            name: &name,
            machine,
            epoch: self.commit.epoch,
            labels: &self.labels(image, &parts),
            arguments,
        })?;
        let archive = self.folder.join(format!("{stem}.tar"));
        self.builder.save(&name, &archive)?;
        let digest = archive::digest(&archive).unwrap_or_else(|_| "no digest before it is pushed".to_owned());
        let packed = ByteSize::b(fs::metadata(&archive)?.len());
        println!("{stem}: {digest}");
        println!(
            "    {}:{tag}, {} unpacked, {} packed: {}",
            named(image),
            size.display().si(),
            packed.display().si(),
            Layout::shown(&archive)
        );
        if let Some(registry) = &self.settings.push {
            let to = format!("{}/{}:{tag}", registry.trim_end_matches('/'), named(image));
            let digest = self.builder.push(&name, &to, self.settings.plain_http)?;
            println!("    pushed: {to}@{digest}");
        }
        Ok(Some(Made { stem, archive, size }))
    }

    fn labels(&self, image: Image, parts: &[Part]) -> Vec<(&'static str, String)> {
        let mut labels = vec![
            ("org.opencontainers.image.title", image.title().to_owned()),
            ("org.opencontainers.image.version", env!("CARGO_PKG_VERSION").to_owned()),
            ("org.opencontainers.image.licenses", papers::licence(parts)),
        ];
        if !self.commit.revision.is_empty() {
            labels.push(("org.opencontainers.image.revision", self.commit.revision.clone()));
        }
        labels.extend(self.settings.source.clone().map(|source| ("org.opencontainers.image.source", source)));
        labels
    }
}
