//! Request bodies of the tests' models, in both encodings.

use serde_json::{Value, json};

/// Headers of a JSON request.
pub const JSON: [(&str, &str); 1] = [("content-type", "application/json")];

/// `x` of shape `[1, n]`, as JSON.
pub fn fp32(values: &[f32]) -> Vec<u8> {
    request(values).to_string().into_bytes()
}

/// The same as a value, to be changed.
pub fn request(values: &[f32]) -> Value {
    json!({"inputs": [{"name": "x", "shape": [1, values.len()], "datatype": "FP32", "data": values}]})
}

/// The same in the binary tensor extension.
pub fn fp32_binary(values: &[f32]) -> (String, Vec<u8>) {
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    in_binary("FP32", json!([1, values.len()]), &bytes)
}

/// `x` in the binary tensor extension, asking for binary answers: the JSON's length, and the body.
pub fn in_binary(datatype: &str, shape: impl Into<Value>, bytes: &[u8]) -> (String, Vec<u8>) {
    let head = json!({
        "parameters": {"binary_data_output": true},
        "inputs": [{
            "name": "x", "shape": shape.into(), "datatype": datatype,
            "parameters": {"binary_data_size": bytes.len()}
        }]
    })
    .to_string();
    (head.len().to_string(), [head.as_bytes(), bytes].concat())
}

/// Headers of a binary request.
pub fn binary(length: &str) -> [(&str, &str); 2] {
    [("content-type", "application/octet-stream"), ("inference-header-content-length", length)]
}
