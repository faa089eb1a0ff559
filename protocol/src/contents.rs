//! gRPC's typed values: a request as it came over gRPC enters, the same request in canonical form leaves. `request::validate` is
//! next.

use crate::datatype::{DataType, UnknownDataType};
use crate::decode::{DecodeError, Kind};
use crate::limits::Limits;
use crate::messages::{
    InferInputTensor, InferOutputTensor, InferTensorContents, ModelInferRequest, ModelInferResponse,
};
use crate::tensor::{TensorError, check_raw, in_shared_memory, push_element, value_count};
use bytes::Bytes;

/// Brings a request into canonical form: each input's values into `raw_input_contents`, `contents` gone. Raw contents come one an
/// input, but for those in shared memory, as Triton's clients send them.
///
/// # Errors
/// Raw and typed values in one request, raw contents that are not one an input, and typed values that contradict datatype or shape.
pub fn canonicalize(request: &mut ModelInferRequest, limits: &Limits) -> Result<(), DecodeError> {
    if request.raw_input_contents.is_empty() {
        let contents = request.inputs.iter_mut().map(|input| {
            let contents = input.contents.take();
            raw(input, contents, limits).map_err(|error| tensor_error(input, error))
        });
        request.raw_input_contents = contents.collect::<Result<_, _>>()?;
        return Ok(());
    }
    if let Some(input) = request.inputs.iter().find(|input| input.contents.is_some()) {
        return Err(tensor_error(input, TensorError::TwoSources));
    }
    let (tensors, contents) = (request.inputs.len(), request.raw_input_contents.len());
    if tensors == contents {
        return Ok(());
    }
    let mut given = std::mem::take(&mut request.raw_input_contents).into_iter();
    for input in &request.inputs {
        let next = if in_shared_memory(&input.parameters) { Some(Bytes::new()) } else { given.next() };
        request.raw_input_contents.push(next.ok_or(DecodeError::Contents { tensors, contents })?);
    }
    if given.next().is_some() { Err(DecodeError::Contents { tensors, contents }) } else { Ok(()) }
}

/// Brings an answer into canonical form, as [`canonicalize`] does a request, and checks that its values are as many as its shapes say.
///
/// # Errors
/// As there.
pub fn canonicalize_answer(response: &mut ModelInferResponse, limits: &Limits) -> Result<(), DecodeError> {
    let (tensors, contents) = (response.outputs.len(), response.raw_output_contents.len());
    let is_typed = contents == 0;
    if !is_typed {
        // MLServer sends empty ones beside raw ones.
        for output in &mut response.outputs {
            output.contents.take_if(|values| *values == InferTensorContents::default());
        }
    }
    if !is_typed && (tensors != contents || response.outputs.iter().any(|output| output.contents.is_some())) {
        return Err(DecodeError::Contents { tensors, contents });
    }
    if is_typed {
        let contents = response.outputs.iter_mut().map(|output| {
            let contents = output.contents.take();
            raw(&tensor_of(output), contents, limits).map_err(|error| output_error(output, error))
        });
        response.raw_output_contents = contents.collect::<Result<_, _>>()?;
    }
    response.outputs.iter().zip(&response.raw_output_contents).try_for_each(|(output, values)| {
        let datatype =
            output.datatype.parse().map_err(|error: UnknownDataType| output_error(output, error.into()))?;
        check_raw(datatype, &output.shape, values, limits).map_err(|error| output_error(output, error))
    })
}

/// What an output has in common with an input.
fn tensor_of(output: &InferOutputTensor) -> InferInputTensor {
    let (datatype, shape) = (output.datatype.clone(), output.shape.clone());
    InferInputTensor { datatype, shape, ..InferInputTensor::default() }
}

fn output_error(output: &InferOutputTensor, error: TensorError) -> DecodeError {
    DecodeError::Tensor { kind: Kind::Output, name: output.name.clone(), error }
}

fn tensor_error(input: &InferInputTensor, error: TensorError) -> DecodeError {
    DecodeError::Tensor { kind: Kind::Input, name: input.name.clone(), error }
}

/// Typed values as raw bytes.
fn raw(
    input: &InferInputTensor,
    contents: Option<InferTensorContents>,
    limits: &Limits,
) -> Result<Bytes, TensorError> {
    let datatype: DataType = input.datatype.parse()?;
    let Some(contents) = contents else { return Ok(Bytes::new()) };
    if in_shared_memory(&input.parameters) {
        return Err(TensorError::TwoSources);
    }
    let expected = value_count(datatype, &input.shape, limits)?;
    let found = values_under(datatype, &contents)?;
    if found != expected {
        return Err(TensorError::Count { expected, found });
    }
    match datatype {
        DataType::Bool => Ok(contents.bool_contents.into_iter().map(u8::from).collect()),
        DataType::Int8 => narrowed::<_, i8, 1>(contents.int_contents, i8::to_le_bytes),
        DataType::Int16 => narrowed::<_, i16, 2>(contents.int_contents, i16::to_le_bytes),
        DataType::Int32 => narrowed::<_, i32, 4>(contents.int_contents, i32::to_le_bytes),
        DataType::Int64 => Ok(flat(contents.int64_contents.into_iter().map(i64::to_le_bytes))),
        DataType::Uint8 => narrowed::<_, u8, 1>(contents.uint_contents, u8::to_le_bytes),
        DataType::Uint16 => narrowed::<_, u16, 2>(contents.uint_contents, u16::to_le_bytes),
        DataType::Uint32 => narrowed::<_, u32, 4>(contents.uint_contents, u32::to_le_bytes),
        DataType::Uint64 => Ok(flat(contents.uint64_contents.into_iter().map(u64::to_le_bytes))),
        DataType::Fp32 => Ok(flat(contents.fp32_contents.into_iter().map(f32::to_le_bytes))),
        DataType::Fp64 => Ok(flat(contents.fp64_contents.into_iter().map(f64::to_le_bytes))),
        DataType::Fp16 | DataType::Bf16 => Err(TensorError::NoTypedForm { datatype }),
        DataType::Bytes => strings(&contents.bytes_contents, limits),
    }
}

/// How many values there are in the list of the datatype.
fn values_under(datatype: DataType, contents: &InferTensorContents) -> Result<usize, TensorError> {
    let lists = [
        ("bool_contents", contents.bool_contents.len()),
        ("int_contents", contents.int_contents.len()),
        ("int64_contents", contents.int64_contents.len()),
        ("uint_contents", contents.uint_contents.len()),
        ("uint64_contents", contents.uint64_contents.len()),
        ("fp32_contents", contents.fp32_contents.len()),
        ("fp64_contents", contents.fp64_contents.len()),
        ("bytes_contents", contents.bytes_contents.len()),
    ];
    let expected = match datatype {
        DataType::Bool => "bool_contents",
        DataType::Int8 | DataType::Int16 | DataType::Int32 => "int_contents",
        DataType::Int64 => "int64_contents",
        DataType::Uint8 | DataType::Uint16 | DataType::Uint32 => "uint_contents",
        DataType::Uint64 => "uint64_contents",
        DataType::Fp32 => "fp32_contents",
        DataType::Fp64 => "fp64_contents",
        DataType::Bytes => "bytes_contents",
        DataType::Fp16 | DataType::Bf16 => return Err(TensorError::NoTypedForm { datatype }),
    };
    if let Some((found, _)) = lists.iter().find(|(name, values)| *name != expected && *values > 0) {
        return Err(TensorError::WrongContents { datatype, expected, found });
    }
    Ok(lists.iter().find(|(name, _)| *name == expected).map_or(0, |(_, values)| *values))
}

fn flat<const N: usize>(values: impl Iterator<Item = [u8; N]>) -> Bytes {
    values.flatten().collect()
}

/// Values of a wider type than the datatype's own: each must fit.
fn narrowed<Wide, Narrow, const N: usize>(
    values: Vec<Wide>,
    bytes: impl Fn(Narrow) -> [u8; N],
) -> Result<Bytes, TensorError>
where
    Wide: Copy + Into<i64>,
    Narrow: TryFrom<Wide>,
{
    let mut raw = Vec::with_capacity(values.len().saturating_mul(N));
    for (index, value) in values.into_iter().enumerate() {
        let narrow = Narrow::try_from(value).map_err(|_| TensorError::OutOfRange {
            index,
            found: value.into(),
            bits: N.saturating_mul(8),
        })?;
        raw.extend_from_slice(&bytes(narrow));
    }
    Ok(raw.into())
}

fn strings(elements: &[Bytes], limits: &Limits) -> Result<Bytes, TensorError> {
    let size =
        elements.iter().fold(0_usize, |sum, element| sum.saturating_add(element.len()).saturating_add(4));
    let too_large = || TensorError::TooLarge { limit: limits.max_tensor_bytes };
    if size > limits.max_tensor_bytes {
        return Err(too_large());
    }
    let mut raw = Vec::with_capacity(size);
    for element in elements {
        push_element(&mut raw, element).ok_or_else(too_large)?;
    }
    Ok(raw.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::{Choice, InferParameter};

    #[test]
    fn an_answer_with_typed_values_is_the_one_with_raw_ones() {
        let output = |contents| InferOutputTensor {
            name: "y".into(),
            datatype: "FP32".into(),
            shape: vec![2],
            contents,
            ..InferOutputTensor::default()
        };
        let typed = InferTensorContents { fp32_contents: vec![1.0, -2.5], ..InferTensorContents::default() };
        let mut answer = ModelInferResponse {
            outputs: vec![output(Some(typed.clone()))],
            ..ModelInferResponse::default()
        };
        canonicalize_answer(&mut answer, &Limits::default()).unwrap();
        let bytes: Vec<u8> = [1.0_f32, -2.5].iter().flat_map(|value| value.to_le_bytes()).collect();
        assert_eq!((&answer.outputs[0], &answer.raw_output_contents[0][..]), (&output(None), &bytes[..]));
        canonicalize_answer(&mut answer, &Limits::default()).unwrap();
        answer.outputs[0].contents = Some(InferTensorContents::default());
        canonicalize_answer(&mut answer, &Limits::default()).unwrap();
        assert_eq!(answer.outputs[0], output(None), "empty ones beside raw ones are none");
        answer.outputs.push(output(Some(typed)));
        assert!(canonicalize_answer(&mut answer, &Limits::default()).is_err(), "some raw, some typed");
        let raw_output_contents = vec![Bytes::new()];
        let mut answer = ModelInferResponse {
            outputs: vec![output(None)],
            raw_output_contents,
            ..ModelInferResponse::default()
        };
        assert!(
            canonicalize_answer(&mut answer, &Limits::default()).is_err(),
            "fewer values than the shape says"
        );
    }

    fn request(datatype: &str, shape: &[i64], contents: InferTensorContents) -> ModelInferRequest {
        let input = InferInputTensor {
            name: "x".into(),
            datatype: datatype.into(),
            shape: shape.to_vec(),
            contents: Some(contents),
            ..InferInputTensor::default()
        };
        ModelInferRequest { model_name: "m".into(), inputs: vec![input], ..ModelInferRequest::default() }
    }

    fn canonical(mut request: ModelInferRequest) -> Result<Vec<Bytes>, String> {
        canonicalize(&mut request, &Limits::default()).map_err(|error| error.to_string())?;
        assert!(request.inputs.iter().all(|input| input.contents.is_none()));
        Ok(request.raw_input_contents)
    }

    #[test]
    fn typed_values_become_little_endian_bytes() {
        let of = InferTensorContents::default;
        for (datatype, contents, expected) in [
            ("BOOL", InferTensorContents { bool_contents: vec![true, false], ..of() }, &[1, 0][..]),
            ("INT8", InferTensorContents { int_contents: vec![-1, 2], ..of() }, &[255, 2]),
            ("INT16", InferTensorContents { int_contents: vec![-2, 1], ..of() }, &[254, 255, 1, 0]),
            ("UINT16", InferTensorContents { uint_contents: vec![1, 65535], ..of() }, &[1, 0, 255, 255]),
            (
                "FP32",
                InferTensorContents { fp32_contents: vec![1.0, 0.0], ..of() },
                &[0, 0, 128, 63, 0, 0, 0, 0],
            ),
            (
                "BYTES",
                InferTensorContents { bytes_contents: vec![Bytes::from_static(b"a"), Bytes::new()], ..of() },
                &[1, 0, 0, 0, b'a', 0, 0, 0, 0],
            ),
        ] {
            assert_eq!(canonical(request(datatype, &[2], contents)).unwrap(), [expected], "{datatype}");
        }
    }

    #[test]
    fn values_that_do_not_fit_are_named() {
        let of = InferTensorContents::default;
        for (datatype, contents, expected) in [
            ("INT8", InferTensorContents { int_contents: vec![1, 128], ..of() }, "value 1 is 128"),
            ("UINT8", InferTensorContents { uint_contents: vec![256, 0], ..of() }, "value 0 is 256"),
            ("INT32", InferTensorContents { int_contents: vec![1], ..of() }, "2 values, 1 are given"),
            ("FP32", InferTensorContents { fp64_contents: vec![1.0, 2.0], ..of() }, "fp32_contents"),
            ("FP16", InferTensorContents { fp32_contents: vec![1.0, 2.0], ..of() }, "raw_input_contents"),
        ] {
            let error = canonical(request(datatype, &[2], contents)).unwrap_err();
            assert!(error.contains(expected) && error.contains("'x'"), "{error}");
        }
    }

    #[test]
    fn raw_contents_are_one_an_input_and_never_beside_typed_ones() {
        let mut both =
            request("INT64", &[1], InferTensorContents { int64_contents: vec![1], ..Default::default() });
        both.raw_input_contents = vec![Bytes::from_static(&[0; 8])];
        assert!(canonical(both.clone()).unwrap_err().contains("two sources"));
        both.inputs[0].contents = None;
        assert_eq!(canonical(both.clone()).unwrap().len(), 1);
        let region = InferParameter { choice: Some(Choice::String("region".into())) };
        let mut shared = both.inputs[0].clone();
        shared.parameters.insert("shared_memory_region".into(), region);
        both.inputs.insert(0, shared);
        assert_eq!(canonical(both.clone()).unwrap(), [Bytes::new(), Bytes::from_static(&[0; 8])]);
        both.inputs.remove(0);
        both.raw_input_contents.push(Bytes::new());
        assert!(canonical(both).unwrap_err().contains("1 inputs but 2 raw contents"));
    }
}
