//! May a variant be installed? The best of what was found, judged on the report split and at each batch size. What leaves: figures, and
//! each reason against it (`refusal`). Next: `install` takes the first that nothing speaks against, `report` tells of all.

mod refusal;

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
use refusal::{Refusal, refusals};

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

/// Measures again while the machine does other work, which disturbs wall time: one that is slower by CPU time alone stays so.
fn timed(shop: &mut Workshop<'_>, number: u64, batch: usize) -> Result<Speed, WorkError> {
    let mut speed = shop.speed(number, batch, TIMED)?;
    for longer in 1..=AGAIN {
        if !speed.was_loaded || speed.cpu.low < NOT_SLOWER {
            break;
        }
        // Another time is another question: what was measured is kept by it.
        let time = TIMED + Duration::from_millis(u64::try_from(longer).unwrap_or(1));
        speed = shop.speed(number, batch, time)?;
    }
    Ok(speed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optimize::speed::{Latency, Ratio};
    use crate::optimize::tools::Made;
    use crate::optimize::tools::recipe::Recipe;
    use crate::optimize::workshop::Candidate;

    pub(super) fn terms() -> Terms {
        Terms {
            max_loss: 0.5,
            guarantee: false,
            force: false,
            is_made_up: false,
            batches: vec![1],
            original_bytes: 1000,
        }
    }

    pub(super) fn loss(points: f64, bound: Option<f64>, items: usize) -> Loss {
        Loss { points, bound, items, disagreements: None, values: None, worst: None }
    }

    pub(super) fn speed(batch: usize, cpu: f64, wall: f64) -> Speed {
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
