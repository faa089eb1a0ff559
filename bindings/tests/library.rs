//! Libraries are found, or refused by a line that says why. With NVIDIA's real ones, and no driver needed.

mod support;

use std::collections::BTreeSet;

use forebay_bindings::cuda::{CudaError, Driver};
use forebay_bindings::{Flavour, HostCode, Library};
use rig::installed::tensorrt_rtx;
use support::{lean, lean_of, message, onnx, rtx};

#[test]
fn a_library_of_our_version_is_taken() {
    for library in [rtx(), lean()] {
        let (told, needed) = (library.version(), library.flavour().header_version());
        assert!(told.major == needed.major && told >= needed, "{library:?}");
    }
}

#[test]
fn a_library_of_another_major_version_is_refused() {
    let needed = Flavour::Lean.header_version();
    let (other, version) = if needed.major == 10 { (11, "11.4.0") } else { (10, "10.16.1") };
    let path = lean_of(other);
    let refused = message(Library::open(&path, Flavour::Lean));
    let expected = format!(
        "{} has version {version}, but TensorRT's lean runtime {} from {needed} on is needed",
        path.display(),
        needed.major
    );
    assert_eq!(refused, expected);
}

#[test]
fn a_library_of_another_flavour_is_refused() {
    let major = Flavour::Enterprise.header_version().major;
    let refused = message(Library::open(lean().path(), Flavour::Rtx));
    let told = format!("has version {major}.");
    assert!(refused.contains(&told) && refused.contains("TensorRT-RTX 1 from"), "{refused}");
    let refused = message(Library::open(rtx().path(), Flavour::Enterprise));
    let wanted = format!("TensorRT {major} from");
    assert!(refused.contains("has version 1.") && refused.contains(&wanted), "{refused}");
}

#[test]
fn what_is_no_library_of_tensorrt_is_refused() {
    let text = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let refused = message(Library::open(text, Flavour::Enterprise));
    assert!(refused.starts_with(&format!("TensorRT can't be loaded from {text}: ")), "{refused}");
    let refused = message(Library::open("libm.so.6", Flavour::Enterprise));
    assert_eq!(refused, "libm.so.6 is not a library of TensorRT: it has no getInferLibVersion");
}

#[test]
fn a_missing_library_says_where_it_was_looked_for() {
    for path in ["/nowhere/libnvinfer.so.11", "libnvinfer_of_nobody.so.11"] {
        let refused = message(Library::open(path, Flavour::Enterprise));
        assert!(refused.starts_with(&format!("TensorRT can't be loaded from {path}: ")), "{refused}");
        assert!(refused.contains("No such file"), "{refused}");
    }
}

#[test]
fn the_lean_runtime_builds_nothing() {
    let refused = message(lean().builder(None).parse(&onnx::dense(), None));
    assert_eq!(refused, "TensorRT can't parse the model: this library runs engines and builds none");
}

#[test]
fn a_parser_that_cannot_be_loaded_is_told_with_its_reason() {
    const PARSER: &str = "libtensorrt_onnxparser_rtx.so.1";
    let library = tensorrt_rtx();
    let folder = tempfile::tempdir().unwrap();
    let (there, parser) = (folder.path().join("libtensorrt_rtx.so.1"), folder.path().join(PARSER));
    std::os::unix::fs::symlink(&library, &there).unwrap();
    let refused = |reason: &str| {
        let opened = Library::open(&there, Flavour::Rtx).expect("plans can be run without a parser");
        let message = message(opened.builder(None).parse(&onnx::dense(), None));
        let told = format!("TensorRT-RTX's ONNX parser can't be loaded from {}: ", parser.display());
        assert!(message.starts_with(&told) && message.contains(reason), "{message}");
    };
    refused("cannot open shared object file: No such file");
    std::fs::write(&parser, "no library at all").unwrap();
    refused("file too short");
    std::fs::remove_file(&parser).unwrap();
    std::os::unix::fs::symlink(&library, &parser).unwrap();
    refused("it has no createNvOnnxParser_INTERNAL");
}

/// On a machine with a driver there is nothing to see of its absence.
fn without_a_driver() -> bool {
    matches!(Driver::load(), Err(CudaError::NoDriver { .. }))
}

#[test]
fn without_a_driver_the_lean_runtime_says_what_is_missing() {
    if without_a_driver() {
        let refused = message(lean().runtime(None, HostCode::Refuse));
        assert!(refused.starts_with("TensorRT can't make a runtime: "), "{refused}");
        assert!(refused.contains("CUDA initialization failure with error: 35"), "{refused}");
    }
}

#[test]
fn without_a_driver_cuda_is_an_error_and_no_panic() {
    if without_a_driver() {
        let messages: BTreeSet<String> = (0..4).map(|_| Driver::load().unwrap_err().to_string()).collect();
        assert_eq!(messages.len(), 1);
        let message = messages.first().unwrap();
        assert!(message.starts_with("CUDA's driver can't be loaded: libcuda.so.1: cannot open"), "{message}");
    }
}
