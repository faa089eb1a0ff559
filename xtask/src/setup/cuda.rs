//! CUDA's headers, as NVIDIA publishes them in wheels: pins enter, `.forebay/cuda/include` leaves, with what `cuda.h` and
//! `cuda_runtime_api.h` include and nothing else. They are NVIDIA's, under its licence, whose text set-up puts beside them.

use std::fs;

use anyhow::{Context, Result};
use bytesize::ByteSize;

use super::wheel::{self, Wheel};
use super::{Plan, Scratch, put};
use crate::layout::Layout;

/// Where they are in each wheel, and below `.forebay/cuda`.
const SOURCE: &str = "nvidia/cu13/include";

/// The wheels, and what is taken of each. What they hold is the same for x86-64 and aarch64.
pub(super) const WHEELS: [(Wheel, &[&str]); 2] = [
    (
        Wheel::new("nvidia-cuda-runtime==13.5.37", 3),
        &[
            "builtin_types.h",
            "cuda.h",
            "cuda_device_runtime_api.h",
            "cuda_runtime_api.h",
            "device_types.h",
            "driver_types.h",
            "surface_types.h",
            "texture_types.h",
            "vector_types.h",
        ],
    ),
    (Wheel::new("nvidia-cuda-crt==13.5.37", 1), &["crt/host_defines.h"]),
];

pub(super) fn plan(layout: &Layout) -> Result<Plan> {
    let (mut pin, mut size, mut names) = (String::new(), ByteSize::b(0), Vec::new());
    for (wheel, headers) in &WHEELS {
        pin.extend([wheel.locked()?, headers.join(" "), "\n".to_owned()]);
        size += wheel.size;
        names.push(wheel.name);
    }
    let files = vec![layout.dir.join("cuda/include/cuda.h")];
    let doing = format!("CUDA's headers from {}", names.join(" and "));
    Ok(Plan { pin, files, doing, size, install: Box::new(install) })
}

fn install(layout: &Layout) -> Result<()> {
    let made = Scratch::new(layout, "cuda")?;
    let include = made.0.join("include");
    for (wheel, headers) in &WHEELS {
        let scratch = Scratch::new(layout, "cuda-wheel")?;
        let unpacked = wheel.unpack(layout, &scratch)?;
        for header in *headers {
            let to = include.join(header);
            fs::create_dir_all(to.parent().context("a header in no folder")?)?;
            fs::copy(unpacked.join(SOURCE).join(header), to)
                .with_context(|| format!("{header} in {}", wheel.name))?;
        }
        fs::copy(wheel::licence(&unpacked)?, include.join("LICENSE.txt"))?;
    }
    put(&include, &layout.dir.join("cuda/include"))
}
