//! `cargo xtask up --once`: the address of Envoy enters; each answer's latency and `Cache-Status`, and whether all is as it
//! should be, leaves.

use std::time::Instant;

use anyhow::{Result, bail, ensure};
use serde_json::{Value, json};

use crate::WrongSetting;
use crate::http::{Answer, Client};

/// Models that requests are made for.
const MODELS: [&str; 2] = ["magika", "vad"];

/// How often each request is sent: a miss, then hits.
const TIMES: usize = 3;

/// An input tensor.
struct Tensor {
    name: &'static str,
    shape: &'static [usize],
    values: Values,
}

enum Values {
    Int32(Vec<i32>),
    Fp32(Vec<f32>),
}

/// How a request is written.
#[derive(Clone, Copy)]
enum Encoding {
    Json,
    Binary,
}

/// Checks that the requests can be sent.
///
/// # Errors
/// A model that they need is not served.
pub(crate) fn check_models(served: &[String]) -> Result<()> {
    for model in MODELS {
        if served.iter().all(|name| name != model) {
            bail!(WrongSetting(format!("--once needs --models to name {}", MODELS.join(" and "))));
        }
    }
    Ok(())
}

/// Sends one request of each model and encoding three times.
///
/// # Errors
/// An answer is not a 200, not the same each time, or not first a miss and then hits.
pub(crate) fn run(envoy: &str) -> Result<()> {
    println!(
        "\nEach request is sent {TIMES} times. JSON and binary carry different inputs: the same ones would hit across encodings."
    );
    println!("{:<8} {:<8} {:>4} {:>11}  Cache-Status", "model", "encoding", "time", "latency");
    let mut wrong = Vec::new();
    for model in MODELS {
        for encoding in [Encoding::Json, Encoding::Binary] {
            let (header_length, body) = request(&inputs(model, encoding as usize), encoding, None);
            wrong.extend(repeat(envoy, model, encoding, header_length, &body)?);
        }
    }
    if wrong.is_empty() {
        println!("all as it should be: a miss, then hits");
        return Ok(());
    }
    bail!("not as it should be:\n  {}", wrong.join("\n  "))
}

/// A request of one of these models with a short answer, as JSON: (model, body).
pub(crate) fn small_request(served: &[String]) -> Option<(&'static str, Vec<u8>)> {
    let (model, output) = [("vad", "output"), ("magika", "target_label")]
        .into_iter()
        .find(|(model, _)| served.iter().any(|name| name == model))?;
    Some((model, request(&inputs(model, 0), Encoding::Json, Some(output)).1))
}

fn repeat(
    envoy: &str,
    model: &str,
    encoding: Encoding,
    header_length: Option<usize>,
    body: &[u8],
) -> Result<Vec<String>> {
    // The connection is made by a request that is not measured, so that each of the others finds it open.
    let client = Client::new();
    client.get(&format!("{envoy}/v2/health/ready"))?;
    let url = format!("{envoy}/v2/models/{model}/infer");
    let length = header_length.map(|length| length.to_string());
    let headers = match &length {
        None => vec![("content-type", "application/json")],
        Some(length) => {
            vec![
                ("content-type", "application/octet-stream"),
                ("inference-header-content-length", length.as_str()),
            ]
        }
    };
    let mut wrong = Vec::new();
    let mut first: Option<Vec<u8>> = None;
    for time in 1..=TIMES {
        let since = Instant::now();
        let answer = client.post(&url, &headers, body)?;
        let latency = since.elapsed().as_secs_f64() * 1e3;
        println!("{model:<8} {:<8} {time:>4} {latency:>8.2} ms  {}", encoding.name(), answer.cache_status);
        let found = check(&answer, time, first.as_deref());
        wrong
            .extend(found.err().map(|error| format!("{model}, {}, time {time}: {error:#}", encoding.name())));
        first.get_or_insert(answer.body);
    }
    Ok(wrong)
}

fn check(answer: &Answer, time: usize, first: Option<&[u8]>) -> Result<()> {
    let body = || String::from_utf8_lossy(&answer.body).chars().take(300).collect::<String>();
    ensure!(answer.status == 200, "status {}: {}", answer.status, body());
    ensure!(first.is_none_or(|first| first == answer.body), "the answer is not the first one: {}", body());
    let nearest = answer.nearest_cache();
    let hit = nearest.split(';').any(|parameter| parameter.trim() == "hit");
    let wanted = if time == 1 { "a miss" } else { "a hit" };
    ensure!(
        !nearest.is_empty() && hit == (time > 1),
        "Cache-Status is {:?}, not {wanted}",
        answer.cache_status
    );
    Ok(())
}

/// Inputs of a model; another seed gives others.
fn inputs(model: &str, seed: usize) -> Vec<Tensor> {
    let wave =
        |count: usize| (0..count).map(|step| ((step * (seed + 3)) % 200) as f32 / 200.0 - 0.5).collect();
    if model == "vad" {
        return vec![
            Tensor { name: "input", shape: &[1, 576], values: Values::Fp32(wave(576)) },
            Tensor { name: "state", shape: &[2, 1, 128], values: Values::Fp32(vec![0.0; 256]) },
        ];
    }
    let text = format!("#!/bin/sh\necho {seed}\n").into_bytes();
    // magika's input: the first and last 1024 bytes of a file, and 256 where there is none.
    let bytes = (0..2048).map(|index| text.get(index).map_or(256, |byte| i32::from(*byte))).collect();
    vec![Tensor { name: "bytes", shape: &[1, 2048], values: Values::Int32(bytes) }]
}

/// The request's body, and how much of it is JSON when binary tensors follow.
fn request(inputs: &[Tensor], encoding: Encoding, output: Option<&str>) -> (Option<usize>, Vec<u8>) {
    let described = inputs.iter().map(|tensor| match encoding {
        Encoding::Json => tensor.describe("data", tensor.values.json()),
        Encoding::Binary => {
            tensor.describe("parameters", json!({"binary_data_size": tensor.values.bytes().len()}))
        }
    });
    let mut request = json!({"inputs": described.collect::<Vec<_>>()});
    if let Some(output) = output {
        request["outputs"] = json!([{"name": output}]);
    }
    let mut body = request.to_string().into_bytes();
    match encoding {
        Encoding::Json => (None, body),
        Encoding::Binary => {
            let length = body.len();
            body.extend(inputs.iter().flat_map(|tensor| tensor.values.bytes()));
            (Some(length), body)
        }
    }
}

impl Tensor {
    fn describe(&self, key: &str, content: Value) -> Value {
        let datatype = match self.values {
            Values::Int32(_) => "INT32",
            Values::Fp32(_) => "FP32",
        };
        let mut described = json!({"name": self.name, "shape": self.shape, "datatype": datatype});
        described[key] = content;
        described
    }
}

impl Values {
    fn json(&self) -> Value {
        match self {
            Self::Int32(values) => json!(values),
            Self::Fp32(values) => json!(values),
        }
    }

    /// Little-endian bytes, as the binary tensor extension has them.
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Int32(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            Self::Fp32(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        }
    }
}

impl Encoding {
    fn name(self) -> &'static str {
        match self {
            Self::Json => "JSON",
            Self::Binary => "binary",
        }
    }
}
