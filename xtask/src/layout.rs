//! Where things are: the checkout, and `.forebay/` (or `FOREBAY_DIR`), the one folder that everything installed goes into.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The checkout and its folder of installed things.
pub(crate) struct Layout {
    /// Root of the checkout.
    pub(crate) root: PathBuf,
    /// `.forebay/`, absolute.
    pub(crate) dir: PathBuf,
}

impl Layout {
    /// Finds the checkout from the manifest that cargo runs, or else from the current folder.
    ///
    /// # Errors
    /// Neither is inside a checkout.
    pub(crate) fn find() -> Result<Self> {
        let start = match std::env::var_os("CARGO_MANIFEST_DIR") {
            Some(manifest) => PathBuf::from(manifest),
            None => std::env::current_dir()?,
        };
        let root = start.ancestors().find(|folder| folder.join("xtask/Cargo.toml").is_file());
        let root =
            root.with_context(|| format!("{} is not in a checkout of Forebay", start.display()))?.to_owned();
        let dir = match std::env::var_os("FOREBAY_DIR") {
            // As it stands in stamps, without a slash at its end.
            Some(dir) => std::path::absolute(dir).context("FOREBAY_DIR")?.components().collect(),
            None => root.join(".forebay"),
        };
        Ok(Self { root, dir })
    }

    /// A program that set-up put there.
    pub(crate) fn bin(&self, name: &str) -> PathBuf {
        self.dir.join("bin").join(name)
    }

    /// The virtual environment's Python.
    pub(crate) fn python(&self) -> PathBuf {
        self.dir.join("venv/bin/python")
    }

    /// ONNX Runtime's library.
    pub(crate) fn onnxruntime(&self) -> PathBuf {
        self.dir.join("lib").join(format!("libonnxruntime.so.{}", crate::setup::ONNXRUNTIME_VERSION))
    }

    /// TensorRT-RTX, its lean runtime, and that of another major version; each with the variable that tests read.
    pub(crate) fn tensorrt(&self) -> [(&'static str, PathBuf); 3] {
        let library = |path| self.dir.join(path);
        [
            ("FOREBAY_TENSORRT_RTX", library("tensorrt-rtx/lib/libtensorrt_rtx.so.1")),
            ("FOREBAY_TENSORRT_LEAN", library("tensorrt-lean/lib/libnvinfer_lean.so.11")),
            ("FOREBAY_TENSORRT_LEAN_10", library("tensorrt-lean-10/lib/libnvinfer_lean.so.10")),
        ]
    }

    /// The built filter.
    pub(crate) fn filter(&self) -> PathBuf {
        self.dir.join("wasm/forebay_filter.wasm")
    }

    /// The real models, as a Triton-style repository.
    pub(crate) fn repository(&self) -> PathBuf {
        self.dir.join("repository")
    }

    /// ONNX's node tests.
    pub(crate) fn node_tests(&self) -> PathBuf {
        self.dir.join("onnx-node-tests")
    }

    /// Triton itself.
    pub(crate) fn triton(&self) -> PathBuf {
        self.dir.join("triton")
    }

    /// Debian's packages that the nodes of the tests' cluster run on.
    pub(crate) fn nodes(&self) -> PathBuf {
        self.dir.join("debian/nodes")
    }

    /// What `cargo xtask optimize-table` makes models of, and what comes of them.
    pub(crate) fn optimize_table(&self) -> PathBuf {
        self.dir.join("optimize-table")
    }

    /// The folder of a cluster of that name.
    pub(crate) fn cluster(&self, name: &str) -> PathBuf {
        self.dir.join("cluster").join(name)
    }

    /// The folder of a running `up` of that name.
    pub(crate) fn run(&self, name: &str) -> PathBuf {
        self.dir.join("run").join(name)
    }

    /// The path as a user would write it in the current folder.
    pub(crate) fn shown(path: &Path) -> String {
        let here = std::env::current_dir().unwrap_or_default();
        path.strip_prefix(here).unwrap_or(path).display().to_string()
    }
}
