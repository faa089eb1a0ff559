//! Dimensions that a model leaves free: 1 each, or what a file's values fill.

use forebay_protocol::datatype::DataType;
use forebay_protocol::tensor::Elements;

/// A model's shape without free dimensions. Where `count` values are there and one dimension is free, it is as large as they need.
pub(super) fn filled(shape: &[i64], count: Option<usize>) -> Vec<i64> {
    let free = shape.iter().filter(|dimension| **dimension < 0).count();
    let fixed: i64 =
        shape.iter().filter(|dimension| **dimension >= 0).fold(1, |all, one| all.saturating_mul(*one));
    let needed = count.and_then(|count| i64::try_from(count).ok()).filter(|_| free == 1 && fixed > 0);
    let size = needed.map_or(1, |count| count / fixed);
    shape.iter().map(|dimension| if *dimension < 0 { size } else { *dimension }).collect()
}

/// How many values raw bytes are.
pub(super) fn count(datatype: DataType, data: &[u8]) -> Option<usize> {
    match datatype.size() {
        Some(size) => Some(data.len() / size),
        None => Elements(data).map(Result::ok).map(|element| element.map(|_| 1)).sum(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_dimensions_are_one() {
        assert_eq!(filled(&[-1, 3, -1], None), [1, 3, 1]);
        assert_eq!(filled(&[], None), Vec::<i64>::new());
    }

    #[test]
    fn the_only_free_dimension_is_what_a_file_fills() {
        assert_eq!(filled(&[-1, 3], Some(12)), [4, 3]);
        assert_eq!(filled(&[-1, -1], Some(12)), [1, 1]);
        assert_eq!(count(DataType::Fp32, &[0; 12]), Some(3));
        assert_eq!(count(DataType::Bytes, b"\x01\0\0\0a\0\0\0\0"), Some(2));
        assert_eq!(count(DataType::Bytes, b"\x09\0\0\0a"), None);
    }
}
