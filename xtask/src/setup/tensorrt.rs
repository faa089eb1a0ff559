//! What the bindings are built and tested with: TensorRT's headers out of the crate that carries them, libclang for bindgen, and
//! those of TensorRT's libraries that are wheels. Pins enter, `.forebay/tensorrt*` and `.forebay/libclang` leave.
//!
//! The libraries are NVIDIA's, under its licence, whose text set-up puts beside each.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use sha2::{Digest as _, Sha256};

use super::wheel::{self, Member};
use super::{Plan, Scratch, put};
use crate::command::{cargo, output};
use crate::layout::Layout;

/// The crate that carries headers of both flavours: each version of it another one of TensorRT's.
const CRATE: &str = "trtx-sys";

/// The headers of one flavour and version.
pub(super) struct Headers {
    /// The crate's version.
    version: &'static str,
    /// Their folder in the crate.
    source: &'static str,
    /// Their folder in `.forebay`.
    folder: &'static str,
    /// SHA-256 of their names and contents.
    sha256: &'static str,
}

/// What the bindings are built with unless `FOREBAY_TENSORRT_INCLUDE` says otherwise.
pub(super) const HEADERS: [Headers; 2] = [
    Headers {
        version: "0.9.1",
        source: "TRT-Enterprise-11.4",
        folder: "tensorrt",
        sha256: "a279b12e4a42a0157ae32bb22ff7f279cb53788eed93c67230ecc2951cf9671b",
    },
    Headers {
        version: "0.9.1",
        source: "TRT-RTX-1.7",
        folder: "tensorrt-rtx",
        sha256: "6dab29ebc2695dbbc9c6bd4689aee036a9ccbfc5b84c535475af55361a1b5642",
    },
];

/// Versions before it, for `FOREBAY_TENSORRT_INCLUDE`.
pub(super) const OLDER_HEADERS: [Headers; 2] = [
    Headers {
        version: "0.5.0",
        source: "TRT-Enterprise-10.16",
        folder: "tensorrt-10.16",
        sha256: "a77758a871bcf188291f94cb99edd9c8ce4870453909a8da299bc8de62b4de65",
    },
    Headers {
        version: "0.8.1",
        source: "TRT-Enterprise-11.1",
        folder: "tensorrt-11.1",
        sha256: "98300202c3dbfbb58e008d4fac090aa56977278336a16c3e54e3ce9239b40d9b",
    },
];

/// Put beside the headers.
const NOTICE: &str = "Headers of NVIDIA TensorRT: Copyright (c) 1993-2026 NVIDIA CORPORATION & AFFILIATES, licensed under the \
Apache License 2.0 as each of them says. Copied from the crate trtx-sys by `cargo xtask setup`.\n";

/// Libraries of one wheel.
pub(super) struct Libraries {
    /// What is fetched, for the progress line.
    what: &'static str,
    /// Their folder in `.forebay`.
    folder: &'static str,
    /// The wheel, as pip names it.
    wheel: &'static str,
    /// The folder in the wheel.
    source: &'static str,
    /// Each file, with its SHA-256 for x86-64 and for aarch64.
    files: &'static [(&'static str, [&'static str; 2])],
}

/// Builds engines without a GPU: the tests do.
pub(super) const RTX: Libraries = Libraries {
    what: "TensorRT-RTX (95 MB to fetch)",
    folder: "tensorrt-rtx",
    wheel: "tensorrt-rtx-cu13-libs==1.7.1.116",
    source: "tensorrt_rtx_libs",
    files: &[
        (
            "libtensorrt_rtx.so.1",
            [
                "a74fa3974f1892b65a53b06a14ffcb15758ac51c12135ada84490f53f67e1051",
                "a7180e0a15a5387d60767ef7133a4fa42fe9f347fbf3c6d613099a609952df0a",
            ],
        ),
        (
            "libtensorrt_onnxparser_rtx.so.1",
            [
                "27be1f67ef28683b54390b6cbc7ec3efc75b39c8ebc4c683cb8603bcfd0b8896",
                "1c8ff39f9d1a2112165b8e2b59708785c9f5de218b60a55df1b8e9139b9d63bf",
            ],
        ),
    ],
};

/// The lean runtime of the major version that the bindings are for.
pub(super) const LEAN: Libraries = Libraries {
    what: "TensorRT's lean runtime 11 (45 MB to fetch)",
    folder: "tensorrt-lean",
    wheel: "tensorrt-lean-cu13-libs==11.4.0.106",
    source: "tensorrt_lean_libs",
    files: &[(
        "libnvinfer_lean.so.11",
        [
            "73fc5dd6f8de7cd7f1dc7b1043329de2dd1606e2bc718fea01359efe0a4849d4",
            "115bd5c6149c84a784ab2e35c9d788eaaae984e0658fd4525dcc03d3acce6e63",
        ],
    )],
};

/// The one before it, which the bindings must refuse.
pub(super) const LEAN_10: Libraries = Libraries {
    what: "TensorRT's lean runtime 10 (45 MB to fetch)",
    folder: "tensorrt-lean-10",
    wheel: "tensorrt-lean-cu13-libs==10.16.1.11",
    source: "tensorrt_lean_libs",
    files: &[(
        "libnvinfer_lean.so.10",
        [
            "5579b8aaca1a1559a69c86454d53759348bc5d5b86c71d39acd12052276addbd",
            "5bfada4715e2083b22f821a315676825054c1956a93fd3c031e5bd457c97d86b",
        ],
    )],
};

/// libclang, by which bindgen reads CUDA's header, and TensorRT's with its version.
fn libclang() -> Result<Member> {
    Ok(Member {
        wheel: "libclang==18.1.1",
        path: "libclang-18.1.1.data/platlib/clang/native/libclang.so",
        sha256: for_this_machine(&[
            "a8612b1c9a7125701277f63e5616f1d1eb9c91410c4bf195878067868c927f94",
            "87cc443de7278fa112ed50fac8844b1d5c6344f549b8b514e4381f26da006f65",
        ])?,
    })
}

/// Of an x86-64's and an aarch64's, this machine's.
fn for_this_machine(of: &[&'static str; 2]) -> Result<&'static str> {
    match std::env::consts::ARCH {
        "x86_64" => Ok(of[0]),
        "aarch64" => Ok(of[1]),
        other => bail!("there is no wheel for {other}, only for x86_64 and aarch64"),
    }
}

pub(super) fn headers_plan(layout: &Layout, all: &[Headers]) -> Plan {
    let pins = all.iter().flat_map(|headers| [headers.version, headers.source, headers.sha256]);
    let pin = [CRATE, NOTICE].into_iter().chain(pins).collect::<Vec<_>>().join(" ");
    let files = all.iter().map(|headers| layout.dir.join(headers.folder).join("include/NvInfer.h"));
    let sources: Vec<&str> = all.iter().map(|headers| headers.source).collect();
    let doing =
        format!("headers {} from the crate {CRATE} (up to 6 MB a version to fetch)", sources.join(", "));
    Plan { pin, files: files.collect(), doing }
}

pub(super) fn install_headers(layout: &Layout, all: &[Headers]) -> Result<()> {
    for headers in all {
        let scratch = Scratch::new(layout, "headers")?;
        let source = fetch_crate(&scratch.0, headers.version)?.join("TensorRT-Headers");
        let include = scratch.0.join("include");
        fs::create_dir(&include)?;
        for entry in fs::read_dir(source.join(headers.source))? {
            let entry = entry?;
            // A folder in it is of Python plugins; nothing includes it.
            if entry.file_type()?.is_file() {
                fs::copy(entry.path(), include.join(entry.file_name()))?;
            }
        }
        let found = digest(&include)?;
        if found != headers.sha256 {
            bail!("{} of {CRATE} have sha256 {found}, not the pinned {}", headers.source, headers.sha256);
        }
        fs::write(include.join("NOTICE"), NOTICE)?;
        put(&include, &layout.dir.join(headers.folder).join("include"))?;
    }
    Ok(())
}

/// Lets cargo fetch the crate. Returns its folder.
fn fetch_crate(scratch: &Path, version: &str) -> Result<PathBuf> {
    let manifest = scratch.join("Cargo.toml");
    fs::create_dir(scratch.join("src"))?;
    fs::write(scratch.join("src/lib.rs"), "")?;
    fs::write(
        &manifest,
        format!(
            "[package]\nname = \"headers\"\nedition = \"2024\"\n[workspace]\n[dependencies]\n\
             {CRATE} = {{ version = \"={version}\", default-features = false }}\n"
        ),
    )?;
    let mut metadata = cargo();
    metadata.args(["metadata", "--format-version=1", "--manifest-path"]).arg(&manifest);
    let metadata: serde_json::Value = serde_json::from_str(&output(metadata)?)?;
    let packages = metadata["packages"].as_array().context("cargo metadata names no packages")?;
    let package = packages.iter().find(|package| package["name"] == CRATE);
    let manifest = package.and_then(|package| package["manifest_path"].as_str());
    let manifest = Path::new(manifest.with_context(|| format!("cargo did not fetch {CRATE}"))?);
    Ok(manifest.parent().context("a manifest without a folder")?.to_owned())
}

/// SHA-256 of the names and contents of a folder's files, in the order of their names.
fn digest(folder: &Path) -> Result<String> {
    let mut files = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    files.sort();
    let mut hasher = Sha256::new();
    for file in files {
        let name = file.file_name().context("a file without a name")?.as_encoded_bytes().to_vec();
        let content = fs::read(&file)?;
        hasher.update(name);
        hasher.update([0]);
        hasher.update(u64::try_from(content.len())?.to_le_bytes());
        hasher.update(content);
    }
    Ok(format!("{:x}", hasher.finalize()))
}

pub(super) fn libclang_plan(layout: &Layout) -> Result<Plan> {
    let member = libclang()?;
    let doing = format!("{} (25 MB to fetch)", member.wheel);
    Ok(Plan { pin: member.pin(), files: vec![layout.dir.join("libclang/libclang.so")], doing })
}

pub(super) fn install_libclang(layout: &Layout) -> Result<()> {
    wheel::fetch(layout, &libclang()?, &layout.dir.join("libclang/libclang.so"), 0o644)
}

pub(super) fn libraries_plan(layout: &Layout, libraries: &Libraries) -> Result<Plan> {
    let mut pin = libraries.wheel.to_owned();
    let mut files = Vec::new();
    for (file, sha256) in libraries.files {
        pin = format!("{pin} {file} {}", for_this_machine(sha256)?);
        files.push(layout.dir.join(libraries.folder).join("lib").join(file));
    }
    Ok(Plan { pin, files, doing: libraries.what.into() })
}

pub(super) fn install_libraries(layout: &Layout, libraries: &Libraries) -> Result<()> {
    let scratch = Scratch::new(layout, "libraries")?;
    let unpacked = wheel::unpack(layout, &scratch, &[libraries.wheel])?;
    let library = scratch.0.join("lib");
    fs::create_dir(&library)?;
    for (file, sha256) in libraries.files {
        let pinned = for_this_machine(sha256)?;
        let from = unpacked.join(libraries.source).join(file);
        let found = wheel::sha256(&from).with_context(|| format!("{file} in {}", libraries.wheel))?;
        if found != pinned {
            bail!("{file} of {} has sha256 {found}, not the pinned {pinned}", libraries.wheel);
        }
        fs::rename(from, library.join(file))?;
    }
    fs::copy(wheel::licence(&unpacked)?, library.join("LICENSE.txt"))?;
    put(&library, &layout.dir.join(libraries.folder).join("lib"))
}
