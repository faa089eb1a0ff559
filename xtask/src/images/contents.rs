//! What is in which image: built programs and what set-up installed enter; a laid-out folder, and its SBOM, leave.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use bytesize::ByteSize;
use clap::ValueEnum;

use super::libraries::needed_by;
use super::machine::Machine;
use super::papers;
use super::parts::{Part, crates, library};
use super::stage::{Stage, sha256};
use super::tools;
use crate::layout::Layout;
use crate::setup::{ENVOY_VERSION, ONNXRUNTIME_VERSION, TARGET};

/// An image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Image {
    /// The server on processors
    Serve,
    /// The server on NVIDIA's TensorRT image
    ServeGpu,
    /// The gate
    Gate,
    /// Envoy with the filter
    Front,
    /// The filter alone, for proxies that fetch it
    Filter,
    /// What makes models lighter, with its tools
    Optimize,
}

impl Image {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Serve => "serve",
            Self::ServeGpu => "serve-gpu",
            Self::Gate => "gate",
            Self::Front => "front",
            Self::Filter => "filter",
            Self::Optimize => "optimize",
        }
    }

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Serve => "Forebay's inference server, on processors",
            Self::ServeGpu => "Forebay's inference server, on NVIDIA's GPUs",
            Self::Gate => "Forebay's gate to the shared cache",
            Self::Front => "Envoy with Forebay's filter",
            Self::Filter => "Forebay's filter for Envoy",
            Self::Optimize => "Forebay's optimizer of models, with its tools",
        }
    }

    /// Can it be made for another kind of machine than this?
    pub(super) fn is_for_others(self) -> bool {
        self != Self::Optimize
    }

    /// What it may hold at most, unpacked.
    pub(super) fn bound(self) -> Option<ByteSize> {
        match self {
            Self::Serve => Some(ByteSize::mb(80)),
            Self::Optimize => Some(ByteSize::mb(300)),
            _ => None,
        }
    }

    pub(super) fn containerfile(self, layout: &Layout) -> PathBuf {
        layout.root.join("k8s/images").join(format!("{}.Containerfile", self.name()))
    }

    /// Is there a program in it?
    pub(super) fn runs(self) -> bool {
        self != Self::Filter
    }

    pub(super) fn needs_forebay(self) -> bool {
        matches!(self, Self::Serve | Self::ServeGpu | Self::Gate | Self::Optimize)
    }

    pub(super) fn needs_filter(self) -> bool {
        matches!(self, Self::Front | Self::Filter)
    }
}

/// Programs for one kind of machine.
pub(super) struct Programs {
    pub(super) machine: Machine,
    /// Where an image needs it.
    pub(super) forebay: Option<PathBuf>,
    pub(super) filter: Option<PathBuf>,
    pub(super) envoy: PathBuf,
    /// ONNX Runtime's library; the licences are in the folder above its folder.
    pub(super) onnxruntime: PathBuf,
}

/// Lays the image's files out in that folder. Returns it with what is in it.
///
/// # Errors
/// A file can't be found or written.
pub(super) fn lay_out(
    layout: &Layout,
    image: Image,
    programs: &Programs,
    context: PathBuf,
) -> Result<(Stage, Vec<Part>)> {
    let stage = Stage::new(context)?;
    let mut parts = Vec::new();
    let forebay = || programs.forebay.as_deref().context("forebay was not built");
    let filter = || programs.filter.as_deref().context("the filter was not built");
    let target = programs.machine.target();
    let mut linked: Vec<PathBuf> = Vec::new();
    if image.needs_forebay() {
        stage.program(forebay()?, "/usr/bin/forebay")?;
        linked.push(forebay()?.to_owned());
        parts.extend(crates(layout, "forebay", &target, &["--features", "forebay/tensorrt"])?);
    }
    match image {
        Image::Serve | Image::ServeGpu => {
            stage.file(&programs.onnxruntime, "/usr/lib/libonnxruntime.so")?;
            linked.push(programs.onnxruntime.clone());
            parts.push(onnxruntime(&programs.onnxruntime)?);
        }
        Image::Front => {
            stage.program(&programs.envoy, "/usr/bin/envoy")?;
            stage.file(filter()?, "/filter/plugin.wasm")?;
            linked.push(programs.envoy.clone());
            parts.push(envoy(layout, &programs.envoy)?);
        }
        Image::Filter => stage.file(filter()?, "/plugin.wasm")?,
        Image::Optimize => {
            linked.extend(tools::lay_out(layout, &stage)?);
            parts.extend(tools::parts(layout)?);
        }
        Image::Gate => {}
    }
    if image.needs_filter() {
        parts.extend(crates(layout, "forebay-filter", TARGET, &[])?);
    }
    // NVIDIA's image has a system of its own.
    if image.runs() && image != Image::ServeGpu {
        for needed in needed_by(&linked, programs.machine)? {
            stage.program(&needed.file, &needed.place.to_string_lossy())?;
            parts.push(library(&needed)?);
        }
        // Without it glibc asks the name server before /etc/hosts.
        stage.write(b"hosts: files dns\n", Path::new("/etc/nsswitch.conf"), 0o644)?;
    }
    parts.sort();
    parts.dedup();
    // Of the filter's image one layer with one file is wanted; its papers lie beside it.
    if image.runs() {
        papers::write_licences(&stage, &layout.root.join("LICENSE"), &parts)?;
        let sbom = papers::sbom(&named(image), env!("CARGO_PKG_VERSION"), &parts)?;
        stage.write(
            &sbom,
            &Path::new("/usr/share/sbom").join(format!("{}.cdx.json", image.name())),
            0o644,
        )?;
    }
    Ok((stage, parts))
}

/// The image's name without registry and tag.
pub(super) fn named(image: Image) -> String {
    format!("forebay/{}", image.name())
}

fn onnxruntime(library: &Path) -> Result<Part> {
    let package = library.parent().and_then(Path::parent).context("ONNX Runtime's library has no package")?;
    Ok(Part {
        name: "onnxruntime".to_owned(),
        version: ONNXRUNTIME_VERSION.to_owned(),
        purl: format!("pkg:pypi/onnxruntime@{ONNXRUNTIME_VERSION}"),
        licence: "MIT".to_owned(),
        sha256: Some(sha256(&std::fs::read(library)?)),
        texts: vec![package.join("LICENSE"), package.join("ThirdPartyNotices.txt")],
        is_crate: false,
    })
}

/// Its wheel has no text of its licence, which is the same as ours.
fn envoy(layout: &Layout, program: &Path) -> Result<Part> {
    Ok(Part {
        name: "envoy".to_owned(),
        version: ENVOY_VERSION.to_owned(),
        purl: format!("pkg:github/envoyproxy/envoy@v{ENVOY_VERSION}"),
        licence: "Apache-2.0".to_owned(),
        sha256: Some(sha256(&std::fs::read(program)?)),
        texts: vec![layout.root.join("LICENSE")],
        is_crate: false,
    })
}
