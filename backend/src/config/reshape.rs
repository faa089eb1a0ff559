//! A tensor's `dims`, as clients have it, and `reshape`, as the model does: whether they stand for the same elements whatever the free
//! dimensions are. As Triton has it (`ValidateIOShape` in core's `src/model_config_utils.cc`); an empty shape is a scalar, with a batch
//! or without.

use super::check::Wrong;
use crate::proto::ModelTensorReshape;

/// `tensor` is the path of the field, such as `input[0]`.
pub(super) fn check(tensor: &str, dims: &[i64], reshape: Option<&ModelTensorReshape>) -> Result<(), Wrong> {
    let Some(ModelTensorReshape { shape }) = reshape else { return Ok(()) };
    if let Some(at) = shape.iter().position(|size| *size < 1 && *size != -1) {
        let reason = format!("is {}, must be 1 or more, or -1 for any", shape[at]);
        return Err((format!("{tensor}.reshape.shape[{at}]"), reason));
    }
    let (declared, reshaped) = (elements(dims), elements(shape));
    if declared == reshaped && declared.is_some() {
        return Ok(());
    }
    let reason = if declared.as_ref().map(Vec::len) == reshaped.as_ref().map(Vec::len) {
        format!(
            "to {shape:?} has other elements than dims {dims:?}: between free dimensions, which keep their order, as many are wanted"
        )
    } else {
        format!("to {shape:?} has not as many free dimensions (-1) as dims {dims:?}")
    };
    Err((format!("{tensor}.reshape"), reason))
}

/// How many elements the fixed dimensions make before, between and behind the free ones; `None` if they are too many.
fn elements(shape: &[i64]) -> Option<Vec<i64>> {
    let part = |sizes: &[i64]| sizes.iter().try_fold(1_i64, |all, size| all.checked_mul(*size));
    shape.split(|size| *size == -1).map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(dims: &[i64], shape: &[i64]) -> Result<(), Wrong> {
        check("input[0]", dims, Some(&ModelTensorReshape { shape: shape.to_vec() }))
    }

    #[test]
    fn as_many_elements_between_free_dimensions_are_a_reshape() {
        for (dims, shape) in [
            (&[1][..], &[][..]),
            (&[2, 3], &[6]),
            (&[4], &[2, 1, 2]),
            (&[-1], &[1, -1, 1]),
            (&[2, 4, -1, 6], &[8, -1, 1, 6]),
            (&[-1, 2, -1], &[-1, 1, 2, -1]),
        ] {
            assert_eq!(checked(dims, shape), Ok(()), "{dims:?} {shape:?}");
        }
        assert_eq!(check("input[0]", &[0], None), Ok(()));
    }

    #[test]
    fn what_is_none_is_refused_at_its_field() {
        for (dims, shape, field, reason) in [
            (&[2][..], &[][..], "input[0].reshape", "other elements"),
            (&[2, -1], &[-1, 2], "input[0].reshape", "keep their order"),
            (&[-1], &[2], "input[0].reshape", "as many free dimensions"),
            (&[-1, -1], &[-1], "input[0].reshape", "as many free dimensions"),
            (&[1], &[1, 0], "input[0].reshape.shape[1]", "must be 1 or more"),
            (&[1 << 40, 1 << 40], &[1 << 40, 1 << 40], "input[0].reshape", "other elements"),
        ] {
            let (at, said) = checked(dims, shape).unwrap_err();
            assert!(at == field && said.contains(reason), "{dims:?} {shape:?}: {at}: {said}");
        }
    }
}
