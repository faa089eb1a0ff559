//! What became of models enters, rows of the report leave.

use std::collections::BTreeMap;

use crate::gpu::report::{Outcome, Row};
use crate::gpu::{judged, measured, not_run};

/// Reasons of refusals that are shown; the others are counted.
const SHOWN_REASONS: usize = 8;

/// What became of a case.
pub(super) enum Ended {
    /// How far the results were off, as a share of what is allowed.
    Agrees(f64),
    Differs(String),
    /// The engine builds no plan of it: its own words.
    Refused(String),
    /// ONNX Runtime gives no answer to compare with.
    NoAnswer(String),
    NotRun,
}

impl Ended {
    /// The worse of two comparisons.
    pub(super) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Agrees(one), Self::Agrees(other)) => Self::Agrees(one.max(other)),
            (Self::Agrees(_), worse) | (worse, _) => worse,
        }
    }

    pub(super) fn row(&self, name: &str) -> Row {
        match self {
            Self::Agrees(off) => judged(name, true, format!("at most {off:.3} of what is allowed")),
            Self::Differs(how) => judged(name, false, how),
            Self::Refused(why) => not_run(name, format!("no plan is built: {why}")),
            Self::NoAnswer(why) => not_run(name, format!("ONNX Runtime gives no answer: {why}")),
            Self::NotRun => not_run(name, "the time was over"),
        }
    }
}

/// Counts, each failure, and why plans were not built.
pub(super) fn summary(ended: &[(&str, Ended)], left_out: usize) -> Vec<Row> {
    let count = |is: fn(&Ended) -> bool| ended.iter().filter(|(_, ended)| is(ended)).count();
    let agree = count(|ended| matches!(ended, Ended::Agrees(_)));
    let differ = count(|ended| matches!(ended, Ended::Differs(_)));
    let worst = ended.iter().filter_map(|(_, ended)| match ended {
        Ended::Agrees(off) => Some(*off),
        _ => None,
    });
    let value =
        format!("{agree} agree, at most {:.3} of what is allowed; {differ} don't", worst.fold(0.0, f64::max));
    let mut rows = vec![Row {
        outcome: match (agree, differ) {
            (0, 0) => Outcome::NotRun,
            (_, 0) => Outcome::Passed,
            _ => Outcome::Failed,
        },
        ..measured(format!("{} tests", ended.len() + left_out), value)
    }];
    let different = ended.iter().filter(|(_, ended)| matches!(ended, Ended::Differs(_)));
    rows.extend(different.map(|(name, ended)| ended.row(name)));
    let others = [
        ("tests with types that plans or V2 don't have", left_out),
        ("tests that ONNX Runtime doesn't answer", count(|ended| matches!(ended, Ended::NoAnswer(_)))),
        ("tests for which there was no time", count(|ended| matches!(ended, Ended::NotRun))),
        ("tests of which no plan is built", count(|ended| matches!(ended, Ended::Refused(_)))),
    ];
    rows.extend(
        others.iter().filter(|(_, count)| *count > 0).map(|(what, count)| not_run(*what, count.to_string())),
    );
    rows.extend(reasons(ended));
    rows
}

/// Why plans were not built, the most frequent first.
fn reasons(ended: &[(&str, Ended)]) -> Vec<Row> {
    let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
    for (_, ended) in ended {
        if let Ended::Refused(why) = ended {
            *reasons.entry(why).or_default() += 1;
        }
    }
    let mut reasons: Vec<(&str, usize)> = reasons.into_iter().collect();
    reasons.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let shown = reasons.iter().take(SHOWN_REASONS);
    shown.map(|(why, count)| not_run(format!("{count} of them"), *why)).collect()
}
