//! What `serve --record` kept of a model -> items, from the oldest on.

use std::path::Path;

use super::{Item, MOST_BYTES, SampleError, check, requests};
use crate::engine::signature::Signature;
use crate::record::{self, Key};

/// Reads the items; a segment that was left unfinished ends where it ends, and is told.
///
/// # Errors
/// The key is another, or a record doesn't fit the model.
pub(super) fn items(
    folder: &Path,
    key_file: &Path,
    model: &str,
    signature: &Signature,
) -> Result<Vec<Item>, SampleError> {
    let wrong = |reason: String| SampleError::Request { path: folder.to_owned(), reason };
    let key = Key::read("--data-key-file", key_file).map_err(|error| SampleError::Few(error.to_string()))?;
    let (mut items, mut left) = (Vec::new(), MOST_BYTES);
    for recorded in record::read(folder, &key, model) {
        let request = match recorded {
            Ok(recorded) => recorded.request,
            Err(error) if error.is_unfinished() => {
                eprintln!("--data: {error}");
                continue;
            }
            Err(error) => return Err(wrong(error.to_string())),
        };
        let bytes = request.raw_input_contents.iter().map(|data| data.len() as u64).sum();
        // What is older is known by then: the newest would be no better.
        let Some(rest) = left.checked_sub(bytes) else { break };
        left = rest;
        let inputs = requests::inputs(&request).map_err(wrong)?;
        for (name, array) in &inputs {
            check("input", signature, name, array)?;
        }
        items.push(Item { inputs, label: None, group: items.len() as u64 });
    }
    if items.is_empty() {
        return Err(SampleError::Few(format!("no request to {model} is recorded in {}", folder.display())));
    }
    Ok(items)
}
