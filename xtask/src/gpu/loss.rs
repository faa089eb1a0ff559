//! What a lighter form loses: outputs of the original and of the form enter, item by item; points of a hundred leave.

use super::tensors::Tensor;
use super::tolerance::same_form;

/// Sums over items.
#[derive(Debug, Default)]
pub(super) struct Loss {
    outputs: Vec<Output>,
    items: usize,
    flipped: usize,
}

/// Of one output: the sum of differences, how many there are, the least and the most value of the original.
#[derive(Debug, Clone, Copy)]
struct Output {
    difference: f64,
    count: usize,
    least: f64,
    most: f64,
}

impl Loss {
    /// Adds an item. Floating point is compared; other outputs must be equal.
    ///
    /// # Errors
    /// An output is missing, has another type or shape, or is no number.
    pub(super) fn add(&mut self, wanted: &[Tensor], got: &[Tensor]) -> Result<(), String> {
        let none = Output { difference: 0.0, count: 0, least: f64::INFINITY, most: f64::NEG_INFINITY };
        self.outputs.resize(wanted.len(), none);
        let mut flipped = false;
        for (output, wanted) in self.outputs.iter_mut().zip(wanted) {
            let name = &wanted.name;
            let got = got.iter().find(|tensor| tensor.name == *name);
            let got = got.ok_or_else(|| format!("there is no output {name}"))?;
            same_form(got, wanted)?;
            let (got, wanted) = (got.numbers(), wanted.numbers());
            for (got, wanted) in got.iter().zip(&wanted) {
                if !wanted.is_finite() && got.to_bits() == wanted.to_bits() {
                    continue;
                }
                if !got.is_finite() || !wanted.is_finite() {
                    return Err(format!("{name} has {got}, not {wanted}"));
                }
                output.difference += (got - wanted).abs();
                output.least = output.least.min(*wanted);
                output.most = output.most.max(*wanted);
            }
            output.count += wanted.len();
            flipped |= largest(&got) != largest(&wanted);
        }
        self.items += 1;
        self.flipped += usize::from(flipped);
        Ok(())
    }

    /// The worst output's mean difference, of a hundred of the original's range.
    pub(super) fn points(&self) -> f64 {
        let share = self.outputs.iter().filter(|output| output.count > 0).map(|output| {
            let range = output.most - output.least;
            let range = if range > 0.0 { range } else { output.most.abs().max(f64::MIN_POSITIVE) };
            output.difference / output.count as f64 / range
        });
        100.0 * share.fold(0.0, f64::max)
    }

    /// Items of which an output's largest value is another, of a hundred.
    pub(super) fn flips(&self) -> f64 {
        100.0 * self.flipped as f64 / self.items.max(1) as f64
    }
}

/// The place of the largest number.
fn largest(numbers: &[f64]) -> Option<usize> {
    (0..numbers.len()).max_by(|one, other| numbers[*one].total_cmp(&numbers[*other]))
}

#[cfg(test)]
mod tests {
    use super::super::tensors::Datatype;
    use super::*;

    fn output(name: &str, values: &[f32]) -> Tensor {
        let data = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let shape = vec![1, i64::try_from(values.len()).unwrap()];
        Tensor { name: name.into(), datatype: Datatype::Fp32, shape, data }
    }

    #[test]
    fn the_worst_output_counts_by_its_own_range() {
        let wanted = [output("wide", &[0.0, 100.0]), output("narrow", &[0.0, 1.0])];
        let got = [output("wide", &[1.0, 100.0]), output("narrow", &[0.0, 0.9])];
        let mut loss = Loss::default();
        loss.add(&wanted, &wanted).unwrap();
        assert!(loss.points() == 0.0 && loss.flips() == 0.0);
        loss.add(&wanted, &got).unwrap();
        assert!((loss.points() - 2.5).abs() < 1e-5, "{}", loss.points());
        loss.add(&wanted, &[output("narrow", &[1.0, 0.0]), output("wide", &[0.0, 100.0])]).unwrap();
        assert!((loss.flips() - 100.0 / 3.0).abs() < 1e-9, "{}", loss.flips());
    }

    #[test]
    fn what_is_missing_misshapen_or_no_number_is_told() {
        let wanted = [output("y", &[0.0, 1.0])];
        let refused = |got: &[Tensor]| Loss::default().add(&wanted, got).unwrap_err();
        assert_eq!(refused(&[]), "there is no output y");
        assert!(refused(&[output("y", &[0.0])]).contains("[1, 1], not FP32 [1, 2]"));
        assert_eq!(refused(&[output("y", &[f32::NAN, 1.0])]), "y has NaN, not 0");
    }
}
