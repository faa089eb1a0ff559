//! Loss of each channel of each output: a whole output may look right while one channel is wrong (boxes and scores that share a scale).
//! The worst channel is the loss.

use super::{Compared, Loss, LossError, Measure, bounds, numbers, one, read};
use crate::engine::signature::TensorSpec;

/// Channels of one output that are told apart; of more, the output is one channel.
const MOST_CHANNELS: i64 = 4096;
/// Channels whose bound is drawn: the worst.
const BOUNDED: usize = 256;

/// How values are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// 1 - the cosine between the values of a channel, over all items.
    Cosine,
    /// The mean difference over the range that the original's values have.
    Error,
}

/// A channel of an output: its sums for each item, and the range of the original's values.
struct Channel {
    output: usize,
    number: usize,
    sums: Vec<[f64; 3]>,
    range: (f64, f64),
}

impl Channel {
    /// The loss of items, drawn that often.
    fn loss(&self, kind: Kind, times: impl Iterator<Item = f64>) -> f64 {
        let mut total = [0.0; 3];
        for (sums, times) in self.sums.iter().zip(times) {
            total.iter_mut().zip(sums).for_each(|(total, sum)| *total += sum * times);
        }
        let [one, two, three] = total;
        let share = match kind {
            // One is nothing as the other is.
            Kind::Cosine if one == 0.0 && two == 0.0 => 0.0,
            Kind::Cosine => 1.0 - three / (one * two).sqrt(),
            Kind::Error if one == 0.0 => 0.0,
            Kind::Error => {
                let (least, most) = self.range;
                // Of a constant, its own size is the measure.
                let range = if most > least { most - least } else { most.abs().max(f64::MIN_POSITIVE) };
                one / two / range
            }
        };
        // What is no number is all lost.
        100.0 * if share.is_nan() { 1.0 } else { share }
    }
}

/// The loss of the worst channel.
///
/// # Errors
/// An output is missing, or its shape differs.
pub(super) fn loss(measure: &Measure<'_>, compared: Compared<'_>, kind: Kind) -> Result<Loss, LossError> {
    let outputs = &measure.signature.outputs;
    let mut channels: Vec<Vec<Channel>> = outputs.iter().map(|_| Vec::new()).collect();
    for item in 0..compared.items.len() {
        let (original, variant) = (read(compared.original, item)?, read(compared.variant, item)?);
        for (output, spec) in outputs.iter().enumerate() {
            let (original, variant) = (one(&original, item, &spec.name)?, one(&variant, item, &spec.name)?);
            if original.shape != variant.shape {
                return Err(LossError::Shape { item, name: spec.name.clone() });
            }
            let axis = axis(spec);
            let stride: usize = axis.map_or(1, |axis| size(&original.shape[axis + 1..]));
            let count = axis.map_or(1, |axis| size(&original.shape[axis..=axis]));
            let (before, after) = (numbers(original), numbers(variant));
            for (at, (before, after)) in before.iter().zip(&after).enumerate() {
                let number = if axis.is_some() { at / stride % count } else { 0 };
                let channel = numbered(&mut channels[output], output, number, compared.items.len());
                let sums = &mut channel.sums[item];
                let more = match kind {
                    Kind::Cosine => [before * before, after * after, before * after],
                    Kind::Error => [(before - after).abs(), 1.0, 0.0],
                };
                sums.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
                channel.range = (channel.range.0.min(*before), channel.range.1.max(*before));
            }
        }
    }
    let many: Vec<bool> = channels.iter().map(|own| own.len() > 1).collect();
    let channels: Vec<Channel> = channels.into_iter().flatten().collect();
    if channels.is_empty() {
        return Err(measure.wrong("the model has no output of numbers"));
    }
    let mut losses: Vec<(f64, &Channel)> =
        channels.iter().map(|channel| (channel.loss(kind, std::iter::repeat(1.0)), channel)).collect();
    losses.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    let (points, worst) = losses[0];
    losses.truncate(BOUNDED);
    let bound = bounds::drawn(compared.items, measure.seed, |times| {
        let of = |channel: &Channel| channel.loss(kind, times.iter().map(|times| f64::from(*times)));
        losses.iter().map(|(_, channel)| of(channel)).fold(0.0, f64::max)
    });
    let name = &outputs[worst.output].name;
    Ok(Loss {
        points: points.max(0.0),
        bound: Some(bound.max(points)),
        items: compared.items.len(),
        disagreements: None,
        values: None,
        worst: Some(if many[worst.output] {
            format!("{name}, channel {}", worst.number)
        } else {
            name.clone()
        }),
    })
}

/// The dimension that counts channels: the smallest behind the batch's that the model fixes.
fn axis(spec: &TensorSpec) -> Option<usize> {
    let fixed = (1..spec.shape.len()).filter(|axis| (2..=MOST_CHANNELS).contains(&spec.shape[*axis]));
    fixed.min_by_key(|axis| spec.shape[*axis])
}

fn size(shape: &[i64]) -> usize {
    shape.iter().map(|size| usize::try_from(*size).unwrap_or(0)).product()
}

/// A channel of an output, with those before it.
fn numbered(own: &mut Vec<Channel>, output: usize, number: usize, items: usize) -> &mut Channel {
    while own.len() <= number {
        let range = (f64::INFINITY, f64::NEG_INFINITY);
        own.push(Channel { output, number: own.len(), sums: vec![[0.0; 3]; items], range });
    }
    &mut own[number]
}
