//! What the requests of one worker thread share: L1, flights, live generations, breaker, counters; and the root context's
//! own work, on its tick and when woken.

use crate::breaker::Breaker;
use crate::cache_status::CacheStatus;
use crate::config::{Config, Mode};
use crate::counters::{Counters, Event};
use crate::host::Host;
use crate::join::{BATCH, Join, Release};
use crate::l1::L1;
use crate::live::{Live, MAX_TABLE_BYTES};
use crate::reply::reply;
use forebay_protocol::tenant::Tenant;
use forebay_protocol::{gate, header};

/// The tick without a gate, in milliseconds: metrics and expired waits only.
const IDLE_TICK_MS: u64 = 500;
/// The poll's deadline, in milliseconds: nothing waits for it, so it is far longer than a lookup's.
const POLL_TIMEOUT_MS: u64 = 1000;

/// The settings of the route that a request came by.
#[derive(Clone, Copy, Debug)]
pub struct RouteSettings {
    /// Number of the service, for [`Worker::service`].
    pub service: u16,
    /// The mode on this route.
    pub mode: Mode,
}

/// One worker's state.
pub struct Worker {
    /// The checked configuration.
    pub config: Config,
    /// Ready answers.
    pub l1: L1,
    /// Who waits for whom.
    pub join: Join,
    /// Live generations.
    pub live: Live,
    /// The breaker of lookups.
    pub breaker: Breaker,
    /// Metrics since the last tick.
    pub counters: Counters,
    services: Vec<String>,
    poll: Option<u32>,
}

impl Worker {
    /// A worker with an empty L1.
    pub fn new(config: Config) -> Self {
        let mut services = vec![config.service.clone()];
        services.extend(config.routes.values().map(|route| route.service.clone()));
        Self {
            l1: L1::new(&config.l1),
            join: Join::new(config.join.clone()),
            live: Live::default(),
            breaker: Breaker::default(),
            counters: Counters::default(),
            services,
            poll: None,
            config,
        }
    }

    /// The tick's period, in milliseconds: twice a poll, so that a table is everywhere half a poll after it came.
    pub fn tick_ms(&self) -> u64 {
        self.config.gate.as_ref().map_or(IDLE_TICK_MS, |gate| gate.poll_ms / 2)
    }

    /// What holds on the route that the request came by. The route's name is only asked for where it matters; Envoy has none
    /// for a route without a name, on which the filter's own settings hold.
    pub fn route(&self, host: &dyn Host) -> RouteSettings {
        let filters = RouteSettings { service: 0, mode: self.config.mode };
        if self.config.routes.is_empty() {
            return filters;
        }
        let Some(name) = host.property(&["xds", "route_name"]) else { return filters };
        let found = self.config.routes.iter().zip(1..).find(|((route, _), _)| route.as_bytes() == name);
        found.map_or(filters, |((_, route), service)| RouteSettings {
            service,
            mode: if self.config.mode == Mode::Off {
                Mode::Off
            } else {
                route.mode.unwrap_or(self.config.mode)
            },
        })
    }

    /// The service's name.
    pub fn service(&self, number: u16) -> &str {
        self.services.get(usize::from(number)).map_or("", String::as_str)
    }

    /// The VM has just started: take over what the proxy's workers, or this one before a trap, left in shared data.
    pub fn on_start(&mut self, host: &dyn Host) {
        self.l1.refresh(host);
        self.live.refresh(host);
    }

    /// The root context's tick.
    pub fn on_tick(&mut self, host: &dyn Host) {
        let now_ms = host.now_ms();
        self.l1.refresh(host);
        self.join.expire(now_ms);
        self.release(host);
        if let Some(gate) = &self.config.gate {
            self.live.refresh(host);
            if self.live.takes_poll(host, gate, now_ms) {
                let headers = [(header::X_FOREBAY_TOKEN, gate.token.as_str())];
                let headers = if gate.token.is_empty() { &[][..] } else { &headers[..] };
                self.poll = host.call(&gate.cluster, gate::GENERATIONS_PATH, headers, POLL_TIMEOUT_MS);
            }
        }
        let gauges = [
            ("forebay_l1_vm_bytes", self.l1.vm_bytes()),
            ("forebay_waiters", self.join.waiting() as u64),
            ("forebay_waiter_bytes", self.join.waiting_bytes() as u64),
        ];
        self.counters.flush(host, &self.services, &gauges);
    }

    /// The poll for live generations was answered with a body of that size, or (`None`) failed.
    pub fn on_call_response(&mut self, host: &dyn Host, token: u32, body_size: Option<usize>) {
        if self.poll == Some(token)
            && let Some(size) = body_size
            && host.call_status() == Some(200)
        {
            let table = host.call_body(size.min(MAX_TABLE_BYTES.saturating_add(1)));
            self.live.publish(host, &table);
        }
    }

    /// Has waiters that are due released by the root context. A stream's own callbacks may not do it: proxy-wasm's hosts stop
    /// the stream in whose callback a reply is asked for, whoever the reply is for.
    pub fn release_soon(&self, host: &dyn Host) {
        if self.join.has_due() {
            host.wake();
        }
    }

    /// Releases waiters that are due: a batch now, and the rest when woken. In the root context's callbacks only.
    pub fn release(&mut self, host: &dyn Host) {
        for _ in 0..BATCH {
            let Some((context, id, release)) = self.join.next_due() else { return };
            match release {
                Release::Answer(answer) => {
                    reply(host, context, &answer, &id, CacheStatus::Collapsed, host.now_ms());
                }
                Release::Lead => {
                    self.counters.event(Event::Promoted);
                    host.resume(context);
                }
                Release::Alone(_) => {
                    self.counters.event(Event::Freed);
                    host.resume(context);
                }
            }
        }
        if self.join.has_due() {
            host.wake();
        }
    }

    /// Says who asks, where backend and gate want to know it. On infer paths only: with an in-memory pool the token would open
    /// the gate's own endpoints, which are then the backend's.
    pub fn identify(&self, host: &dyn Host, tenant: Option<&Tenant>) {
        let token = self.config.gate.as_ref().map_or("", |gate| gate.token.as_str());
        if !token.is_empty() {
            host.set_request_header(header::X_FOREBAY_TOKEN, token);
            if let Some(tenant) = tenant {
                host.set_request_header(header::X_FOREBAY_TENANT, tenant.as_str());
            }
        }
    }
}
