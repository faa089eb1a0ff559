//! A `forebay serve` of the kit: a repository and an engine enter; its address leaves, and it ends with its group.

use std::path::PathBuf;

use anyhow::{Result, ensure};

use super::kit::{Engine, Kit};
use crate::command::command;
use rig::forebay::Ports;
use rig::group::Group;
use rig::process::PATIENCE;

/// What is served.
#[derive(Default)]
pub(super) struct Served<'a> {
    pub(super) repository: PathBuf,
    /// Loaded at start.
    pub(super) models: &'a [&'a str],
    /// Beside those that every server has.
    pub(super) flags: &'a [&'a str],
    pub(super) environment: &'a [(&'a str, &'a str)],
}

/// Starts it with the models that are named; others are loaded by call. Returns its HTTP port.
///
/// # Errors
/// It can't be started, or a model can't be loaded: the end of its log is in the message.
pub(super) fn start(kit: &Kit, engine: &Engine, served: &Served, group: &mut Group) -> Result<u16> {
    let Served { repository, models, flags, environment } = served;
    let mut serve = command(kit.program("forebay"), ["serve", "--http-address=127.0.0.1", "--http-port=0"]);
    serve.arg("--gate-port=0");
    serve.args(["--metrics-address=127.0.0.1", "--metrics-port=0"]);
    serve.args(["--grpc-address=127.0.0.1", "--grpc-port=0", "--pool=none", "--log-format=text"]);
    serve.args(["--model-control-mode=explicit", "--instances=1"]);
    serve.args(models.iter().map(|model| format!("--load-model={model}")));
    serve.arg("--model-repository").arg(repository).arg("--onnxruntime").arg(kit.onnxruntime());
    serve
        .args(flags.iter())
        .args(engine.flags())
        .envs(kit.environment())
        .envs(environment.iter().copied())
        .env("NO_COLOR", "1");
    let ports = group.start_until("serve", serve, PATIENCE, Ports::of)?;
    ensure!(ports.http != 0, "serve names no port");
    Ok(ports.http)
}
