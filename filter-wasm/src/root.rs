//! The root context: reads the configuration once, ticks, polls, and makes the stream contexts.

use crate::envoy::{Envoy, answered};
use crate::stream::{SharedWorker, Stream};
use forebay_filter_core::acts::Acts;
use forebay_filter_core::config::Config;
use forebay_filter_core::host::{Host, MetricKind};
use forebay_filter_core::worker::Worker;
use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{BufferType, ContextType};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

/// Where the proxy's VMs count themselves, in its shared data: a number of eight bytes, little-endian.
const STARTED_VMS: &str = "forebay.vms";
/// A compare-and-swap number that no value has: it writes only where nothing is. (On an absent key the proxy ignores it.)
const ABSENT: u32 = u32::MAX;
/// Each attempt fails only because another VM's succeeded: more than an Envoy has workers that start together.
const NUMBER_ATTEMPTS: usize = 1024;

pub(crate) struct Root {
    envoy: Envoy,
    worker: Option<SharedWorker>,
}

impl Root {
    pub(crate) fn new(context: u32) -> Self {
        Self { envoy: Envoy::new(context, None), worker: None }
    }

    /// The core decides; its borrow ends; its acts are carried out. A callout that can't be sent has failed at once.
    fn step(&mut self, decide: impl FnOnce(&mut Worker, &dyn Host) -> Acts) {
        let Some(worker) = &self.worker else { return };
        let mut acts = match worker.try_borrow_mut() {
            Ok(mut worker) => decide(&mut worker, &self.envoy),
            Err(_) => return,
        };
        loop {
            let unsent = self.envoy.carry_out(acts.list);
            let (Some(ticket), Ok(mut worker)) = (unsent, worker.try_borrow_mut()) else { return };
            acts = worker.on_call_response(&self.envoy, ticket, None);
        }
    }

    fn count_config_error(&self) {
        if let Some(metric) = self.envoy.define_metric(MetricKind::Counter, "forebay_config_errors") {
            self.envoy.add_metric(metric, 1);
        }
    }

    /// How many VMs this proxy has started, with this one.
    fn number(&self) -> Option<u64> {
        let envoy = &self.envoy;
        (0..NUMBER_ATTEMPTS).find_map(|_| {
            let (count, cas) = envoy.shared_get(STARTED_VMS).unzip();
            let cas = Some(cas.unwrap_or(ABSENT));
            let count = count.and_then(|count| count.try_into().ok()).map_or(0, u64::from_le_bytes);
            let count = count.saturating_add(1);
            envoy.shared_set(STARTED_VMS, &count.to_le_bytes(), cas).then_some(count)
        })
    }
}

/// Other settings took this context's place, or the VM ends. (In a trap nothing is called any more.)
impl Drop for Root {
    fn drop(&mut self) {
        self.step(|worker, host| worker.on_end(host));
    }
}

/// A queue of this VM's own: only the VM that registers a name last is woken, so the name must be nobody else's.
fn own_queue(vm: u64) -> Option<u32> {
    let nanos = hostcalls::get_current_time().ok()?.duration_since(std::time::UNIX_EPOCH).ok()?.as_nanos();
    // The clock is for VMs that could not count themselves.
    hostcalls::register_shared_queue(&format!("forebay.wake.{vm}.{nanos}")).ok()
}

impl Context for Root {
    fn on_http_call_response(&mut self, token: u32, headers: usize, body_size: usize, _trailers: usize) {
        let body_size = answered(headers, body_size);
        if let Some(ticket) = self.envoy.ended(token) {
            self.step(|worker, host| worker.on_call_response(host, ticket, body_size));
        }
    }
}

impl RootContext for Root {
    fn on_configure(&mut self, size: usize) -> bool {
        let json = hostcalls::get_buffer(BufferType::PluginConfiguration, 0, size)
            .ok()
            .flatten()
            .unwrap_or_default();
        // Settings are never refused: a proxy that was refused one would take no other, a new security policy neither.
        let config = Config::parse(&json).unwrap_or_else(|error| {
            log::error!("forebay: {error}; every request passes until it is mended");
            self.count_config_error();
            Config::passing()
        });
        let mut worker = Worker::new(config);
        let _ = hostcalls::set_tick_period(Duration::from_millis(worker.tick_ms()));
        let vm = self.number().unwrap_or(0);
        self.envoy.queue = own_queue(vm);
        worker.on_start(&self.envoy, vm);
        self.worker = Some(Rc::new(RefCell::new(worker)));
        true
    }

    fn on_tick(&mut self) {
        self.step(Worker::on_tick);
    }

    fn on_queue_ready(&mut self, queue: u32) {
        let _ = hostcalls::dequeue_shared_queue(queue);
        self.step(Worker::on_wake);
    }

    fn create_http_context(&self, context: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream::new(context, self.worker.clone(), self.envoy.queue)))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}
