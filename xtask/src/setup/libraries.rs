//! Those of TensorRT's libraries that are wheels, for the bindings' tests: pins enter, `.forebay/tensorrt*/lib` leave. They are
//! NVIDIA's, under its licence, whose text set-up puts beside each.

use std::fs;

use anyhow::{Context, Result};

use super::wheel::{self, Wheel};
use super::{Plan, Scratch, put};
use crate::layout::Layout;

/// Libraries of one wheel.
pub(super) struct Libraries {
    pub(super) wheel: Wheel,
    /// What they are, for the progress line.
    what: &'static str,
    /// Their folder in `.forebay`.
    folder: &'static str,
    /// The folder in the wheel.
    source: &'static str,
    files: &'static [&'static str],
}

/// Builds engines without a GPU: the tests do.
pub(super) const RTX: Libraries = Libraries {
    wheel: Wheel::new("tensorrt-rtx-cu13-libs==1.7.1.116", 95),
    what: "TensorRT-RTX",
    folder: "tensorrt-rtx",
    source: "tensorrt_rtx_libs",
    files: &["libtensorrt_rtx.so.1", "libtensorrt_onnxparser_rtx.so.1"],
};

/// The lean runtime of the major version that the bindings are for.
pub(super) const LEAN: Libraries = Libraries {
    wheel: Wheel::new("tensorrt-lean-cu13-libs==11.4.0.106", 45),
    what: "TensorRT's lean runtime 11",
    folder: "tensorrt-lean",
    source: "tensorrt_lean_libs",
    files: &["libnvinfer_lean.so.11"],
};

/// The one before it, which the bindings must refuse.
pub(super) const LEAN_10: Libraries = Libraries {
    wheel: Wheel::new("tensorrt-lean-cu13-libs==10.16.1.11", 45),
    what: "TensorRT's lean runtime 10",
    folder: "tensorrt-lean-10",
    source: "tensorrt_lean_libs",
    files: &["libnvinfer_lean.so.10"],
};

impl Libraries {
    pub(super) fn plan(&'static self, layout: &Layout) -> Result<Plan> {
        let folder = layout.dir.join(self.folder).join("lib");
        Ok(Plan {
            pin: format!("{}{}\n", self.wheel.locked()?, self.files.join(" ")),
            files: self.files.iter().map(|file| folder.join(file)).collect(),
            doing: format!("{} from {}", self.what, self.wheel.name),
            size: self.wheel.size,
            install: Box::new(|layout| self.install(layout)),
        })
    }

    fn install(&self, layout: &Layout) -> Result<()> {
        let scratch = Scratch::new(layout, "libraries")?;
        let unpacked = self.wheel.unpack(layout, &scratch)?;
        let library = scratch.0.join("lib");
        fs::create_dir(&library)?;
        for file in self.files {
            fs::rename(unpacked.join(self.source).join(file), library.join(file))
                .with_context(|| format!("{file} in {}", self.wheel.name))?;
        }
        fs::copy(wheel::licence(&unpacked)?, library.join("LICENSE.txt"))?;
        put(&library, &layout.dir.join(self.folder).join("lib"))
    }
}
