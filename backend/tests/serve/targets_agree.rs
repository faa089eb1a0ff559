//! The law of targets: what `serve` takes for inference the filter does, and it names the same model; what it doesn't, the filter
//! lets pass.

use forebay_filter_core::wanted::ModelPath;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use rig::http::{Answer, Connection, post};

use crate::client::fp32;
use crate::process::Forebay;

/// Parts of targets: words of routes, in several writings, names, and what is neither.
const PARTS: [&str; 44] = [
    "v2",
    "%762",
    "V2",
    "models",
    "m%6fdels",
    "infer",
    "%69nfer",
    "infe%72",
    "Infer",
    "versions",
    "version%73",
    "1",
    "%31",
    "identity_fp32",
    "%69dentity%5Ffp32",
    "nope",
    "a%2Fb",
    "a%2f..%2fb",
    "m%3Ax",
    "a:b",
    "m;x=1",
    "",
    ".",
    "..",
    "%2e",
    "%2E%2e",
    "%",
    "%4",
    "%zz",
    "%ff",
    "%C3%A9",
    "\u{e9}",
    "%2569nfer",
    "%00",
    "%0D%0Ax",
    "%20",
    "?",
    "infer?x",
    "infer#x",
    "infer%3F",
    "stats",
    "ready",
    "infer%2F",
    "a+b",
];

/// A route of an inference with parts in its places, or with some put in, taken out or exchanged.
fn target() -> impl Strategy<Value = String> {
    let part = || prop::sample::select(&PARTS[..]).prop_map(str::to_owned);
    let right = (part(), prop::option::of(part())).prop_map(|(model, version)| {
        let begin = ["v2".to_owned(), "models".to_owned(), model];
        let version = version.into_iter().flat_map(|version| ["versions".to_owned(), version]);
        begin.into_iter().chain(version).chain(["infer".to_owned()]).collect::<Vec<_>>()
    });
    let change = (0..3_usize, any::<prop::sample::Index>(), part());
    (right, prop::collection::vec(change, 0..3)).prop_map(|(mut parts, changes)| {
        for (how, at, part) in changes {
            let at = at.index(parts.len());
            match how {
                0 => parts.insert(at, part),
                1 if parts.len() > 1 => drop(parts.remove(at)),
                _ => parts[at] = part,
            }
        }
        format!("/{}", parts.join("/"))
    })
}

/// One connection, for as long as the server leaves it open.
struct Kept {
    port: u16,
    connection: Option<Connection>,
}

impl Kept {
    /// Posts there; the answer.
    fn post(&mut self, target: &str, body: &str) -> Answer {
        let connection = self.connection.get_or_insert_with(|| Connection::open(self.port).unwrap());
        connection.write(&post(target, &[], body.as_bytes())).unwrap();
        let answer = connection.read().unwrap();
        if answer.header("connection") == "close" {
            self.connection = None;
        }
        answer
    }

    /// The model and version that `serve` is asked for by that target, if it is asked to infer.
    fn asked(&mut self, target: &str) -> Option<(String, String)> {
        // What is no request is told before a model is looked for.
        let refused = self.post(target, "{}");
        if !(refused.status == 400 && refused.error().contains("has no 'inputs'")) {
            return None;
        }
        let answer = self.post(target, &fp32(&[1.0]).to_string());
        if answer.status == 200 {
            return Some(("identity_fp32".to_owned(), answer.json()["model_version"].as_str()?.to_owned()));
        }
        let error = answer.error();
        let named = error.strip_prefix("Request for unknown model: '")?.strip_suffix(" is not found")?;
        Some(match named.rsplit_once("' version ") {
            Some((model, version)) => (model.to_owned(), version.to_owned()),
            None => (named.strip_suffix('\'')?.to_owned(), String::new()),
        })
    }
}

#[test]
fn serve_and_filter_read_every_target_alike() {
    let forebay = Forebay::serve(&["--instances", "1"]);
    let kept = std::cell::RefCell::new(Kept { port: forebay.http_port, connection: None });
    let inferences = std::cell::Cell::new(0);
    let mut runner = TestRunner::new(Config { cases: 1000, failure_persistence: None, ..Config::default() });
    let law = |target: String| {
        let served = kept.borrow_mut().asked(&target);
        let filtered = ModelPath::parse(&target);
        prop_assert_eq!(served.is_some(), filtered.is_some());
        let (Some((model, version)), Some(filtered)) = (served, filtered) else { return Ok(()) };
        let names = filtered.infer();
        prop_assert_eq!(model.as_str(), names.model);
        // The answer names the version that it is of, the error the one that was asked for; of an unknown model none.
        prop_assert!(version.is_empty() || names.version.is_empty() || version == names.version);
        inferences.set(inferences.get() + 1);
        Ok(())
    };
    runner.run(&target(), law).unwrap();
    assert!(inferences.get() > 100, "{} of the targets were inference", inferences.get());
}
