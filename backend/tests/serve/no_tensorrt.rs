//! A build without TensorRT: whoever asks for it is told so, in one line, and nothing else changes.

use std::path::Path;

use crate::process::serve_command;

const NONE: &str = "this build has no TensorRT";

fn ended(root: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let output = serve_command(root, arguments).output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_plan_is_refused_with_the_reason() {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(root.path().join("affine/1")).unwrap();
    std::fs::write(root.path().join("affine/1/model.plan"), "a plan").unwrap();
    let (code, said) = ended(root.path(), &[]);
    let refused = format!("tensorrt_plan models can't be run here: {NONE}");
    assert!(code != Some(0) && said.contains(&refused), "{said}");
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
        let (code, said) = ended(root.path(), flag);
        assert_eq!((code, said.trim()), (Some(2), &*format!("forebay: {}: {NONE}", flag[0])), "{flag:?}");
    }
}
