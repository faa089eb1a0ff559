//! What all workers of one proxy share: data with compare-and-swap numbers, queues, metrics, the clock.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::time::Duration;

/// Where the clock starts, in nanoseconds since the Unix epoch: some day in 2026.
const START_NS: u64 = 1_790_000_000_000_000_000;

/// The shared state; workers run one after the other, so cells are enough.
pub(crate) struct Shared {
    data: RefCell<HashMap<Vec<u8>, Value>>,
    next_cas: Cell<u32>,
    queues: RefCell<Vec<Queue>>,
    ready: RefCell<VecDeque<usize>>,
    metrics: RefCell<Vec<Metric>>,
    now_ns: Cell<u64>,
}

/// Bytes and their compare-and-swap number.
type Value = (Vec<u8>, u32);

struct Queue {
    name: Vec<u8>,
    worker: usize,
    context: u32,
    values: VecDeque<Vec<u8>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

struct Metric {
    kind: Kind,
    name: String,
    value: u64,
}

/// Why a call is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    NotFound = 1,
    BadArgument = 2,
    Empty = 7,
    CasMismatch = 8,
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            data: RefCell::default(),
            next_cas: Cell::new(1),
            queues: RefCell::default(),
            ready: RefCell::default(),
            metrics: RefCell::default(),
            now_ns: Cell::new(START_NS),
        }
    }
}

impl Shared {
    pub(crate) fn now_ns(&self) -> u64 {
        self.now_ns.get()
    }

    pub(crate) fn advance(&self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).expect("a test's time fits in u64 nanoseconds");
        self.now_ns.set(self.now_ns.get() + nanos);
    }

    pub(crate) fn get(&self, key: &[u8]) -> Result<Value, Refusal> {
        self.data.borrow().get(key).cloned().ok_or(Refusal::NotFound)
    }

    /// A number on an absent key is ignored, as in Envoy; 0 is no number.
    pub(crate) fn set(&self, key: Vec<u8>, value: Vec<u8>, cas: u32) -> Result<(), Refusal> {
        let mut data = self.data.borrow_mut();
        if data.get(&key).is_some_and(|(_, held)| cas != 0 && cas != *held) {
            return Err(Refusal::CasMismatch);
        }
        data.insert(key, (value, self.next_cas.get()));
        self.next_cas.set(self.next_cas.get() + 1);
        Ok(())
    }

    pub(crate) fn bytes_under(&self, prefix: &str) -> usize {
        let data = self.data.borrow();
        data.iter().filter(|(key, _)| key.starts_with(prefix.as_bytes())).map(|(_, (v, _))| v.len()).sum()
    }

    /// The last one to register a name is the one who is woken; what is queued stays.
    pub(crate) fn register_queue(&self, name: Vec<u8>, worker: usize, context: u32) -> u32 {
        let mut queues = self.queues.borrow_mut();
        let token = if let Some(token) = queues.iter().position(|queue| queue.name == name) {
            (queues[token].worker, queues[token].context) = (worker, context);
            token
        } else {
            queues.push(Queue { name, worker, context, values: VecDeque::new() });
            queues.len() - 1
        };
        u32::try_from(token + 1).expect("few queues")
    }

    pub(crate) fn resolve_queue(&self, name: &[u8]) -> Result<u32, Refusal> {
        let queues = self.queues.borrow();
        let token = queues.iter().position(|queue| queue.name == name).ok_or(Refusal::NotFound)?;
        u32::try_from(token + 1).map_err(|_| Refusal::NotFound)
    }

    pub(crate) fn enqueue(&self, token: u32, value: Vec<u8>) -> Result<(), Refusal> {
        let mut queues = self.queues.borrow_mut();
        let index = (token as usize).checked_sub(1).ok_or(Refusal::NotFound)?;
        queues.get_mut(index).ok_or(Refusal::NotFound)?.values.push_back(value);
        self.ready.borrow_mut().push_back(index);
        Ok(())
    }

    pub(crate) fn dequeue(&self, token: u32) -> Result<Vec<u8>, Refusal> {
        let mut queues = self.queues.borrow_mut();
        let index = (token as usize).checked_sub(1).ok_or(Refusal::NotFound)?;
        queues.get_mut(index).ok_or(Refusal::NotFound)?.values.pop_front().ok_or(Refusal::Empty)
    }

    /// Who is to be woken next: worker, root context, queue.
    pub(crate) fn next_ready(&self) -> Option<(usize, u32, u32)> {
        let index = self.ready.borrow_mut().pop_front()?;
        let queues = self.queues.borrow();
        Some((queues[index].worker, queues[index].context, u32::try_from(index + 1).ok()?))
    }

    pub(crate) fn define_metric(&self, kind: Kind, name: String) -> u32 {
        let mut metrics = self.metrics.borrow_mut();
        let index = metrics.iter().position(|metric| metric.name == name).unwrap_or(metrics.len());
        if index == metrics.len() {
            metrics.push(Metric { kind, name, value: 0 });
        }
        u32::try_from(index).expect("few metrics")
    }

    /// Envoy refuses to add nothing to a counter, and to add to a histogram at all.
    pub(crate) fn increment_metric(&self, id: u32, offset: i64) -> Result<(), Refusal> {
        let mut metrics = self.metrics.borrow_mut();
        let metric = metrics.get_mut(id as usize).ok_or(Refusal::NotFound)?;
        if metric.kind == Kind::Histogram || (metric.kind == Kind::Counter && offset <= 0) {
            return Err(Refusal::BadArgument);
        }
        metric.value = metric.value.saturating_add_signed(offset);
        Ok(())
    }

    pub(crate) fn record_metric(&self, id: u32, value: u64) -> Result<(), Refusal> {
        let mut metrics = self.metrics.borrow_mut();
        let metric = metrics.get_mut(id as usize).ok_or(Refusal::NotFound)?;
        metric.value = if metric.kind == Kind::Counter { metric.value + value } else { value };
        Ok(())
    }

    pub(crate) fn read_metric(&self, id: u32) -> Result<u64, Refusal> {
        self.metrics.borrow().get(id as usize).map(|metric| metric.value).ok_or(Refusal::NotFound)
    }

    pub(crate) fn metric(&self, name: &str) -> u64 {
        self.metrics.borrow().iter().find(|metric| metric.name == name).map_or(0, |metric| metric.value)
    }
}
