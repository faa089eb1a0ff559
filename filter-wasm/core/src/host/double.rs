//! A proxy for unit tests: shared data, a clock that the test sets, and a record of what was asked of it.

use super::{Headers, Host, MetricKind};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;

/// The double; fields are what tests set and look at.
#[derive(Default)]
pub(crate) struct Double {
    pub(crate) now_ms: Cell<u64>,
    pub(crate) shared: RefCell<HashMap<String, (Vec<u8>, u32)>>,
    pub(crate) warnings: RefCell<Vec<String>>,
    pub(crate) metrics: RefCell<HashMap<String, u64>>,
    names: RefCell<Vec<String>>,
}

impl Double {
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
    fn request_headers(&self) -> Headers {
        Headers::new()
    }
    fn set_request_header(&self, _: &str, _: &str) {}
    fn remove_request_header(&self, _: &str) {}
    fn request_body(&self, _: usize) -> Option<Vec<u8>> {
        None
    }
    fn response_headers(&self) -> Headers {
        Headers::new()
    }
    fn add_response_header(&self, _: &str, _: &str) {}
    fn response_chunk(&self, _: usize) -> Option<Vec<u8>> {
        None
    }
    fn property(&self, _: &[&str]) -> Option<Vec<u8>> {
        None
    }
    fn reply(&self, _: u32, _: u32, _: Vec<(&str, &str)>, _: &[u8]) {}
    fn resume(&self, _: u32) {}
    fn call(&self, _: &str, _: &str, _: &[(&str, &str)], _: u64) -> Option<u32> {
        None
    }
    fn call_status(&self) -> Option<u16> {
        None
    }
    fn call_body(&self, _: usize) -> Vec<u8> {
        Vec::new()
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
    fn wake(&self) {}
    fn define_metric(&self, _: MetricKind, name: &str) -> Option<u32> {
        let mut names = self.names.borrow_mut();
        names.push(name.to_owned());
        u32::try_from(names.len() - 1).ok()
    }
    fn add_metric(&self, metric: u32, amount: u64) {
        self.metric(metric, |value| value + amount);
    }
    fn set_metric(&self, metric: u32, value: u64) {
        self.metric(metric, |_| value);
    }
    fn warn(&self, message: &str) {
        self.warnings.borrow_mut().push(message.to_owned());
    }
}
