//! A folder of V2 requests as JSON, in the order of their names -> items.

use std::path::Path;

use bytes::Bytes;
use forebay_protocol::limits::Limits;
use forebay_protocol::messages::{Choice, ModelInferRequest};
use forebay_protocol::path::InferPath;
use forebay_protocol::request;

use super::super::arrays::Array;
use super::{Item, MOST_BYTES, SampleError, check, unreadable};
use crate::engine::signature::Signature;
use crate::settings::SampleSettings;

/// The bounds of one request.
const LIMITS: Limits = Limits::of_body(1 << 30);

/// Reads the items.
///
/// # Errors
/// As [`super::Samples::read`].
pub(super) fn items(
    folder: &Path,
    model: &str,
    signature: &Signature,
    settings: &SampleSettings,
) -> Result<Vec<Item>, SampleError> {
    let entries = std::fs::read_dir(folder).map_err(unreadable(folder))?;
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(unreadable(folder))?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            paths.push(path);
        }
    }
    paths.sort_unstable();
    let (mut items, mut left) = (Vec::with_capacity(paths.len()), MOST_BYTES);
    for (number, path) in paths.iter().enumerate() {
        let body = Bytes::from(std::fs::read(path).map_err(unreadable(path))?);
        let wrong = |reason: String| SampleError::Request { path: path.clone(), reason };
        let taken = left.checked_sub(body.len() as u64);
        left = taken.ok_or_else(|| wrong(format!("with it there are more than {MOST_BYTES} bytes")))?;
        let asked = InferPath { model, version: "" };
        let request =
            request::decode(&asked, None, &body, &LIMITS).map_err(|error| wrong(error.to_string()))?;
        let number_of = |name: &Option<String>| {
            name.as_ref().map(|name| parameter(&request, name).map_err(&wrong)).transpose()
        };
        let (label, group) = (number_of(&settings.labels)?, number_of(&settings.groups)?);
        let inputs = inputs(&request).map_err(&wrong)?;
        for (name, array) in &inputs {
            check("input", signature, name, array).map_err(|error| wrong(error.to_string()))?;
        }
        let missing = signature
            .inputs
            .iter()
            .find(|spec| !spec.is_optional && !inputs.iter().any(|(name, _)| *name == spec.name));
        if let Some(spec) = missing {
            return Err(wrong(format!("has no input '{}'", spec.name)));
        }
        items.push(Item { inputs, label, group: group.map_or(number as u64, f64::to_bits) });
    }
    if items.is_empty() {
        return Err(SampleError::Few(format!("there is no request (*.json) in {}", folder.display())));
    }
    Ok(items)
}

/// A request's inputs.
pub(super) fn inputs(request: &ModelInferRequest) -> Result<Vec<(String, Array)>, String> {
    let tensors = request.inputs.iter().zip(&request.raw_input_contents);
    let mut inputs = tensors
        .map(|(input, data)| {
            let datatype =
                input.datatype.parse().map_err(|error| format!("input '{}': {error}", input.name))?;
            Ok((input.name.clone(), Array { datatype, shape: input.shape.clone(), data: data.clone() }))
        })
        .collect::<Result<Vec<_>, String>>()?;
    inputs.sort_by(|(one, _), (other, _)| one.cmp(other));
    Ok(inputs)
}

/// The number that a request's parameter is.
fn parameter(request: &ModelInferRequest, name: &str) -> Result<f64, String> {
    let choice = request.parameters.get(name).and_then(|parameter| parameter.choice.as_ref());
    match choice {
        Some(Choice::Int64(value)) => Ok(*value as f64),
        Some(Choice::Double(value)) => Ok(*value),
        Some(Choice::Bool(value)) => Ok(f64::from(u8::from(*value))),
        _ => Err(format!("has no parameter '{name}' that is a number")),
    }
}
