//! A proxy for unit tests: what is to be read, shared data, and a clock that the test sets.

use super::{Headers, Host, MetricKind, Of};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;

/// The double; fields are what tests set and look at.
#[derive(Default)]
pub(crate) struct Double {
    pub(crate) now_ms: Cell<u64>,
    pub(crate) headers: RefCell<HashMap<Of, Headers>>,
    pub(crate) bodies: RefCell<HashMap<Of, Vec<u8>>>,
    pub(crate) properties: RefCell<HashMap<String, Vec<u8>>>,
    pub(crate) shared: RefCell<HashMap<String, (Vec<u8>, u32)>>,
    pub(crate) warnings: RefCell<Vec<String>>,
    pub(crate) metrics: RefCell<HashMap<String, u64>>,
    names: RefCell<Vec<String>>,
}

impl Double {
    /// What is read next as the headers and body of a message.
    pub(crate) fn shows(&self, of: Of, headers: &[(&str, &str)], body: &[u8]) {
        self.headers.borrow_mut().insert(of, headers.iter().copied().collect());
        self.bodies.borrow_mut().insert(of, body.to_vec());
    }

    fn metric(&self, metric: u32, change: impl FnOnce(u64) -> u64) {
        let name = self.names.borrow()[metric as usize].clone();
        let mut metrics = self.metrics.borrow_mut();
        let value = metrics.entry(name).or_default();
        *value = change(*value);
    }
}

impl Host for Double {
    fn now_ms(&self) -> u64 {
        self.now_ms.get()
    }
    fn headers(&self, of: Of) -> Headers {
        self.headers.borrow().get(&of).cloned().unwrap_or_default()
    }
    fn body(&self, of: Of, size: usize) -> Option<Vec<u8>> {
        let bodies = self.bodies.borrow();
        let body = bodies.get(&of)?;
        Some(body[..size.min(body.len())].to_vec())
    }
    fn property(&self, path: &[&str]) -> Option<Vec<u8>> {
        self.properties.borrow().get(&path.join(".")).cloned()
    }
    fn shared_get(&self, key: &str) -> Option<(Vec<u8>, u32)> {
        self.shared.borrow().get(key).cloned()
    }
    /// As Envoy does it: a compare-and-swap number on an absent key is ignored.
    fn shared_set(&self, key: &str, value: &[u8], cas: Option<u32>) -> bool {
        let mut shared = self.shared.borrow_mut();
        let entry = shared.entry(key.to_owned()).or_default();
        if cas.is_some_and(|cas| entry.1 != 0 && cas != entry.1) {
            return false;
        }
        *entry = (value.to_vec(), entry.1 + 1);
        true
    }
    fn define_metric(&self, _: MetricKind, name: &str) -> Option<u32> {
        let mut names = self.names.borrow_mut();
        names.push(name.to_owned());
        u32::try_from(names.len() - 1).ok()
    }
    fn add_metric(&self, metric: u32, amount: i64) {
        self.metric(metric, |value| value.checked_add_signed(amount).expect("a metric below nothing"));
    }
    fn warn(&self, message: &str) {
        self.warnings.borrow_mut().push(message.to_owned());
    }
}
