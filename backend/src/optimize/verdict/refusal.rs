//! What speaks against a variant: figures and terms in, each reason out.

use std::fmt;

use serde::Serialize;

use super::{FEWEST_REPORTED, Terms};
use crate::optimize::loss::Loss;
use crate::optimize::speed::{NOT_SLOWER, Speed};

/// Why a variant is not installed.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Refusal {
    Loss { points: f64, most: f64 },
    Bound { bound: f64, most: f64 },
    Unbounded,
    Few { items: usize },
    MadeUp,
    Slower { batch: usize, low: f64 },
    Larger { bytes: u64, original: u64 },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Loss { points, most } => write!(f, "it loses {points:.2} points, {most} may be lost"),
            Self::Bound { bound, most } => {
                write!(
                    f,
                    "it may lose {bound:.2} points (95 % bound), {most} are guaranteed: more data would tell"
                )
            }
            Self::Unbounded => f.write_str(
                "the metric gives one number, so its loss has no bound: have it print a number for each item",
            ),
            Self::Few { items } => {
                write!(
                    f,
                    "{items} report items are a guess, {FEWEST_REPORTED} at least are wanted: more data, or --force"
                )
            }
            Self::MadeUp => {
                f.write_str("the inputs are made up, so the loss is unknown: give --data, or --force")
            }
            Self::Slower { batch, low } => {
                write!(
                    f,
                    "with batch {batch} it may be slower: {low:.2}x as fast is the 95 % bound, {NOT_SLOWER} is wanted"
                )
            }
            Self::Larger { bytes, original } => {
                write!(f, "it is larger: {bytes} bytes, the original has {original}")
            }
        }
    }
}

/// All reasons against it.
pub(super) fn refusals(loss: &Loss, speeds: &[Speed], bytes: u64, terms: &Terms) -> Vec<Refusal> {
    let most = terms.max_loss;
    let mut refusals = Vec::new();
    if loss.points > most || !loss.points.is_finite() {
        refusals.push(Refusal::Loss { points: loss.points, most });
    }
    match loss.bound {
        Some(bound) if terms.guarantee && bound > most => refusals.push(Refusal::Bound { bound, most }),
        None if terms.guarantee => refusals.push(Refusal::Unbounded),
        _ => {}
    }
    if loss.items < FEWEST_REPORTED && !terms.force {
        refusals.push(Refusal::Few { items: loss.items });
    }
    if terms.is_made_up && !terms.force {
        refusals.push(Refusal::MadeUp);
    }
    refusals.extend(
        speeds
            .iter()
            .filter(|speed| speed.low() < NOT_SLOWER)
            .map(|speed| Refusal::Slower { batch: speed.batch, low: speed.low() }),
    );
    if bytes > terms.original_bytes {
        refusals.push(Refusal::Larger { bytes, original: terms.original_bytes });
    }
    refusals
}

#[cfg(test)]
mod tests {
    use super::super::tests::{loss, speed, terms};
    use super::*;

    #[test]
    fn a_variant_that_keeps_all_terms_is_taken() {
        assert_eq!(refusals(&loss(0.4, Some(0.9), 500), &[speed(1, 1.2, 1.1)], 900, &terms()), []);
    }

    #[test]
    fn each_term_that_is_broken_is_told() {
        let good = (loss(0.4, Some(0.45), 500), [speed(1, 1.2, 1.1)], 900);
        let with = |terms: Terms, loss: &Loss, speeds: &[Speed], bytes| refusals(loss, speeds, bytes, &terms);
        assert_eq!(
            with(terms(), &loss(0.6, Some(0.9), 500), &good.1, good.2),
            [Refusal::Loss { points: 0.6, most: 0.5 }]
        );
        let guarantee = Terms { guarantee: true, ..terms() };
        assert_eq!(with(guarantee.clone(), &good.0, &good.1, good.2), []);
        assert_eq!(
            with(guarantee.clone(), &loss(0.4, Some(0.9), 500), &good.1, good.2),
            [Refusal::Bound { bound: 0.9, most: 0.5 }]
        );
        assert_eq!(with(guarantee, &loss(0.4, None, 500), &good.1, good.2), [Refusal::Unbounded]);
        assert_eq!(with(terms(), &loss(0.0, Some(0.1), 99), &good.1, good.2), [Refusal::Few { items: 99 }]);
        assert_eq!(with(Terms { force: true, ..terms() }, &loss(0.0, Some(0.1), 99), &good.1, good.2), []);
        assert_eq!(with(Terms { is_made_up: true, ..terms() }, &good.0, &good.1, good.2), [Refusal::MadeUp]);
        // Either time may show that it is slower, and one batch size suffices.
        for slow in [speed(8, 0.96, 1.5), speed(8, 1.5, 0.96)] {
            let told = with(terms(), &good.0, &[speed(1, 1.2, 1.1), slow], good.2);
            assert_eq!(told, [Refusal::Slower { batch: 8, low: 0.96 }]);
        }
        assert_eq!(with(terms(), &good.0, &good.1, 1001), [Refusal::Larger { bytes: 1001, original: 1000 }]);
        // A loss that is no number is none that may be.
        assert!(!with(terms(), &loss(f64::NAN, None, 500), &good.1, good.2).is_empty());
    }
}
