//! What the tests share: the real libraries that set-up installed, and small models.
#![allow(dead_code, unreachable_pub)] // Each test binary uses a part.

pub(crate) mod double;
pub(crate) mod onnx;

use std::path::PathBuf;

use forebay_bindings::{Flavour, Library};

/// A library that set-up installed: where the variable says, else in the checkout's `.forebay`.
pub(crate) fn installed(variable: &str, file: &str) -> PathBuf {
    let path = std::env::var_os(variable).map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.forebay")).join(file),
        PathBuf::from,
    );
    assert!(path.is_file(), "{} is not there: run `cargo xtask setup`, or set {variable}", path.display());
    path
}

/// TensorRT-RTX.
pub(crate) fn rtx() -> Library {
    let path = installed("FOREBAY_TENSORRT_RTX", "tensorrt-rtx/lib/libtensorrt_rtx.so.1");
    Library::open(path, Flavour::Rtx).expect("TensorRT-RTX loads")
}

/// TensorRT's lean runtime, of the headers' major version.
pub(crate) fn lean() -> Library {
    let path = lean_of(Flavour::Lean.header_version().major);
    Library::open(path, Flavour::Lean).expect("TensorRT's lean runtime loads")
}

/// The library of that of a major version.
pub(crate) fn lean_of(major: u32) -> PathBuf {
    match major {
        10 => installed("FOREBAY_TENSORRT_LEAN_10", "tensorrt-lean-10/lib/libnvinfer_lean.so.10"),
        _ => installed("FOREBAY_TENSORRT_LEAN", "tensorrt-lean/lib/libnvinfer_lean.so.11"),
    }
}

/// The error's message.
pub(crate) fn message<T>(result: Result<T, forebay_bindings::Error>) -> String {
    match result {
        Ok(_) => panic!("this should have failed"),
        Err(error) => error.to_string(),
    }
}

/// A real model that set-up installed.
pub(crate) fn model(name: &str) -> Vec<u8> {
    let folder = std::env::var_os("FOREBAY_DIR")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.forebay")), PathBuf::from);
    let path = folder.join("models").join(format!("{name}.onnx"));
    std::fs::read(&path)
        .unwrap_or_else(|error| panic!("{}: {error}: run `cargo xtask setup`", path.display()))
}
