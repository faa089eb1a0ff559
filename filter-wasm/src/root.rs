//! The root context: reads the configuration once, ticks, polls, and makes the stream contexts.

use crate::envoy::{Envoy, answered};
use crate::stream::{SharedWorker, Stream};
use forebay_filter_core::config::Config;
use forebay_filter_core::host::Host;
use forebay_filter_core::worker::Worker;
use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{BufferType, ContextType};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

/// Where the proxy's VMs count themselves, in its shared data: a number of eight bytes, little-endian.
const STARTED_VMS: &str = "forebay.vms";
/// Each attempt fails only because another VM's succeeded: more than an Envoy has workers that start together.
const NUMBER_ATTEMPTS: usize = 1024;

pub(crate) struct Root {
    context: u32,
    worker: Option<SharedWorker>,
    queue: Option<u32>,
}

impl Root {
    pub(crate) fn new(context: u32) -> Self {
        Self { context, worker: None, queue: None }
    }

    fn envoy(&self) -> Envoy {
        Envoy { context: self.context, queue: self.queue }
    }

    fn with_worker(&self, act: impl FnOnce(&mut Worker, &dyn Host)) {
        if let Some(worker) = &self.worker
            && let Ok(mut worker) = worker.try_borrow_mut()
        {
            act(&mut worker, &self.envoy());
        }
    }

    /// A queue of this VM's own: only the VM that registers a name last is woken, so the name must be nobody else's.
    fn own_queue(&self) -> Option<u32> {
        let nanos =
            hostcalls::get_current_time().ok()?.duration_since(std::time::UNIX_EPOCH).ok()?.as_nanos();
        // The clock is for the proxy's first VMs: they may all find that nobody has counted yet.
        hostcalls::register_shared_queue(&format!("forebay.wake.{}.{nanos}", self.number()?)).ok()
    }

    /// How many VMs this proxy has started, with this one.
    fn number(&self) -> Option<u64> {
        let envoy = self.envoy();
        (0..NUMBER_ATTEMPTS).find_map(|_| {
            let (count, cas) = envoy.shared_get(STARTED_VMS).unzip();
            let count = count.and_then(|count| count.try_into().ok()).map_or(0, u64::from_le_bytes);
            let count = count.saturating_add(1);
            envoy.shared_set(STARTED_VMS, &count.to_le_bytes(), cas).then_some(count)
        })
    }
}

impl Context for Root {
    fn on_http_call_response(&mut self, token: u32, headers: usize, body_size: usize, _trailers: usize) {
        let body_size = answered(headers, body_size);
        self.with_worker(|worker, host| worker.on_call_response(host, token, body_size));
    }
}

impl RootContext for Root {
    fn on_configure(&mut self, size: usize) -> bool {
        let json = hostcalls::get_buffer(BufferType::PluginConfiguration, 0, size)
            .ok()
            .flatten()
            .unwrap_or_default();
        match Config::parse(&json) {
            Ok(config) => {
                let worker = Worker::new(config);
                let _ = hostcalls::set_tick_period(Duration::from_millis(worker.tick_ms()));
                self.worker = Some(Rc::new(RefCell::new(worker)));
                self.queue = self.own_queue();
                self.with_worker(Worker::on_start);
                true
            }
            Err(error) => {
                log::error!("forebay: {error}");
                false
            }
        }
    }

    fn on_tick(&mut self) {
        self.with_worker(Worker::on_tick);
    }

    fn on_queue_ready(&mut self, queue: u32) {
        let _ = hostcalls::dequeue_shared_queue(queue);
        self.with_worker(Worker::release);
    }

    fn create_http_context(&self, context: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream::new(context, self.worker.clone(), self.queue)))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}
