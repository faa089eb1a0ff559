//! `forebay serve` and `forebay gate`, and the files that they want.

use super::clocks::Clocks;
use forebay_protocol::gate::LOOKUP_PATH;
use forebay_protocol::header::{
    X_FOREBAY_DIGEST, X_FOREBAY_GENERATION, X_FOREBAY_MODEL, X_FOREBAY_SERVICE, X_FOREBAY_TENANCY,
    X_FOREBAY_TENANT, X_FOREBAY_TOKEN,
};
use rig::forebay::Ports;
use rig::http::{self, Answer};
use rig::installed::{checkout, forebay, installed, onnxruntime};
use rig::mtls;
use rig::process::{Process, program, until};
use rig::repository::put;
use rustls::ClientConfig;
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

/// Secrets of one stack, and the files that hold them.
pub(crate) struct Secrets {
    pub(crate) token: String,
    /// Of every caller at the gate, where results are parted.
    tenant: Option<String>,
    /// `None`: nothing is encrypted.
    tls: Option<Tls>,
    serve: Files,
    gate: Files,
}

/// Certificates of a stack.
#[derive(Clone)]
pub struct Tls {
    /// `tls.crt`, `tls.key` and `ca.crt`, as a Secret of Kubernetes has them.
    pub folder: PathBuf,
    /// Who believes them.
    pub client: Arc<ClientConfig>,
}

/// The files of one program.
#[derive(Clone)]
pub(crate) struct Files {
    /// Whose tokens are taken; `None` where nobody needs one.
    credentials: Option<PathBuf>,
    pool: PathBuf,
    /// Redis' password; `None` where it wants none.
    password: Option<PathBuf>,
}

impl Files {
    /// Those of a folder that somebody else fills, as the chart names them.
    pub(crate) fn of(folder: &Path) -> Self {
        let file = |name: &str| folder.join(name);
        Self {
            credentials: Some(file("credentials.json")),
            pool: file("pool-secret"),
            password: Some(file("pool-password")),
        }
    }
}

impl Secrets {
    /// `credentialed`: who asks the gate for one of those services must show the token.
    pub(crate) fn create(folder: &Path, services: &[String], credentialed: bool) -> Self {
        let token = format!("token-of-{}", folder.file_name().unwrap_or_default().to_string_lossy());
        let (pool_file, credentials_file) = (folder.join("pool-secret"), folder.join("credentials.json"));
        fs::write(&pool_file, format!("pool-secret-{token}")).expect("the secret's file");
        let rows = services
            .iter()
            .map(|service| json!({"name": "envoy", "token": token, "service": service, "tenants": ["*"]}));
        let credentials = json!({"credentials": rows.collect::<Vec<_>>()}).to_string();
        fs::write(&credentials_file, credentials).expect("the file of credentials");
        let credentials = credentialed.then_some(credentials_file);
        let files = Files { credentials, pool: pool_file, password: None };
        Self { token, tenant: None, tls: None, serve: files.clone(), gate: files }
    }

    /// The same with other files, which hold that token.
    pub(crate) fn brought(token: &str, serve: Files, gate: Files) -> Self {
        Self { token: token.to_owned(), tenant: None, tls: None, serve, gate }
    }

    /// Results are parted, and what is asked for at the gate is this one's.
    pub(crate) fn of_tenant(self, tenant: Option<String>) -> Self {
        Self { tenant, ..self }
    }

    /// Servers show those certificates.
    pub(crate) fn with_tls(self, tls: Option<Tls>) -> Self {
        Self { tls, ..self }
    }

    /// Sends one request to a port where gate or backend listens.
    fn send(&self, port: u16, request: &[u8]) -> std::io::Result<Answer> {
        match &self.tls {
            None => http::send(port, request),
            Some(Tls { client, .. }) => mtls::send(client, port, request),
        }
    }
}

/// A repository of its own with copies of those models.
pub(crate) fn repository(folder: &Path, models: &[String]) -> PathBuf {
    let repository = folder.join("repository");
    for model in models {
        let from = match model.as_str() {
            "double" => checkout().join("examples/repository"),
            "vad" | "magika" => installed("repository"),
            _ => installed("test-repository"),
        };
        for file in ["config.pbtxt", "1/model.onnx"].map(|file| format!("{model}/{file}")) {
            let bytes = fs::read(from.join(&file)).unwrap_or_else(|error| panic!("{file}: {error}"));
            put(&repository, file, bytes);
        }
    }
    repository
}

/// `serve` on those ports; 0 picks a free one.
pub(crate) fn serve(
    (repository, service): (&Path, &str),
    (http, grpc, metrics): (u16, u16, u16),
    pool_url: Option<&str>,
    secrets: &Secrets,
    more: &[String],
) -> Command {
    let mut command = shared("serve", pool_url, secrets, &secrets.serve);
    command.args(["--http-address=127.0.0.1", "--gate-port=0"]).arg(format!("--http-port={http}"));
    command.arg("--grpc-address=127.0.0.1").arg(format!("--grpc-port={grpc}"));
    command.arg(format!("--metrics-port={metrics}"));
    command.args(["--service", service, "--model-control-mode", "poll", "--repository-poll-secs", "1"]);
    command.arg("--model-repository").arg(repository).arg("--onnxruntime").arg(onnxruntime());
    command.args(more);
    command
}

/// `serve` as another server that keeps nothing, whose models change by call.
pub(crate) fn upstream(repository: &Path) -> Command {
    let mut command = program(forebay());
    command.args(["serve", "--pool", "none", "--model-control-mode", "explicit", "--load-model", "*"]);
    command.args(["--log-format", "text", "--metrics-address=127.0.0.1", "--metrics-port=0"]);
    command.args(["--http-address=127.0.0.1", "--http-port=0", "--grpc-address=127.0.0.1", "--grpc-port=0"]);
    command.arg("--model-repository").arg(repository).arg("--onnxruntime").arg(onnxruntime());
    command
}

/// `front` before the server with those ports, which has that repository.
pub(crate) fn front(
    (repository, service): (&Path, &str),
    upstream: Ports,
    pool_url: Option<&str>,
    secrets: &Secrets,
    more: &[String],
) -> Command {
    let mut command = shared("front", pool_url, secrets, &secrets.serve);
    command.args(["--http-address=127.0.0.1", "--http-port=0", "--gate-port=0", "--metrics-port=0"]);
    command.args(["--grpc-address=127.0.0.1", "--grpc-port=0", "--service", service, "--look-secs", "0.1"]);
    command.arg(format!("--to=http://127.0.0.1:{}", upstream.http));
    command.arg(format!("--to-grpc=grpc://127.0.0.1:{}", upstream.grpc.unwrap_or(0)));
    command.arg("--model-repository").arg(repository).args(more);
    command
}

/// `gate` on that port; 0 picks a free one. It holds for that service, whose backend has those ports.
pub(crate) fn gate(pool_url: &str, port: u16, secrets: &Secrets, held_for: Option<(&str, Ports)>) -> Command {
    let mut command = shared("gate", Some(pool_url), secrets, &secrets.gate);
    command.arg(format!("--gate-port={port}")).arg("--metrics-port=0");
    if let Some((service, Ports { http, grpc, metrics, .. })) = held_for {
        command.args(["--hold-address=127.0.0.1", "--hold-ports=0,0", "--hold-service", service]);
        command.arg(format!("--hold-for=http://127.0.0.1:{http}"));
        command.arg(format!("--hold-for-grpc-port={}", grpc.unwrap_or(0)));
        command.arg(format!("--hold-for-metrics-port={metrics}"));
    }
    command
}

fn shared(subcommand: &str, pool_url: Option<&str>, secrets: &Secrets, files: &Files) -> Command {
    let mut command = program(forebay());
    command.args([subcommand, "--metrics-address=127.0.0.1"]);
    command.args(["--log-format", "text"]);
    match pool_url {
        None => command.args(["--pool", "memory"]),
        Some(url) if url.starts_with("memcached") => {
            command.args(["--pool", "memcached", "--memcached-url", url])
        }
        Some(url) => command.args(["--pool", "redis", "--redis-url", url]),
    };
    // What a busy machine delays must not become a miss.
    command.args(["--pool-timeout-ms", "500", "--pool-secret-file"]).arg(&files.pool);
    if secrets.tenant.is_some() {
        command.args(["--tenancy", "required"]);
    }
    if let Some(password) = &files.password {
        command.arg("--redis-password-file").arg(password);
    }
    if let Some(Tls { folder, .. }) = &secrets.tls {
        command.arg("--tls-cert-file").arg(folder.join("tls.crt"));
        command.arg("--tls-key-file").arg(folder.join("tls.key"));
    }
    if let Some(credentials) = &files.credentials {
        command.arg("--credentials-file").arg(credentials);
    }
    command
}

/// Starts it and waits for its ready line.
pub(crate) fn start(name: &str, mut command: Command, clocks: Option<&Clocks>) -> (Process, Ports) {
    command.envs(clocks.into_iter().flat_map(|clocks| clocks.environment(name)));
    let mut process = Process::start(name, command);
    let ports = process.until_line(Ports::of);
    (process, ports)
}

/// Has a server load a model.
pub(crate) fn load(http: u16, model: &str) {
    let path = format!("/v2/repository/models/{model}/load");
    let answer = http::send(http, &http::post(&path, &[("content-type", "application/json")], b"{}"));
    let answer = answer.expect("the server answers");
    assert_eq!(answer.status, 200, "{answer:?}");
}

/// Waits until lookups at that gate say what is live of a service's models.
pub(crate) fn until_told(gate_port: u16, secrets: &Secrets, service: &str, models: &[String]) {
    for model in models {
        let digest = "0".repeat(64);
        let tenancy = secrets
            .tenant
            .as_deref()
            .map(|tenant| [(X_FOREBAY_TENANCY, "required"), (X_FOREBAY_TENANT, tenant)]);
        let headers = [
            (X_FOREBAY_SERVICE, service),
            (X_FOREBAY_MODEL, model),
            (X_FOREBAY_DIGEST, &digest),
            (X_FOREBAY_TOKEN, &secrets.token),
        ];
        let headers = [&headers[..], tenancy.as_ref().map_or(&[], |tenancy| &tenancy[..])].concat();
        until("the gate knows what is live", || {
            let answer = secrets.send(gate_port, &http::head("GET", LOOKUP_PATH, &headers)).ok()?;
            (!answer.header(X_FOREBAY_GENERATION).is_empty()).then_some(())
        });
    }
}
