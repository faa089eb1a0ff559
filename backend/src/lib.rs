//! Forebay's backend: `serve` answers inference requests, `gate` answers the filters' lookups, `check-filter` reads a filter's
//! settings as the filter does, `plan` builds one plan of TensorRT's for `serve`. Arguments enter ([`run`]), an exit code leaves.
//!
//! In the order of a request: `http` takes it, `models` finds who answers, `signature` checks it, `store` looks
//! it up, `flight` joins it to an equal one, `schedule` queues it, `engine` computes it, `store` keeps it.

#![forbid(unsafe_code)]
// What of the shared parts TensorRT alone needs lies idle in a build without it.
#![cfg_attr(not(feature = "tensorrt"), allow(dead_code))]

mod busy_poll;
mod check_filter;
mod clock;
mod control;
mod drain;
mod engine;
mod every;
mod flight;
pub mod fuzzing;
mod gate;
mod generation;
mod grpc;
mod http;
mod infer;
mod jitter;
mod live;
mod load;
mod logs;
mod memory;
mod metadata;
mod metrics;
mod model_config;
mod models;
mod policy;
mod poll;
mod pool;
mod proto;
mod recovery;
mod repository;
mod restricted;
mod schedule;
mod serve;
mod settings;
mod signature;
mod statistics;
mod store;
mod trace;
mod trust;
mod warmup;

use std::process::ExitCode;

use settings::Command;

/// What a wrong flag, environment variable or configuration file ends with.
const EXIT_WRONG_SETTINGS: u8 = 2;

/// Runs `forebay` with the process's arguments until it ends.
pub fn run() -> ExitCode {
    let command = match settings::from_arguments(std::env::args_os()) {
        Ok(command) => command,
        Err(settings::Stop::Shown(text)) => {
            print!("{text}");
            return ExitCode::SUCCESS;
        }
        Err(settings::Stop::Wrong(line)) => {
            eprintln!("forebay: {line}");
            return ExitCode::from(EXIT_WRONG_SETTINGS);
        }
    };
    let ended = match command {
        Command::Serve(settings) => serve::run(&settings),
        Command::Gate(settings) => gate::run(&settings),
        Command::CheckFilter(settings) => check_filter::run(&settings),
        Command::Plan(settings) => match logs::start(&settings) {
            Ok(_) => return engine::tensorrt::build_plan(),
            Err(error) => Err(error.into()),
        },
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("forebay: {error:#}");
            match error.downcast_ref::<settings::SettingsError>() {
                Some(_) => ExitCode::from(EXIT_WRONG_SETTINGS),
                None => ExitCode::FAILURE,
            }
        }
    }
}
