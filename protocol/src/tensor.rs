//! What must hold between a tensor's datatype, shape and raw values. A claim enters, its first contradiction leaves.

use crate::datatype::{DataType, UnknownDataType};
use crate::limits::Limits;
use crate::messages::Parameters;

/// What is wrong with a tensor.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TensorError {
    /// The datatype does not exist.
    #[error(transparent)]
    DataType(#[from] UnknownDataType),
    /// A negative dimension.
    #[error("dimension {index} of the shape is {found}: dimensions of a request are 0 or more")]
    NegativeDimension {
        /// Which one.
        index: usize,
        /// Its value.
        found: i64,
    },
    /// The shape has more dimensions than are accepted.
    #[error("the shape has {found} dimensions, the limit is {limit}")]
    Rank {
        /// How many.
        found: usize,
        /// `Limits::max_rank`.
        limit: usize,
    },
    /// The shape stands for more values than fit.
    #[error("the shape stands for more than {limit} bytes, the limit of a tensor")]
    TooLarge {
        /// `Limits::max_tensor_bytes`.
        limit: usize,
    },
    /// The values are not as many as the shape says.
    #[error("the shape stands for {expected} values, {found} are given")]
    Count {
        /// By the shape.
        expected: usize,
        /// Given; counted up to one too many.
        found: usize,
    },
    /// The raw bytes are not as many as shape and datatype say.
    #[error("shape and datatype stand for {expected} bytes, {found} are given")]
    Bytes {
        /// By shape and datatype.
        expected: usize,
        /// Given.
        found: usize,
    },
    /// A BOOL that is neither 0 nor 1.
    #[error("value {index} of a BOOL tensor is the byte {found}: 0 or 1 is expected")]
    Bool {
        /// Which value.
        index: usize,
        /// The byte.
        found: u8,
    },
    /// Neither `data` nor a size of binary data.
    #[error("has no values: 'data' or the parameter 'binary_data_size' is expected")]
    NoValues,
    /// More than one of `data`, binary data, shared memory.
    #[error("has values from two sources: one of 'data', 'binary_data_size' and shared memory is expected")]
    TwoSources,
    /// Typed values of a datatype that gRPC has no type for.
    #[error("{datatype} has no typed contents: send it as raw_input_contents")]
    NoTypedForm {
        /// FP16 or BF16.
        datatype: DataType,
    },
    /// Typed values in the list of another datatype.
    #[error("has values in {found}: {datatype} values are expected in {expected}")]
    WrongContents {
        /// The tensor's.
        datatype: DataType,
        /// The list of this datatype.
        expected: &'static str,
        /// A list that holds values.
        found: &'static str,
    },
    /// A typed value that the datatype can't hold.
    #[error("value {index} is {found}, which {bits} bits can't hold")]
    OutOfRange {
        /// Which value.
        index: usize,
        /// The value.
        found: i64,
        /// Size of the datatype.
        bits: usize,
    },
    /// A size of binary data that is none.
    #[error("parameter 'binary_data_size' must be a number of bytes, 0 or more")]
    BinarySize,
    /// More binary data is announced than is there.
    #[error("'binary_data_size' is {size}, but only {left} bytes of the body are left")]
    CutShort {
        /// Announced.
        size: usize,
        /// There.
        left: usize,
    },
    /// A BYTES element that reaches past the end.
    #[error("element {index} of a BYTES tensor reaches past the end of its data")]
    Element {
        /// Which element.
        index: usize,
    },
}

/// Do the tensor's values lie in a shared memory region?
pub(crate) fn in_shared_memory(parameters: &Parameters) -> bool {
    parameters.contains_key("shared_memory_region")
}

/// How many values a shape stands for.
///
/// # Errors
/// A negative dimension, too many of them, or a product beyond `max_tensor_bytes` (a value takes a byte at least; a BYTES
/// element takes its length, 4 bytes).
pub fn value_count(datatype: DataType, shape: &[i64], limits: &Limits) -> Result<usize, TensorError> {
    if shape.len() > limits.max_rank {
        return Err(TensorError::Rank { found: shape.len(), limit: limits.max_rank });
    }
    let mut count: usize = 1;
    let mut empty = false;
    for (index, dimension) in shape.iter().enumerate() {
        if *dimension < 0 {
            return Err(TensorError::NegativeDimension { index, found: *dimension });
        }
        empty |= *dimension == 0;
        // A later 0 makes the product 0: an overflow before it is none.
        count = usize::try_from(*dimension)
            .ok()
            .and_then(|dimension| count.checked_mul(dimension.max(1)))
            .unwrap_or(usize::MAX);
    }
    if empty {
        return Ok(0);
    }
    match count.checked_mul(datatype.size().unwrap_or(4)) {
        Some(bytes) if bytes <= limits.max_tensor_bytes => Ok(count),
        _ => Err(TensorError::TooLarge { limit: limits.max_tensor_bytes }),
    }
}

/// Checks raw values against datatype and shape.
///
/// # Errors
/// The first contradiction.
pub fn check_raw(datatype: DataType, shape: &[i64], data: &[u8], limits: &Limits) -> Result<(), TensorError> {
    let count = value_count(datatype, shape, limits)?;
    if data.len() > limits.max_tensor_bytes {
        return Err(TensorError::TooLarge { limit: limits.max_tensor_bytes });
    }
    let Some(size) = datatype.size() else { return check_elements(count, data) };
    let expected = count.saturating_mul(size);
    if data.len() != expected {
        return Err(TensorError::Bytes { expected, found: data.len() });
    }
    if datatype == DataType::Bool
        && let Some((index, found)) = data.iter().enumerate().find(|(_, byte)| **byte > 1)
    {
        return Err(TensorError::Bool { index, found: *found });
    }
    Ok(())
}

fn check_elements(expected: usize, data: &[u8]) -> Result<(), TensorError> {
    let mut found: usize = 0;
    for element in Elements(data) {
        element.map_err(|()| TensorError::Element { index: found })?;
        found = found.saturating_add(1);
    }
    if found == expected { Ok(()) } else { Err(TensorError::Count { expected, found }) }
}

/// The elements of a BYTES tensor's raw form; `Err` for one that reaches past the end, and then no more.
#[derive(Clone, Debug)]
pub struct Elements<'a>(pub &'a [u8]);

impl<'a> Iterator for Elements<'a> {
    type Item = Result<&'a [u8], ()>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let element = self.0.split_first_chunk::<4>().and_then(|(length, rest)| {
            rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)
        });
        self.0 = element.map_or(&[], |(_, rest)| rest);
        Some(element.map(|(element, _)| element).ok_or(()))
    }
}

/// Appends a BYTES element in raw form; `None` when it is longer than 4 GiB.
pub fn push_element(raw: &mut Vec<u8>, element: &[u8]) -> Option<()> {
    raw.extend_from_slice(&u32::try_from(element.len()).ok()?.to_le_bytes());
    raw.extend_from_slice(element);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(datatype: DataType, shape: &[i64], data: &[u8]) -> Result<(), TensorError> {
        check_raw(datatype, shape, data, &Limits::default())
    }

    #[test]
    fn a_scalar_holds_one_value_and_an_empty_shape_dimension_none() {
        assert_eq!(check(DataType::Fp32, &[], &[0; 4]), Ok(()));
        assert_eq!(check(DataType::Fp32, &[3, 0], &[]), Ok(()));
        assert_eq!(check(DataType::Fp32, &[i64::MAX, i64::MAX, 0], &[]), Ok(()));
    }

    #[test]
    fn shapes_that_overflow_are_too_large() {
        let limit = Limits::default().max_tensor_bytes;
        for shape in [&[i64::MAX][..], &[1 << 32, 1 << 32], &[i64::MAX, i64::MAX], &[1 << 28]] {
            assert_eq!(check(DataType::Fp32, shape, &[]), Err(TensorError::TooLarge { limit }), "{shape:?}");
        }
        assert_eq!(
            check(DataType::Fp32, &[2, -1], &[]),
            Err(TensorError::NegativeDimension { index: 1, found: -1 })
        );
        assert_eq!(check(DataType::Fp32, &[1; 33], &[]), Err(TensorError::Rank { found: 33, limit: 32 }));
    }

    #[test]
    fn raw_values_match_shape_and_datatype() {
        assert_eq!(check(DataType::Int16, &[2], &[0; 3]), Err(TensorError::Bytes { expected: 4, found: 3 }));
        assert_eq!(check(DataType::Bool, &[2], &[1, 2]), Err(TensorError::Bool { index: 1, found: 2 }));
        assert_eq!(check(DataType::Bytes, &[2], b"\x01\0\0\0a\0\0\0\0"), Ok(()));
        assert_eq!(
            check(DataType::Bytes, &[1], b"\x01\0\0\0a\0\0\0\0"),
            Err(TensorError::Count { expected: 1, found: 2 })
        );
        assert_eq!(check(DataType::Bytes, &[1], b"\x02\0\0\0a"), Err(TensorError::Element { index: 0 }));
        assert_eq!(
            check(DataType::Bytes, &[2], b"\0\0\0\0\xff\xff\xff\xff"),
            Err(TensorError::Element { index: 1 })
        );
    }
}
