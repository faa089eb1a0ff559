//! Writes a request's JSON: the whole body, or what stands before binary tensors.

use forebay_protocol::datatype::DataType;
use forebay_protocol::messages::{Choice, InferInputTensor, InferParameter, Parameters};
use forebay_protocol::response::{ResponseError, write_parameters, write_string, write_values};

use super::spots::{Differing, Spot, elements_of};
use crate::client::inputs::Asked;
use crate::settings::Encoding;

/// What stands before an id's quotes.
const ID: &[u8] = b"\"id\":";

/// The JSON, where requests differ in it, and where their id is.
///
/// # Errors
/// [`ResponseError`]: values that have no JSON form.
pub(super) fn write(
    asked: &Asked,
    differing: &Differing,
    encoding: Encoding,
) -> Result<(Vec<u8>, Vec<Spot>, usize), ResponseError> {
    let request = &asked.request;
    let mut out = b"{".to_vec();
    if !request.id.is_empty() {
        out.extend_from_slice(ID);
        write_string(&mut out, &request.id);
        out.push(b',');
    }
    let mut parameters = request.parameters.clone();
    if encoding == Encoding::Binary {
        let yes = InferParameter { choice: Some(Choice::Bool(true)) };
        parameters.insert("binary_data_output".to_owned(), yes);
    }
    if !parameters.is_empty() {
        out.extend_from_slice(b"\"parameters\":");
        write_parameters(&mut out, &parameters, None);
        out.push(b',');
    }
    out.extend_from_slice(b"\"inputs\":[");
    let mut spots = Vec::new();
    for (index, input) in request.inputs.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        describe(&mut out, input);
        let data = &request.raw_input_contents[index];
        if encoding == Encoding::Binary {
            out.extend_from_slice(b",\"parameters\":");
            write_parameters(&mut out, &input.parameters, Some(data.len()));
        } else {
            with_parameters(&mut out, &input.parameters);
            out.extend_from_slice(b",\"data\":[");
            write_data(&mut out, &mut spots, asked, index, differing.of_input(index))?;
            out.push(b']');
        }
        out.push(b'}');
    }
    out.push(b']');
    write_outputs(&mut out, asked);
    out.push(b'}');
    Ok((out, spots, 1 + ID.len() + 1))
}

fn describe(out: &mut Vec<u8>, input: &InferInputTensor) {
    out.extend_from_slice(b"{\"name\":");
    write_string(out, &input.name);
    out.extend_from_slice(b",\"datatype\":");
    write_string(out, &input.datatype);
    let shape: Vec<String> = input.shape.iter().map(ToString::to_string).collect();
    out.extend_from_slice(format!(",\"shape\":[{}]", shape.join(",")).as_bytes());
}

fn with_parameters(out: &mut Vec<u8>, parameters: &Parameters) {
    if !parameters.is_empty() {
        out.extend_from_slice(b",\"parameters\":");
        write_parameters(out, parameters, None);
    }
}

/// Values with commas between: the first `count` with room for any other, the rest as they are.
fn write_data(
    out: &mut Vec<u8>,
    spots: &mut Vec<Spot>,
    asked: &Asked,
    input: usize,
    count: usize,
) -> Result<(), ResponseError> {
    let (elements, data) = (asked.elements[input], &asked.request.raw_input_contents[input]);
    let quote: &[u8] = if elements.datatype == DataType::Bytes { b"\"" } else { b"" };
    if !elements.datatype.has_json_form() {
        let name = asked.request.inputs[input].name.clone();
        return Err(ResponseError::NoJsonForm { name, datatype: elements.datatype });
    }
    let mut rest = 0;
    for (index, (offset, elements)) in elements_of(asked, input).take(count).enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(quote);
        let spot = Spot { offset: out.len(), elements, is_text: true };
        out.resize(out.len() + elements.width(), b' ');
        spot.fill(0, out);
        out.extend_from_slice(quote);
        spots.push(spot);
        rest = offset + elements.size();
    }
    if rest > 0 && rest < data.len() {
        out.push(b',');
    }
    write_values(out, &asked.request.inputs[input].name, elements.datatype, &data[rest..])
}

fn write_outputs(out: &mut Vec<u8>, asked: &Asked) {
    if asked.request.outputs.is_empty() {
        return;
    }
    out.extend_from_slice(b",\"outputs\":[");
    for (index, output) in asked.request.outputs.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(b"{\"name\":");
        write_string(out, &output.name);
        with_parameters(out, &output.parameters);
        out.push(b'}');
    }
    out.push(b']');
}
