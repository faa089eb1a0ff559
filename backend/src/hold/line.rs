//! Those who wait for a backend, by whose they are and which model they ask: flows. Who comes, leaves and is next. Flows take turns in
//! bytes, so that whoever sends much, or large, makes nobody else wait longer; within one, who came first is first.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

use crate::schedule::QueueLimits;

/// What any request weighs, beside its body: else who sends tiny ones would have all turns.
const LEAST_BYTES: u64 = 1024;

/// The line is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Full {
    #[error("{0} requests wait for a backend already (--hold-requests)")]
    Requests(usize),
    #[error("requests that wait for a backend hold as much as they may already, {0} bytes (--hold-bytes)")]
    Bytes(usize),
}

/// Those who wait. `F` names a flow, `T` is what is known of one who waits.
pub(super) struct Line<F, T> {
    limits: QueueLimits,
    flows: HashMap<F, Flow<T>>,
    /// The turn that was last given; a flow that comes anew begins there, not with what it never used.
    turn: u64,
    count: usize,
    bytes: usize,
    /// Counts who came; and, from the other end, who came back.
    numbers: (i64, i64),
}

struct Flow<T> {
    /// Bytes that it was given, from a common start.
    given: u64,
    waiting: BTreeMap<i64, (usize, T)>,
}

/// Where one waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place<F> {
    flow: F,
    number: i64,
}

impl<F: Hash + Eq + Clone, T> Line<F, T> {
    pub(super) fn new(limits: QueueLimits) -> Self {
        Self { limits, flows: HashMap::new(), turn: 0, count: 0, bytes: 0, numbers: (0, -1) }
    }

    /// One comes, whose body has so many bytes.
    ///
    /// # Errors
    /// There is no room.
    pub(super) fn enter(&mut self, flow: F, bytes: usize, what: T) -> Result<Place<F>, Full> {
        if self.count >= self.limits.requests {
            return Err(Full::Requests(self.limits.requests));
        }
        if self.bytes.saturating_add(bytes) > self.limits.bytes {
            return Err(Full::Bytes(self.limits.bytes));
        }
        let number = self.numbers.0;
        self.numbers.0 += 1;
        Ok(self.stand(flow, number, bytes, what))
    }

    /// One that had its turn comes back, before all others of its flow: it was let in once, and there is room for it.
    pub(super) fn come_back(&mut self, flow: F, bytes: usize, what: T) -> Place<F> {
        let number = self.numbers.1;
        self.numbers.1 -= 1;
        self.stand(flow, number, bytes, what)
    }

    fn stand(&mut self, flow: F, number: i64, bytes: usize, what: T) -> Place<F> {
        let turn = self.turn;
        let of =
            self.flows.entry(flow.clone()).or_insert_with(|| Flow { given: turn, waiting: BTreeMap::new() });
        of.waiting.insert(number, (bytes, what));
        self.count += 1;
        self.bytes += bytes;
        Place { flow, number }
    }

    /// One leaves, if it waits still.
    pub(super) fn leave(&mut self, place: &Place<F>) -> Option<T> {
        let flow = self.flows.get_mut(&place.flow)?;
        let (bytes, what) = flow.waiting.remove(&place.number)?;
        if flow.waiting.is_empty() {
            self.flows.remove(&place.flow);
        }
        self.count -= 1;
        self.bytes -= bytes;
        Some(what)
    }

    /// Whose turn it is among the flows that may go, and is no longer in line.
    pub(super) fn next(&mut self, may_go: impl Fn(&F) -> bool) -> Option<(F, T)> {
        let going = self.flows.iter().filter(|(flow, _)| may_go(flow));
        let (flow, of) = going
            .min_by_key(|(_, of)| (of.given, of.waiting.first_key_value().map(|(number, _)| *number)))?;
        let (flow, number) = (flow.clone(), *of.waiting.first_key_value()?.0);
        let of = self.flows.get_mut(&flow)?;
        let bytes = of.waiting.get(&number).map_or(0, |(bytes, _)| *bytes) as u64;
        self.turn = self.turn.max(of.given);
        of.given = of.given.saturating_add(bytes.max(LEAST_BYTES));
        let what = self.leave(&Place { flow: flow.clone(), number })?;
        Some((flow, what))
    }

    /// How many of each flow wait, the bytes of their bodies, and who is first.
    pub(super) fn queues(&self) -> impl Iterator<Item = (&F, usize, usize, &T)> {
        self.flows.iter().filter_map(|(flow, of)| {
            let bytes = of.waiting.values().map(|(bytes, _)| bytes).sum();
            let (_, (_, first)) = of.waiting.first_key_value()?;
            Some((flow, of.waiting.len(), bytes, first))
        })
    }

    /// The flows that wait.
    pub(super) fn flows(&self) -> impl Iterator<Item = &F> {
        self.flows.keys()
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WIDE: QueueLimits = QueueLimits { requests: 1000, bytes: 1 << 30 };

    fn line(limits: QueueLimits) -> Line<&'static str, usize> {
        Line::new(limits)
    }

    fn order(line: &mut Line<&'static str, usize>) -> Vec<&'static str> {
        std::iter::from_fn(|| line.next(|_| true)).map(|(flow, _)| flow).collect()
    }

    #[test]
    fn flows_take_turns_in_bytes() {
        let mut line = line(WIDE);
        for number in 0..4 {
            line.enter("large", 4096, number).unwrap();
        }
        for number in 0..8 {
            line.enter("small", 1, number).unwrap();
        }
        let order = order(&mut line);
        assert_eq!(order[..2], ["large", "small"]);
        assert_eq!(order[..5].iter().filter(|flow| **flow == "small").count(), 4, "{order:?}");
    }

    #[test]
    fn who_comes_late_has_no_turns_to_catch_up_with() {
        let mut line = line(WIDE);
        (0..10).for_each(|number| assert!(line.enter("old", 1024, number).is_ok()));
        (0..5).for_each(|_| assert!(line.next(|_| true).is_some()));
        (0..5).for_each(|number| assert!(line.enter("new", 1024, number).is_ok()));
        let order = order(&mut line);
        assert!(order[..4].iter().filter(|flow| **flow == "old").count() >= 1, "{order:?}");
    }

    #[test]
    fn who_comes_back_is_first_of_its_flow_though_there_is_no_room() {
        let mut line = line(QueueLimits { requests: 2, bytes: 100 });
        line.enter("a", 50, 1).unwrap();
        line.enter("a", 50, 2).unwrap();
        assert_eq!(line.enter("b", 0, 3), Err(Full::Requests(2)));
        let (flow, first) = line.next(|_| true).unwrap();
        assert_eq!(line.enter("b", 51, 3), Err(Full::Bytes(100)));
        line.enter("b", 50, 3).unwrap();
        line.come_back(flow, 50, first);
        let mut queues: Vec<_> = line.queues().collect();
        queues.sort_unstable();
        assert_eq!(queues, [(&"a", 2, 100, &1), (&"b", 1, 50, &3)]);
        assert_eq!(line.next(|flow| *flow == "a"), Some(("a", 1)));
        assert_eq!(line.next(|flow| *flow == "c"), None);
    }

    proptest! {
        /// Whatever comes, leaves and goes, in whatever order: nobody is lost, and nothing is left behind.
        #[test]
        fn all_who_come_go_or_leave_and_the_bounds_hold(acts in prop::collection::vec((0_u8..4, 0_usize..5, 0_usize..3000), 0..200)) {
            const FLOWS: [&str; 5] = ["a", "b", "c", "d", "e"];
            let limits = QueueLimits { requests: 20, bytes: 20_000 };
            let mut line = line(limits);
            let (mut places, mut inside): (Vec<(Place<&str>, usize)>, usize) = (Vec::new(), 0);
            for (number, (act, flow, bytes)) in acts.into_iter().enumerate() {
                match act {
                    0 | 1 => if let Ok(place) = line.enter(FLOWS[flow], bytes, number) {
                        places.push((place, number));
                        inside += 1;
                    },
                    2 => if let Some((place, number)) = places.pop() {
                        let left = line.leave(&place);
                        inside -= usize::from(left.is_some());
                        prop_assert!(left.is_none_or(|left| left == number));
                    },
                    _ => inside -= usize::from(line.next(|of| *of == FLOWS[flow]).is_some()),
                }
                prop_assert_eq!(line.count(), inside);
                prop_assert!(line.count() <= limits.requests && line.bytes() <= limits.bytes);
            }
            let rest = std::iter::from_fn(|| line.next(|_| true)).count();
            prop_assert_eq!(rest, inside);
            prop_assert_eq!((line.count(), line.bytes(), line.flows().count()), (0, 0, 0));
        }
    }
}
