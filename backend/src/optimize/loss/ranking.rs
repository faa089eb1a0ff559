//! Loss of classes (`top1`) and of scores that part two kinds (`auc`).

use super::{Compared, Loss, LossError, Measure, bounds, numbers, one, read};
use crate::engine::numbers::largest;

/// Wrong classes that were right. Without labels the original is right by definition, and each disagreement is a loss.
///
/// # Errors
/// No such output, or another shape.
pub(super) fn top1(measure: &Measure<'_>, compared: Compared<'_>) -> Result<Loss, LossError> {
    let name = measure.output()?;
    let (mut right, mut lost, mut won, mut differ) = (0_usize, 0_usize, 0_usize, 0_usize);
    for (at, item) in compared.items.iter().enumerate() {
        let (original, variant) = (read(compared.original, at)?, read(compared.variant, at)?);
        let (before, after) = (one(&original, at, name)?, one(&variant, at, name)?);
        let classes = |array| {
            let rows = before.shape.last().and_then(|size| usize::try_from(*size).ok()).unwrap_or(1).max(1);
            numbers(array).chunks(rows).filter_map(largest).collect::<Vec<usize>>()
        };
        let (before, after) = (classes(before), classes(after));
        differ += usize::from(before != after);
        let (was, is) = match item.label {
            None => (true, before == after),
            Some(label) => {
                let is =
                    |classes: &[usize]| classes.len() == 1 && (classes[0] as f64).total_cmp(&label).is_eq();
                (is(&before), is(&after))
            }
        };
        right += usize::from(was);
        lost += usize::from(was && !is);
        won += usize::from(!was && is);
    }
    let items = compared.items.len();
    if right == 0 {
        return Err(
            measure.wrong("the original gets no item right: are the labels numbers of classes, from 0?")
        );
    }
    let points = |share: f64| 100.0 * share;
    let (before, after) = (right as f64 / items as f64, (right + won - lost) as f64 / items as f64);
    Ok(Loss {
        points: points(before - after),
        // What got worse alone: what got better is no reason to be surer.
        bound: Some(points(bounds::share(lost, items))),
        items,
        disagreements: Some(differ),
        values: Some((points(before), points(after))),
        worst: None,
    })
}

/// The area under the ROC curve.
///
/// # Errors
/// No such output, or labels that are not of two kinds.
pub(super) fn auc(measure: &Measure<'_>, compared: Compared<'_>) -> Result<Loss, LossError> {
    let name = measure.output()?;
    let labels: Vec<bool> =
        compared.items.iter().map(|item| item.label.is_some_and(|label| label > 0.5)).collect();
    if labels.iter().all(|label| *label) || !labels.iter().any(|label| *label) {
        return Err(measure.wrong("the labels of a split are all alike; 0 and 1 are wanted"));
    }
    let (mut before, mut after) = (Vec::new(), Vec::new());
    for at in 0..compared.items.len() {
        for (folder, scores) in [(compared.original, &mut before), (compared.variant, &mut after)] {
            let outputs = read(folder, at)?;
            scores.push(numbers(one(&outputs, at, name)?).last().copied().unwrap_or(f64::NAN));
        }
    }
    let once = vec![1; labels.len()];
    // Items are drawn again and again; their order stays.
    let (before, after) = (Ordered::of(&before), Ordered::of(&after));
    let (was, is) = (before.area(&labels, &once), after.area(&labels, &once));
    let bound = bounds::drawn(compared.items, measure.seed, |times| {
        100.0 * (before.area(&labels, times) - after.area(&labels, times))
    });
    Ok(Loss {
        points: 100.0 * (was - is),
        bound: Some(bound),
        items: labels.len(),
        disagreements: None,
        values: Some((100.0 * was, 100.0 * is)),
        worst: None,
    })
}

/// Items by their scores, from the least on; those of one score are alike.
struct Ordered(Vec<Vec<usize>>);

impl Ordered {
    fn of(scores: &[f64]) -> Self {
        let mut order: Vec<usize> = (0..scores.len()).collect();
        order.sort_by(|one, other| scores[*one].total_cmp(&scores[*other]));
        let alike = order.chunk_by(|one, other| scores[*one].total_cmp(&scores[*other]).is_eq());
        Self(alike.map(<[usize]>::to_vec).collect())
    }

    /// The share of pairs, of one that is and one that is not, that scores put in the right order (Mann and Whitney); equal ones count half.
    fn area(&self, labels: &[bool], times: &[u32]) -> f64 {
        let (mut below, mut pairs, mut all) = (0.0, 0.0, [0.0; 2]);
        for alike in &self.0 {
            let mut tied = [0.0; 2];
            for &item in alike {
                tied[usize::from(labels[item])] += f64::from(times[item]);
            }
            pairs += tied[1] * (below + tied[0] / 2.0);
            below += tied[0];
            all.iter_mut().zip(tied).for_each(|(all, tied)| *all += tied);
        }
        // Drawn without one of the kinds, nothing is told.
        if all[0] * all[1] > 0.0 { pairs / (all[0] * all[1]) } else { 0.5 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_area_is_the_share_of_pairs_in_order() {
        let labels = [false, true, false, true];
        let once = [1; 4];
        assert!((Ordered::of(&[0.1, 0.9, 0.2, 0.8]).area(&labels, &once) - 1.0).abs() < 1e-12);
        assert!((Ordered::of(&[0.9, 0.1, 0.8, 0.2]).area(&labels, &once)).abs() < 1e-12);
        assert!((Ordered::of(&[0.5; 4]).area(&labels, &once) - 0.5).abs() < 1e-12);
        // Pairs: (0.1 < 0.3), (0.1 < 0.2), (0.25 < 0.3), not (0.25 < 0.2).
        assert!((Ordered::of(&[0.1, 0.3, 0.25, 0.2]).area(&labels, &once) - 0.75).abs() < 1e-12);
        // Drawn twice, an item counts twice.
        let twice = Ordered::of(&[0.1, 0.3, 0.25, 0.2]).area(&labels, &[1, 1, 2, 1]);
        assert!((twice - 4.0 / 6.0).abs() < 1e-12, "{twice}");
    }
}
