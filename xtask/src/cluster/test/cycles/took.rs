//! What cycles took: durations enter, one after the other; a few words and figures, each beside its base, leave.

use std::fmt;
use std::time::Duration;

use super::scene::HELD;
use crate::bench::figure::{Figure, Target};
use crate::cluster::test::load::Sent;

/// What a cycle took.
#[derive(Default)]
pub(super) struct Took {
    /// From a miss to its answer.
    pub(super) wakes: Vec<Duration>,
    /// From the backend's own word that it is ready to that answer, and what one takes that comes then.
    pub(super) first: Vec<Duration>,
    pub(super) then: Vec<Duration>,
    /// From the first of many to all that many are wanted; and from the last to none.
    pub(super) up: Vec<Duration>,
    pub(super) down: Vec<Duration>,
    /// From the backend's readiness to the last of those who waited.
    pub(super) drained: Option<Duration>,
    pub(super) sent: Sent,
    pub(super) quiet: Vec<Duration>,
    pub(super) waking: Vec<Duration>,
}

impl Took {
    /// The last cycle, in a few words.
    pub(super) fn last(&self) -> String {
        let last = |of: &[Duration]| of.last().map_or(0.0, Duration::as_secs_f64);
        format!(
            "answered after {:.1} s, {:.3} s after the backend was ready; three after {:.1} s, none after {:.1} s",
            last(&self.wakes),
            last(&self.first),
            last(&self.up),
            last(&self.down)
        )
    }
}

impl fmt::Display for Took {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let range = |of: &[Duration]| {
            let seconds = |of: Option<&Duration>| of.map_or(0.0, Duration::as_secs_f64);
            format!("{:.1} to {:.1} s", seconds(of.iter().min()), seconds(of.iter().max()))
        };
        write!(
            formatter,
            "0 to an answer {}, 1 to 3 {}, to 0 {}; ",
            range(&self.wakes),
            range(&self.up),
            range(&self.down)
        )?;
        if let Some(drained) = self.drained {
            write!(
                formatter,
                "{HELD} held, all answered {:.1} s after the backend was ready, none refused; ",
                drained.as_secs_f64()
            )?;
        }
        let first = Figure {
            name: "first answer after the backend is ready",
            base: "one that comes then",
            own: self.first.clone(),
            against: self.then.clone(),
            target: Target::AtMost(50.0),
        };
        let hits = Figure {
            name: "hits during a wake",
            base: "while nothing happens",
            own: self.waking.clone(),
            against: self.quiet.clone(),
            target: Target::Tail(1.2),
        };
        write!(formatter, "{first}; {hits}")
    }
}
