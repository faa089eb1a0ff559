//! The start: a server that loads its models lives, says that it isn't ready, and ends when it is told to.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;
use std::time::{Duration, Instant, SystemTime};

use rig::process::{PATIENCE, Signal, printed};
use rig::repository::{add, generated};
use serde_json::json;
use tonic::{Code, Request};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use crate::client::{fp32, send};
use crate::control::load;
use crate::grpc::{ask, call, channel, infer, proto, raw};
use crate::process::{Forebay, command, refused, repository_with, serve_command, test_repository};
use crate::proxied::{NONE, poll};

/// A model's file that is not written yet: who reads it waits.
struct Unwritten(PathBuf);

impl Unwritten {
    /// In the place of that model's file.
    fn of(root: &Path, model: &str) -> Self {
        let file = root.join(model).join("1/model.onnx");
        std::fs::remove_file(&file).unwrap();
        printed(Command::new("mkfifo").arg(&file));
        Self(file)
    }

    /// Writes it once somebody reads.
    fn write(self, bytes: &[u8]) {
        self.read().write(bytes);
    }

    /// Once somebody reads it.
    fn read(self) -> Awaited {
        let before = std::fs::metadata(&self.0).unwrap().modified().unwrap();
        let file = File::options().write(true).open(&self.0).unwrap();
        Awaited { file, before }
    }
}

/// One that somebody waits for.
struct Awaited {
    file: File,
    before: SystemTime,
}

impl Awaited {
    fn write(mut self, bytes: &[u8]) {
        self.file.write_all(bytes).unwrap();
        // A model whose files change while it is loaded would be refused.
        self.file.set_modified(self.before).unwrap();
    }
}

#[tokio::test]
async fn while_models_are_loaded_it_lives_and_says_that_it_is_not_ready() {
    let root = repository_with("identity_fp32", "");
    let model = Unwritten::of(root.path(), "identity_fp32");
    let explicit = ["--model-control-mode", "explicit", "--load-model", "identity_fp32"];
    let mut forebay = Forebay::loading(serve_command(root.path(), &explicit));
    let status = |path: &str| forebay.get(path).status;
    assert_eq!((status("/v2/health/live"), status("/v2/health/ready")), (200, 503));
    assert_eq!(send(forebay.metrics_port, "GET", "/metrics", &[], b"").status, 200);
    for path in ["/v2/models/identity_fp32", "/v2/models/identity_fp32/ready", "/v1/models"] {
        assert_eq!((path, status(path)), (path, 503));
    }
    let refused = forebay.infer("identity_fp32", &[], &fp32(&[1.0]));
    assert_eq!((refused.status, refused.header("retry-after")), (503, "1"), "{refused:?}");
    assert!(refused.error().contains("models are being loaded"), "{}", refused.error());
    assert_eq!(load(&forebay, "identity_fp32", &json!({})).status, 503);
    let index = send(forebay.http_port, "POST", "/v2/repository/index", &[], b"").json();
    assert_eq!(index, json!([{ "name": "identity_fp32", "state": "LOADING" }]));
    assert_eq!(poll(&forebay, "p", NONE, 0).status, 503, "no proxy is told that nothing is live");

    let channel = &mut channel(&forebay);
    let live: proto::ServerLiveResponse =
        ask(channel, "ServerLive", proto::ServerLiveRequest {}).await.unwrap();
    let ready: proto::ServerReadyResponse =
        ask(channel, "ServerReady", proto::ServerReadyRequest {}).await.unwrap();
    assert_eq!((live.live, ready.ready), (true, false));
    let asked = raw("identity_fp32", "FP32", &[1, 1], &1_f32.to_le_bytes());
    assert_eq!(infer(channel, asked.clone()).await.unwrap_err().code(), Code::Unavailable);
    let health = || Request::new(HealthCheckRequest::default());
    let check = "/grpc.health.v1.Health/Check";
    let told: HealthCheckResponse = call(channel, check, health()).await.unwrap();
    assert_eq!(told.status(), ServingStatus::NotServing);

    model.write(&generated("identity_fp32"));
    forebay.until_ready();
    let told: HealthCheckResponse = call(channel, check, health()).await.unwrap();
    assert_eq!(told.status(), ServingStatus::Serving);
    assert_eq!(forebay.get("/v2/health/ready").status, 200);
    assert!(infer(channel, asked).await.is_ok());
}

#[test]
fn models_are_loaded_side_by_side_so_many_at_a_time_as_are_allowed() {
    let root = tempfile::tempdir().unwrap();
    let bytes = generated("identity_fp32");
    let waits = ["a", "b", "c"].map(|model| {
        add(root.path(), model, "model.onnx", &bytes, "");
        let model = Unwritten::of(root.path(), model);
        let (told, hears) = mpsc::channel();
        std::thread::spawn(move || told.send(model.read()));
        hears
    });
    let mut forebay = Forebay::loading(serve_command(root.path(), &["--model-load-thread-count", "2"]));
    let [a, b, c] = &waits;
    let read = |model: &mpsc::Receiver<Awaited>| model.recv_timeout(PATIENCE).unwrap();
    let (first, second) = (read(a), read(b));
    assert!(c.try_recv().is_err(), "a third is read while two are");
    second.write(&bytes);
    read(c).write(&bytes);
    first.write(&bytes);
    forebay.until_ready();
    let index = send(forebay.http_port, "POST", "/v2/repository/index", &[], b"").json();
    let states: Vec<_> = index.as_array().unwrap().iter().map(|model| &model["state"]).collect();
    assert_eq!(states, ["READY"; 3]);
}

#[test]
fn a_signal_while_models_are_loaded_ends_it_at_once_whatever_the_load_does() {
    let root = repository_with("identity_fp32", "");
    let _never_written = Unwritten::of(root.path(), "identity_fp32");
    let waits = ["--drain-secs", "100", "--exit-timeout-secs", "200"];
    let forebay = Forebay::loading(serve_command(root.path(), &waits));
    let began = Instant::now();
    forebay.signal(Signal::TERM);
    assert_eq!(forebay.wait().code(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}

#[test]
fn a_library_that_is_no_onnx_runtime_ends_the_start_with_models_and_without() {
    let folder = tempfile::tempdir().unwrap();
    let (library, none) = (folder.path().join("lib.so"), folder.path().join("models"));
    std::fs::write(&library, "no library").unwrap();
    std::fs::create_dir(&none).unwrap();
    for (library, models) in [
        (&library, &test_repository()),
        (&folder.path().join("missing.so"), &test_repository()),
        // Without models nobody waits for it.
        (&library, &none),
    ] {
        let ports = ["--http-port=0", "--grpc-port=0", "--gate-port=0", "--metrics-port=0"];
        let mut serve = command(&["serve"]);
        serve.args(ports).arg("--model-repository").arg(models).arg("--onnxruntime").arg(library);
        let (code, said) = refused(serve.env("FOREBAY_LOG", "warn"));
        let says = format!("--onnxruntime: can't load {}", library.display());
        assert_eq!((code, said.contains(&says), said.trim().lines().count()), (Some(2), true, 1), "{said}");
    }
}
