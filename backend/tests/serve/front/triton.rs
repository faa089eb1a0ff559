//! Before Triton itself, which says neither how long answers may be kept nor what it has loaded. Its model multiplies by what a file
//! says, so that it is seen which files answered.

use std::process::Command;

use rig::installed::installed;
use rig::process::{Process, free_port, printed, until};
use rig::repository::put;
use serde_json::Value;

use super::*;
use crate::control::load;
use crate::proxied::looked_up;

const MODEL_PY: &str = r#"
import os, sys
# The backend reads no PYTHONPATH.
sys.path.insert(0, "PACKAGES")
import triton_python_backend_utils as pb

class TritonPythonModel:
    def initialize(self, args):
        with open(os.path.join(args["model_repository"], args["model_version"], "factor")) as file:
            self.factor = float(file.read())

    def execute(self, requests):
        def answer(request):
            x = pb.get_input_tensor_by_name(request, "x").as_numpy()
            return pb.InferenceResponse([pb.Tensor("y", (x * self.factor).astype("float32"))])
        return [answer(request) for request in requests]
"#;
const CONFIG: &str = r#"
backend: "python"
input { name: "x" data_type: TYPE_FP32 dims: [ -1 ] }
output { name: "y" data_type: TYPE_FP32 dims: [ -1 ] }
instance_group { count: 1 kind: KIND_CPU }
"#;

/// Triton with the models `scaled`, whose configuration enables the response cache, and `plain`.
struct Triton {
    root: tempfile::TempDir,
    ports: (u16, u16),
    process: Process,
}

impl Triton {
    fn start() -> Self {
        let root = tempfile::tempdir().unwrap();
        for (model, cache) in [("scaled", "response_cache { enable: true }"), ("plain", "")] {
            put(root.path(), format!("{model}/config.pbtxt"), format!("{CONFIG}{cache}"));
            let packages = installed("triton/packages");
            let model_py = MODEL_PY.replace("PACKAGES", packages.to_str().unwrap());
            put(root.path(), format!("{model}/1/model.py"), model_py);
            put(root.path(), format!("{model}/1/factor"), "2");
        }
        let ports = (free_port(), free_port());
        let process = Self::process(root.path(), ports);
        Self { root, ports, process }
    }

    fn process(root: &Path, (http, grpc): (u16, u16)) -> Process {
        let folder = installed("triton");
        let python = installed("venv/bin/python");
        let libraries = "import sysconfig; print(sysconfig.get_config_var('LIBDIR'))";
        let libraries = printed(Command::new(python).args(["-c", libraries]));
        let mut command = Command::new(folder.join("bin/tritonserver"));
        command.env("LD_LIBRARY_PATH", format!("{}:{}", folder.join("lib").display(), libraries.trim()));
        command.env_remove("VIRTUAL_ENV").env("PYTHONDONTWRITEBYTECODE", "1");
        command.arg("--model-repository").arg(root);
        command.arg("--backend-directory").arg(folder.join("backends"));
        command.args(["--model-control-mode=explicit", "--load-model=*", "--exit-timeout-secs=2"]);
        command.args(["--allow-metrics=false", "--http-address=127.0.0.1", "--grpc-address=127.0.0.1"]);
        command.arg(format!("--http-port={http}")).arg(format!("--grpc-port={grpc}"));
        let mut process = Process::start("triton", command).with_children();
        process.until("it is ready", || {
            let ready = rig::http::send(http, &rig::http::get("/v2/health/ready")).ok()?;
            (ready.status == 200).then_some(())
        });
        process
    }

    fn front(&self, arguments: &[&str]) -> Forebay {
        Forebay::start(front_command(self.ports, arguments))
    }

    fn asked(&self, model: &str, values: &[f32]) -> Answer {
        infer_at(self.ports.0, model, values)
    }

    /// How many inferences of `scaled` it has computed.
    fn computed(&self) -> u64 {
        let said = rig::http::send(self.ports.0, &rig::http::get("/v2/models/scaled/stats")).unwrap();
        said.json()["model_stats"][0]["inference_count"].as_u64().unwrap()
    }

    fn factor(&self, factor: &str) {
        put(self.root.path(), "scaled/1/factor", factor);
    }
}

fn request(values: &[f32]) -> Value {
    json!({ "inputs": [{ "name": "x", "datatype": "FP32", "shape": [values.len()], "data": values }] })
}

fn infer_at(port: u16, model: &str, values: &[f32]) -> Answer {
    let body = request(values).to_string();
    send(port, "POST", &format!("/v2/models/{model}/infer"), &[], body.as_bytes())
}

fn value(answer: &Answer) -> Value {
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["outputs"][0]["data"][0].clone()
}

/// A row of the report.
fn seen(what: &str, is: &str) {
    // The name of the test stands in the line before.
    println!("\n| {what} | {is} |");
}

#[tokio::test]
#[ignore = "wants Triton: cargo xtask triton"]
async fn triton_answers_once_and_the_front_in_all_three_encodings_and_errors_are_tritons() {
    let triton = Triton::start();
    let front = triton.front(&by_files(triton.root.path()));
    let server = front.get("/v2").json();
    seen("the server, asked through the front", &format!("{} {}", server["name"], server["version"]));
    let first = infer_at(front.http_port, "scaled", &[1.5]);
    assert_eq!(value(&first), json!(3.0));
    seen(
        "a first request, JSON",
        &format!("`{}`, `{}`", first.cache_status(), first.header("cache-control")),
    );
    let json = infer_at(front.http_port, "scaled", &[1.5]);
    let binary = front.infer_binary("scaled", "FP32", &[1], &1.5_f32.to_le_bytes());
    assert!(json.is_hit() && binary.is_hit() && binary.body.ends_with(&3.0_f32.to_le_bytes()), "{binary:?}");
    let call = Request::new(raw("scaled", "FP32", &[1], &1.5_f32.to_le_bytes()));
    let path = "/inference.GRPCInferenceService/ModelInfer";
    let called: tonic::Response<forebay_protocol::messages::ModelInferResponse> =
        answer(&mut channel(&front), path, call).await.unwrap();
    let status = called.metadata().get("cache-status").unwrap().to_str().unwrap().to_owned();
    assert!(status.contains("hit") && triton.computed() == 1, "{status}");
    assert_eq!(called.into_inner().raw_output_contents[0], 3.0_f32.to_le_bytes()[..]);
    seen("the same again, as JSON, binary tensors and a call", &format!("`{status}`; Triton computed 1"));
    for _ in 0..2 {
        assert_eq!(value(&infer_at(front.http_port, "plain", &[1.0])), json!(2.0));
    }
    let plain = infer_at(front.http_port, "plain", &[1.0]);
    seen("a model that nobody allows", &format!("`{}`", plain.cache_status()));
    let wrong = json!({ "inputs": [{ "name": "x", "datatype": "FP32", "shape": [1, 1], "data": [1] }] });
    let (passed, direct) = (front.infer("scaled", &[], &wrong), {
        let body = wrong.to_string();
        send(triton.ports.0, "POST", "/v2/models/scaled/infer", &[], body.as_bytes())
    });
    assert_eq!((passed.status, passed.error()), (direct.status, direct.error()));
    let refused = infer(&mut channel(&front), raw("scaled", "FP32", &[1, 1], &[0; 4])).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    seen(
        "a wrong shape",
        &format!("{} over HTTP and {:?} over gRPC: {}", passed.status, refused.code(), passed.error().trim()),
    );
}

#[test]
#[ignore = "wants Triton: cargo xtask triton"]
fn files_that_changed_mean_no_hits_until_a_load_through_the_front() {
    let triton = Triton::start();
    let front = triton.front(&by_files(triton.root.path()));
    let asked = || infer_at(front.http_port, "scaled", &[1.0]);
    assert!(value(&asked()) == json!(2.0) && asked().is_hit());
    let before = asked().header("x-forebay-generation").to_owned();
    triton.factor("5");
    until("nothing is kept", || (asked().header("cache-control") == "no-store").then_some(()));
    assert_eq!(value(&asked()), json!(2.0));
    assert_eq!(looked_up(&front, "scaled").unwrap_or_default(), "");
    seen("files that changed and are not loaded", &format!("`{}`, still 2 times", asked().cache_status()));
    assert_eq!(load(&front, "scaled", &json!({})).status, 200);
    let after = asked();
    assert!(value(&after) == json!(5.0) && !after.is_hit() && asked().is_hit(), "{after:?}");
    let generation = after.header("x-forebay-generation").to_owned();
    assert!(generation != before && looked_up(&front, "scaled").as_deref() == Some(generation.as_str()));
    seen(
        "a load through the front",
        &format!("5 times, another generation, `{}`, then a hit", after.cache_status()),
    );
    triton.factor("2");
    assert_eq!(load(&front, "scaled", &json!({})).status, 200);
    let back = asked();
    assert!(
        value(&back) == json!(2.0) && back.is_hit() && back.header("x-forebay-generation") == before,
        "{back:?}"
    );
    seen("files that were there before, loaded again", "2 times, the generation of then, a hit");
}

#[test]
#[ignore = "wants Triton: cargo xtask triton"]
fn a_triton_that_starts_again_is_known_and_without_a_ground_requests_are_joined() {
    let mut triton = Triton::start();
    let joining = triton.front(&[]);
    let ask = || infer_at(joining.http_port, "scaled", &[7.0; 4096]);
    let answers: Vec<Answer> = std::thread::scope(|scope| {
        let asks: Vec<_> = (0..32).map(|_| scope.spawn(ask)).collect();
        asks.into_iter().map(|asked| asked.join().unwrap()).collect()
    });
    let joined = answers.iter().filter(|answer| answer.cache_status().contains("collapsed")).count();
    assert!(answers.iter().all(|answer| value(answer) == json!(14.0)) && !ask().is_hit(), "{answers:?}");
    assert_eq!(triton.computed(), u64::try_from(33 - joined).unwrap());
    seen(
        "32 equal requests at once, without a generation",
        &format!("{joined} were joined, the next was no hit"),
    );
    let front = triton.front(&["--model-repository", triton.root.path().to_str().unwrap()]);
    let asked = || infer_at(front.http_port, "scaled", &[1.0]);
    assert!(!asked().is_hit() && !asked().is_hit());
    triton.process.terminate();
    until("it is not ready", || (front.get("/v2/health/ready").status == 503).then_some(()));
    let gone = asked();
    assert_eq!(gone.status, 503, "{gone:?}");
    let said = gone.error().replace(&format!(":{}", triton.ports.1), ":PORT");
    seen("a Triton that is gone", &format!("{}: {said}", gone.status));
    triton.process = Triton::process(triton.root.path(), triton.ports);
    until("it is ready", || (front.get("/v2/health/ready").status == 200).then_some(()));
    assert!(!asked().is_hit() && asked().is_hit(), "{:?}", asked());
    seen(
        "its start, as the front saw it",
        "what it loaded is known without --files-are-loaded: a miss, then a hit",
    );
    let direct = triton.asked("scaled", &[1.0]);
    assert_eq!(value(&direct), value(&asked()));
}
