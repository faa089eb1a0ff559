//! What is kept of runs by the exact shapes of their inputs: shapes enter, and leave with what was captured of such a run, or with
//! the word that it is worth it.

/// As many as batches of up to 64 rows have sizes; each takes memory of the host and of the GPU by its plan's kernels, and what a
/// context has beside its scratch memory.
const MOST: usize = 64;

/// What was captured, by shapes. Of too many, what was not used for longest goes.
pub(super) struct Buckets<T> {
    /// The one that was used last is the last.
    all: Vec<Bucket<T>>,
    /// How often the lane's memory was allocated anew: what was captured of other memory is forgotten.
    memory: u64,
}

struct Bucket<T> {
    shapes: Box<[i64]>,
    holds: Holds<T>,
}

enum Holds<T> {
    /// One run was done.
    Seen,
    Captured(T),
    /// It can't be captured.
    Nothing,
}

impl<T> Default for Buckets<T> {
    fn default() -> Self {
        Self { all: Vec::new(), memory: 0 }
    }
}

impl<T> Buckets<T> {
    /// What was captured of a run with these shapes.
    pub(super) fn captured(
        &mut self,
        memory: u64,
        shapes: &(impl Iterator<Item = i64> + Clone),
    ) -> Option<&T> {
        self.take_memory(memory);
        match &self.find(shapes)?.holds {
            Holds::Captured(captured) => Some(captured),
            Holds::Seen | Holds::Nothing => None,
        }
    }

    /// Was one run with these shapes done, in this memory? Then this one is worth to be captured, and [`Buckets::settle`] is next.
    pub(super) fn seen(&mut self, memory: u64, shapes: &(impl Iterator<Item = i64> + Clone)) -> bool {
        self.take_memory(memory);
        self.find(shapes).is_some_and(|bucket| matches!(bucket.holds, Holds::Seen))
    }

    /// Notes a run with these shapes. Whether it is the first.
    pub(super) fn note(&mut self, memory: u64, shapes: impl Iterator<Item = i64> + Clone) -> bool {
        self.take_memory(memory);
        if self.find(&shapes).is_some() {
            return false;
        }
        if self.all.len() == MOST {
            self.all.remove(0);
        }
        self.all.push(Bucket { shapes: shapes.collect(), holds: Holds::Seen });
        true
    }

    /// Keeps what was captured with the shapes that were asked for last; or `None`: such a run is not captured again.
    pub(super) fn settle(&mut self, captured: Option<T>) {
        if let Some(bucket) = self.all.last_mut() {
            bucket.holds = captured.map_or(Holds::Nothing, Holds::Captured);
        }
    }

    fn take_memory(&mut self, memory: u64) {
        if self.memory != memory {
            self.all.retain(|bucket| matches!(bucket.holds, Holds::Nothing));
            self.memory = memory;
        }
    }

    fn find(&mut self, shapes: &(impl Iterator<Item = i64> + Clone)) -> Option<&Bucket<T>> {
        let is_it = |bucket: &Bucket<T>| bucket.shapes.iter().copied().eq(shapes.clone());
        let place = self.all.iter().rposition(is_it)?;
        self.all[place..].rotate_left(1);
        self.all.last()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1;

    fn shapes(rows: i64) -> impl Iterator<Item = i64> + Clone {
        [rows, 4].into_iter()
    }

    #[test]
    fn the_second_run_of_a_shape_is_captured_and_later_ones_have_it() {
        let mut buckets = Buckets::default();
        let mut run = |rows: i64| {
            let had = buckets.captured(NOW, &shapes(rows)).copied();
            if had.is_none() && buckets.seen(NOW, &shapes(rows)) {
                buckets.settle(Some(rows));
            } else if had.is_none() {
                assert!(buckets.note(NOW, shapes(rows)));
            }
            had
        };
        let had = [1, 2, 1, 1, 2, 2, 1].map(&mut run);
        assert_eq!(had, [None, None, None, Some(1), None, Some(2), Some(1)]);
    }

    #[test]
    fn other_memory_forgets_what_was_captured_but_not_what_cannot_be() {
        let mut buckets = Buckets::default();
        for (rows, captured) in [(1, Some(())), (2, None)] {
            assert!(buckets.note(NOW, shapes(rows)) && buckets.seen(NOW, &shapes(rows)));
            buckets.settle(captured);
        }
        assert!(buckets.captured(NOW, &shapes(1)).is_some());
        assert!(buckets.captured(NOW + 1, &shapes(1)).is_none());
        assert_eq!([1, 2].map(|rows| buckets.note(NOW + 1, shapes(rows))), [true, false]);
        assert_eq!([1, 2].map(|rows| buckets.seen(NOW + 1, &shapes(rows))), [true, false]);
    }

    #[test]
    fn of_too_many_what_was_not_used_for_longest_goes() {
        let mut buckets = Buckets::default();
        let most = i64::try_from(MOST).unwrap();
        for rows in 0..most {
            buckets.note(NOW, shapes(rows));
            buckets.settle(Some(rows));
        }
        assert_eq!(buckets.captured(NOW, &shapes(0)), Some(&0));
        buckets.note(NOW, shapes(most));
        assert_eq!(buckets.captured(NOW, &shapes(0)), Some(&0));
        assert_eq!(buckets.captured(NOW, &shapes(1)), None);
        assert_eq!(buckets.all.len(), MOST);
    }
}
