//! Requests that are recorded: their inputs are read back by another implementation of the format, and nothing of it stands in the way
//! of an answer.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;

use rig::installed::{checkout, installed};
use rig::process::{Signal, printed, until};
use serde_json::{Value, json};

use crate::client::{fp32, send};
use crate::grpc;
use crate::process::{Forebay, refused, serve_command, test_repository};

const MODEL: &str = "identity_fp32";

/// A folder for records, and a key.
pub(crate) struct Records(tempfile::TempDir);

impl Records {
    pub(crate) fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("key"), format!("{}\n", "6b".repeat(32))).unwrap();
        Self(root)
    }

    fn folder(&self) -> PathBuf {
        self.0.path().join("records")
    }

    /// Nobody can read them any more.
    pub(crate) fn lose_key(&self) {
        std::fs::remove_file(self.0.path().join("key")).unwrap();
    }

    fn files(&self) -> Vec<PathBuf> {
        std::fs::read_dir(self.folder()).unwrap().map(|entry| entry.unwrap().path()).collect()
    }

    /// Flags that name them.
    pub(crate) fn paths(&self) -> [String; 2] {
        let path = |flag: &str, path: PathBuf| format!("{flag}={}", path.display());
        [path("--record-dir", self.folder()), path("--record-key-file", self.0.path().join("key"))]
    }

    /// One that records all requests of the model, and what else it is told.
    fn serve(&self, more: &[&str]) -> Forebay {
        let paths = self.paths();
        let paths = [&*paths[0], &*paths[1]];
        let flags = ["--instances", "1", "--record", MODEL];
        let share = ["--record-share", "1"];
        let share = if more.contains(&share[0]) { &[][..] } else { &share };
        Forebay::serve(&[&flags[..], &paths, share, more].concat())
    }

    /// What was recorded of the model.
    fn read(&self) -> Vec<Value> {
        let mut reader = Command::new(installed("venv/bin/python"));
        reader.arg(checkout().join("tests/clients/records.py"));
        let said = printed(reader.arg(self.folder()).arg(self.0.path().join("key")).arg(MODEL));
        said.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The inputs alone.
    fn inputs(&self) -> Vec<Value> {
        self.read().into_iter().map(|mut record| record["inputs"].take()).collect()
    }
}

/// As the reader shows it.
fn input(values: &[f32]) -> Value {
    let hex = |value: &f32| format!("{:08x}", u32::from_be_bytes(value.to_le_bytes()));
    let hex = values.iter().map(hex).collect::<Vec<_>>().concat();
    json!([["x", "FP32", [1, values.len()], hex]])
}

fn written(forebay: &Forebay) -> u64 {
    forebay.metric("forebay_record_written", MODEL)
}

#[tokio::test]
async fn what_is_asked_in_any_encoding_is_recorded_and_read_back_equal() {
    let records = Records::new();
    let forebay = records.serve(&["--record", "add_fp32"]);
    let secret = [("authorization", "Bearer do-not-keep-me"), ("cookie", "do-not-keep-me")];
    let mut body = fp32(&[1.0, 2.0]);
    body["id"] = json!("do-not-keep-me");
    assert_eq!(forebay.infer(MODEL, &secret, &body).status, 200);
    let bytes: Vec<u8> = [3.0_f32].iter().flat_map(|value| value.to_le_bytes()).collect();
    assert_eq!(forebay.infer_binary(MODEL, "FP32", &[1, 1], &bytes).status, 200);
    let channel = &mut grpc::channel(&forebay);
    grpc::infer(channel, grpc::raw(MODEL, "FP32", &[1, 1], &4.0_f32.to_le_bytes())).await.unwrap();
    assert!(forebay.infer(MODEL, &[], &fp32(&[3.0])).is_hit(), "hits are recorded too");
    // These are not: another model, one that says so, and what the model doesn't take.
    assert_eq!(forebay.infer("two_outputs", &[], &fp32(&[5.0])).status, 200);
    assert_eq!(forebay.infer(MODEL, &[("cache-control", "no-store")], &fp32(&[6.0])).status, 200);
    assert_eq!(forebay.infer(MODEL, &[], &json!({"inputs": []})).status, 400);
    until("they are on disk", || (written(&forebay) == 4).then_some(()));
    let metrics = send(forebay.metrics_port, "GET", "/metrics", &[], b"").body;
    let metrics = String::from_utf8(metrics).unwrap();
    for line in ["forebay_record_written{model=\"add_fp32\"} 0", "forebay_record_failing 0"] {
        assert!(metrics.contains(line), "{line} is missing in {metrics}");
    }
    forebay.ended();
    let expected = [&[1.0, 2.0][..], &[3.0], &[4.0], &[3.0]].map(input);
    let read = records.read();
    assert_eq!(read.iter().map(|record| record["inputs"].clone()).collect::<Vec<_>>(), expected);
    // With an authorization it isn't everybody's.
    let told = |record: &Value| (record["is_whole"] == true, record["version"].as_str() == Some("1"));
    assert_eq!(
        read.iter().map(told).collect::<Vec<_>>(),
        [(false, true), (true, false), (true, false), (true, false)]
    );
    assert!(read.iter().all(|record| record["time_ms"].as_u64() > Some(1 << 40)));
    for file in records.files() {
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let text = String::from_utf8_lossy(&std::fs::read(file).unwrap()).into_owned();
        assert!(!text.contains("keep-me") && !text.contains("FP32"), "{text}");
    }
}

#[test]
fn replicas_share_a_folder_and_what_one_recorded_before_it_was_killed_is_there() {
    let records = Records::new();
    let (first, second) = (records.serve(&[]), records.serve(&[]));
    for (forebay, value) in [(&first, 1.0), (&second, 2.0)] {
        assert_eq!(forebay.infer(MODEL, &[], &fp32(&[value])).status, 200);
        until("it is on disk", || (written(forebay) == 1).then_some(()));
    }
    first.signal(Signal::KILL);
    assert!(!first.wait().success());
    let third = records.serve(&[]);
    assert_eq!(third.infer(MODEL, &[], &fp32(&[3.0])).status, 200);
    for forebay in [second, third] {
        forebay.ended();
    }
    assert_eq!(records.inputs(), [input(&[1.0]), input(&[2.0]), input(&[3.0])]);
}

#[test]
fn the_age_and_the_bytes_of_all_that_is_recorded_are_bounded() {
    let records = Records::new();
    let forebay = records.serve(&["--record-bytes", "1MiB"]);
    let values = vec![1.0; 50_000];
    for number in 1..=30 {
        let bytes: Vec<u8> = values.iter().flat_map(|value: &f32| value.to_le_bytes()).collect();
        assert_eq!(forebay.infer_binary(MODEL, "FP32", &[1, 50_000], &bytes).status, 200);
        until("it is on disk", || (written(&forebay) == number).then_some(()));
        let bytes: u64 = records.files().iter().map(|file| std::fs::metadata(file).unwrap().len()).sum();
        assert!(bytes <= 1 << 20, "{bytes} after {number}");
    }
    assert!(forebay.metric_line("forebay_record_removed{reason=\"bytes\"}") > 20);
    assert_eq!(forebay.infer_binary(MODEL, "FP32", &[1, 1 << 19], &vec![0; 2 << 20]).status, 200);
    until("it is too large", || {
        let dropped = format!("forebay_record_dropped{{model=\"{MODEL}\",reason=\"too_large\"}}");
        (forebay.metric_line(&dropped) == 1).then_some(())
    });
    forebay.ended();
    assert!(!records.files().is_empty());
    // Another one, that nobody asks anything.
    let forebay = records.serve(&["--record-age", "1"]);
    until("what is too old goes", || records.files().is_empty().then_some(()));
    assert!(forebay.metric_line("forebay_record_removed{reason=\"age\"}") > 0);
}

#[test]
fn a_folder_that_goes_away_keeps_nobody_from_an_answer_and_is_told() {
    let records = Records::new();
    let forebay = records.serve(&[]);
    std::fs::remove_dir(records.folder()).unwrap();
    let dropped = format!("forebay_record_dropped{{model=\"{MODEL}\",reason=\"disk\"}}");
    until("records are dropped", || {
        assert_eq!(forebay.infer(MODEL, &[], &fp32(&[1.0])).status, 200);
        (forebay.metric_line(&dropped) > 0).then_some(())
    });
    assert_eq!(forebay.metric_line("forebay_record_failing"), 1);
    until("it is said", || {
        forebay.log().contains("requests are answered, and not recorded: can't").then_some(())
    });
    std::fs::create_dir(records.folder()).unwrap();
    until("it is used again", || {
        assert_eq!(forebay.infer(MODEL, &[], &fp32(&[2.0])).status, 200);
        (written(&forebay) > 0).then_some(())
    });
    assert_eq!(forebay.metric_line("forebay_record_failing"), 0);
    forebay.ended();
    assert!(records.inputs().iter().all(|read| *read == input(&[2.0])), "{:?}", records.inputs());
}

#[test]
fn none_of_a_share_of_0_is_recorded_and_a_model_that_is_not_there_is_told() {
    let records = Records::new();
    let forebay = records.serve(&["--record", "identity_fp23", "--record-share", "0"]);
    for value in 0..20_u8 {
        assert_eq!(forebay.infer(MODEL, &[], &fp32(&[f32::from(value)])).status, 200);
    }
    assert_eq!(written(&forebay), 0);
    let log = forebay.ended();
    assert!(log.contains("--record names identity_fp23, which is not served"), "{log}");
    assert!(records.files().is_empty());
}

#[test]
fn what_can_not_be_recorded_so_ends_with_code_2_and_says_what_would_be_right() {
    let records = Records::new();
    let (folder, key) = (records.folder(), records.0.path().join("key"));
    let (folder, key) = (folder.to_str().unwrap(), key.to_str().unwrap());
    let short = records.0.path().join("short");
    std::fs::write(&short, "6b6b").unwrap();
    for (arguments, said) in [
        (vec!["--record", "m", "--record-dir", folder], "--record-key-file: is missing"),
        (vec!["--record-dir", folder, "--record-key-file", key], "by --record MODEL"),
        (
            vec!["--record", "m", "--record-dir", "/no/such/folder", "--record-key-file", key],
            "/no/such/folder",
        ),
        (
            vec!["--record", "m", "--record-dir", folder, "--record-key-file", short.to_str().unwrap()],
            "32 bytes",
        ),
        (
            vec!["--record", "m", "--record-dir", folder, "--record-key-file", key, "--record-share", "2"],
            "from 0 to 1",
        ),
    ] {
        let (code, line) = refused(&mut serve_command(&test_repository(), &arguments));
        assert!(code == Some(2) && line.contains(said), "{arguments:?}: {code:?} {line}");
    }
}
