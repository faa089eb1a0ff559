//! The public Python client, as its users run it.

use e2e::stack::{Pool, Stack};
use rig::installed::{checkout, installed};
use rig::process::{Process, until};
use std::process::Command;

/// The models that clients are tried with.
pub(super) const MODELS: [&str; 20] = [
    "add_fp32",
    "identity_bf16",
    "identity_bool",
    "identity_bytes",
    "identity_fp16",
    "identity_fp32",
    "identity_fp64",
    "identity_int16",
    "identity_int32",
    "identity_int64",
    "identity_int8",
    "identity_uint16",
    "identity_uint32",
    "identity_uint64",
    "identity_uint8",
    "magika",
    "scalar_fp32",
    "two_outputs",
    "uncached",
    "vad",
];

#[test]
fn tritonclient_gets_equal_tensors_from_backend_and_cache() {
    let stack = Stack::new().pool(Pool::Redis).models(&MODELS).start();
    let mut command = Command::new(installed("venv/bin/python"));
    command.arg(checkout().join("tests/clients/triton_client.py")).arg(format!("127.0.0.1:{}", stack.port));
    let mut client = Process::start("triton_client.py", command);
    client.until_line(|line| line.starts_with("all as it should be").then_some(()));
    // Six requests each, three in the datatypes without a JSON form. The pool may get the binary one's answer only after
    // the first JSON one has asked for it.
    for model in MODELS.iter().filter(|model| model.starts_with("identity_")) {
        let allowed = if ["identity_fp16", "identity_bf16"].contains(model) { 1..=1 } else { 1..=2 };
        // The errors' and the compressed request are more of FP32's.
        if *model != "identity_fp32" {
            assert!(allowed.contains(&stack.inferences(model)), "{model}: {}", stack.inferences(model));
        }
    }
    assert_eq!((stack.inferences("vad"), stack.inferences("magika")), (1, 1));
    let hits = || stack.stats("result=hit").iter().map(|(_, count)| count).sum::<u64>();
    until("hits are counted", || (hits() >= 40).then_some(()));
    stack.sound();
}
