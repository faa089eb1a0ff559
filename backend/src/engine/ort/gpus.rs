//! Where sessions run on GPUs. Whoever opens one, or would reset a GPU, enters; the two don't come together.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// GPUs, and how many times sessions were opened on each, or are being opened now: what the library has there stays.
#[derive(Default)]
pub(super) struct Gpus(Mutex<BTreeMap<i32, usize>>);

impl Gpus {
    /// Opens sessions on those GPUs. They are noted before: the library may have something there as soon as it begins.
    pub(super) fn note<T, E>(&self, gpus: &[i32], open: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        for gpu in gpus {
            *self.lock().entry(*gpu).or_default() += 1;
        }
        open().inspect_err(|_| {
            for gpu in gpus {
                self.lock().entry(*gpu).and_modify(|times| *times -= 1);
            }
        })
    }

    /// Does that while nothing is opened on the GPU, unless something was.
    pub(super) fn unless_on<T>(&self, gpu: i32, work: impl FnOnce() -> T) -> Option<T> {
        let gpus = self.lock();
        let is_on = gpus.get(&gpu).is_some_and(|times| *times > 0);
        (!is_on).then(work)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<i32, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_done_on_a_gpu_where_a_session_is_being_opened_or_ever_was() {
        let gpus = Gpus::default();
        let free = |gpu| gpus.unless_on(gpu, || ()).is_some();
        assert!(free(0));
        let refused = gpus.note(&[0, 1], || {
            assert!(!free(0) && !free(1) && free(2));
            Err::<(), _>("refused")
        });
        assert!(refused.is_err() && free(0) && free(1));
        gpus.note(&[0], || {
            assert!(gpus.note(&[0], || Err::<(), _>("refused")).is_err());
            assert!(!free(0), "another is on its way still");
            Ok::<_, ()>(())
        })
        .unwrap();
        assert!(!free(0));
    }
}
