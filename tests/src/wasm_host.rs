//! A proxy for the real `.wasm`: a test drives clients, upstream, gate and clock; what Envoy would do with the filter's
//! decisions happens, in Envoy's order, without Envoy.
//!
//! Enters: the module and its plugin configuration. Leaves: what upstream and clients see. Each [`Worker`] has a VM of its
//! own, and so has the main thread, which ticks, is woken and calls out like the others but never has a stream; all share one
//! store of shared data and queues, one set of metrics and one clock, as the threads of one Envoy do.
//!
//! Where proxy-wasm leaves something open, it is as Envoy 1.40 does it: replies and resumptions happen after the callback
//! that asked for them, one nested in the other ([`worker`]); a header map that is not there is a `BadArgument`, which traps
//! the SDK; a VM's memory grows to a gigabyte and no further ([`MEMORY_LIMIT_BYTES`]); a trap kills the VM, and the next request
//! makes a new one. Streams of the dead one live on: those that it held hang until the route's `idle_timeout`
//! ([`Worker::idle`]), and any callback that they would have had ends them with Envoy's own 503.

mod imports;
mod memory;
mod shared;
mod state;
pub mod stream;
mod vm;
pub mod worker;

use shared::Shared;
pub use state::MEMORY_LIMIT_BYTES;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;
pub use stream::{Call, Forwarded, Headers, Request, Response, StreamId};
pub use worker::Worker;

/// One proxy process.
pub struct Host {
    shared: Rc<Shared>,
    main: Worker,
    workers: Vec<Worker>,
}

impl Host {
    /// A proxy with one worker that runs the module at `path`.
    ///
    /// # Errors
    /// What the filter logged when it refused its configuration, or why the module does not load.
    pub fn load(path: &Path, configuration: &str) -> Result<Self, String> {
        Self::with_workers(path, configuration, 1)
    }

    /// A proxy with several workers.
    ///
    /// # Errors
    /// As [`Host::load`].
    pub fn with_workers(path: &Path, configuration: &str, workers: usize) -> Result<Self, String> {
        let shared = Rc::new(Shared::default());
        let start = |number| Worker::start(path, configuration, number, shared.clone());
        // Envoy starts the main thread's first.
        let main = start(workers)?.without_streams();
        let workers = (0..workers).map(start).collect::<Result<_, _>>()?;
        Ok(Self { shared, main, workers })
    }

    /// The main thread. A request sent to it is a mistake.
    pub fn main(&mut self) -> &mut Worker {
        &mut self.main
    }

    /// All threads: the main one, then the workers.
    pub fn threads(&mut self) -> impl Iterator<Item = &mut Worker> {
        std::iter::once(&mut self.main).chain(&mut self.workers)
    }

    /// A worker, by number.
    pub fn worker(&mut self, number: usize) -> &mut Worker {
        &mut self.workers[number]
    }

    /// Lets time pass; nothing else happens.
    pub fn advance(&self, time: Duration) {
        self.shared.advance(time);
    }

    /// Ticks every VM's root context, once, and delivers what was queued.
    pub fn tick(&mut self) {
        self.threads().for_each(Worker::tick);
        self.settle();
    }

    /// Delivers queue wake-ups, each as a callback of its own, until none is left. How many there were.
    pub fn settle(&mut self) -> usize {
        let mut delivered = 0;
        while let Some((worker, context, queue)) = self.shared.next_ready() {
            delivered += 1;
            self.workers.get_mut(worker).unwrap_or(&mut self.main).queue_ready(context, queue);
        }
        delivered
    }

    /// A metric's value after every VM has ticked; 0 when the filter never defined it.
    pub fn metric(&mut self, name: &str) -> u64 {
        self.tick();
        self.shared.metric(name)
    }

    /// Bytes in shared data, of the keys that begin with `prefix`.
    pub fn shared_bytes(&self, prefix: &str) -> usize {
        self.shared.bytes_under(prefix)
    }
}
