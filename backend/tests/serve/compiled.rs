//! ONNX models that TensorRT compiles when they are loaded, on the test double: what is built is kept, and what can't be built, ends
//! the process that builds, or takes too long, is one line, and the server lives on.

use std::path::{Path, PathBuf};
use std::process::Command;

use rig::http::{Answer, Connection, post};
use rig::installed::{installed, tensorrt_rtx};
use rig::process::{Process, until};
use rig::repository::add;
use serde_json::{Value, json};
use tensorrt_double::{CAPABILITY, FAIL, NVINFER, TRACE, VERSION, onnx};

use crate::client::{begun, send};
use crate::control::base64;
use crate::grpc;
use crate::grpc::proto::model_repository_parameter::ParameterChoice;
use crate::grpc::proto::{ModelRepositoryParameter, RepositoryModelLoadRequest, RepositoryModelLoadResponse};
use crate::process::{Forebay, children, refused, serve_command};

/// Rows of four, or of two, in batches of up to 64.
const CONFIG: &str = r#"backend: "tensorrt" max_batch_size: 64"#;
const EXPLICIT: [&str; 6] = ["--model-control-mode", "explicit", "--pool", "none", "--instances", "1"];
/// The parser stands still; its process can be ended by force alone.
const STUCK: &str = "parse:*=-19";

/// The affine model: y = 2 x + (0, 1, 2, 3).
fn repository(config: &str) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    add(root.path(), "m", "model.onnx", onnx::affine().encode(), config);
    root
}

fn command(root: &Path, arguments: &[&str]) -> Command {
    let mut command = serve_command(root, arguments);
    command.envs(tensorrt_double::environment());
    command
}

/// A server that loads by call, with that rule of the double's.
fn steered(root: &Path, rule: &str, arguments: &[&str]) -> Forebay {
    let mut command = command(root, &[&EXPLICIT[..], arguments].concat());
    command.env(FAIL, rule);
    Forebay::start(command)
}

fn call(forebay: &Forebay, model: &str, what: &str) -> Answer {
    send(forebay.http_port, "POST", &format!("/v2/repository/models/{model}/{what}"), &[], b"")
}

fn state(forebay: &Forebay, model: &str) -> Value {
    let index = send(forebay.http_port, "POST", "/v2/repository/index", &[], b"").json();
    index.as_array().unwrap().iter().find(|entry| entry["name"] == model).unwrap().clone()
}

fn ask(forebay: &Forebay, model: &str, shape: &[usize]) -> Answer {
    let data: Vec<usize> = (0..shape.iter().product()).map(|place| place % 3).collect();
    let input = json!({ "name": "x", "datatype": "FP32", "shape": shape, "data": data });
    forebay.infer(model, &[], &json!({ "inputs": [input] }))
}

fn is_answered(forebay: &Forebay) -> bool {
    let answer = ask(forebay, "m", &[1, 4]);
    answer.status == 200 && answer.json()["outputs"][0]["data"] == json!([0.0, 3.0, 6.0, 3.0])
}

/// What a server that can't load its models says last.
fn refusal(mut command: Command) -> String {
    let (code, said) = refused(&mut command);
    assert_ne!(code, Some(0), "{said}");
    said.lines().last().unwrap().to_owned()
}

#[test]
fn a_compiled_model_answers_as_onnx_runtime_does_and_tells_what_it_is() {
    let root = tempfile::tempdir().unwrap();
    let shapes = r#"platform: "tensorrt_plan" optimization { execution_accelerators { gpu_execution_accelerator {
        name: "tensorrt" parameters { key: "minShapes" value: "x:1" } parameters { key: "maxShapes" value: "x:64" } } } }"#;
    let named = r#"default_model_filename: "model.onnx" backend: "tensorrt" max_batch_size: 64"#;
    let models = [
        (onnx::affine(), CONFIG, &[[1, 4], [64, 4], [3, 4]].map(Vec::from)[..]),
        (onnx::layer(), named, &[[1, 2], [5, 2]].map(Vec::from)),
        (onnx::non_zero(), shapes, &[[1], [64], [7]].map(Vec::from)),
    ];
    for (number, (model, config, _)) in models.iter().enumerate() {
        add(root.path(), &format!("compiled_{number}"), "model.onnx", model.encode(), config);
        add(root.path(), &format!("onnx_{number}"), "model.onnx", model.encode(), "");
    }
    // Without a batch ONNX Runtime takes as many rows as the plan.
    let flags = ["--pool", "none", "--instances", "1", "--backend-config", "default-max-batch-size=0"];
    let forebay = Forebay::start(command(root.path(), &flags));
    for (number, (.., shapes)) in models.iter().enumerate() {
        for shape in *shapes {
            let [compiled, onnx] =
                ["compiled", "onnx"].map(|name| ask(&forebay, &format!("{name}_{number}"), shape));
            assert_eq!((compiled.status, onnx.status), (200, 200), "{compiled:?} {onnx:?}");
            assert_eq!(compiled.json()["outputs"], onnx.json()["outputs"]);
        }
    }
    let metadata = forebay.get("/v2/models/compiled_0").json();
    let input = &metadata["inputs"][0];
    assert_eq!((&metadata["platform"], &input["shape"]), (&json!("tensorrt_plan"), &json!([-1, 4])));
    let config = forebay.get("/v2/models/compiled_0/config").json();
    let told = ["platform", "backend", "default_model_filename"].map(|field| config[field].as_str().unwrap());
    assert_eq!(told, ["tensorrt_plan", "tensorrt", "model.onnx"]);
}

/// A folder of plans, and a count of builds.
struct Kept {
    folder: tempfile::TempDir,
    calls: tempfile::NamedTempFile,
}

impl Kept {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), calls: tempfile::NamedTempFile::new().unwrap() }
    }

    /// Serves until the model was asked. Its generation.
    fn serve(&self, root: &Path, environment: &[(&str, &str)]) -> String {
        let folder = self.folder.path().to_str().unwrap();
        let mut command = command(root, &["--optimized-model-dir", folder]);
        command.envs(environment.iter().copied()).env(TRACE, self.calls.path());
        let forebay = Forebay::start(command);
        assert!(is_answered(&forebay));
        ask(&forebay, "m", &[1, 4]).header("x-forebay-generation").to_owned()
    }

    fn builds(&self) -> usize {
        let calls = std::fs::read_to_string(&self.calls).unwrap();
        calls.lines().filter(|call| *call == "buildSerializedNetwork").count()
    }

    fn file(&self, extension: &str) -> PathBuf {
        let files = std::fs::read_dir(&self.folder).unwrap().map(|entry| entry.unwrap().path());
        let mut files = files.filter(|path| path.extension().is_some_and(|found| found == extension));
        let file = files.next().unwrap();
        assert!(files.next().is_none(), "one file is expected");
        file
    }
}

#[test]
fn a_plan_is_built_once_and_again_for_all_that_changes_it() {
    let root = repository(CONFIG);
    let kept = Kept::new();
    let first = kept.serve(root.path(), &[]);
    assert_eq!(kept.serve(root.path(), &[]), first);
    assert_eq!(kept.builds(), 1, "the second start found it");
    kept.serve(root.path(), &[(CAPABILITY, "89")]);
    assert_eq!(kept.builds(), 2, "for another GPU");
    kept.serve(root.path(), &[(VERSION, "110500")]);
    assert_eq!(kept.builds(), 3, "by another TensorRT");
    add(root.path(), "m", "model.onnx", onnx::affine().encode(), &CONFIG.replace("64", "32"));
    assert_ne!(kept.serve(root.path(), &[]), first);
    assert_eq!(kept.builds(), 4, "with other options");
    add(root.path(), "m", "model.onnx", onnx::affine().node("Relu", &["doubled"], "unused").encode(), CONFIG);
    assert_ne!(kept.serve(root.path(), &[]), first);
    assert_eq!(kept.builds(), 5, "of another model");
    add(root.path(), "m", "model.onnx", onnx::affine().encode(), CONFIG);
    assert_eq!(kept.serve(root.path(), &[]), first);
    assert_eq!(kept.builds(), 5, "all are kept");
    std::fs::write(root.path().join("m/1/weights.bin"), "of the model, as it were").unwrap();
    assert_ne!(kept.serve(root.path(), &[]), first);
    assert_eq!(kept.builds(), 6, "of a model with other files beside it");
}

#[test]
fn a_kept_plan_that_is_damaged_or_refused_is_built_again() {
    let root = repository(CONFIG);
    let kept = Kept::new();
    kept.serve(root.path(), &[]);
    let file = kept.file("plan");
    let whole = std::fs::read(&file).unwrap();
    // One whose digest is right, of another TensorRT as it were.
    let foreign = [&b"a plan of others"[..], blake3::hash(b"a plan of others").as_bytes()].concat();
    for (builds, content) in [(2, &whole[..whole.len() / 2]), (3, &foreign), (4, b"")] {
        std::fs::write(&file, content).unwrap();
        kept.serve(root.path(), &[]);
        assert_eq!(kept.builds(), builds);
        assert_eq!(std::fs::read(kept.file("plan")).unwrap(), whole);
    }
}

#[test]
fn what_builds_learn_is_given_to_the_next_and_may_be_refused() {
    let kept = Kept::new();
    let learnt = || {
        let bytes = std::fs::read(kept.file("timing")).unwrap();
        // A digest stands at the end.
        String::from_utf8(bytes[..bytes.len() - 32].to_vec()).unwrap()
    };
    kept.serve(repository(CONFIG).path(), &[]);
    assert_eq!(learnt(), "affine\n");
    // Another plan of the same model: the double learns its name once more.
    kept.serve(repository(&CONFIG.replace("64", "32")).path(), &[]);
    assert_eq!(learnt(), "affine\naffine\n");
    kept.serve(repository(&CONFIG.replace("64", "16")).path(), &[(FAIL, "setTimingCache:1=3")]);
    assert_eq!((learnt().as_str(), kept.builds()), ("affine\n", 3));
}

#[test]
fn a_model_for_several_gpus_of_a_kind_is_built_once_without_a_folder_too() {
    let root = repository(&format!("{CONFIG} instance_group {{ kind: KIND_GPU gpus: [ 0, 1 ] }}"));
    let calls = tempfile::NamedTempFile::new().unwrap();
    let mut command = command(root.path(), &[]);
    command.env(tensorrt_double::DEVICES, "2").env(TRACE, calls.path());
    assert!(is_answered(&Forebay::start(command)));
    let calls = std::fs::read_to_string(&calls).unwrap();
    let count = |name: &str| calls.lines().filter(|call| *call == name).count();
    assert_eq!((count("buildSerializedNetwork"), count("deserializeCudaEngine")), (1, 2));
}

#[test]
fn a_model_that_is_damaged_is_one_line_and_the_server_lives_on() {
    let root = repository(CONFIG);
    let forebay = steered(root.path(), "none:1=1", &["--load-model", "m"]);
    let whole = onnx::affine().encode();
    let unknown = onnx::affine().node("Nonsense", &["doubled"], "unused").encode();
    for (bytes, expected) in [
        (&b"junk"[..], "can't load model.onnx: it is no ONNX model: "),
        (&[], "can't load model.onnx: TensorRT can't parse the model: "),
        (&whole[..whole.len() / 2], "can't load model.onnx: it is no ONNX model: "),
        (&unknown, "Nonsense"),
    ] {
        add(root.path(), "bad", "model.onnx", bytes, CONFIG);
        let refused = call(&forebay, "bad", "load");
        assert_eq!(refused.status, 400, "{refused:?}");
        let told = state(&forebay, "bad");
        let reason = told["reason"].as_str().unwrap();
        assert_eq!((&told["state"], reason.lines().count()), (&json!("UNAVAILABLE"), 1), "{told}");
        assert!(reason.contains(expected) && refused.error().contains(expected), "{reason} {refused:?}");
    }
    for place in (0..whole.len()).step_by(whole.len() / 12) {
        let mut flipped = whole.clone();
        flipped[place] ^= 0xff;
        add(root.path(), "bad", "model.onnx", &flipped, CONFIG);
        let answer = call(&forebay, "bad", "load");
        // A change of a name or a weight is no damage that shows.
        assert!(answer.status == 200 || answer.status == 400 && !answer.error().is_empty(), "{answer:?}");
    }
    assert!(is_answered(&forebay));
}

#[test]
fn a_configuration_that_cant_be_built_says_what_would_be_right() {
    for (config, expected) in [
        (
            r#"backend: "tensorrt""#,
            r#"minShapes, maxShapes of the accelerator tensorrt must give "x" [-1, 4]"#,
        ),
        (
            r#"backend: "tensorrt" optimization { execution_accelerators { gpu_execution_accelerator {
                name: "tensorrt" parameters { key: "precision_mode" value: "FP16" } } } }"#,
            "config.pbtxt:2: precision_mode can't be chosen",
        ),
        (
            r#"backend: "tensorrt" max_batch_size: 4 optimization { execution_accelerators { gpu_execution_accelerator {
                name: "tensorrt" parameters { key: "versionCompatible" value: "1" } } } }"#,
            "versionCompatible makes a plan with code for the host",
        ),
    ] {
        let said = refusal(command(repository(config).path(), &[]));
        assert!(said.contains(expected), "{said}");
    }
}

#[test]
fn a_wrong_declaration_is_said_before_anything_is_built() {
    // What is built stands still, so whoever answers has built nothing.
    let input = |more: &str| format!("{CONFIG} input [ {{ name: \"x\" {more} }} ]");
    for (config, expected) in [
        (input("data_type: TYPE_FP32 dims: [ 5 ]"), "input \"x\" is declared with shape [-1,5]"),
        (input("data_type: TYPE_INT32 dims: [ 4 ]"), "input \"x\" is declared as INT32"),
        (
            format!("{CONFIG} output [ {{ name: \"z\" data_type: TYPE_FP32 dims: [ 4 ] }} ]"),
            "output \"z\" is declared",
        ),
        (
            format!(
                "{CONFIG} parameters {{ key: \"forebay_ttl\" value {{ string_value: \"1\" }} }} response_cache {{ enable: true }}"
            ),
            "forebay_ttl",
        ),
        (
            format!(
                "{CONFIG} model_warmup [ {{ name: \"w\" inputs {{ key: \"x\" value {{ data_type: TYPE_FP32 dims: [ 4 ] input_data_file: \"none\" }} }} }} ]"
            ),
            "warmup/none",
        ),
    ] {
        let root = repository(&config);
        let forebay = steered(root.path(), STUCK, &[]);
        let refused = call(&forebay, "m", "load");
        assert!(refused.status == 400 && refused.error().contains(expected), "{refused:?}");
    }
}

#[test]
fn what_ends_the_process_that_builds_or_takes_too_long_is_one_line() {
    let root = repository(CONFIG);
    add(root.path(), "onnx", "model.onnx", onnx::affine().encode(), "");
    for (rule, limit, expected) in [
        ("parse:1=-8", "60", "the process that builds the plan was ended by signal 8"),
        ("buildSerializedNetwork:1=-6", "60", "the process that builds the plan was ended by signal 6"),
        (STUCK, "0.2", "the process that builds the plan took longer than 200ms and was stopped"),
        ("buildSerializedNetwork:1=2", "60", "TensorRT can't build the plan: "),
        ("createInferBuilder:1=552", "60", "TensorRT can't parse the model: "),
    ] {
        let forebay = steered(root.path(), rule, &["--load-model", "onnx", "--compile-timeout-secs", limit]);
        let refused = call(&forebay, "m", "load");
        assert_eq!((refused.status, refused.error().contains(expected)), (400, true), "{rule}: {refused:?}");
        assert!(state(&forebay, "m")["reason"].as_str().unwrap().contains(expected));
        assert_eq!((ask(&forebay, "onnx", &[1, 4]).status, forebay.children()), (200, vec![]));
    }
}

#[test]
fn a_library_without_a_builder_says_so() {
    let root = repository(CONFIG);
    let said = refusal(command(root.path(), &["--tensorrt", NVINFER, "--tensorrt-flavour", "lean"]));
    assert!(said.contains("can't load model.onnx: ") && said.contains("builds none"), "{said}");
}

#[test]
fn an_unload_stops_the_build_while_others_load_and_builds_take_turns() {
    let root = repository(CONFIG);
    add(root.path(), "next", "model.onnx", onnx::layer().encode(), CONFIG);
    add(root.path(), "onnx", "model.onnx", onnx::affine().encode(), "");
    let forebay = steered(root.path(), STUCK, &[]);
    std::thread::scope(|scope| {
        let forebay = &forebay;
        let loading = |model: &'static str| {
            let load = scope.spawn(move || call(forebay, model, "load"));
            until("it is loading", || (state(forebay, model)["state"] == "LOADING").then_some(()));
            load
        };
        let first = loading("m");
        let builder = until("a process builds", || forebay.children().first().copied());
        assert_eq!(call(forebay, "onnx", "load").status, 200);
        assert_eq!(ask(forebay, "onnx", &[2, 4]).status, 200);
        let next = loading("next");
        assert_eq!((call(forebay, "next", "unload").status, forebay.children()), (200, vec![builder]));
        let refused = next.join().unwrap();
        // Before its turn, or before it asked for one.
        let told = ["can't load model.onnx: it is wanted no more", "it was stopped: the model is unloaded"];
        assert!(told.iter().any(|told| refused.error().contains(told)), "{refused:?}");
        assert_eq!(refused.status, 409);
        assert_eq!((call(forebay, "m", "unload").status, forebay.children()), (200, vec![]));
        let refused = first.join().unwrap();
        assert!(refused.error().contains("was stopped: its plan is wanted no more"), "{refused:?}");
    });
    assert_ne!(state(&forebay, "m")["state"], "LOADING");
}

#[test]
fn loads_that_wait_keep_nobody_else_waiting() {
    // More than the runtime has threads for what takes long.
    const CALLS: usize = 600;
    let root = repository(CONFIG);
    add(root.path(), "onnx", "model.onnx", onnx::affine().encode(), "");
    let forebay = steered(root.path(), STUCK, &[]);
    let (load, before) = (post("/v2/repository/models/m/load", &[], b""), forebay.sockets());
    let calls: Vec<Connection> = (0..CALLS).map(|_| begun(forebay.http_port, &load)).collect();
    // One that comes after the unload would begin anew.
    until("all have come", || (forebay.sockets() >= before + CALLS).then_some(()));
    until("a process builds", || forebay.children().first().copied());
    assert_eq!(send(forebay.metrics_port, "GET", "/metrics", &[], b"").status, 200);
    assert_eq!(call(&forebay, "onnx", "load").status, 200);
    assert_eq!(
        (ask(&forebay, "onnx", &[2, 4]).status, state(&forebay, "m")["state"].clone()),
        (200, json!("LOADING"))
    );
    assert_eq!(call(&forebay, "onnx", "unload").status, 200);
    assert_eq!((call(&forebay, "m", "unload").status, forebay.children()), (200, vec![]));
    for mut call in calls {
        assert_eq!(call.read().unwrap().status, 409);
    }
}

#[test]
fn files_that_come_with_a_load_count_while_it_waits_though_its_caller_has_left() {
    const FILE: &str = "file:1/model.onnx";
    let root = repository(CONFIG);
    let forebay = steered(root.path(), STUCK, &[]);
    let (bytes, held) = (vec![0; 300_000], || forebay.metric_line("forebay_body_bytes "));
    let brought = (FILE.len() + bytes.len()) as u64;
    std::thread::scope(|scope| {
        scope.spawn(|| call(&forebay, "m", "load"));
        until("a process builds", || forebay.children().first().copied());
        let before = forebay.sockets();
        let body = json!({ "parameters": { FILE: base64(&bytes) } }).to_string();
        let load = post("/v2/repository/models/m/load", &[], body.as_bytes());
        let leaves = begun(forebay.http_port, &load);
        until("it waits", || (held() == brought).then_some(()));
        drop(leaves);
        until("it has left", || (forebay.sockets() == before).then_some(()));
        assert_eq!(held(), brought);
        let parameter =
            ModelRepositoryParameter { parameter_choice: Some(ParameterChoice::BytesParam(bytes)) };
        let asked = RepositoryModelLoadRequest {
            model_name: "m".into(),
            parameters: [(FILE.to_owned(), parameter)].into(),
            ..Default::default()
        };
        let mut channel = grpc::channel(&forebay);
        scope.spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let loaded =
                grpc::ask::<_, RepositoryModelLoadResponse>(&mut channel, "RepositoryModelLoad", asked);
            assert_eq!(runtime.block_on(loaded).unwrap_err().code(), tonic::Code::Aborted);
        });
        until("it waits too", || (held() == 2 * brought).then_some(()));
        assert_eq!(call(&forebay, "m", "unload").status, 200);
    });
    until("all is given back", || (held() == 0).then_some(()));
}

#[test]
fn the_servers_end_is_the_builds_end() {
    let root = repository(CONFIG);
    let forebay = steered(root.path(), STUCK, &["--exit-timeout-secs", "600"]);
    let port = forebay.http_port;
    let load = std::thread::spawn(move || send(port, "POST", "/v2/repository/models/m/load", &[], b""));
    let builder = until("a process builds", || forebay.children().first().copied());
    forebay.terminate();
    assert_eq!(load.join().unwrap().status, 409);
    assert!(forebay.wait().success());
    assert!(!Path::new(&format!("/proc/{builder}")).exists());
}

#[test]
fn a_server_that_ends_before_it_is_ready_ends_the_build() {
    let root = repository(CONFIG);
    let mut command = command(root.path(), &[]);
    command.env(FAIL, STUCK);
    let mut server = Process::start("forebay", command);
    let builder = until("a process builds", || children(server.id()).first().copied());
    server.terminate();
    assert!(!Path::new(&format!("/proc/{builder}")).exists());
}

/// NVIDIA's TensorRT-RTX on the double's driver: it builds without a GPU, and runs nothing.
#[test]
fn nvidias_own_parser_may_come_down_and_what_it_builds_is_a_plan() {
    let library = tensorrt_rtx();
    let root = repository(CONFIG);
    add(root.path(), "onnx", "model.onnx", onnx::affine().encode(), "");
    // The parser divides by the size of a block.
    let crashing = onnx::Model::new("crashing")
        .input("x", onnx::Type::F32, &[Some(1), Some(4), Some(2), Some(2)])
        .node_with("SpaceToDepth", &["x"], "y", &[("blocksize", 0)])
        .output("y", onnx::Type::F32, &[None, None, None, None]);
    add(root.path(), "crashing", "model.onnx", crashing.encode(), r#"backend: "tensorrt""#);
    let vad = std::fs::read(installed("models/vad.onnx")).unwrap();
    add(root.path(), "vad", "model.onnx", &vad, r#"backend: "tensorrt""#);
    let rtx = ["--load-model", "onnx", "--tensorrt-flavour", "rtx", "--tensorrt", library.to_str().unwrap()];
    let forebay = steered(root.path(), "none:1=1", &rtx);
    for (model, expected) in [
        ("crashing", "can't load model.onnx: the process that builds the plan was ended by signal 8"),
        ("m", "can't load model.onnx: TensorRT can't deserialize the plan: "),
        ("vad", "can't load model.onnx: TensorRT can't deserialize the plan: "),
    ] {
        let refused = call(&forebay, model, "load");
        assert_eq!((refused.status, refused.error().contains(expected)), (400, true), "{refused:?}");
        assert_eq!(ask(&forebay, "onnx", &[1, 4]).status, 200);
    }
}
