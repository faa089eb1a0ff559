//! ONNX Runtime's tensors of strings. Elements of any bytes enter and leave with their lengths: zero bytes, and bytes that are no
//! UTF-8, are bytes as others. `ort`'s own way ends strings by a zero byte and takes and gives UTF-8 alone.

use std::ptr::{self, NonNull};

use ort::memory::Allocator;
use ort::sys::{ONNXTensorElementDataType, OrtStatusPtr};
use ort::value::{DynValue, TensorElementType, Value, ValueType};
use ort::{AsPointer as _, Error, ErrorCode};

/// A tensor of that shape with these elements.
///
/// # Errors
/// The shape stands for another number of elements, or there is no memory for them.
pub fn tensor(shape: &[i64], elements: &[&[u8]]) -> ort::Result<DynValue> {
    if count(shape) != Some(elements.len()) {
        let message = format!("shape {shape:?} has not {} elements", elements.len());
        return Err(Error::new_with_code(ErrorCode::InvalidArgument, message));
    }
    let mut allocator = Allocator::default();
    let mut value = ptr::null_mut();
    let element_type = ONNXTensorElementDataType::ONNX_TENSOR_ELEMENT_DATA_TYPE_STRING;
    // SAFETY: the allocator lives as long as the process, the shape has as many dimensions as is told, and `value` is written.
    let status = unsafe {
        (ort::api().CreateTensorAsOrtValue)(
            allocator.ptr_mut(),
            shape.as_ptr(),
            shape.len(),
            element_type,
            &raw mut value,
        )
    };
    check(status)?;
    let value = NonNull::new(value).ok_or_else(|| Error::new("there is no tensor, and no error"))?;
    // SAFETY: it is a tensor that was made just now, of that allocator, and is nobody else's.
    let mut tensor: DynValue = unsafe { Value::from_ptr(value, Some(&allocator)) };
    for (index, element) in elements.iter().enumerate() {
        let mut place = ptr::null_mut();
        // SAFETY: it is a tensor of strings that has an element of that index, and `place` is written.
        let status = unsafe {
            (ort::api().GetResizedStringTensorElementBuffer)(
                tensor.ptr_mut(),
                index,
                element.len(),
                &raw mut place,
            )
        };
        check(status)?;
        if !element.is_empty() {
            // SAFETY: the element has so many bytes from `place` on now, its own memory, which nothing else uses meanwhile.
            unsafe { ptr::copy_nonoverlapping(element.as_ptr(), place.cast::<u8>(), element.len()) };
        }
    }
    Ok(tensor)
}

/// The elements of a tensor, one after another.
#[derive(Debug)]
pub struct Strings {
    shape: Vec<i64>,
    bytes: Vec<u8>,
    /// Where each begins.
    starts: Vec<usize>,
}

impl Strings {
    /// Copies those of a tensor of strings.
    ///
    /// # Errors
    /// It is none.
    pub fn of(tensor: &DynValue) -> ort::Result<Self> {
        let ValueType::Tensor { ty: TensorElementType::String, shape, .. } = tensor.dtype() else {
            return Err(Error::new(format!("{} is no tensor of strings", tensor.dtype())));
        };
        let shape = shape.to_vec();
        let count = count(&shape).ok_or_else(|| Error::new(format!("no tensor has shape {shape:?}")))?;
        let mut size = 0;
        // SAFETY: it is a tensor of strings, and `size` is written.
        check(unsafe { (ort::api().GetStringTensorDataLength)(tensor.ptr(), &raw mut size) })?;
        let (mut bytes, mut starts) = (vec![0_u8; size], vec![0; count]);
        // SAFETY: as before; both places have room for as much as is told with them, and are this function's.
        let status = unsafe {
            (ort::api().GetStringTensorContent)(
                tensor.ptr(),
                bytes.as_mut_ptr().cast(),
                size,
                starts.as_mut_ptr(),
                count,
            )
        };
        check(status)?;
        Ok(Self { shape, bytes, starts })
    }

    /// The tensor's.
    pub fn shape(&self) -> &[i64] {
        &self.shape
    }

    /// Bytes of all elements.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// The elements in their order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let ends = self.starts.iter().skip(1).copied().chain([self.bytes.len()]);
        self.starts.iter().zip(ends).map(|(start, end)| self.bytes.get(*start..end).unwrap_or_default())
    }
}

/// How many elements a tensor of that shape has.
fn count(shape: &[i64]) -> Option<usize> {
    shape.iter().try_fold(1_usize, |count, size| count.checked_mul(usize::try_from(*size).ok()?))
}

fn check(status: OrtStatusPtr) -> ort::Result<()> {
    // SAFETY: it was returned by ONNX Runtime just now, and is used here alone.
    unsafe { Error::result_from_status(status) }
}
