//! Forebay's backend: `serve` answers inference requests, `front` answers them in front of another server, `gate` answers the filters' lookups, `check-filter` reads a filter's
//! settings as the filter does, `check-settings` a server's as it does itself, `generation` says under which name a model's results are
//! kept, `optimize` makes models lighter, `simulate` says what a day would cost, `infer` and `bench` ask any V2 server, `cache` asks a gate to purge and what it knows, `plan` builds one plan of TensorRT's for `serve`, and
//! `judge` runs models for `optimize`. Arguments enter ([`run`]), an exit code leaves.
//!
//! The rooms are listed from top to bottom; one uses only those below it (`rooms` tests that). A request's way: `http` or `grpc`
//! takes it, `infer` asks `models` for the version that answers, whose `engine::signature` checks it, looks it up in the `cache`,
//! joins it to an equal one or queues it (`schedule`), an `engine` computes it, and the cache keeps it; `record` keeps some of what is
//! asked, and `replay` has a new version compute it before it takes requests. `run` wires all of that together. What every room may use
//! lies at the bottom: `config` is what a model's `config.pbtxt` says, `settings` what flags and environment say, `observe` what is told
//! of it all.

#![forbid(unsafe_code)]
// What of the shared parts TensorRT alone needs lies idle in a build without it.
#![cfg_attr(not(feature = "tensorrt"), allow(dead_code))]

// The commands: parts wired together, ports, the drain.
mod run;

// Makes models lighter.
mod optimize;

// A client of any V2 server: one request, or a load.
mod client;

// A page of what a gate knows.
mod ui;

// Requests that wait at the gate for a backend.
mod hold;

// What a day of requests would cost.
mod simulate;

// What filters ask: lookups by digest, what is live.
mod gate;

// The edges: V2 over gRPC,
mod grpc;

// and V2 and V1 over HTTP.
mod http;

// What a new version computes again before it takes requests.
mod replay;

// One inference, whatever it came by.
mod infer;

// What models were asked, kept encrypted for a while.
mod record;

// Which versions are served, and how they come and go.
mod models;

// Originals beside their variants, compared.
mod shadow;

// What is kept of answers, and which generations are live.
mod cache;

// Equal requests joined; queues, batches, the threads of sessions.
mod schedule;

// Another server that computes in this one's place.
mod upstream;

// What computes: ONNX Runtime and TensorRT.
mod engine;

// A model's `config.pbtxt`.
mod config;

// Logs, metrics, statistics, readiness.
mod observe;

// Flags and environment.
mod settings;

// Who asks, and on whose behalf.
mod trust;

// Bodies on their way in, and their bounds.
mod body;

// Kinds of errors.
mod class;

// Triton's messages, made at build time.
mod proto;

// Connections to other servers.
mod connect;

// The pool's clock, pauses.
mod time;

// Shapes and numbers as SVG.
mod picture;

pub mod fuzzing;
#[cfg(test)]
mod rooms;

use std::process::ExitCode;

use settings::Command;

/// What a wrong flag, environment variable or configuration file ends with.
const EXIT_WRONG_SETTINGS: u8 = 2;
/// What `optimize` ends with where no variant may be installed.
const EXIT_KEPT: u8 = 3;
/// What it ends with after Ctrl-C, as shells say it.
const EXIT_STOPPED: u8 = 130;

/// Runs `forebay` with the process's arguments until it ends.
pub fn run() -> ExitCode {
    let command = match settings::from_arguments(std::env::args_os()) {
        Ok(command) => command,
        Err(settings::Stop::Shown(text)) => {
            print!("{text}");
            return ExitCode::SUCCESS;
        }
        Err(settings::Stop::Wrong(line)) => {
            observe::logs::say_end(&line, settings::log_format(std::env::args_os()));
            return ExitCode::from(EXIT_WRONG_SETTINGS);
        }
    };
    let format = command.log_format();
    let ended = match command {
        Command::Serve(settings) => run::serve::run(&settings),
        Command::Front(settings) => run::front::run(&settings),
        Command::Gate(settings) => run::gate::run(&settings),
        Command::CheckFilter(settings) => run::check_filter::run(&settings),
        // They were checked when they were read.
        Command::CheckSettings(_) => Ok(()),
        Command::Generation(settings) => run::generation::run(&settings),
        Command::Infer(settings) => client::infer(&settings),
        Command::Bench(settings) => client::bench(&settings),
        Command::Cache(settings) => client::cache(&settings),
        Command::Simulate(settings) => simulate::run(&settings),
        Command::Judge => return optimize::judge(),
        Command::Optimize(settings) => match optimize::run(&settings) {
            Ok(optimize::Outcome::Done) => Ok(()),
            Ok(optimize::Outcome::Kept) => return ExitCode::from(EXIT_KEPT),
            Ok(optimize::Outcome::Stopped) => return ExitCode::from(EXIT_STOPPED),
            Err(error) => Err(error),
        },
        Command::Plan(settings) => match observe::logs::start(&settings) {
            Ok(_) => return engine::tensorrt::build_plan(),
            Err(error) => Err(error.into()),
        },
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            observe::logs::say_end(&format!("{error:#}"), format);
            match error.downcast_ref::<settings::SettingsError>() {
                Some(_) => ExitCode::from(EXIT_WRONG_SETTINGS),
                None => ExitCode::FAILURE,
            }
        }
    }
}
