//! What the tests share: the real libraries that set-up installed, and small models.
#![allow(dead_code, unreachable_pub)] // Each test binary uses a part.

pub(crate) mod double;
pub(crate) mod onnx;

use std::path::PathBuf;

use forebay_bindings::{Flavour, Library};
use rig::installed::{installed, library, tensorrt_rtx};

/// TensorRT-RTX.
pub(crate) fn rtx() -> Library {
    Library::open(tensorrt_rtx(), Flavour::Rtx).expect("TensorRT-RTX loads")
}

/// TensorRT's lean runtime, of the headers' major version.
pub(crate) fn lean() -> Library {
    let path = lean_of(Flavour::Lean.header_version().major);
    Library::open(path, Flavour::Lean).expect("TensorRT's lean runtime loads")
}

/// The library of that of a major version.
pub(crate) fn lean_of(major: u32) -> PathBuf {
    match major {
        10 => library("FOREBAY_TENSORRT_LEAN_10", "tensorrt-lean-10/lib/libnvinfer_lean.so.10"),
        _ => library("FOREBAY_TENSORRT_LEAN", "tensorrt-lean/lib/libnvinfer_lean.so.11"),
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
    std::fs::read(installed(&format!("models/{name}.onnx"))).unwrap()
}
