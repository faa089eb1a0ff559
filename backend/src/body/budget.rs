//! How many bytes all requests may hold together, whatever they came by. Bytes that arrived enter and are charged; what is
//! charged goes back when the last tensor that they became is freed. What is announced takes nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use forebay_protocol::messages::ModelInferRequest;
use metrics::{counter, gauge};

/// The bytes of all ports.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: usize,
    held: AtomicUsize,
}

/// There is no room for so many bytes now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("requests hold all of the {limit} bytes that there are for them (--body-budget-bytes); try again")]
pub(crate) struct Spent {
    pub(crate) limit: usize,
}

/// Bytes that one request holds; dropping it gives them back.
#[derive(Debug)]
pub(crate) struct Charge {
    budget: Arc<Budget>,
    bytes: AtomicUsize,
}

impl Budget {
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, held: AtomicUsize::new(0) })
    }

    /// For a request that holds nothing yet.
    pub(crate) fn charge(self: &Arc<Self>) -> Charge {
        Charge { budget: self.clone(), bytes: AtomicUsize::new(0) }
    }

    /// Sets the gauges.
    pub(crate) fn publish(&self) {
        gauge!("forebay_body_bytes").set(self.held.load(Ordering::Relaxed) as f64);
        gauge!("forebay_body_budget_bytes").set(self.limit as f64);
    }

    fn take(&self, bytes: usize) -> Result<(), Spent> {
        let room = |held: usize| held.checked_add(bytes).filter(|held| *held <= self.limit);
        let taken = self.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room);
        taken.map(drop).map_err(|_| {
            counter!("forebay_bodies_refused", "reason" => "budget").increment(1);
            Spent { limit: self.limit }
        })
    }

    fn give(&self, bytes: usize) {
        self.held.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Charge {
    /// Takes more, for bytes that came.
    ///
    /// # Errors
    /// `Spent`; nothing more is charged then.
    pub(crate) fn grow(&self, bytes: usize) -> Result<(), Spent> {
        self.budget.take(bytes)?;
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }

    /// From here on it is so many bytes.
    ///
    /// # Errors
    /// `Spent`, when that is more than before and there is no room; it is as before then.
    pub(crate) fn settle(&self, bytes: usize) -> Result<(), Spent> {
        let before = self.bytes.load(Ordering::Relaxed);
        if bytes > before {
            return self.grow(bytes - before);
        }
        self.bytes.store(bytes, Ordering::Relaxed);
        self.budget.give(before - bytes);
        Ok(())
    }

    /// All that it holds, as another's: what came belongs to a message now.
    pub(crate) fn split(&self) -> Self {
        let bytes = AtomicUsize::new(self.bytes.swap(0, Ordering::Relaxed));
        Self { budget: self.budget.clone(), bytes }
    }

    /// The bytes, which hold the charge as long as anything holds a part of them.
    pub(crate) fn on(self: &Arc<Self>, bytes: Bytes) -> Bytes {
        Bytes::from_owner(Charged { bytes, _charge: self.clone() })
    }

    /// Charges a request's tensors: those that lie in `body` are charged with it, others take their own size. Each holds its
    /// part until nobody reads it any more, which may be after the client has left.
    ///
    /// # Errors
    /// `Spent`.
    pub(crate) fn tensors(self, request: &mut ModelInferRequest, body: &[u8]) -> Result<(), Spent> {
        let is_own = |tensor: &Bytes| !tensor.is_empty() && !body.as_ptr_range().contains(&tensor.as_ptr());
        let own = request.raw_input_contents.iter_mut().filter(|tensor| is_own(tensor));
        let own: Vec<&mut Bytes> = own.collect();
        self.settle(own.iter().map(|tensor| tensor.len()).sum())?;
        if own.is_empty() {
            return Ok(());
        }
        let charge = Arc::new(self);
        for tensor in own {
            *tensor = charge.on(std::mem::take(tensor));
        }
        Ok(())
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.give(*self.bytes.get_mut());
    }
}

/// Bytes with what they cost.
struct Charged {
    bytes: Bytes,
    _charge: Arc<Charge>,
}

impl AsRef<[u8]> for Charged {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn held(budget: &Budget) -> usize {
        budget.held.load(Ordering::Relaxed)
    }

    #[test]
    fn what_is_spent_is_refused_and_comes_back_with_the_last_slice() {
        let budget = Budget::new(10);
        let charge = Arc::new(budget.charge());
        charge.grow(8).unwrap();
        assert_eq!(budget.charge().grow(3), Err(Spent { limit: 10 }));
        let body = charge.on(Bytes::from_static(b"12345678"));
        drop(charge);
        let slice = body.slice(2..4);
        drop(body);
        assert_eq!(held(&budget), 8, "a tensor is still read");
        drop(slice);
        assert_eq!(held(&budget), 0);
    }

    #[test]
    fn tensors_of_their_own_are_charged_and_slices_of_the_body_are_not_charged_twice() {
        let budget = Budget::new(100);
        let charge = Arc::new(budget.charge());
        charge.grow(10).unwrap();
        let body = charge.on(Bytes::from(vec![1; 10]));
        drop(charge);
        let mut request = ModelInferRequest {
            raw_input_contents: vec![body.slice(5..), Bytes::from(vec![2; 40]), Bytes::new()],
            ..ModelInferRequest::default()
        };
        budget.charge().tensors(&mut request, &body).unwrap();
        assert_eq!(held(&budget), 50);
        assert_eq!(request.raw_input_contents[1], vec![2; 40]);
        drop(body);
        request.raw_input_contents.truncate(1);
        assert_eq!(held(&budget), 10);
        drop(request);
        assert_eq!(held(&budget), 0);
        let mut large =
            ModelInferRequest { raw_input_contents: vec![Bytes::from(vec![0; 101])], ..Default::default() };
        assert!(budget.charge().tensors(&mut large, &[]).is_err());
        assert_eq!(held(&budget), 0);
    }

    #[test]
    fn what_came_is_a_messages_once_it_is_read() {
        let budget = Budget::new(100);
        let stream = budget.charge();
        stream.grow(30).unwrap();
        let message = stream.split();
        stream.grow(5).unwrap();
        message.settle(60).unwrap();
        assert_eq!(held(&budget), 65);
        drop(message);
        assert_eq!(held(&budget), 5);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_the_limit_holds(steps in prop::collection::vec((0_usize..4, 0_usize..60), 0..40)) {
            let budget = Budget::new(100);
            let mut charges = vec![budget.charge()];
            for (step, bytes) in steps {
                let index = bytes % charges.len();
                match step {
                    0 => drop(charges[index].grow(bytes)),
                    1 => drop(charges[index].settle(bytes)),
                    2 => charges.push(charges[index].split()),
                    _ => charges.push(budget.charge()),
                }
                let sum: usize = charges.iter().map(|charge| charge.bytes.load(Ordering::Relaxed)).sum();
                prop_assert_eq!(held(&budget), sum);
                prop_assert!(sum <= 100);
            }
            drop(charges);
            prop_assert_eq!(held(&budget), 0);
        }
    }
}
