//! Elements of a tensor, little endian -> numbers, whatever their datatype, and the place of the largest.

use forebay_protocol::datatype::DataType;
use half::{bf16, f16};

/// The elements as numbers, truth values as 0 and 1; `None` of BYTES.
pub(crate) fn of(datatype: DataType, data: &[u8]) -> Option<Vec<f64>> {
    fn each<const N: usize>(data: &[u8], number: impl Fn([u8; N]) -> f64) -> Vec<f64> {
        data.as_chunks::<N>().0.iter().map(|bytes| number(*bytes)).collect()
    }
    Some(match datatype {
        DataType::Bytes => return None,
        DataType::Bool | DataType::Uint8 => each(data, |bytes| u8::from_le_bytes(bytes).into()),
        DataType::Uint16 => each(data, |bytes| u16::from_le_bytes(bytes).into()),
        DataType::Uint32 => each(data, |bytes| u32::from_le_bytes(bytes).into()),
        DataType::Uint64 => each(data, |bytes| u64::from_le_bytes(bytes) as f64),
        DataType::Int8 => each(data, |bytes| i8::from_le_bytes(bytes).into()),
        DataType::Int16 => each(data, |bytes| i16::from_le_bytes(bytes).into()),
        DataType::Int32 => each(data, |bytes| i32::from_le_bytes(bytes).into()),
        DataType::Int64 => each(data, |bytes| i64::from_le_bytes(bytes) as f64),
        DataType::Fp16 => each(data, |bytes| f16::from_le_bytes(bytes).into()),
        DataType::Bf16 => each(data, |bytes| bf16::from_le_bytes(bytes).into()),
        DataType::Fp32 => each(data, |bytes| f32::from_le_bytes(bytes).into()),
        DataType::Fp64 => each(data, f64::from_le_bytes),
    })
}

/// The place of the largest number, the first where there are several; what is no number is less than any.
pub(crate) fn largest(row: &[f64]) -> Option<usize> {
    let ordered = |number: f64| if number.is_nan() { f64::NEG_INFINITY } else { number };
    let mut places = row.iter().copied().map(ordered).enumerate();
    let first = places.next()?;
    Some(places.fold(first, |best, next| if next.1 > best.1 { next } else { best }).0)
}
