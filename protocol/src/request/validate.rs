//! The checks of `decode` for requests that came as protobuf (gRPC).

use crate::datatype::DataType;
use crate::decode::{DecodeError, Kind, bound, refuse_twin};
use crate::limits::Limits;
use crate::messages::{InferInputTensor, ModelInferRequest, Parameters};
use crate::tensor::{TensorError, check_raw, in_shared_memory};

/// Checks a request in canonical form that did not come through [`super::decode`].
///
/// # Errors
/// The same as `decode` for the same faults.
pub fn validate(request: &ModelInferRequest, limits: &Limits) -> Result<(), DecodeError> {
    bound("bytes of the model's name", request.model_name.len(), limits.max_name_bytes)?;
    bound("bytes of the model's version", request.model_version.len(), limits.max_name_bytes)?;
    bound("bytes of the id", request.id.len(), limits.max_id_bytes)?;
    bound("number of tensors", request.inputs.len(), limits.max_tensors)?;
    bound("number of outputs", request.outputs.len(), limits.max_tensors)?;
    parameters(&request.parameters, limits)?;
    refuse_reserved(&request.parameters)?;
    let (tensors, contents) = (request.inputs.len(), request.raw_input_contents.len());
    if tensors != contents || request.inputs.iter().any(|input| input.contents.is_some()) {
        return Err(DecodeError::Contents { tensors, contents });
    }
    for (index, (tensor, raw)) in request.inputs.iter().zip(&request.raw_input_contents).enumerate() {
        let before = request.inputs.iter().take(index).map(|other| other.name.as_str());
        name(Kind::Input, index, &tensor.name, limits)?;
        refuse_twin(Kind::Input, &tensor.name, before)?;
        parameters(&tensor.parameters, limits)?;
        input(tensor, raw, limits).map_err(|error| DecodeError::Tensor {
            kind: Kind::Input,
            name: tensor.name.clone(),
            error,
        })?;
    }
    for (index, output) in request.outputs.iter().enumerate() {
        let before = request.outputs.iter().take(index).map(|other| other.name.as_str());
        name(Kind::Output, index, &output.name, limits)?;
        refuse_twin(Kind::Output, &output.name, before)?;
        parameters(&output.parameters, limits)?;
    }
    Ok(())
}

fn name(kind: Kind, index: usize, name: &str, limits: &Limits) -> Result<(), DecodeError> {
    if name.is_empty() {
        return Err(DecodeError::Missing { at: format!("{kind} {index}"), member: "name" });
    }
    bound("bytes of a tensor's name", name.len(), limits.max_name_bytes)
}

/// Refuses parameters of a request that only an edge may take, which has taken those that it knows.
pub(super) fn refuse_reserved(parameters: &Parameters) -> Result<(), DecodeError> {
    let reserved = parameters.keys().find(|name| name.starts_with("triton_"));
    reserved.map_or(Ok(()), |name| Err(DecodeError::Reserved(name.clone())))
}

fn parameters(parameters: &Parameters, limits: &Limits) -> Result<(), DecodeError> {
    bound("number of parameters", parameters.len(), limits.max_parameters)?;
    parameters
        .keys()
        .try_for_each(|name| bound("bytes of a parameter's name", name.len(), limits.max_name_bytes))
}

fn input(tensor: &InferInputTensor, raw: &[u8], limits: &Limits) -> Result<(), TensorError> {
    let datatype: DataType = tensor.datatype.parse()?;
    if !in_shared_memory(&tensor.parameters) {
        return check_raw(datatype, &tensor.shape, raw, limits);
    }
    if raw.is_empty() { Ok(()) } else { Err(TensorError::TwoSources) }
}
