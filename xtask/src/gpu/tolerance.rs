//! How far a result may be from ONNX Runtime's: two tensors enter, the largest deviation or what is wrong leaves.

use super::tensors::{Datatype, Tensor};

/// In words, for the report.
pub(super) const STATED: &str = "Tolerance: an element may differ by 1e-3 of itself (the relative tolerance of onnx's own \
backend tests) and by one unit in the last place, at the tensor's largest element, of the type that products are made in: 2^-10 for \
FP32 (TensorRT makes them in TF32 by default, which has 10 bits of fraction) and FP16, 2^-7 for BF16. Integers and booleans are equal.";

/// Of an element itself.
const RELATIVE: f64 = 1e-3;

/// Of the tensor's largest element.
fn unit(datatype: Datatype) -> f64 {
    match datatype {
        Datatype::Fp32 | Datatype::Fp16 => 2_f64.powi(-10),
        Datatype::Bf16 => 2_f64.powi(-7),
        _ => 0.0,
    }
}

/// Whether a tensor has the type and shape that are wanted.
///
/// # Errors
/// It has not.
pub(super) fn same_form(got: &Tensor, wanted: &Tensor) -> Result<(), String> {
    if (got.datatype, &got.shape) == (wanted.datatype, &wanted.shape) {
        return Ok(());
    }
    let name = &wanted.name;
    let (got, wanted) = ((got.datatype.name(), &got.shape), (wanted.datatype.name(), &wanted.shape));
    Err(format!("{name} is {} {:?}, not {} {:?}", got.0, got.1, wanted.0, wanted.1))
}

/// The largest deviation, as a share of what is allowed; 0 for equal tensors.
///
/// # Errors
/// Names, types, shapes or elements differ by more.
pub(super) fn compare(got: &Tensor, wanted: &Tensor) -> Result<f64, String> {
    let name = &wanted.name;
    same_form(got, wanted)?;
    let (got, expected) = (got.numbers(), wanted.numbers());
    let largest = expected
        .iter()
        .filter(|number| number.is_finite())
        .fold(0_f64, |most, number| most.max(number.abs()));
    let unit = unit(wanted.datatype);
    let mut worst = 0_f64;
    for (place, (got, expected)) in got.iter().zip(&expected).enumerate() {
        if got.to_bits() == expected.to_bits() || (got.is_nan() && expected.is_nan()) {
            continue;
        }
        let allowed = if unit == 0.0 { 0.0 } else { RELATIVE * expected.abs() + unit * largest };
        let off = (got - expected).abs();
        // Of NaN and infinities nothing is within anything.
        if off.is_nan() || off > allowed {
            return Err(format!("{name} is {got} at {place}, not {expected}: {allowed:.1e} is allowed"));
        }
        worst = worst.max(if off == 0.0 { 0.0 } else { off / allowed });
    }
    Ok(worst)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn floats(values: &[f32]) -> Tensor {
        let data = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let shape = vec![i64::try_from(values.len()).unwrap()];
        Tensor { name: "y".into(), datatype: Datatype::Fp32, shape, data }
    }

    #[test]
    fn a_deviation_within_the_tolerance_passes_and_one_beyond_it_is_told() {
        let wanted = floats(&[1000.0, 0.0]);
        assert_eq!(compare(&wanted, &wanted), Ok(0.0));
        assert!(compare(&floats(&[1001.0, 0.9]), &wanted).unwrap() > 0.5);
        assert!(compare(&floats(&[1000.0, 1.1]), &wanted).unwrap_err().contains("at 1, not 0"));
        assert!(compare(&floats(&[1003.0, 0.0]), &wanted).is_err());
        assert!(compare(&floats(&[1000.0]), &wanted).unwrap_err().contains("[1], not FP32 [2]"));
    }

    #[test]
    fn not_a_number_is_equal_to_itself_alone() {
        let [nan, number] = [f32::NAN, 1.0].map(|value| floats(&[value]));
        assert!(
            compare(&nan, &nan).is_ok() && compare(&number, &nan).is_err() && compare(&nan, &number).is_err()
        );
    }

    #[test]
    fn integers_have_no_tolerance() {
        let integer = |value: i32| Tensor {
            datatype: Datatype::Int32,
            data: value.to_le_bytes().into(),
            ..floats(&[0.0])
        };
        assert!(compare(&integer(100_000), &integer(100_001)).is_err());
    }
}
