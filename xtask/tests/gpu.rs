//! `cargo xtask gpu run` on the test double of CUDA and TensorRT: no line of it is met for the first time on a GPU. What it reports
//! there is of no worth, and its report says so.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use rig::installed::{installed, onnxruntime, tensorrt_rtx};
use serde_json::{Value, json};

/// Models that the double can run, and one that it can't.
const MODELS: [&str; 4] = ["add_fp32", "identity_int64", "identity_fp16", "slow"];
/// Node tests: three that both can run, one for the double alone, one whose operation they lack, one with a type that plans lack.
const NODE_TESTS: [&str; 6] = [
    "test_add",
    "test_matmul_2d",
    "test_relu",
    "test_nonzero_example",
    "test_softmax_axis_0",
    "test_string_concat",
];

fn built(program: &str) -> PathBuf {
    let built = Path::new(env!("CARGO_BIN_EXE_xtask")).with_file_name(program);
    assert!(
        built.exists(),
        "build it first: cargo build --package forebay --package forebay-bindings --features forebay/tensorrt"
    );
    built
}

/// A kit with the double in it.
fn kit() -> tempfile::TempDir {
    let kit = tempfile::tempdir().unwrap();
    let link = |from: PathBuf, to: &str| {
        let to = kit.path().join(to);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        symlink(from, to).unwrap();
    };
    for program in ["forebay", "forebay-gpu"] {
        link(built(program), &format!("bin/{program}"));
    }
    link(onnxruntime(), "lib/libonnxruntime.so");
    link(tensorrt_double::STANDIN.into(), "standin");
    link(tensorrt_double::FOLDER.into(), "double");
    for model in MODELS {
        link(installed(&format!("test-repository/{model}/1/model.onnx")), &format!("models/{model}.onnx"));
    }
    for test in NODE_TESTS {
        link(installed(&format!("onnx-node-tests/{test}")), &format!("node-tests/{test}"));
    }
    // Of a GPU that is always as busy.
    let smi = kit.path().join("path/nvidia-smi");
    fs::create_dir_all(smi.parent().unwrap()).unwrap();
    fs::write(&smi, "#!/bin/sh\ncase $* in *-lms*) while echo 42; do sleep 0.02; done;; esac\necho none\n")
        .unwrap();
    fs::set_permissions(&smi, fs::Permissions::from_mode(0o755)).unwrap();
    kit
}

/// The small model of `cargo xtask gpu prepare`, made once.
fn prepared() -> &'static Path {
    static PREPARED: LazyLock<tempfile::TempDir> = LazyLock::new(|| {
        let folder = tempfile::tempdir().unwrap();
        let mut prepare = Command::new(env!("CARGO_BIN_EXE_xtask"));
        prepare.args(["gpu", "prepare", "--only=dense", "--into"]).arg(folder.path());
        prepare.arg("--forebay").arg(built("forebay"));
        let output = prepare.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        folder
    });
    PREPARED.path()
}

/// Runs the command and returns its report: the text, and the rows of each table.
fn run(kit: &Path, arguments: &[&str]) -> (String, Vec<Value>) {
    let mut gpu = Command::new(env!("CARGO_BIN_EXE_xtask"));
    gpu.args(["gpu", "run", "--measure=100ms", "--repeat=1", "--kit"]).arg(kit).args(arguments);
    let path = std::env::var("PATH").unwrap();
    gpu.env("PATH", format!("{}:{path}", kit.join("path").display()));
    let output = gpu.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stdout));
    let results = fs::read_dir(kit.join("results")).unwrap().map(|entry| entry.unwrap().path());
    let mut report: Vec<PathBuf> =
        results.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("gpu-")).collect();
    report.sort();
    let [json, markdown] = &report[..] else { panic!("two files, not {report:?}") };
    let json: Value = serde_json::from_slice(&fs::read(json).unwrap()).unwrap();
    (fs::read_to_string(markdown).unwrap(), json["sections"].as_array().unwrap().clone())
}

fn rows<'a>(sections: &'a [Value], title: &str) -> &'a [Value] {
    let section = sections.iter().find(|section| section["title"] == title);
    section.unwrap_or_else(|| panic!("no {title}: {sections:#?}"))["rows"].as_array().unwrap()
}

/// What became of the rows whose name begins so.
fn outcomes<'a>(rows: &'a [Value], what: &str) -> Vec<&'a str> {
    let named = rows.iter().filter(|row| row["what"].as_str().unwrap().starts_with(what));
    let outcomes: Vec<&str> = named.map(|row| row["outcome"].as_str().unwrap()).collect();
    assert!(!outcomes.is_empty(), "no {what}: {rows:#?}");
    outcomes
}

#[test]
fn every_part_runs_on_the_double_and_the_report_says_that_it_is_of_no_gpu() {
    let kit = kit();
    symlink(prepared(), kit.path().join("lighter")).unwrap();
    let (markdown, sections) = run(kit.path(), &[]);
    assert!(markdown.contains("not of a GPU"), "{markdown}");
    assert_eq!(outcomes(rows(&sections, "Which engine runs"), ""), ["passed"; 2]);
    assert_eq!(outcomes(rows(&sections, "Copies, order, graphs, lanes"), ""), ["passed"; 7]);
    let fault = rows(&sections, "A fault of the GPU");
    assert!(
        fault[1]["found"].is_null() && fault[1]["value"].as_str().unwrap().contains("sticky: true"),
        "{fault:#?}"
    );
    let under = rows(&sections, "A fault of the GPU under the server");
    for what in ["the server lives", "it answers rightly again"] {
        assert_eq!(outcomes(under, what), ["passed"], "{under:#?}");
    }
    assert!(under[0]["value"].as_str().unwrap().contains("CUDA_ERROR_ILLEGAL_ADDRESS"), "{under:#?}");
    for title in ["Models against ONNX Runtime", "Models that the server has compiled against ONNX Runtime"] {
        let models = rows(&sections, title);
        for (model, outcome) in [("add_fp32", "passed"), ("identity_int64", "passed"), ("slow", "not_run")] {
            assert_eq!(outcomes(models, model), [outcome], "{models:#?}");
        }
    }
    let tests = rows(&sections, "ONNX's node tests against ONNX Runtime");
    assert!(tests[0]["value"].as_str().unwrap().starts_with("4 agree"), "{tests:#?}");
    let bench = rows(&sections, "The server against a bare loop");
    assert!(outcomes(bench, "add_fp32").iter().all(|outcome| *outcome == "measured"), "{bench:#?}");
    assert!(bench[0]["value"].as_str().unwrap().contains("GPU busy 42 %"), "{bench:#?}");
    let lighter = rows(&sections, "Lighter models against their originals");
    for form in ["original", "int8", "fp16", "bf16"] {
        assert_eq!(outcomes(lighter, &format!("dense {form}, what it loses")), ["passed"], "{lighter:#?}");
    }
    for form in ["int8", "fp16", "bf16"] {
        assert_eq!(outcomes(lighter, &format!("dense {form}, batches of")), ["measured"; 2], "{lighter:#?}");
    }
    // INT8 is another model, and loses something.
    let lost = |form: &str| {
        let row = lighter.iter().find(|row| row["what"] == format!("dense {form}, what it loses")).unwrap();
        row["value"].as_str().unwrap().split(' ').next().unwrap().parse::<f64>().unwrap()
    };
    assert!(lost("original") < 0.001 && lost("int8") > 0.01, "{lighter:#?}");
}

#[test]
fn a_form_that_loses_more_than_it_may_fails_and_one_that_is_damaged_is_told_beside_the_others() {
    let kit = kit();
    let folder = kit.path().join("lighter/dense");
    for entry in walkdir::WalkDir::new(prepared().join("dense")) {
        let entry = entry.unwrap();
        let to = folder.join(entry.path().strip_prefix(prepared().join("dense")).unwrap());
        if entry.path().is_dir() {
            fs::create_dir_all(to).unwrap();
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
    let list = fs::read_to_string(folder.join("prepared.json")).unwrap();
    fs::write(folder.join("prepared.json"), list.replace("\"max_loss\": 2.0", "\"max_loss\": 0.005"))
        .unwrap();
    fs::write(folder.join("fp16.onnx"), "no model").unwrap();
    run(kit.path(), &["--only=probe"]);
    let (_, sections) = run(kit.path(), &["--only=lighter"]);
    let lighter = rows(&sections, "Lighter models against their originals");
    assert_eq!(outcomes(lighter, "dense int8, what it loses"), ["failed"], "{lighter:#?}");
    assert_eq!(outcomes(lighter, "dense original"), ["passed"]);
    assert_eq!(outcomes(lighter, "dense fp16"), ["not_run"]);
}

#[test]
fn what_is_prepared_is_built_by_tensorrt_rtx_for_gpus_that_are_not_here() {
    let plans = tempfile::tempdir().unwrap();
    let range = json!({ "input": "x", "values": false, "min": [1, 64], "opt": [8, 64], "max": [32, 64] });
    for form in ["original", "int8", "fp16", "bf16"] {
        let task = json!({
            "task": "build",
            "source": { "library": tensorrt_rtx(), "flavour": "Rtx" },
            "model": prepared().join(format!("dense/{form}.onnx")),
            "plan": plans.path().join(form),
            "profile": { "inputs": [range] },
            "compute_capabilities": [80, 89, 120],
        });
        let mut gpu = Command::new(built("forebay-gpu"));
        let mut child = gpu.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(task.to_string().as_bytes()).unwrap();
        let told: Value = serde_json::from_slice(&child.wait_with_output().unwrap().stdout).unwrap();
        assert!(told["bytes"].is_u64(), "{form}: {told}");
    }
}

#[test]
fn the_stand_in_computes_through_the_server_what_onnx_runtime_does() {
    let kit = kit();
    run(kit.path(), &["--only=probe"]);
    let (_, sections) = run(kit.path(), &["--only=cuda,correctness", "--engine=stand-in", "--node-tests=6"]);
    assert_eq!(outcomes(rows(&sections, "Copies, order, graphs, lanes"), ""), ["passed"; 7]);
    assert_eq!(outcomes(rows(&sections, "Models against ONNX Runtime"), "add_fp32"), ["passed"]);
    let section = sections.iter().find(|section| section["title"] == "Models against ONNX Runtime").unwrap();
    assert!(section["engine"].as_str().unwrap().starts_with("stand-in, not TensorRT"));
    let tests = rows(&sections, "ONNX's node tests against ONNX Runtime");
    assert!(tests[0]["value"].as_str().unwrap().starts_with("3 agree"), "{tests:#?}");
}

#[test]
fn without_a_driver_nothing_is_run_and_the_report_says_why() {
    let kit = kit();
    // The loader finds these first, and they are no libraries.
    fs::remove_file(kit.path().join("double")).unwrap();
    fs::create_dir(kit.path().join("double")).unwrap();
    for name in ["libcuda.so", "libcuda.so.1"] {
        fs::write(kit.path().join("double").join(name), "").unwrap();
    }
    let (markdown, sections) = run(kit.path(), &[]);
    assert!(markdown.contains("CUDA's driver can't be loaded: "), "{markdown}");
    assert!(markdown.contains("double/libcuda.so.1: file too short"), "{markdown}");
    for section in sections.iter().filter(|section| section["title"] != "What is installed") {
        for row in section["rows"].as_array().unwrap() {
            assert_eq!(row["outcome"], "not_run", "{row}");
        }
    }
}
