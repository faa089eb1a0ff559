//! May a variant be installed? The best of what was found, judged on the report split and at each batch size. What leaves: figures, and
//! each reason against it. Next: `install` takes the first that nothing speaks against, `report` tells of all.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::judge::Footprint;
use super::loss::Loss;
use super::loss::bounds::items_for;
use super::samples::Item;
use super::search::Tried;
use super::speed::{NOT_SLOWER, Speed};
use super::workshop::{Split, WorkError, Workshop};
use crate::settings::Prefer;

/// Items of the report split under which a loss is a guess.
pub(crate) use super::samples::FEWEST_REPORTED;
/// Variants that are judged: the split that nobody looked at stays so.
const FINALISTS: usize = 4;
/// How long a variant is timed with one batch size.
const TIMED: Duration = Duration::from_secs(2);
/// Times that it is measured again while the machine is loaded.
const AGAIN: usize = 2;

/// What a variant must keep.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Terms {
    pub(crate) max_loss: f64,
    pub(crate) guarantee: bool,
    pub(crate) force: bool,
    pub(crate) is_made_up: bool,
    pub(crate) batches: Vec<usize>,
    pub(crate) original_bytes: u64,
}

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

/// A variant with all that is known of it.
#[derive(Debug, Clone)]
pub(crate) struct Judged {
    pub(crate) tried: Tried,
    /// On the report split.
    pub(crate) loss: Loss,
    pub(crate) speeds: Vec<Speed>,
    pub(crate) footprint: Footprint,
    pub(crate) refusals: Vec<Refusal>,
}

/// Whether the report split can keep the guarantee at all: with no failure in it.
///
/// # Errors
/// How many items there are, and how many it would need.
pub(crate) fn check_guarantee(report: &[Item], max_loss: f64) -> Result<(), String> {
    let mut groups: Vec<u64> = report.iter().map(|item| item.group).collect();
    groups.sort_unstable();
    groups.dedup();
    let (there, needed) = (groups.len(), items_for(max_loss / 100.0));
    if there >= needed {
        return Ok(());
    }
    let wanted = match needed {
        usize::MAX => "no number of items can".to_owned(),
        needed => format!("{needed} can, so --data with some {} items", 2 * needed),
    };
    Err(format!(
        "--guarantee: {there} report items can't show that less than {max_loss} points are lost, even if none fails; {wanted}"
    ))
}

/// Whether another is as good in all, and better in something: it loses no more, is as fast and no larger.
fn is_beaten(one: &Tried, by: &Tried) -> bool {
    let figures = |tried: &Tried| [tried.loss.points, -tried.speed.likely(), tried.candidate.bytes as f64];
    let (one, by) = (figures(one), figures(by));
    one.iter().zip(&by).all(|(one, by)| by <= one) && one.iter().zip(&by).any(|(one, by)| by < one)
}

/// Those that may be good: first those that no other beats (the Pareto front), the best first, and behind them, by the same order, the
/// others, which are judged if a figure of the first does not hold.
pub(crate) fn finalists(tried: &[Tried], terms: &Terms, prefer: Prefer) -> Vec<Tried> {
    let mut good: Vec<Tried> = tried
        .iter()
        .filter(|tried| {
            tried.loss.points <= terms.max_loss
                && tried.speed.likely() >= NOT_SLOWER
                && tried.candidate.bytes <= terms.original_bytes
        })
        .cloned()
        .collect();
    good.sort_by(|one, other| match prefer {
        Prefer::Size => one.candidate.bytes.cmp(&other.candidate.bytes),
        Prefer::Latency | Prefer::Throughput => other.speed.likely().total_cmp(&one.speed.likely()),
    });
    let is_on_front = |one: &Tried| !good.iter().any(|by| is_beaten(one, by));
    let (mut front, beaten): (Vec<Tried>, Vec<Tried>) = good.iter().cloned().partition(is_on_front);
    front.extend(beaten);
    front.truncate(FINALISTS);
    front
}

/// Judges one.
///
/// # Errors
/// It can't be run any more.
pub(crate) fn judge(shop: &mut Workshop<'_>, tried: &Tried, terms: &Terms) -> Result<Judged, WorkError> {
    let number = tried.candidate.number;
    let loss = shop.loss(number, Split::Report)?;
    let speeds =
        terms.batches.iter().map(|batch| timed(shop, number, *batch)).collect::<Result<Vec<_>, _>>()?;
    let footprint = shop.footprint(number)?;
    let refusals = refusals(&loss, &speeds, tried.candidate.bytes, terms);
    Ok(Judged { tried: tried.clone(), loss, speeds, footprint, refusals })
}

/// Measures again while the machine does other work.
fn timed(shop: &mut Workshop<'_>, number: u64, batch: usize) -> Result<Speed, WorkError> {
    let mut speed = shop.speed(number, batch, TIMED)?;
    for longer in 1..=AGAIN {
        if !speed.was_loaded {
            break;
        }
        // Another time is another question: what was measured is kept by it.
        let time = TIMED + Duration::from_millis(u64::try_from(longer).unwrap_or(1));
        speed = shop.speed(number, batch, time)?;
    }
    Ok(speed)
}

fn refusals(loss: &Loss, speeds: &[Speed], bytes: u64, terms: &Terms) -> Vec<Refusal> {
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
    use super::*;
    use crate::optimize::speed::{Latency, Ratio};
    use crate::optimize::tools::Made;
    use crate::optimize::tools::recipe::Recipe;
    use crate::optimize::workshop::Candidate;

    fn terms() -> Terms {
        Terms {
            max_loss: 0.5,
            guarantee: false,
            force: false,
            is_made_up: false,
            batches: vec![1],
            original_bytes: 1000,
        }
    }

    fn loss(points: f64, bound: Option<f64>, items: usize) -> Loss {
        Loss { points, bound, items, disagreements: None, values: None, worst: None }
    }

    fn speed(batch: usize, cpu: f64, wall: f64) -> Speed {
        let latency = Latency { p50: 1.0, p99: 1.0, throughput: 1.0 };
        Speed {
            batch,
            rounds: 100,
            cpu: Ratio { estimate: cpu + 0.05, low: cpu },
            wall: Ratio { estimate: wall + 0.05, low: wall },
            original: latency,
            variant: latency,
            was_loaded: false,
        }
    }

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

    fn tried(number: u64, points: f64, fast: f64, bytes: u64) -> Tried {
        let candidate = Candidate {
            number,
            recipe: Recipe::Exact,
            method: None,
            rewrites: Vec::new(),
            before: Vec::new(),
            made: Made::default(),
            bytes,
        };
        Tried { candidate, loss: loss(points, None, 100), speed: speed(1, fast, fast) }
    }

    #[test]
    fn what_another_beats_in_all_is_judged_last() {
        let all = [
            tried(1, 0.1, 2.0, 300),
            tried(2, 0.2, 1.9, 310),
            tried(3, 0.0, 1.5, 500),
            tried(4, 0.4, 1.4, 200),
        ];
        let order = |prefer| -> Vec<u64> {
            finalists(&all, &terms(), prefer).iter().map(|tried| tried.candidate.number).collect()
        };
        assert_eq!(order(Prefer::Latency), [1, 3, 4, 2]);
        assert_eq!(order(Prefer::Size), [4, 1, 3, 2]);
        let bad = [tried(1, 0.6, 2.0, 300), tried(2, 0.1, 0.5, 300), tried(3, 0.1, 2.0, 1001)];
        assert!(finalists(&bad, &terms(), Prefer::Latency).is_empty());
    }

    #[test]
    fn a_guarantee_wants_as_many_items_as_can_keep_it() {
        let items = |count: u64, group: fn(u64) -> u64| -> Vec<Item> {
            (0..count).map(|at| Item { inputs: Vec::new(), label: None, group: group(at) }).collect()
        };
        assert!(check_guarantee(&items(598, |at| at), 0.5).is_ok());
        let told = check_guarantee(&items(50, |at| at), 0.1).unwrap_err();
        assert!(told.contains("50 report items") && told.contains("2995"), "{told}");
        // Frames of one recording are one.
        assert!(check_guarantee(&items(5980, |at| at / 100), 0.5).is_err());
        assert!(check_guarantee(&items(5980, |at| at), 0.0).is_err());
    }
}
