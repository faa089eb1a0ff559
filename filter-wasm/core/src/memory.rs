//! One budget of bytes for all that one worker holds for requests under way: what their headers said, answers that are collected or
//! came from the pool, bodies on their way in, and those that wait for an equal request or for the gate. What is held is counted as
//! it comes, and given back when its holder lets go of it or goes itself.
//!
//! A VM's memory is capped at 1 GiB by the proxy, and never shrinks: past it the VM traps, and with it all requests of the worker.

use std::cell::Cell;
use std::rc::Rc;

/// A worker's budget.
#[derive(Clone, Debug)]
pub struct Memory {
    held: Rc<Cell<usize>>,
    most: usize,
}

/// Bytes that are held. Dropping it gives them back.
#[derive(Debug)]
pub struct Held {
    memory: Memory,
    bytes: Cell<usize>,
}

impl Memory {
    /// A budget of so many bytes.
    pub fn new(most: usize) -> Self {
        Self { held: Rc::default(), most }
    }

    /// Nothing yet, on this budget.
    pub fn hold(&self) -> Held {
        Held { memory: self.clone(), bytes: Cell::new(0) }
    }

    /// Bytes that may be held beside.
    pub fn left(&self) -> usize {
        self.most.saturating_sub(self.held.get())
    }

    /// Bytes held now.
    pub fn held(&self) -> usize {
        self.held.get()
    }
}

impl Held {
    /// Holds so many more, if there is room. `false`: there is not, and it holds what it held.
    #[must_use]
    pub fn grow_by(&self, more: usize) -> bool {
        self.grow_to(self.bytes.get().saturating_add(more))
    }

    /// Holds so many in all, if there is room. `false`: there is not, and it holds what it held.
    #[must_use]
    pub fn grow_to(&self, bytes: usize) -> bool {
        let more = bytes.saturating_sub(self.bytes.get());
        let fits = self.fits(more);
        if fits {
            self.memory.held.set(self.memory.held.get().saturating_add(more));
            self.bytes.set(self.bytes.get().max(bytes));
        }
        fits
    }

    /// Would so many more fit?
    pub fn fits(&self, more: usize) -> bool {
        self.memory.held.get().saturating_add(more) <= self.memory.most
    }

    /// Gives all of it back.
    pub fn let_go(&self) {
        self.memory.held.set(self.memory.held.get().saturating_sub(self.bytes.take()));
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.let_go();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_bounded_and_given_back() {
        let memory = Memory::new(100);
        let (one, other) = (memory.hold(), memory.hold());
        assert!(one.grow_to(60) && one.grow_to(40) && other.grow_to(40));
        assert!(!other.grow_to(41), "a byte too many");
        assert_eq!(memory.held(), 100);
        drop(one);
        assert!(other.grow_by(60) && !other.grow_by(1) && !other.fits(1));
        other.let_go();
        assert_eq!(memory.held(), 0);
        assert!(other.fits(100) && other.grow_to(1));
        drop(other);
        assert_eq!(memory.held(), 0);
    }
}
