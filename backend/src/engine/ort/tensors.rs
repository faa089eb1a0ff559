//! Bytes of requests -> ONNX Runtime's tensors, without a copy where they are aligned; its outputs -> bytes.

use std::fmt::Debug;
use std::sync::Arc;

use bytemuck::{NoUninit, Pod};
use bytes::{BufMut, Bytes, BytesMut};
use forebay_bindings::strings::{self, Strings};
use forebay_protocol::datatype::DataType;
use half::{bf16, f16};
use ort::memory::Allocator;
use ort::session::{SessionInputValue, SharedSessionInner};
use ort::value::{DynValue, PrimitiveTensorElementType, Tensor, TensorElementType as Element, TensorRef};

use super::failure;
use crate::engine::{EngineError, InputTensor};

/// Copying less than this costs no more than keeping the engine's memory for it.
const COPIED_BYTES: usize = 4 << 10;

#[cfg(target_endian = "big")]
compile_error!("tensors are little-endian on the wire and are handed to the engine as they are");

/// Our datatype of an element type; `None` for what V2 has no name for.
pub(super) fn datatype(element: Element) -> Option<DataType> {
    Some(match element {
        Element::Bool => DataType::Bool,
        Element::Uint8 => DataType::Uint8,
        Element::Uint16 => DataType::Uint16,
        Element::Uint32 => DataType::Uint32,
        Element::Uint64 => DataType::Uint64,
        Element::Int8 => DataType::Int8,
        Element::Int16 => DataType::Int16,
        Element::Int32 => DataType::Int32,
        Element::Int64 => DataType::Int64,
        Element::Float16 => DataType::Fp16,
        Element::Bfloat16 => DataType::Bf16,
        Element::Float32 => DataType::Fp32,
        Element::Float64 => DataType::Fp64,
        Element::String => DataType::Bytes,
        _ => return None,
    })
}

/// An input as a tensor over `data`, its bytes in one place; strings are copied from their parts.
///
/// # Errors
/// `BadInput` when the bytes are not elements of the datatype, or don't fill the shape.
pub(super) fn view<'a>(
    input: &InputTensor<'a>,
    data: &'a [u8],
) -> Result<SessionInputValue<'a>, EngineError> {
    match input.datatype {
        DataType::Bool => booleans(input, data),
        DataType::Uint8 => numbers::<u8>(input, data),
        DataType::Uint16 => numbers::<u16>(input, data),
        DataType::Uint32 => numbers::<u32>(input, data),
        DataType::Uint64 => numbers::<u64>(input, data),
        DataType::Int8 => numbers::<i8>(input, data),
        DataType::Int16 => numbers::<i16>(input, data),
        DataType::Int32 => numbers::<i32>(input, data),
        DataType::Int64 => numbers::<i64>(input, data),
        DataType::Fp16 => numbers::<f16>(input, data),
        DataType::Bf16 => numbers::<bf16>(input, data),
        DataType::Fp32 => numbers::<f32>(input, data),
        DataType::Fp64 => numbers::<f64>(input, data),
        DataType::Bytes => string_tensor(input).map(Into::into),
    }
}

fn numbers<'a, T>(input: &InputTensor<'a>, data: &'a [u8]) -> Result<SessionInputValue<'a>, EngineError>
where
    T: Pod + PrimitiveTensorElementType + Debug,
{
    if !data.len().is_multiple_of(size_of::<T>()) {
        let (name, bytes) = (input.name, data.len());
        return Err(EngineError::BadInput(format!(
            "input '{name}' has {bytes} bytes, not a multiple of its element"
        )));
    }
    // A body's bytes start anywhere: one copy when that isn't where the element may start.
    let tensor = if let Ok(elements) = bytemuck::try_cast_slice::<u8, T>(data) {
        TensorRef::from_array_view((input.shape, elements)).map(Into::into)
    } else {
        Tensor::from_array((input.shape, bytemuck::pod_collect_to_vec::<u8, T>(data))).map(Into::into)
    };
    tensor.map_err(|error| failure(&error))
}

fn booleans<'a>(input: &InputTensor<'a>, data: &'a [u8]) -> Result<SessionInputValue<'a>, EngineError> {
    let tensor = TensorRef::from_array_view((input.shape, checked_booleans(input.name, data)?));
    tensor.map(Into::into).map_err(|error| failure(&error))
}

fn checked_booleans<'a>(name: &str, data: &'a [u8]) -> Result<&'a [bool], EngineError> {
    bytemuck::checked::try_cast_slice(data).map_err(|_| {
        EngineError::BadInput(format!("input '{name}' has a BOOL element that is neither 0 nor 1"))
    })
}

/// An input, gathered into memory of the allocator.
///
/// # Errors
/// As [`view`].
pub(super) fn placed(allocator: &Allocator, input: &InputTensor<'_>) -> Result<DynValue, EngineError> {
    match input.datatype {
        DataType::Bool => gathered(allocator, input, |place| fill_booleans(place, input)),
        DataType::Uint8 => gathered(allocator, input, fill::<u8>(input)),
        DataType::Uint16 => gathered(allocator, input, fill::<u16>(input)),
        DataType::Uint32 => gathered(allocator, input, fill::<u32>(input)),
        DataType::Uint64 => gathered(allocator, input, fill::<u64>(input)),
        DataType::Int8 => gathered(allocator, input, fill::<i8>(input)),
        DataType::Int16 => gathered(allocator, input, fill::<i16>(input)),
        DataType::Int32 => gathered(allocator, input, fill::<i32>(input)),
        DataType::Int64 => gathered(allocator, input, fill::<i64>(input)),
        DataType::Fp16 => gathered(allocator, input, fill::<f16>(input)),
        DataType::Bf16 => gathered(allocator, input, fill::<bf16>(input)),
        DataType::Fp32 => gathered(allocator, input, fill::<f32>(input)),
        DataType::Fp64 => gathered(allocator, input, fill::<f64>(input)),
        // The engine reads strings on the CPU.
        DataType::Bytes => string_tensor(input),
    }
}

fn fill<'a, T: Pod>(
    input: &InputTensor<'a>,
) -> impl FnOnce(&mut [T]) -> Result<(), EngineError> + use<'a, T> {
    let data = input.data;
    move |place| {
        data.copy_into(bytemuck::cast_slice_mut(place));
        Ok(())
    }
}

fn fill_booleans(place: &mut [bool], input: &InputTensor<'_>) -> Result<(), EngineError> {
    let mut rest = place;
    for part in input.data.iter() {
        let (here, after) = rest.split_at_mut(part.len());
        here.copy_from_slice(checked_booleans(input.name, part)?);
        rest = after;
    }
    Ok(())
}

fn gathered<T: PrimitiveTensorElementType + Debug>(
    allocator: &Allocator,
    input: &InputTensor<'_>,
    fill: impl FnOnce(&mut [T]) -> Result<(), EngineError>,
) -> Result<DynValue, EngineError> {
    let mut tensor = Tensor::<T>::new(allocator, input.shape).map_err(|error| failure(&error))?;
    let (_, place) = tensor.try_extract_tensor_mut::<T>().map_err(|error| failure(&error))?;
    if size_of_val(place) != input.data.len() {
        let (name, bytes, shape) = (input.name, input.data.len(), input.shape);
        return Err(EngineError::BadInput(format!(
            "input '{name}' has {bytes} bytes, which shape {shape:?} is not"
        )));
    }
    fill(place)?;
    Ok(tensor.into_dyn())
}

/// Strings are bytes with a length, zero bytes among them too, and need not be UTF-8.
fn string_tensor(input: &InputTensor<'_>) -> Result<DynValue, EngineError> {
    let mut elements = Vec::new();
    for part in input.data.iter() {
        read_strings(input.name, part, &mut elements)?;
    }
    strings::tensor(input.shape, &elements).map_err(|error| failure(&error))
}

fn read_strings<'a>(name: &str, data: &'a [u8], elements: &mut Vec<&'a [u8]>) -> Result<(), EngineError> {
    let cut =
        |index: usize| EngineError::BadInput(format!("input '{name}': BYTES element {index} is cut short"));
    let mut rest = data;
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
        let (element, after) = after.split_at_checked(length).ok_or_else(|| cut(elements.len()))?;
        elements.push(element);
        rest = after;
    }
    if rest.is_empty() { Ok(()) } else { Err(cut(elements.len())) }
}

/// A computed tensor's shape and bytes. Small ones are copied; large ones stay in the engine's memory until nobody needs them.
///
/// # Errors
/// `Failed` when the value is not a tensor of the datatype.
pub(super) fn bytes(
    session: &Arc<SharedSessionInner>,
    value: DynValue,
    datatype: DataType,
) -> Result<(Vec<i64>, Bytes), EngineError> {
    match datatype {
        DataType::Bool => elements::<bool>(session, value),
        DataType::Uint8 => elements::<u8>(session, value),
        DataType::Uint16 => elements::<u16>(session, value),
        DataType::Uint32 => elements::<u32>(session, value),
        DataType::Uint64 => elements::<u64>(session, value),
        DataType::Int8 => elements::<i8>(session, value),
        DataType::Int16 => elements::<i16>(session, value),
        DataType::Int32 => elements::<i32>(session, value),
        DataType::Int64 => elements::<i64>(session, value),
        DataType::Fp16 => elements::<f16>(session, value),
        DataType::Bf16 => elements::<bf16>(session, value),
        DataType::Fp32 => elements::<f32>(session, value),
        DataType::Fp64 => elements::<f64>(session, value),
        DataType::Bytes => copied_strings(&value),
    }
}

/// A tensor of the engine, seen as its bytes.
struct OutputBytes<T: PrimitiveTensorElementType + Debug> {
    tensor: Tensor<T>,
    /// An output that is a constant lies in the session's memory.
    _session: Arc<SharedSessionInner>,
}

impl<T: PrimitiveTensorElementType + NoUninit + Debug> AsRef<[u8]> for OutputBytes<T> {
    fn as_ref(&self) -> &[u8] {
        bytemuck::cast_slice(self.tensor.extract_tensor().1)
    }
}

fn elements<T: PrimitiveTensorElementType + NoUninit + Debug + Send>(
    session: &Arc<SharedSessionInner>,
    value: DynValue,
) -> Result<(Vec<i64>, Bytes), EngineError> {
    let tensor: Tensor<T> = value.downcast().map_err(|error| EngineError::Failed(error.to_string()))?;
    let shape = tensor.shape().to_vec();
    let computed = OutputBytes { tensor, _session: session.clone() };
    let data = computed.as_ref();
    let data =
        if data.len() < COPIED_BYTES { Bytes::copy_from_slice(data) } else { Bytes::from_owner(computed) };
    Ok((shape, data))
}

fn copied_strings(value: &DynValue) -> Result<(Vec<i64>, Bytes), EngineError> {
    let strings = Strings::of(value).map_err(|error| EngineError::Failed(error.to_string()))?;
    let mut data = BytesMut::with_capacity(strings.size() + 4 * strings.iter().count());
    for element in strings.iter() {
        let length = u32::try_from(element.len())
            .map_err(|_| EngineError::Failed("a string of the output is longer than 4 GiB".to_owned()))?;
        data.put_u32_le(length);
        data.put_slice(element);
    }
    Ok((strings.shape().to_vec(), data.freeze()))
}
