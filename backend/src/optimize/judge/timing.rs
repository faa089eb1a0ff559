//! Two sessions in turns: what disturbs the machine disturbs both.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use super::super::arrays::Array;
use super::child::tensor;
use super::job::{Round, Took};
use crate::engine::{InputTensor, Session};

/// Runs before it counts: caches, memory patterns.
const WARM: usize = 3;
/// Rounds at least: a bound of a median needs them.
const FEWEST: usize = 15;
/// Rounds at most: more tell nothing more.
const MOST: usize = 2000;

/// Runs both on each item in turns, who begins alternating, until the time is over.
pub(super) fn rounds(
    original: &mut dyn Session,
    variant: &mut dyn Session,
    items: &[Vec<(String, Array)>],
    time: Duration,
) -> Result<Vec<Round>, String> {
    let wanted: Vec<usize> = (0..original.signature().outputs.len()).collect();
    let tensors: Vec<Vec<InputTensor<'_>>> =
        items.iter().map(|item| item.iter().map(|(name, array)| tensor(name, array)).collect()).collect();
    for item in tensors.iter().cycle().take(WARM) {
        took(original, item, &wanted)?;
        took(variant, item, &wanted)?;
    }
    let (began, mut rounds) = (Instant::now(), Vec::new());
    for item in tensors.iter().cycle().take(MOST) {
        if rounds.len() >= FEWEST && began.elapsed() > time {
            break;
        }
        rounds.push(if rounds.len() % 2 == 0 {
            let first = took(original, item, &wanted)?;
            Round { original: first, variant: took(variant, item, &wanted)? }
        } else {
            let first = took(variant, item, &wanted)?;
            Round { original: took(original, item, &wanted)?, variant: first }
        });
    }
    Ok(rounds)
}

/// The process's CPU: threads inside operators count too, and nothing else works here.
fn took(session: &mut dyn Session, item: &[InputTensor<'_>], wanted: &[usize]) -> Result<Took, String> {
    let cpu = || {
        let now = clock_gettime(ClockId::ProcessCPUTime);
        now.tv_sec as f64 + now.tv_nsec as f64 / 1e9
    };
    let (before, began) = (cpu(), Instant::now());
    session.run(item, wanted).map_err(|error| error.to_string())?;
    let wall = began.elapsed().as_secs_f64();
    Ok(Took { cpu: cpu() - before, wall })
}
