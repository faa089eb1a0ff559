//! Triton's classification extension: an output of numbers and a count enter, the indices of the largest numbers leave, as
//! BYTES elements `value:index` or `value:index:label`. What is kept in the pool is the classified output.

use bytes::{BufMut as _, Bytes, BytesMut};
use forebay_protocol::datatype::DataType;
use half::{bf16, f16};

/// An output to classify.
pub(super) struct Classified<'a> {
    pub(super) datatype: DataType,
    pub(super) shape: &'a [i64],
    pub(super) data: &'a [u8],
    /// The first dimension is the batch's: each row is classified by itself.
    pub(super) has_batch: bool,
    pub(super) labels: &'a [String],
}

impl Classified<'_> {
    /// The shape and BYTES elements of the `most` largest of each row, or of all where a row has fewer.
    pub(super) fn top(&self, most: usize) -> (Vec<i64>, Bytes) {
        let values = values(self.datatype, self.data);
        let rows = if self.has_batch {
            self.shape.first().map_or(1, |rows| usize::try_from(*rows).unwrap_or(0))
        } else {
            1
        };
        let classes = values.len().checked_div(rows).unwrap_or(0);
        let count = most.min(classes);
        let mut elements = BytesMut::new();
        for row in values.chunks(classes.max(1)).take(rows) {
            let mut order: Vec<usize> = (0..row.len()).collect();
            // Equal values stay in the order of their indices; what is no number comes last.
            order.sort_by(|&a, &b| row[b].as_f64().total_cmp(&row[a].as_f64()));
            for &index in order.iter().take(count) {
                let label = self.labels.get(index).map(|label| format!(":{label}")).unwrap_or_default();
                let element = format!("{}:{index}{label}", row[index].shown());
                elements.put_u32_le(u32::try_from(element.len()).unwrap_or(u32::MAX));
                elements.put_slice(element.as_bytes());
            }
        }
        let size = |size: usize| i64::try_from(size).unwrap_or(i64::MAX);
        let shape = if self.has_batch { vec![size(rows), size(count)] } else { vec![size(count)] };
        (shape, elements.freeze())
    }
}

/// One value, exact for printing.
#[derive(Debug, Clone, Copy)]
enum Value {
    Signed(i64),
    Unsigned(u64),
    Float(f64),
}

impl Value {
    fn as_f64(self) -> f64 {
        match self {
            Self::Signed(value) => value as f64,
            Self::Unsigned(value) => value as f64,
            Self::Float(value) if value.is_nan() => f64::NEG_INFINITY,
            Self::Float(value) => value,
        }
    }

    /// As C's `std::to_string` writes it: floats with six decimals.
    fn shown(self) -> String {
        match self {
            Self::Signed(value) => value.to_string(),
            Self::Unsigned(value) => value.to_string(),
            Self::Float(value) if value.is_nan() => "nan".to_owned(),
            Self::Float(value) => format!("{value:.6}"),
        }
    }
}

fn values(datatype: DataType, data: &[u8]) -> Vec<Value> {
    fn of<const N: usize>(data: &[u8], value: impl Fn([u8; N]) -> Value) -> Vec<Value> {
        data.as_chunks::<N>().0.iter().map(|bytes| value(*bytes)).collect()
    }
    match datatype {
        DataType::Bool | DataType::Bytes => Vec::new(),
        DataType::Uint8 => of(data, |bytes| Value::Unsigned(u8::from_le_bytes(bytes).into())),
        DataType::Uint16 => of(data, |bytes| Value::Unsigned(u16::from_le_bytes(bytes).into())),
        DataType::Uint32 => of(data, |bytes| Value::Unsigned(u32::from_le_bytes(bytes).into())),
        DataType::Uint64 => of(data, |bytes| Value::Unsigned(u64::from_le_bytes(bytes))),
        DataType::Int8 => of(data, |bytes| Value::Signed(i8::from_le_bytes(bytes).into())),
        DataType::Int16 => of(data, |bytes| Value::Signed(i16::from_le_bytes(bytes).into())),
        DataType::Int32 => of(data, |bytes| Value::Signed(i32::from_le_bytes(bytes).into())),
        DataType::Int64 => of(data, |bytes| Value::Signed(i64::from_le_bytes(bytes))),
        DataType::Fp16 => of(data, |bytes| Value::Float(f16::from_le_bytes(bytes).into())),
        DataType::Bf16 => of(data, |bytes| Value::Float(bf16::from_le_bytes(bytes).into())),
        DataType::Fp32 => of(data, |bytes| Value::Float(f32::from_le_bytes(bytes).into())),
        DataType::Fp64 => of(data, |bytes| Value::Float(f64::from_le_bytes(bytes))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn top(shape: &[i64], values: &[f32], has_batch: bool, most: usize) -> (Vec<i64>, Vec<String>) {
        let data: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let labels = ["zero".to_owned(), "one".to_owned()];
        let output = Classified { datatype: DataType::Fp32, shape, data: &data, has_batch, labels: &labels };
        let (shape, elements) = output.top(most);
        let (mut texts, mut rest) = (Vec::new(), &elements[..]);
        while let Some((length, after)) = rest.split_first_chunk::<4>() {
            let (text, after) = after.split_at(u32::from_le_bytes(*length) as usize);
            texts.push(String::from_utf8(text.to_vec()).unwrap());
            rest = after;
        }
        (shape, texts)
    }

    #[test]
    fn the_largest_come_first_with_index_and_label() {
        let (shape, texts) = top(&[3], &[0.25, 1.0, 3.5], false, 2);
        assert_eq!((shape, texts), (vec![2], vec!["3.500000:2".to_owned(), "1.000000:1:one".to_owned()]));
    }

    #[test]
    fn each_row_of_a_batch_is_classified_by_itself() {
        let (shape, texts) = top(&[2, 2], &[1.0, 2.0, 4.0, 3.0], true, 1);
        assert_eq!(
            (shape, texts),
            (vec![2, 1], vec!["2.000000:1:one".to_owned(), "4.000000:0:zero".to_owned()])
        );
    }

    #[test]
    fn more_than_there_is_gives_all_and_what_is_no_number_comes_last() {
        let (shape, texts) = top(&[3], &[f32::NAN, 0.0, 0.0], false, 9);
        assert_eq!((shape, &*texts[0], &*texts[2]), (vec![3], "0.000000:1:one", "nan:0:zero"));
        assert_eq!(top(&[0, 3], &[], true, 2).0, [0, 0]);
    }
}
