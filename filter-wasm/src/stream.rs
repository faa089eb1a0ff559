//! A request's context: each callback goes to the core's exchange.

use crate::envoy::{Envoy, answered};
use forebay_filter_core::exchange::{Exchange, Flow};
use forebay_filter_core::host::Host;
use forebay_filter_core::worker::Worker;
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;
use std::cell::RefCell;
use std::rc::Rc;

/// What a VM's contexts share. Callbacks never nest inside one VM, so a borrow never meets another.
pub(crate) type SharedWorker = Rc<RefCell<Worker>>;

pub(crate) struct Stream {
    envoy: Envoy,
    worker: Option<SharedWorker>,
    exchange: Exchange,
    /// Size of the request body buffered so far: trailers come without one.
    body_size: usize,
}

impl Stream {
    pub(crate) fn new(context: u32, worker: Option<SharedWorker>, queue: Option<u32>) -> Self {
        Self { envoy: Envoy { context, queue }, worker, exchange: Exchange::new(context), body_size: 0 }
    }

    fn step<T>(&mut self, act: impl FnOnce(&mut Exchange, &mut Worker, &dyn Host) -> T) -> Option<T> {
        let mut worker = self.worker.as_ref()?.try_borrow_mut().ok()?;
        Some(act(&mut self.exchange, &mut worker, &self.envoy))
    }

    fn request_step(&mut self, act: impl FnOnce(&mut Exchange, &mut Worker, &dyn Host) -> Flow) -> Action {
        match self.step(act) {
            Some(Flow::Pause) => Action::Pause,
            Some(Flow::Continue) | None => Action::Continue,
        }
    }
}

/// The stream is over. Not in `on_done` or `on_log`: the context is deleted right after them, and each would cost every request
/// one more call into the VM (`cargo xtask wasm` removes both exports).
impl Drop for Stream {
    fn drop(&mut self) {
        self.step(|exchange, worker, host| exchange.on_end(worker, host));
    }
}

impl Context for Stream {
    fn on_http_call_response(&mut self, token: u32, headers: usize, body_size: usize, _trailers: usize) {
        let body_size = answered(headers, body_size);
        self.step(|exchange, worker, host| exchange.on_call_response(worker, host, token, body_size));
    }
}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _count: usize, end_of_stream: bool) -> Action {
        self.request_step(|exchange, worker, host| exchange.on_request_headers(worker, host, end_of_stream))
    }

    fn on_http_request_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        self.body_size = size;
        self.request_step(|exchange, worker, host| {
            exchange.on_request_body(worker, host, size, end_of_stream)
        })
    }

    fn on_http_request_trailers(&mut self, _count: usize) -> Action {
        let size = self.body_size;
        self.request_step(|exchange, worker, host| exchange.on_request_trailers(worker, host, size))
    }

    fn on_http_response_headers(&mut self, _count: usize, end_of_stream: bool) -> Action {
        self.step(|exchange, worker, host| exchange.on_response_headers(worker, host, end_of_stream));
        Action::Continue
    }

    fn on_http_response_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        self.step(|exchange, worker, host| exchange.on_response_body(worker, host, size, end_of_stream));
        Action::Continue
    }

    fn on_http_response_trailers(&mut self, _count: usize) -> Action {
        self.step(|exchange, worker, host| exchange.on_response_trailers(worker, host));
        Action::Continue
    }
}
