//! What the requests of one worker thread share: L1, flights, live generations, the gate, counters; and the root context's own
//! work, on its tick and when woken. Who waited is released in [`crate::landing`].

use crate::acts::{Act, Acts, Ticket};
use crate::config::{Config, Mode};
use crate::counters::Counters;
use crate::gate::Gate;
use crate::host::Host;
use crate::join::Join;
use crate::l1::L1;
use crate::landing::Landed;
use crate::live::Live;
use crate::usable::Rules;
use crate::wanted::Wanted;
use forebay_protocol::header;
use forebay_protocol::tenant::Tenant;
use std::rc::Rc;

/// The tick without a gate, in milliseconds: metrics and expired waits only.
const IDLE_TICK_MS: u64 = 500;

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
    pub join: Join<Rc<Wanted>, Rc<Landed>>,
    /// Live generations.
    pub live: Live,
    /// Lookups in L2, where there is a gate.
    pub gate: Option<Gate>,
    /// Metrics since the last tick.
    pub counters: Counters,
    pub(crate) services: Vec<String>,
    /// The root context was asked to come, and has not come yet.
    pub(crate) woken: bool,
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
            gate: config.gate.clone().map(Gate::new),
            counters: Counters::default(),
            services,
            woken: false,
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

    /// By what a kept answer is judged, for requests of that service.
    pub fn rules(&self, service: u16, now_ms: u64) -> Rules<'_> {
        Rules { config: &self.config, live: &self.live, service: self.service(service), now_ms }
    }

    /// The VM has just started: take over what the proxy's workers, or this one before a trap, left in shared data.
    pub fn on_start(&mut self, host: &dyn Host) {
        self.l1.refresh(host);
        self.live.refresh(host);
    }

    /// The root context's tick.
    pub fn on_tick(&mut self, host: &dyn Host) -> Acts {
        let now_ms = host.now_ms();
        let mut acts = Acts::go();
        self.l1.refresh(host);
        self.join.expire(now_ms);
        self.release(host, &mut acts);
        if let Some(gate) = &self.config.gate {
            self.live.refresh(host);
            if let Some(call) = self.live.poll(host, gate, now_ms) {
                acts.push(Act::Call(Box::new(call)));
            }
        }
        let gauges = [
            ("forebay_l1_vm_bytes", self.l1.vm_bytes()),
            ("forebay_waiters", self.join.waiting() as u64),
            ("forebay_waiter_bytes", self.join.waiting_bytes() as u64),
        ];
        self.counters.flush(host, &self.services, &gauges);
        acts
    }

    /// The root context was woken.
    pub fn on_wake(&mut self, host: &dyn Host) -> Acts {
        let mut acts = Acts::go();
        self.release(host, &mut acts);
        acts
    }

    /// A callout of the root context was answered with a body of that size, or (`None`) failed.
    pub fn on_call_response(&mut self, host: &dyn Host, ticket: Ticket, body_size: Option<usize>) -> Acts {
        if let Ticket::Poll(number) = ticket {
            self.live.polled(host, number, body_size);
        }
        Acts::go()
    }

    /// Says who asks, where backend and gate want to know it. On infer paths only: with an in-memory pool the token would open
    /// the gate's own endpoints, which are then the backend's.
    pub fn identify(&self, acts: &mut Acts, tenant: Option<&Tenant>) {
        let token = self.config.gate.as_ref().map_or("", |gate| gate.token.as_str());
        if token.is_empty() {
            return;
        }
        let tenant = tenant.map(|tenant| (header::X_FOREBAY_TENANT, tenant.as_str()));
        for (name, value) in std::iter::once((header::X_FOREBAY_TOKEN, token)).chain(tenant) {
            acts.push(Act::SetRequestHeader { name, value: value.to_owned() });
        }
    }
}
