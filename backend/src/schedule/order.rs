//! Answers in the order of their requests, for models that ask for it: a finished answer enters, those that may leave
//! now leave. Next: `worker` delivers them.

use std::collections::BTreeMap;

/// What entered and didn't leave yet, by number; `None` is not finished.
#[derive(Debug)]
pub(super) struct Order<T>(BTreeMap<u64, Option<T>>);

impl<T> Order<T> {
    pub(super) fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// A request came.
    pub(super) fn enter(&mut self, number: u64) {
        self.0.insert(number, None);
    }

    /// A request has its answer. Returns the answers that may leave.
    pub(super) fn finish(&mut self, number: u64, answer: T) -> Vec<T> {
        self.0.insert(number, Some(answer));
        self.ready()
    }

    /// A request left without one. Returns the answers that may leave.
    pub(super) fn leave(&mut self, number: u64) -> Vec<T> {
        self.0.remove(&number);
        self.ready()
    }

    fn ready(&mut self) -> Vec<T> {
        let mut ready = Vec::new();
        while let Some(first) = self.0.first_entry().filter(|first| first.get().is_some()) {
            ready.extend(first.remove());
        }
        ready
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn answers_leave_in_order_each_once(finished in Just((0..20_u64).collect::<Vec<_>>()).prop_shuffle(),
                                            without in proptest::collection::btree_set(0..20_u64, 0..6)) {
            let mut order = Order::new();
            (0..20).for_each(|number| order.enter(number));
            let mut left = Vec::new();
            for number in finished {
                left.extend(if without.contains(&number) { order.leave(number) } else { order.finish(number, number) });
            }
            let expected: Vec<u64> = (0..20).filter(|number| !without.contains(number)).collect();
            prop_assert_eq!(left, expected);
        }
    }
}
