//! Two results of one request -> whether they are the same, as `variant.json` says it of an output.

use forebay_protocol::datatype::DataType;
use serde::{Deserialize, Serialize};

use crate::engine::numbers::{self, largest};

/// When two results are the same.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "compare", rename_all = "lowercase", deny_unknown_fields)]
pub(crate) enum Compare {
    /// The largest of each row stands in the same place. A row is the last dimension.
    Top1 {},
    /// Each number is no farther from the original's than `absolute`, and `relative` times that.
    Tolerance { absolute: f64, relative: f64 },
}

/// An output that was computed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Result<'a> {
    pub(crate) shape: &'a [i64],
    /// Little-endian elements.
    pub(crate) data: &'a [u8],
}

/// Whether a variant gave what its original gave. Other shapes never agree; BYTES and truth values do where they are equal.
pub(crate) fn agrees(
    compare: Compare,
    datatype: DataType,
    variant: Result<'_>,
    original: Result<'_>,
) -> bool {
    if variant.shape != original.shape {
        return false;
    }
    if variant.data == original.data {
        return true;
    }
    if datatype == DataType::Bool {
        return false;
    }
    let (Some(variant_numbers), Some(numbers)) =
        (numbers::of(datatype, variant.data), numbers::of(datatype, original.data))
    else {
        return false;
    };
    if variant_numbers.len() != numbers.len() {
        return false;
    }
    match compare {
        Compare::Tolerance { absolute, relative } => {
            let close = |variant: f64, original: f64| {
                if original.is_finite() {
                    (variant - original).abs() <= absolute + relative * original.abs()
                } else {
                    // Infinities have no distance, and what is no number has none either.
                    variant.is_nan() && original.is_nan() || variant.total_cmp(&original).is_eq()
                }
            };
            variant_numbers.iter().zip(&numbers).all(|(variant, original)| close(*variant, *original))
        }
        Compare::Top1 {} => {
            let classes = original.shape.last().and_then(|size| usize::try_from(*size).ok());
            let classes = classes.unwrap_or(1).max(1);
            let rows = variant_numbers.chunks(classes).zip(numbers.chunks(classes));
            rows.into_iter().all(|(variant, original)| largest(variant) == largest(original))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOP1: Compare = Compare::Top1 {};
    const CLOSE: Compare = Compare::Tolerance { absolute: 0.01, relative: 0.1 };

    fn same(compare: Compare, shape: &[i64], variant: &[f32], original: &[f32]) -> bool {
        let data = |values: &[f32]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
        let (variant, original) = (data(variant), data(original));
        agrees(compare, DataType::Fp32, Result { shape, data: &variant }, Result { shape, data: &original })
    }

    #[test]
    fn the_top_one_must_stand_in_the_same_place_of_each_row() {
        assert!(same(TOP1, &[2, 2], &[0.4, 0.6, 3.0, 1.0], &[0.1, 0.9, 2.0, 1.0]));
        assert!(!same(TOP1, &[2, 2], &[0.4, 0.6, 1.0, 3.0], &[0.1, 0.9, 2.0, 1.0]));
        assert!(same(TOP1, &[4], &[0.4, 0.6, 3.0, 1.0], &[0.1, 0.9, 2.0, 1.0]), "one row");
        assert!(!same(TOP1, &[2], &[f32::NAN, 1.0], &[2.0, 1.0]));
        assert!(same(TOP1, &[], &[1.0], &[2.0]), "a scalar has one place");
    }

    #[test]
    fn numbers_may_be_as_far_apart_as_the_tolerance_says() {
        assert!(same(CLOSE, &[2], &[1.1, 0.009], &[1.0, 0.0]));
        assert!(!same(CLOSE, &[2], &[1.2, 0.0], &[1.0, 0.0]));
        assert!(!same(CLOSE, &[2], &[1.0, f32::NAN], &[1.0, 0.0]));
        assert!(same(CLOSE, &[2], &[f32::NAN, f32::INFINITY], &[f32::NAN, f32::INFINITY]));
        assert!(!same(CLOSE, &[1], &[f32::NEG_INFINITY], &[f32::INFINITY]));
    }

    #[test]
    fn other_shapes_never_agree_and_bytes_only_where_they_are_equal() {
        let bytes = |shape, data| Result { shape, data };
        assert!(!agrees(TOP1, DataType::Fp32, bytes(&[1, 4], &[0; 16]), bytes(&[4], &[0; 16])));
        assert!(agrees(TOP1, DataType::Bytes, bytes(&[1], b"\x01\0\0\0a"), bytes(&[1], b"\x01\0\0\0a")));
        assert!(!agrees(CLOSE, DataType::Bytes, bytes(&[1], b"\x01\0\0\0a"), bytes(&[1], b"\x01\0\0\0b")));
        assert!(!agrees(CLOSE, DataType::Bool, bytes(&[1], &[0]), bytes(&[1], &[1])));
        assert!(agrees(CLOSE, DataType::Int8, bytes(&[1], &[100]), bytes(&[1], &[98])));
    }
}
