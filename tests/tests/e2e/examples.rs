//! What `examples/` shows, run as its page says.

use crate::{HIT, STORED};
use e2e::stack::Stack;
use rig::installed::{checkout, installed};
use rig::process::printed;
use std::process::Command;

#[test]
fn the_examples_answers_are_right_and_computed_once() {
    let stack = Stack::new().models(&["double"]).start();
    let address = format!("127.0.0.1:{}", stack.port);
    let curl = checkout().join("examples/ask_curl.sh");
    let said = printed(Command::new("sh").arg(curl).arg(format!("http://{address}")));
    let lines = |with: &str| said.lines().filter(|line| line.contains(with)).collect::<Vec<_>>();
    let statuses = lines("cache-status");
    assert_eq!((statuses.len(), lines("\"data\":[2.0,4.0,6.0,8.0]").len()), (3, 3), "{said}");
    assert!(statuses[0].contains(STORED) && statuses[1..].iter().all(|line| line.contains(HIT)), "{said}");

    let python = installed("venv/bin/python");
    let said = printed(Command::new(python).arg(checkout().join("examples/ask_grpc.py")).arg(&address));
    assert_eq!(said.lines().filter(|line| line.starts_with("[2.0, 4.0, 6.0, 8.0] ")).count(), 3, "{said}");
    assert_eq!(stack.inferences("double"), 1, "the server's cache knows what was asked over HTTP");
}
