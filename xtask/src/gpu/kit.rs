//! An unpacked kit: where its programs, libraries and models are, and the engines that may run here.
//!
//! A folder `double` in it holds the test double of CUDA and TensorRT, which is then used in place of a GPU. That is for testing
//! this command; its report says so.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// A folder with `bin/`, `lib/`, `standin/`, `models/`, `node-tests/`, `lighter/` and `results/`.
pub(super) struct Kit {
    root: PathBuf,
}

/// A library that runs plans.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Engine {
    pub(super) name: String,
    pub(super) library: PathBuf,
    pub(super) flavour: Flavour,
    /// Its version, once it was asked.
    pub(super) version: String,
    /// What plans are built for; nothing: the GPU that is here.
    pub(super) compute_capabilities: Vec<u16>,
}

/// As the bindings name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Flavour {
    Enterprise,
    Rtx,
}

impl Kit {
    /// # Errors
    /// No kit is there.
    pub(super) fn open(root: PathBuf) -> Result<Self> {
        let root = std::path::absolute(root)?;
        let program = root.join("bin/forebay-gpu");
        ensure!(program.is_file(), "{} is no kit; `cargo xtask gpu pack` makes one", root.display());
        std::fs::create_dir_all(root.join("results"))?;
        Ok(Self { root })
    }

    pub(super) fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        self.root.join(path)
    }

    /// A program that was packed.
    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.root.join("bin").join(name)
    }

    /// ONNX Runtime's library.
    pub(super) fn onnxruntime(&self) -> PathBuf {
        self.root.join("lib/libonnxruntime.so")
    }

    /// An empty folder for what a part makes.
    ///
    /// # Errors
    /// It can't be made.
    pub(super) fn scratch(&self, name: &str) -> Result<PathBuf> {
        let folder = self.root.join("work").join(name);
        if folder.exists() {
            std::fs::remove_dir_all(&folder)?;
        }
        std::fs::create_dir_all(&folder)?;
        Ok(folder)
    }

    /// Does the test double stand for a GPU here?
    pub(super) fn is_double(&self) -> bool {
        self.root.join("double").is_dir()
    }

    /// What every program of the kit needs in its environment.
    pub(super) fn environment(&self) -> Option<(&'static str, OsString)> {
        self.is_double().then(|| ("LD_LIBRARY_PATH", self.root.join("double").into()))
    }

    /// The engines to try, the best first. Whether they run here, the probe finds out.
    pub(super) fn engines(&self) -> Vec<Engine> {
        let engine = |name: &str, library: PathBuf, flavour| Engine {
            name: name.to_owned(),
            library,
            flavour,
            version: String::new(),
            compute_capabilities: Vec::new(),
        };
        let full = if self.is_double() { "TensorRT (test double)" } else { "TensorRT" };
        let mut engines = vec![engine(full, "libnvinfer.so.11".into(), Flavour::Enterprise)];
        let rtx = self.path("lib/rtx/libtensorrt_rtx.so.1");
        if rtx.is_file() {
            engines.push(engine("TensorRT-RTX", rtx, Flavour::Rtx));
        }
        engines.push(engine(STANDIN, self.path("standin/libnvinfer.so.11"), Flavour::Enterprise));
        engines
    }
}

/// The name of the stand-in: kernels of ours in place of TensorRT's.
pub(super) const STANDIN: &str = "stand-in";

impl Engine {
    /// As a task names it.
    pub(super) fn source(&self) -> Value {
        json!({ "library": self.library, "flavour": self.flavour })
    }

    /// What a report says of results that it gave.
    pub(super) fn told(&self) -> String {
        let what = if self.name == STANDIN { "stand-in, not TensorRT" } else { &self.name };
        format!("{what} {}", self.version)
    }

    /// The flags by which `forebay serve` takes it.
    pub(super) fn flags(&self) -> Vec<OsString> {
        let flavour = match self.flavour {
            Flavour::Enterprise => "enterprise",
            Flavour::Rtx => "rtx",
        };
        vec!["--tensorrt".into(), self.library.clone().into(), "--tensorrt-flavour".into(), flavour.into()]
    }
}
