//! Elements of any datatype -> numbers.

use forebay_protocol::datatype::DataType;
use half::{bf16, f16};

use super::arrays::Array;

/// The elements as numbers; those of BYTES are none.
pub(super) fn of(array: &Array) -> Vec<f64> {
    fn each<const N: usize>(data: &[u8], read: impl Fn([u8; N]) -> f64) -> Vec<f64> {
        data.as_chunks::<N>().0.iter().map(|element| read(*element)).collect()
    }
    let data = &array.data[..];
    match array.datatype {
        DataType::Bool | DataType::Uint8 => each::<1>(data, |one| f64::from(one[0])),
        DataType::Int8 => each(data, |one| f64::from(i8::from_le_bytes(one))),
        DataType::Uint16 => each(data, |one| f64::from(u16::from_le_bytes(one))),
        DataType::Int16 => each(data, |one| f64::from(i16::from_le_bytes(one))),
        DataType::Uint32 => each(data, |one| f64::from(u32::from_le_bytes(one))),
        DataType::Int32 => each(data, |one| f64::from(i32::from_le_bytes(one))),
        DataType::Uint64 => each(data, |one| u64::from_le_bytes(one) as f64),
        DataType::Int64 => each(data, |one| i64::from_le_bytes(one) as f64),
        DataType::Fp16 => each(data, |one| f64::from(f16::from_le_bytes(one))),
        DataType::Bf16 => each(data, |one| f64::from(bf16::from_le_bytes(one))),
        DataType::Fp32 => each(data, |one| f64::from(f32::from_le_bytes(one))),
        DataType::Fp64 => each(data, f64::from_le_bytes),
        DataType::Bytes => Vec::new(),
    }
}
