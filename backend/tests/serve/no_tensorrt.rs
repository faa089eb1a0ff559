//! A build without TensorRT: whoever asks for it is told so, in one line, and nothing else changes.

use rig::repository::put;

use crate::process::{refused, serve_command};

const NONE: &str = "this build has no TensorRT";

#[test]
fn a_plan_is_refused_with_the_reason() {
    let root = tempfile::tempdir().unwrap();
    put(root.path(), "affine/1/model.plan", "a plan");
    let (code, said) = refused(&mut serve_command(root.path(), &[]));
    let expected = format!("tensorrt_plan models can't be run here: {NONE}");
    assert!(code != Some(0) && said.contains(&expected), "{said}");
}

#[test]
fn each_of_its_flags_is_refused() {
    let root = tempfile::tempdir().unwrap();
    for flag in [
        &["--tensorrt", "/usr/lib/libnvinfer.so.11"][..],
        &["--tensorrt-flavour", "rtx"],
        &["--tensorrt-flavour", "enterprise"],
        &["--tensorrt-host-code"],
        &["--gpu-memory-bytes", "1000"],
        &["--compile-timeout-secs", "3600"],
    ] {
        let (code, said) = refused(&mut serve_command(root.path(), flag));
        assert_eq!((code, said.trim()), (Some(2), &*format!("forebay: {}: {NONE}", flag[0])), "{flag:?}");
    }
}
