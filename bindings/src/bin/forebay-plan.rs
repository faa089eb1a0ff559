//! A job as JSON on stdin enters, the plan that it describes leaves: see `forebay_bindings::Job`.

use std::process::ExitCode;

fn main() -> ExitCode {
    forebay_bindings::Job::serve()
}
