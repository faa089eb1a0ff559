//! What of a request is hashed, in which order.

use super::{Digest, Fields, Scope};
use crate::messages::{Choice, InferParameter, ModelInferRequest, Parameters};

/// Parameters that say how a request travels and not what it asks, and so stay out of the digest.
const REQUEST_TRANSPORT: [&str; 3] = ["binary_data_output", "priority", "timeout"];
const INPUT_TRANSPORT: [&str; 1] = ["binary_data_size"];
const OUTPUT_TRANSPORT: [&str; 1] = ["binary_data"];

/// Why a request has no digest: its answer depends on more than the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Uncacheable {
    /// Values lie in shared memory, before or after.
    #[error("shared memory is used: the values are not in the request")]
    SharedMemory,
    /// The model keeps state between the requests of a sequence.
    #[error("the request is part of a sequence: the answer depends on those before it")]
    Sequence,
    /// The message is not in canonical form.
    #[error("{tensors} inputs but {contents} raw contents: the request is not in canonical form")]
    NotCanonical {
        /// Inputs named.
        tensors: usize,
        /// Raw contents given.
        contents: usize,
    },
}

/// The digest of a canonical request (see [`crate::messages`]): domain tag, scope, model, requested version, parameters, inputs
/// and requested outputs, each kind sorted by name.
///
/// # Errors
/// [`Uncacheable`] when the answer depends on more than the request.
pub fn digest(scope: &Scope<'_>, request: &ModelInferRequest) -> Result<Digest, Uncacheable> {
    refuse_state(request)?;
    let mut fields = Fields::tagged("forebay/digest/2");
    scope.write(&mut fields);
    fields.bytes(request.model_name.as_bytes());
    fields.bytes(request.model_version.as_bytes());
    parameters(&mut fields, &request.parameters, &REQUEST_TRANSPORT);

    let mut inputs: Vec<_> = request.inputs.iter().zip(&request.raw_input_contents).collect();
    inputs.sort_unstable_by_key(|(input, _)| &input.name);
    fields.number(inputs.len() as u64);
    for (input, values) in inputs {
        fields.bytes(input.name.as_bytes());
        fields.bytes(input.datatype.as_bytes());
        fields.number(input.shape.len() as u64);
        for dimension in &input.shape {
            fields.number(dimension.cast_unsigned());
        }
        parameters(&mut fields, &input.parameters, &INPUT_TRANSPORT);
        fields.bytes(values);
    }

    let mut outputs: Vec<_> = request.outputs.iter().collect();
    outputs.sort_unstable_by_key(|output| &output.name);
    fields.number(outputs.len() as u64);
    for output in outputs {
        fields.bytes(output.name.as_bytes());
        parameters(&mut fields, &output.parameters, &OUTPUT_TRANSPORT);
    }
    Ok(Digest(fields.finish()))
}

fn refuse_state(request: &ModelInferRequest) -> Result<(), Uncacheable> {
    if request.parameters.keys().any(|name| name.starts_with("sequence_")) {
        return Err(Uncacheable::Sequence);
    }
    let shared = |parameters: &Parameters| parameters.keys().any(|name| name.starts_with("shared_memory_"));
    if request.inputs.iter().any(|input| shared(&input.parameters))
        || request.outputs.iter().any(|output| shared(&output.parameters))
    {
        return Err(Uncacheable::SharedMemory);
    }
    let (tensors, contents) = (request.inputs.len(), request.raw_input_contents.len());
    if tensors != contents {
        return Err(Uncacheable::NotCanonical { tensors, contents });
    }
    Ok(())
}

/// Whether a parameter has a part in the request's [`digest`], beside its tensors and the outputs that it wants.
pub fn has_parameters(request: &ModelInferRequest) -> bool {
    let counts = |parameters, transport| counted(parameters, transport).next().is_some();
    counts(&request.parameters, &REQUEST_TRANSPORT)
        || request.inputs.iter().any(|input| counts(&input.parameters, &INPUT_TRANSPORT))
        || request.outputs.iter().any(|output| counts(&output.parameters, &OUTPUT_TRANSPORT))
}

/// Those that say what is asked, and not how it travels.
fn counted<'a>(
    parameters: &'a Parameters,
    transport: &'a [&str],
) -> impl Iterator<Item = (&'a String, &'a InferParameter)> {
    parameters.iter().filter(|(name, _)| !transport.contains(&name.as_str()))
}

fn parameters(fields: &mut Fields, parameters: &Parameters, transport: &[&str]) {
    fields.number(counted(parameters, transport).count() as u64);
    for (name, parameter) in counted(parameters, transport) {
        fields.bytes(name.as_bytes());
        value(fields, parameter);
    }
}

/// The kinds are the field numbers of V2's `InferParameter`. Unsigned integers that fit a signed one count as signed, since JSON
/// knows only integers.
fn value(fields: &mut Fields, parameter: &InferParameter) {
    match &parameter.choice {
        None => fields.kind(0),
        Some(Choice::Bool(value)) => {
            fields.kind(1);
            fields.number(u64::from(*value));
        }
        Some(Choice::Int64(value)) => signed(fields, *value),
        Some(Choice::String(value)) => {
            fields.kind(3);
            fields.bytes(value.as_bytes());
        }
        Some(Choice::Double(value)) => {
            fields.kind(4);
            fields.number(value.to_bits());
        }
        Some(Choice::Uint64(value)) => {
            if let Ok(value) = i64::try_from(*value) {
                signed(fields, value);
            } else {
                fields.kind(5);
                fields.number(*value);
            }
        }
    }
}

fn signed(fields: &mut Fields, value: i64) {
    fields.kind(2);
    fields.number(value.cast_unsigned());
}
