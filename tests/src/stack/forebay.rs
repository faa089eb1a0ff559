//! `forebay serve` and `forebay gate`, and the files that they want.

use crate::installed::{forebay, installed};
use crate::process::Process;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Ports of a ready line.
#[derive(Clone, Copy)]
pub(crate) struct Bound {
    pub(crate) http_port: u16,
    /// `serve` only.
    pub(crate) grpc_port: Option<u16>,
    pub(crate) metrics_port: u16,
}

/// Secrets of one stack, and the files that hold them.
pub(crate) struct Secrets {
    pub(crate) token: String,
    token_file: PathBuf,
    pool_file: PathBuf,
}

impl Secrets {
    pub(crate) fn create(folder: &Path) -> Self {
        let token = format!("token-of-{}", folder.file_name().unwrap_or_default().to_string_lossy());
        let (token_file, pool_file) = (folder.join("token"), folder.join("pool-secret"));
        fs::write(&token_file, &token).expect("the token's file");
        fs::write(&pool_file, format!("pool-secret-{token}")).expect("the secret's file");
        Self { token, token_file, pool_file }
    }
}

/// A repository of its own with copies of those models.
pub(crate) fn repository(folder: &Path, models: &[String]) -> PathBuf {
    let repository = folder.join("repository");
    for model in models {
        let real = ["vad", "magika"].contains(&model.as_str());
        let from = installed(if real { "repository" } else { "test-repository" }).join(model);
        let to = repository.join(model);
        fs::create_dir_all(to.join("1")).expect("the repository");
        for file in ["config.pbtxt", "1/model.onnx"] {
            fs::copy(from.join(file), to.join(file))
                .unwrap_or_else(|error| panic!("{model}/{file}: {error}"));
        }
    }
    repository
}

/// `serve` on that port; 0 picks a free one.
pub(crate) fn serve(
    (repository, service): (&Path, &str),
    port: u16,
    redis_url: Option<&str>,
    secrets: &Secrets,
    more: &[String],
) -> Command {
    let mut command = shared("serve", port, redis_url, secrets);
    command.args(["--grpc-address=127.0.0.1", "--grpc-port=0"]);
    command.args(["--service", service, "--model-control-mode", "poll", "--repository-poll-secs", "1"]);
    command.arg("--model-repository").arg(repository).arg("--onnxruntime").arg(onnxruntime());
    command.arg("--filter-token-file").arg(&secrets.token_file).args(more);
    command
}

/// `gate` on that port; 0 picks a free one.
pub(crate) fn gate(redis_url: &str, port: u16, secrets: &Secrets) -> Command {
    shared("gate", port, Some(redis_url), secrets)
}

fn shared(subcommand: &str, port: u16, redis_url: Option<&str>, secrets: &Secrets) -> Command {
    let mut command = Command::new(forebay());
    command.args([subcommand, "--http-address=127.0.0.1", "--metrics-address=127.0.0.1", "--metrics-port=0"]);
    command.arg(format!("--http-port={port}"));
    command.args(["--log-format", "text", "--pool", if redis_url.is_some() { "redis" } else { "memory" }]);
    command.arg("--pool-secret-file").arg(&secrets.pool_file);
    command.arg("--gate-token-file").arg(&secrets.token_file);
    if let Some(url) = redis_url {
        command.args(["--redis-url", url]);
    }
    command
}

fn onnxruntime() -> PathBuf {
    let folder = fs::read_dir(installed("lib")).expect(".forebay/lib");
    let mut files = folder.flatten().map(|file| file.path());
    let library = files.find(|path| path.to_string_lossy().contains("libonnxruntime.so"));
    library.expect("no libonnxruntime.so.* in .forebay/lib; `cargo xtask test` installs it")
}

/// Starts it and waits for its ready line.
pub(crate) fn start(name: &str, command: Command) -> (Process, Bound) {
    let mut process = Process::start(name, command);
    let bound = process.until_line(|line| {
        let line: Value = serde_json::from_str(line).ok()?;
        let port = |name: &str| u16::try_from(line.get(name)?.as_u64()?).ok();
        Some(Bound {
            http_port: port("http_port")?,
            grpc_port: port("grpc_port"),
            metrics_port: port("metrics_port")?,
        })
    });
    (process, bound)
}
