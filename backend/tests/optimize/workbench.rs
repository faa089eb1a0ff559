//! A repository with one model, data for it, and the command.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Mutex, PoisonError};

use rig::installed::{folder, onnxruntime};
use rig::process::started_by;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Inputs of each model here.
pub(crate) const FEATURES: usize = 64;

/// One at a time: they measure how fast models are.
static TURN: Mutex<()> = Mutex::new(());

/// Runs a command with the folder `$0` on a volume that is nearly full.
const ON_A_FULL_VOLUME: &str = r#"
set -e
cp -r "$0" "$0.copy"
kib=$(du -sk "$0" | cut -f1)
mount -t tmpfs -o size=$((kib + 1024))k tmpfs "$0"
cp -r "$0.copy/." "$0"
rm -r "$0.copy"
set +e
"$@"
code=$?
ls -A "$0/m" | tr '\n' ' '
exit $code
"#;

/// One model to be made lighter.
pub(crate) struct Workbench {
    pub(crate) root: TempDir,
}

/// What the command said.
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Workbench {
    /// With `models/m/1/model.onnx`.
    pub(crate) fn of(model: &[u8]) -> Self {
        let root = tempfile::tempdir().unwrap();
        rig::repository::put(root.path(), "models/m/1/model.onnx", model);
        Self { root }
    }

    /// With that many requests in `data`, each value made of its number.
    pub(crate) fn with_data(self, items: usize, dims: &[i64]) -> Self {
        let count: i64 = dims.iter().product();
        for item in 0..items {
            let values: Vec<f64> = (0..count).map(|at| value(item, usize::try_from(at).unwrap())).collect();
            let shape: Vec<i64> = std::iter::once(1).chain(dims.iter().copied()).collect();
            let request =
                json!({"inputs": [{"name": "x", "datatype": "FP32", "shape": shape, "data": values}]});
            rig::repository::put(self.root.path(), format!("data/{item:05}.json"), request.to_string());
        }
        self
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// The command with the model and a folder for its work.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_forebay"));
        command.arg("optimize").arg(self.path("models/m")).args(arguments);
        command
            .env("FOREBAY_TOOLS_DIR", folder().join("optimize"))
            .env("FOREBAY_WORK_DIR", self.path("work"));
        command.env("FOREBAY_ONNXRUNTIME", onnxruntime());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Said {
        said(&mut self.command(arguments))
    }

    /// The same with the repository on a volume of the command's own, with a MiB left; what lies beside the versions then is the last line
    /// of its output. `None` where a process can't have one.
    pub(crate) fn run_on_a_full_volume(&self, arguments: &[&str]) -> Option<Said> {
        let own = || {
            let mut starter = Command::new("unshare");
            starter.args(["--map-root-user", "--mount"]);
            starter
        };
        let tried = own().args(["mount", "-t", "tmpfs", "tmpfs", "/tmp"]).output();
        if !tried.is_ok_and(|tried| tried.status.success()) {
            return None;
        }
        let mut starter = own();
        starter.args(["sh", "-c", ON_A_FULL_VOLUME]).arg(self.path("models"));
        Some(said(&mut started_by(starter, &self.command(arguments))))
    }

    /// The same with `--data` and what else is said.
    pub(crate) fn optimize(&self, arguments: &[&str]) -> Said {
        let data = format!("--data={}", self.path("data").display());
        self.run(&[&[data.as_str()], arguments].concat())
    }

    /// The report that lies wherever one was written.
    pub(crate) fn report(&self) -> Value {
        let mut folders = vec![self.path("models/m/optimize"), self.path("work")];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                if entry.file_name() == "report.json" {
                    return serde_json::from_slice(&std::fs::read(entry.path()).unwrap()).unwrap();
                }
                if entry.path().is_dir() {
                    folders.push(entry.path());
                }
            }
        }
        panic!("no report was written")
    }

    /// Versions in the repository, and whatever else lies there.
    pub(crate) fn lies(&self) -> Vec<String> {
        names(&self.path("models/m"))
    }
}

/// What a command said, in its turn.
fn said(command: &mut Command) -> Said {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said { code: status.code(), out: text(stdout), err: text(stderr) }
}

pub(crate) fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap().flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.sort_unstable();
    names
}

/// A number between -1 and 1 that looks like chance.
pub(crate) fn value(one: usize, other: usize) -> f64 {
    let mixed = (one as u64)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .wrapping_add(other as u64)
        .wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((mixed >> 40) as f64 / f64::from(1 << 23)) - 1.0
}

/// The candidates that the report judged.
pub(crate) fn judged(report: &Value) -> &[Value] {
    report["judged"].as_array().unwrap()
}

/// What was done, a line each.
pub(crate) fn log(bench: &Workbench) -> String {
    let mut folders = names(&bench.path("work")).into_iter();
    let folder = folders.find(|name| name.starts_with("m-")).expect("a folder for the model");
    std::fs::read_to_string(bench.path("work").join(folder).join("log.jsonl")).unwrap()
}
