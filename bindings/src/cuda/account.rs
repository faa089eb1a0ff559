//! Bytes of a GPU's memory that are held enter; how many there are for one purpose leaves.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts the bytes of a GPU's memory that are held for one purpose, such as a model. A handle: cheap to clone, used by any thread.
///
/// What is allocated through [`super::Device::accounted`] is counted, and all that is made by way of such a handle: buffers as large
/// as they were allocated; a context's own scratch memory as TensorRT says it is; an engine as the memory that was less free when
/// it was made, for TensorRT doesn't tell what it takes. CUDA's own needs, such as its context and kernels, aren't counted.
#[derive(Debug, Clone, Default)]
pub struct Account(Arc<Counted>);

#[derive(Debug, Default)]
struct Counted {
    bytes: AtomicUsize,
    whole: Option<Account>,
}

impl Account {
    /// An account of its own, whose bytes are counted on this one as well.
    #[must_use]
    pub fn part(&self) -> Self {
        Self(Arc::new(Counted { bytes: AtomicUsize::new(0), whole: Some(self.clone()) }))
    }

    /// The bytes that are held now.
    pub fn bytes(&self) -> usize {
        self.0.bytes.load(Ordering::Relaxed)
    }

    /// Counts bytes until they are let go.
    pub(crate) fn hold(&self, bytes: usize) -> Held {
        let mut held = Held { account: self.clone(), bytes: 0 };
        held.set(bytes);
        held
    }

    fn change(&self, more: usize, less: usize) {
        self.0.bytes.fetch_add(more, Ordering::Relaxed);
        self.0.bytes.fetch_sub(less, Ordering::Relaxed);
        if let Some(whole) = &self.0.whole {
            whole.change(more, less);
        }
    }
}

/// Bytes on an account, until it is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    account: Account,
    bytes: usize,
}

impl Held {
    /// There are so many now.
    pub(crate) fn set(&mut self, bytes: usize) {
        self.account.change(bytes, self.bytes);
        self.bytes = bytes;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.set(0);
    }
}
