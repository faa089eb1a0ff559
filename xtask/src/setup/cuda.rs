//! CUDA's headers, as NVIDIA publishes them in wheels: pins enter, `.forebay/cuda/include` leaves, with what `cuda.h` and
//! `cuda_runtime_api.h` include and nothing else. They are NVIDIA's, under its licence, whose text set-up puts beside them.

use std::fs;

use anyhow::{Context, Result, bail};
use sha2::{Digest as _, Sha256};

use super::{Plan, Scratch, put, wheel};
use crate::layout::Layout;

/// Where they are in each wheel, and below `.forebay/cuda`.
const SOURCE: &str = "nvidia/cu13/include";

/// The wheels, and what is taken of each. What they hold is the same for x86-64 and aarch64.
const WHEELS: [(&str, &[&str]); 2] = [
    (
        "nvidia-cuda-runtime==13.5.37",
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
    ("nvidia-cuda-crt==13.5.37", &["crt/host_defines.h"]),
];

/// SHA-256 of their names and contents, in the order above.
const SHA256: &str = "401fd48cff74ae854fb3039a4bb430c9bc3f4c4db30fa51571802ccdd681d087";

pub(super) fn headers_plan(layout: &Layout) -> Plan {
    let wheels = WHEELS.map(|(wheel, _)| wheel).join(" ");
    let file = layout.dir.join("cuda/include/cuda.h");
    let doing = format!("CUDA's headers from {wheels} (3 MB to fetch)");
    Plan { pin: format!("{wheels} {SHA256}"), files: vec![file], doing }
}

pub(super) fn install_headers(layout: &Layout) -> Result<()> {
    let made = Scratch::new(layout, "cuda")?;
    let include = made.0.join("include");
    let mut hasher = Sha256::new();
    for (name, headers) in WHEELS {
        let scratch = Scratch::new(layout, "cuda-wheel")?;
        let unpacked = wheel::unpack(layout, &scratch, &[name])?;
        for header in headers {
            let (from, to) = (unpacked.join(SOURCE).join(header), include.join(header));
            let content = fs::read(&from).with_context(|| format!("{header} in {name}"))?;
            hasher.update(format!("{header} {}\n", content.len()));
            hasher.update(&content);
            fs::create_dir_all(to.parent().context("a header in no folder")?)?;
            fs::write(to, content)?;
        }
        fs::copy(wheel::licence(&unpacked)?, include.join("LICENSE.txt"))?;
    }
    let found = format!("{:x}", hasher.finalize());
    if found != SHA256 {
        bail!("CUDA's headers have sha256 {found}, not the pinned {SHA256}");
    }
    put(&include, &layout.dir.join("cuda/include"))
}
