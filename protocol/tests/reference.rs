//! The Python implementation, written from `FORMAT.md` alone, agrees with this crate on requests made up by proptest.
//!
//! `FOREBAY_PYTHON` names an interpreter that has the package `blake3`; `cargo xtask test` sets both up.

#[path = "shared/answer.rs"]
mod answer;
#[path = "shared/case.rs"]
mod case;

use answer::{answer, hex};
use bytes::Bytes;
use case::{Style, case, tensor};
use forebay_protocol::digest::Key;
use forebay_protocol::entry::{Entry, Field, Secret};
use forebay_protocol::messages::{InferOutputTensor, ModelInferResponse};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};
use std::io::Write;
use std::process::{Command, Stdio};

const CASES: usize = 300;

/// Asks the Python implementation all questions at once.
fn ask(questions: &[Value]) -> Vec<Value> {
    let Ok(python) = std::env::var("FOREBAY_PYTHON") else {
        panic!(
            "FOREBAY_PYTHON must name a Python that has the package blake3: run `cargo xtask test`, which sets it up"
        );
    };
    let mut reference = Command::new(python)
        .args(["-B", concat!(env!("CARGO_MANIFEST_DIR"), "/reference/forebay_digest.py")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = reference.stdin.take().unwrap();
    let lines: Vec<String> = questions.iter().map(Value::to_string).collect();
    let writer = std::thread::spawn(move || lines.iter().try_for_each(|line| writeln!(stdin, "{line}")));
    let output = reference.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn agree(questions: &[Value]) {
    let answers = ask(questions);
    assert_eq!(answers.len(), questions.len());
    for (question, theirs) in questions.iter().zip(answers) {
        assert_eq!(answer(question), theirs, "{question}");
    }
}

#[test]
fn digests_and_keys_of_generated_requests_agree() {
    let mut runner = TestRunner::default();
    let questions: Vec<Value> = (0..CASES)
        .map(|index| {
            let json_only = index % 2 == 0;
            let case = case(json_only).new_tree(&mut runner).unwrap().current();
            let (json, raw) = Style(index as u64).write(&case.request, json_only);
            json!({
                "service": case.service,
                "tenant": case.tenant,
                "model": case.request.model_name,
                "version": case.request.model_version,
                "path": "/v2/models/m/infer",
                "content_type": "",
                "accept": "*/*",
                "accept_encoding": if index % 3 == 0 { "gzip" } else { "" },
                "header_length": (!json_only).then_some(json.len()),
                "generation": "5a".repeat(32),
                "body_hex": hex(&[json.as_bytes(), &raw].concat()),
            })
        })
        .collect();
    agree(&questions);
}

#[test]
fn generated_entries_are_opened_alike() {
    let mut runner = TestRunner::default();
    let questions: Vec<Value> = (0..CASES)
        .map(|index| {
            let (datatype, shape, raw) = tensor(false).new_tree(&mut runner).unwrap().current();
            let output = InferOutputTensor {
                name: "y".to_owned(),
                datatype: datatype.as_str().to_owned(),
                shape,
                ..InferOutputTensor::default()
            };
            let response = ModelInferResponse {
                model_name: "m".to_owned(),
                outputs: vec![output],
                raw_output_contents: vec![raw.into()],
                ..ModelInferResponse::default()
            };
            let entry = Entry {
                response: Some(response),
                generation: Bytes::copy_from_slice(&[9; 32]),
                cost_us: index as u64 * 1_000_003,
                created_ms: 1_760_000_000_000,
                max_age_s: 60,
                fields: vec![
                    Field { name: "x-index".to_owned(), value: index.to_string().into() };
                    index % 3
                ],
                ..Entry::default()
            };
            let byte = u8::try_from(index % 256).unwrap();
            let (key, secret) = (Key([byte; 32]), [byte; 20]);
            let sealed = entry.seal(&key, &Secret::from_bytes(&secret).unwrap(), |_| None);
            json!({ "key": key, "secret_hex": hex(&secret), "sealed_hex": hex(&sealed) })
        })
        .collect();
    agree(&questions);
}
