//! The public Python clients, as their users run them.

use std::path::Path;
use std::process::Command;

use crate::process::{Forebay, python};

#[test]
fn tritonclient_over_http_and_grpc_asks_for_everything_there_is() {
    let forebay =
        Forebay::serve(&["--instances", "2", "--model-control-mode", "explicit", "--load-model", "*"]);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/clients/triton_full_client.py");
    let addresses = [forebay.http_port, forebay.grpc_port].map(|port| format!("127.0.0.1:{port}"));
    let output = Command::new(python()).arg(script).args(addresses).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    assert!(text(&output.stdout).ends_with("all as it should be\n"));
}
