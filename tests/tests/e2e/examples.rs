//! What `examples/` shows, run as its page says.

use crate::{HIT, STORED};
use e2e::stack::Stack;
use rig::installed::{checkout, installed};
use std::process::Command;

/// Runs it to its end; what it printed.
fn run(mut command: Command) -> String {
    let done = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(done.status.success(), "{said}{}", String::from_utf8_lossy(&done.stderr));
    said
}

#[test]
fn the_examples_answers_are_right_and_computed_once() {
    let stack = Stack::new().models(&["double"]).start();
    let address = format!("127.0.0.1:{}", stack.port);
    let mut curl = Command::new("sh");
    curl.arg(checkout().join("examples/ask_curl.sh")).arg(format!("http://{address}"));
    let said = run(curl);
    let lines = |with: &str| said.lines().filter(|line| line.contains(with)).collect::<Vec<_>>();
    let statuses = lines("cache-status");
    assert_eq!((statuses.len(), lines("\"data\":[2.0,4.0,6.0,8.0]").len()), (3, 3), "{said}");
    assert!(statuses[0].contains(STORED) && statuses[1..].iter().all(|line| line.contains(HIT)), "{said}");

    let mut python = Command::new(installed("venv/bin/python"));
    python.arg(checkout().join("examples/ask_grpc.py")).arg(&address);
    let said = run(python);
    assert_eq!(said.lines().filter(|line| line.starts_with("[2.0, 4.0, 6.0, 8.0] ")).count(), 3, "{said}");
    assert_eq!(stack.inferences("double"), 1, "the server's cache knows what was asked over HTTP");
}
