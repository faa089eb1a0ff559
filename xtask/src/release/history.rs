//! A release's revisions, as `helm history` writes them, enter; what has to be mended, and what can be gone back to, leave.

use anyhow::{Context, Result};
use serde::Deserialize;

#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
pub(super) struct Revision {
    #[serde(rename = "revision")]
    pub(super) number: u64,
    pub(super) status: String,
    #[serde(default)]
    description: String,
}

/// What state the last call left.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum State {
    /// There is no release.
    None,
    /// This one was made to its end, well or badly; what went well last is the other, if anything has.
    Settled { last: u64, good: u64 },
    /// A helm runs, or was killed: that revision is between two states. What is to be there again is the other.
    Pending { last: u64, to: u64 },
    /// Nothing has gone well yet. Is a helm between two states?
    NeverGood { last: u64, pending: bool },
}

pub(super) fn read(json: &str) -> Result<Vec<Revision>> {
    let mut all: Vec<Revision> = serde_json::from_str(json).context("helm wrote no history")?;
    all.sort_by_key(|revision| revision.number);
    Ok(all)
}

impl Revision {
    fn is_pending(&self) -> bool {
        self.status.starts_with("pending-") || self.status == "uninstalling"
    }

    fn is(&self, status: &str) -> bool {
        self.status == status
    }

    /// The revision that it is a copy of.
    fn goes_back_to(&self) -> Option<u64> {
        self.description.strip_prefix("Rollback to ")?.trim().parse().ok()
    }
}

pub(super) fn state(all: &[Revision]) -> State {
    let Some(last) = all.last() else { return State::None };
    let (pending, back, last) = (last.is_pending(), last.goes_back_to(), last.number);
    match good(all) {
        None => State::NeverGood { last, pending },
        // A way back is gone to its end.
        Some(good) if pending => State::Pending { last, to: back.unwrap_or(good) },
        Some(good) => State::Settled { last, good },
    }
}

/// The last that was deployed. A helm that is killed near its end has already called its predecessor superseded, and not yet itself
/// deployed: then it is the predecessor.
fn good(all: &[Revision]) -> Option<u64> {
    let newest = |status: &str| all.iter().rev().find(|revision| revision.is(status)).map(|it| it.number);
    newest("deployed").or_else(|| newest("superseded"))
}

/// Where the way back leads.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Back {
    To(u64),
    /// What is deployed is there already, as a copy of the other.
    There {
        revision: u64,
        of: u64,
    },
    Nowhere,
}

/// A way back that was begun is gone on with, and one that was gone is not gone again.
pub(super) fn back(all: &[Revision]) -> Back {
    let Some(last) = all.last() else { return Back::Nowhere };
    if let Some(of) = last.goes_back_to() {
        return if last.is("deployed") { Back::There { revision: last.number, of } } else { Back::To(of) };
    }
    let Some(current) = good(all) else { return Back::Nowhere };
    let before = all.iter().rev().find(|it| it.number < current && it.is("superseded"));
    before.map_or(Back::Nowhere, |it| Back::To(it.number))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(all: &[(&str, &str)]) -> Vec<Revision> {
        let one = |(index, (status, description)): (usize, &(&str, &str))| Revision {
            number: index as u64 + 1,
            status: (*status).to_owned(),
            description: (*description).to_owned(),
        };
        all.iter().enumerate().map(one).collect()
    }

    #[test]
    fn what_helm_writes_is_read_whatever_its_order() {
        let json = r#"[{"revision":2,"updated":"x","status":"pending-upgrade","chart":"c","app_version":"1","description":"Preparing upgrade"},
                       {"revision":1,"updated":"x","status":"deployed","chart":"c","app_version":"1","description":"Install complete"}]"#;
        assert_eq!(state(&read(json).unwrap()), State::Pending { last: 2, to: 1 });
    }

    #[test]
    fn an_upgrade_that_was_killed_is_pending_and_the_one_before_it_is_good() {
        let killed =
            history(&[("superseded", ""), ("deployed", ""), ("pending-upgrade", "Preparing upgrade")]);
        assert_eq!(state(&killed), State::Pending { last: 3, to: 2 });
    }

    #[test]
    fn one_killed_between_its_last_two_writes_leaves_nothing_deployed_and_its_predecessor_is_good() {
        let killed = history(&[("superseded", ""), ("superseded", ""), ("pending-upgrade", "")]);
        assert_eq!(state(&killed), State::Pending { last: 3, to: 2 });
    }

    #[test]
    fn a_first_install_that_was_killed_or_failed_has_nothing_good() {
        assert_eq!(state(&history(&[("pending-install", "")])), State::NeverGood { last: 1, pending: true });
        assert_eq!(state(&history(&[("failed", "")])), State::NeverGood { last: 1, pending: false });
        assert_eq!(state(&[]), State::None);
    }

    #[test]
    fn a_failed_upgrade_is_settled() {
        let failed = history(&[("superseded", ""), ("failed", ""), ("deployed", "Rollback to 1")]);
        assert_eq!(state(&failed), State::Settled { last: 3, good: 3 });
        assert_eq!(state(&failed[..2]), State::Settled { last: 2, good: 1 });
    }

    #[test]
    fn the_way_back_leads_past_what_failed() {
        let all = [("superseded", ""), ("failed", ""), ("deployed", "Upgrade complete")];
        assert_eq!(back(&history(&all)), Back::To(1));
        assert_eq!(back(&history(&all[..1])), Back::Nowhere);
        assert_eq!(back(&history(&[("deployed", "")])), Back::Nowhere);
    }

    #[test]
    fn a_way_back_that_was_cut_is_gone_on_with_and_one_that_was_gone_is_not_gone_again() {
        let cut = history(&[("superseded", ""), ("superseded", ""), ("pending-rollback", "Rollback to 1")]);
        assert_eq!((back(&cut), state(&cut)), (Back::To(1), State::Pending { last: 3, to: 1 }));
        let gone = history(&[("superseded", ""), ("superseded", ""), ("deployed", "Rollback to 1")]);
        assert_eq!(back(&gone), Back::There { revision: 3, of: 1 });
    }
}
