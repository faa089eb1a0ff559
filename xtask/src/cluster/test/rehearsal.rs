//! Whoever releases is killed: before and after each call of `cargo xtask release` that writes, of an install, an upgrade and a way back.
//! The same command once more must bring a good release, and no client may notice.
//!
//! Several release beside each other, each in a namespace of its own, and part the writes between them: a release waits for most of its time.

mod client;
mod proxy;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::{Context, Result, anyhow};

use super::bed::{Bed, SMALL};
use super::install::{TWO, namespace};
use super::load::{Sent, none_failed, under_load};
use client::Client;
use proxy::{Cut, Side};

/// So many release beside each other.
const LANES: usize = 3;

/// What is rehearsed.
struct Rehearsal {
    what: &'static str,
    /// Brings a lane to where it begins.
    begin: fn(&Client<'_>) -> Result<()>,
    /// Goes there again before each cut.
    before: fn(&Client<'_>, usize) -> Result<()>,
    /// More words of the release, by the number of the cut; 0 is nobody's.
    words: fn(usize) -> Vec<String>,
    /// Do clients ask meanwhile?
    loaded: bool,
}

/// # Errors
/// One command does not mend what a cut left, or a request fails.
pub(super) fn install(bed: &Bed<'_>) -> Result<String> {
    rehearse(
        bed,
        &Rehearsal {
            what: "install",
            begin: |client| client.uninstall(),
            before: |client, _| client.uninstall(),
            words: |_| Vec::new(),
            loaded: false,
        },
    )
}

/// # Errors
/// As [`install`].
pub(super) fn upgrade(bed: &Bed<'_>) -> Result<String> {
    rehearse(
        bed,
        &Rehearsal {
            what: "upgrade",
            begin: |client| client.whole(&turn(1000)).map(drop),
            before: |_, _| Ok(()),
            words: turn,
            loaded: true,
        },
    )
}

/// # Errors
/// As [`install`].
pub(super) fn back(bed: &Bed<'_>) -> Result<String> {
    rehearse(
        bed,
        &Rehearsal {
            what: "way back",
            begin: |client| {
                client.whole(&turn(1000))?;
                client.whole(&turn(1001)).map(drop)
            },
            // A way back that was gone is not gone again: each begins at a newer release.
            before: |client, case| client.whole(&turn(1001 + case)).map(drop),
            words: |_| vec!["--back".to_owned()],
            loaded: true,
        },
    )
}

/// A release of two of each, so small that one a lane finds room, whose backends and gates are made anew.
fn turn(number: usize) -> Vec<String> {
    let mut words: Vec<String> = [TWO, SMALL].join(" ").split_whitespace().map(str::to_owned).collect();
    for component in ["backend", "gate"] {
        words.extend(["--set".to_owned(), format!("{component}.podAnnotations.turn=t{number}")]);
    }
    words
}

/// Numbers of the writes: helm's own notes first, for what state they leave is the question; then those that every other resembles.
fn in_order(writes: &[String]) -> Vec<usize> {
    let is_note = |at: &usize| writes[at - 1].contains("/secrets");
    let (mut notes, others): (Vec<usize>, Vec<usize>) = (1..=writes.len()).partition(is_note);
    notes.extend(others);
    notes
}

/// What became of the cuts.
#[derive(Default)]
struct Cuts {
    /// Writes of one release, at most.
    of: usize,
    /// Those at which it was killed on both sides.
    whole: usize,
    mended: usize,
    /// Cuts that a release did not come to.
    unreached: usize,
}

/// Cuts a release before and after each write, and has one command mend it.
fn rehearse(bed: &Bed<'_>, rehearsal: &Rehearsal) -> Result<String> {
    let beds = bed.lanes(LANES);
    let stop = AtomicBool::new(false);
    let found: Vec<Result<_>> = std::thread::scope(|scope| {
        let run = |(lane, bed)| {
            let stop = &stop;
            scope.spawn(move || {
                let done = in_lane(bed, rehearsal, lane, stop);
                stop.fetch_or(done.is_err(), Ordering::Relaxed);
                done
            })
        };
        let threads: Vec<_> = beds.iter().enumerate().map(run).collect();
        threads.into_iter().map(|thread| thread.join().map_err(|_| anyhow!("a lane panicked"))?).collect()
    });
    let (mut all, mut sent) = (Cuts::default(), Vec::<(&str, Sent)>::new());
    for lane in found {
        let (cuts, answers) = lane?;
        all = Cuts {
            // A slow one renews its lock once or twice more.
            of: all.of.max(cuts.of),
            whole: all.whole + cuts.whole,
            mended: all.mended + cuts.mended,
            unreached: all.unreached + cuts.unreached,
        };
        for (encoding, more) in answers {
            match sent.iter_mut().find(|(of, _)| *of == encoding) {
                Some((_, sum)) => sum.add(more),
                None => sent.push((encoding, more)),
            }
        }
    }
    let unreached =
        if all.unreached > 0 { format!(", {} not reached", all.unreached) } else { String::new() };
    let Cuts { of, whole, mended, .. } = all;
    let text =
        format!("killed at {whole} of {of} writes, {mended} times, each mended by one command{unreached}");
    Ok(if rehearsal.loaded { format!("{text}; {}", none_failed(&sent)?) } else { text })
}

/// The part of one namespace.
fn in_lane(
    bed: &Bed<'_>,
    rehearsal: &Rehearsal,
    lane: usize,
    stop: &AtomicBool,
) -> Result<(Cuts, Vec<(&'static str, Sent)>)> {
    namespace(bed, &bed.namespace)?;
    let client = Client::new(bed)?;
    (rehearsal.begin)(&client)?;
    let cut = || cut_in_lane(&client, rehearsal, lane, stop);
    if rehearsal.loaded { under_load(bed, cut) } else { Ok((cut()?, Vec::new())) }
}

fn cut_in_lane(client: &Client<'_>, rehearsal: &Rehearsal, lane: usize, stop: &AtomicBool) -> Result<Cuts> {
    let writes = client.whole(&(rehearsal.words)(0))?;
    let (since, mut cuts, mut case) = (Instant::now(), Cuts { of: writes.len(), ..Cuts::default() }, 0);
    for at in in_order(&writes).into_iter().skip(lane).step_by(LANES) {
        if stop.load(Ordering::Relaxed)
            || client.bed.rehearsal.is_some_and(|longest| since.elapsed() > longest)
        {
            break;
        }
        for side in [Side::Before, Side::After] {
            case += 1;
            let at_what = || format!("{} cut {side} write {at}, {}", rehearsal.what, writes[at - 1]);
            (rehearsal.before)(client, case).with_context(at_what)?;
            let words = (rehearsal.words)(case);
            if client.cut_and_mended(&words, Cut { at, side }).with_context(at_what)? {
                cuts.mended += 1;
                println!("           {}: mended after {:.0} s", at_what(), since.elapsed().as_secs_f64());
            } else {
                cuts.unreached += 1;
            }
        }
        cuts.whole += 1;
    }
    Ok(cuts)
}
