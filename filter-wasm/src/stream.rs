//! A request's context: each callback goes to the core's exchange, and what it comes to is carried out.

use crate::envoy::{Envoy, answered};
use forebay_filter_core::acts::{Acts, Flow};
use forebay_filter_core::exchange::Exchange;
use forebay_filter_core::host::Host;
use forebay_filter_core::worker::Worker;
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;
use std::cell::RefCell;
use std::rc::Rc;

/// What a VM's contexts share. Borrowed while the core decides, and never while its acts are carried out.
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
        Self { envoy: Envoy::new(context, queue), worker, exchange: Exchange::new(context), body_size: 0 }
    }

    /// The core decides; its borrows end; its acts are carried out. A callout that can't be sent has failed at once.
    fn step(&mut self, decide: impl FnOnce(&mut Exchange, &mut Worker, &dyn Host) -> Acts) -> Option<Flow> {
        let mut acts = {
            let mut worker = self.worker.as_ref()?.try_borrow_mut().ok()?;
            decide(&mut self.exchange, &mut worker, &self.envoy)
        };
        loop {
            let unsent = self.envoy.carry_out(acts.list);
            let Some(ticket) = unsent else { return Some(acts.flow) };
            let mut worker = self.worker.as_ref()?.try_borrow_mut().ok()?;
            acts = self.exchange.on_call_response(&mut worker, &self.envoy, ticket, None);
        }
    }

    fn request_step(&mut self, decide: impl FnOnce(&mut Exchange, &mut Worker, &dyn Host) -> Acts) -> Action {
        match self.step(decide) {
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
        let Some(ticket) = self.envoy.ended(token) else { return };
        let flow =
            self.step(|exchange, worker, host| exchange.on_call_response(worker, host, ticket, body_size));
        if flow == Some(Flow::Continue) {
            self.envoy.resume(self.envoy.context);
        }
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
