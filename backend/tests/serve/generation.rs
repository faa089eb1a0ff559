//! `forebay generation`: what it says of a folder is what a server's answers from that folder say.

use rig::installed::onnxruntime;

use crate::client::fp32;
use crate::process::{Forebay, command, test_repository};

/// The generation that the command says of `identity_fp32`.
fn said(arguments: &[&str]) -> String {
    let mut generation = command(&["generation"]);
    let output = generation
        .arg(test_repository())
        .arg("--onnxruntime")
        .arg(onnxruntime())
        .args(arguments)
        .output()
        .unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    let line = printed.lines().find_map(|line| line.strip_prefix("identity_fp32 1 "));
    line.unwrap_or_else(|| panic!("{printed}{}", String::from_utf8_lossy(&output.stderr))).to_owned()
}

#[test]
fn generation_says_what_the_servers_answers_say_with_the_same_settings() {
    for settings in [&[][..], &["--intra-op-threads", "2"]] {
        let forebay = Forebay::serve(&[&["--instances", "1"], settings].concat());
        let answer = forebay.infer("identity_fp32", &[], &fp32(&[1.0]));
        assert_eq!(answer.header("x-forebay-generation"), said(settings), "{settings:?}");
    }
    assert_ne!(said(&[]), said(&["--intra-op-threads", "2"]));
}

#[test]
fn a_folder_that_is_not_there_is_named() {
    let output = command(&["generation", "/no/such"]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), said.contains("/no/such is not a folder")), (Some(2), true), "{said}");
}
