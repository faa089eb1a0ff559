//! The public Python clients, as their users run them.

use std::io::Write as _;
use std::process::Command;

use rig::installed::{checkout, installed};
use rig::process::printed;

use crate::process::Forebay;

#[test]
fn tritonclient_over_http_and_grpc_asks_for_everything_there_is() {
    let forebay =
        Forebay::serve(&["--instances", "2", "--model-control-mode", "explicit", "--load-model", "*"]);
    let script = checkout().join("tests/clients/triton_full_client.py");
    let addresses = [forebay.http_port, forebay.grpc_port].map(|port| format!("127.0.0.1:{port}"));
    run(Command::new(installed("venv/bin/python")).arg(script).args(addresses));
}

#[test]
fn every_node_test_of_onnx_passes_as_a_model_that_is_served() {
    let counts = node_tests_pass(&["binary"]);
    // Past the test harness, which would keep it to itself.
    write!(std::io::stdout(), "{counts}").unwrap();
}

#[test]
fn every_node_test_of_onnx_passes_with_inputs_and_outputs_that_are_bound() {
    node_tests_pass(&["binary", "io_binding"]);
}

/// What passed and what is left out, counted.
fn node_tests_pass(how: &[&str]) -> String {
    let root = tempfile::tempdir().unwrap();
    let explicit = ["--instances", "1", "--model-control-mode", "explicit", "--pool", "none"];
    let forebay = Forebay::serve_from(root.path(), &explicit);
    let script = checkout().join("tests/clients/onnx_node_tests.py");
    let address = format!("127.0.0.1:{}", forebay.http_port);
    let mut command = Command::new(installed("venv/bin/python"));
    run(command.arg(script).arg(installed("onnx-node-tests")).arg(address).arg(root.path()).args(how))
}

#[test]
fn what_openapi_says_is_true() {
    let explicit = ["--instances", "1", "--model-control-mode", "explicit", "--load-model", "*"];
    let forebay = Forebay::serve(&explicit);
    // What isn't supported says so with 501, which is a failure of any other route.
    let unsupported = "sharedmemory|/trace/";
    for (paths, excluded) in [
        (["--exclude-path-regex", unsupported], "positive_data_acceptance"),
        (["--include-path-regex", unsupported], "positive_data_acceptance,not_a_server_error"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let mut schemathesis = Command::new(installed("venv/bin/schemathesis"));
        schemathesis.current_dir(folder.path()).arg("run").args(paths);
        // The shapes and values that a model takes are no part of the document, so valid requests may be refused.
        schemathesis.args([
            "--exclude-checks",
            excluded,
            "--seed",
            "1",
            "--max-examples",
            "20",
            "--no-color",
        ]);
        schemathesis.arg(format!("http://127.0.0.1:{}/openapi.json", forebay.http_port));
        printed(&mut schemathesis);
    }
}

/// Runs a client to its last line, and returns what it said.
fn run(client: &mut Command) -> String {
    let said = printed(client);
    assert!(said.ends_with("all as it should be\n"), "{said}");
    said
}
