//! What the requests of one worker thread share: L1, flights, live generations, the gate, counters; and the root context's own
//! work, on its tick and when woken. Who waited is released in [`crate::landing`],
//! stale answers are made anew in [`crate::refresh`], and what is asked is decided in [`crate::asking`].

use crate::acts::{Act, Acts, Ticket};
use crate::arriving::Arrivals;
use crate::batched::Batches;
use crate::cache_status::{Bypass, Forward, Tier};
use crate::clock::Clock;
use crate::config::{self, Config, Mode, Tenancy};
use crate::counters::{Counters, Event, Result as Counted};
use crate::gate::Gate;
use crate::host::Host;
use crate::join::{BATCH, Join};
use crate::l1::{Answer, L1, Missing};
use crate::landing::Landed;
use crate::live::{self, Heard, Live};
use crate::memory::Memory;
use crate::refresh::Refreshes;
use crate::tally::{Outcome, Tally};
use crate::usable::Rules;
use crate::wanted::{Incoming, Wanted};
use crate::worth::Worth;
use forebay_protocol::digest::Digest;
use forebay_protocol::freshness::Usable;
use forebay_protocol::tenant::Tenant;
use forebay_protocol::{header, poll};
use std::rc::Rc;

/// The tick without a gate, in milliseconds: metrics and expired waits only.
const IDLE_TICK_MS: u64 = 500;

/// The tick with one, in milliseconds: so soon another worker takes over the poll from one that is gone.
const TICK_MS: u64 = 250;

/// What answered a request, for the tally.
#[derive(Clone, Copy, Debug)]
pub struct Answered {
    /// Where the answer came from.
    pub tier: poll::Tier,
    /// Its size, in bytes.
    pub bytes: usize,
    /// Its compute time, in microseconds.
    pub cost_us: u64,
    /// When the request was complete.
    pub since_ms: u64,
    /// When it was answered.
    pub at_ms: u64,
}

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
    /// Which lookups are worth their price.
    pub(crate) worth: Worth,
    /// Those that go together.
    pub(crate) batches: Batches,
    /// Stale answers that are made anew.
    pub(crate) refreshes: Refreshes,
    /// What requests under way may hold.
    pub memory: Memory,
    /// Requests whose bodies are not complete.
    pub arrivals: Arrivals,
    /// Metrics since the last tick.
    pub counters: Counters,
    /// What was saved since the last report.
    pub tally: Tally,
    pub(crate) clock: Clock,
    /// Calls pass, whatever the settings say: the proxy can't answer them.
    pub(crate) passes_calls: bool,
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
            live: Live::new(config.gate.as_ref()),
            gate: config.gate.clone().map(Gate::new),
            worth: Worth::default(),
            batches: Batches::new(config.gate.as_ref().map_or(1, |gate| gate.max_batch)),
            refreshes: Refreshes::new(config.refresh.clone()),
            memory: Memory::new(config.max_held_bytes),
            arrivals: Arrivals::default(),
            counters: Counters::default(),
            tally: Tally::default(),
            clock: Clock::default(),
            passes_calls: false,
            services,
            woken: false,
            config,
        }
    }

    /// The tick's period, in milliseconds.
    pub fn tick_ms(&self) -> u64 {
        if self.config.gate.is_some() { TICK_MS } else { IDLE_TICK_MS }
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

    /// Bytes that a compressed message may have when it is inflated, which costs as much as to parse JSON of that size does.
    pub fn room_to_inflate(&self) -> usize {
        self.config.max_json_bytes.min(self.memory.left())
    }

    /// The time. Of a clock that was set back nothing is known of how old is what is kept, nor of how long something is to be remembered:
    /// when that time came again it would seem new. All of it is forgotten.
    pub(crate) fn now_ms(&mut self, host: &dyn Host) -> u64 {
        let now_ms = host.now_ms();
        if self.clock.goes_back(now_ms) {
            host.warn("the clock was set back: what is kept is forgotten");
            self.l1.forget(host);
            self.join.forget();
            self.refreshes.forget();
        }
        now_ms
    }

    /// By what a kept answer is judged, for requests of that service.
    pub fn rules(&self, service: u16, now_ms: u64) -> Rules<'_> {
        let service = self.service(service);
        Rules { config: &self.config, live: &self.live, service, now_ms, just_came: false }
    }

    /// The answer that L1 has for `wanted` and that may be given to it.
    ///
    /// # Errors
    /// Why there is none.
    pub fn find(
        &mut self,
        host: &dyn Host,
        wanted: &Wanted,
        now_ms: u64,
    ) -> Result<(Rc<Answer>, Tier, Usable), Missing<Forward>> {
        let service = self.services.get(usize::from(wanted.incoming.route.service));
        let service = service.map_or("", String::as_str);
        let rules = Rules { config: &self.config, live: &self.live, service, now_ms, just_came: false };
        self.l1.find(host, &wanted.key, |answer| rules.suits(wanted, answer))
    }

    /// What is given to `wanted` now instead of an error, if it still may be.
    pub(crate) fn instead_of_error(
        &mut self,
        host: &dyn Host,
        wanted: &Wanted,
        now_ms: u64,
    ) -> Option<Rc<Answer>> {
        let answer = wanted.stale.borrow().clone()?;
        if self.gate.is_some() {
            self.live.refresh(host);
        }
        let stale = self.rules(wanted.incoming.route.service, now_ms).stale(wanted, &answer);
        stale.is_some_and(|stale| stale.if_error).then_some(answer)
    }

    /// The VM has just started, as the proxy's number `vm`: take over what the proxy's workers, or this one before a trap, left in
    /// shared data.
    pub fn on_start(&mut self, host: &dyn Host, vm: u64) {
        self.tally.vm = vm;
        self.l1.refresh(host);
        if self.gate.is_some() {
            self.live.on_start(host);
        }
    }

    /// The root context's tick.
    pub fn on_tick(&mut self, host: &dyn Host) -> Acts {
        let now_ms = self.now_ms(host);
        let mut acts = Acts::go();
        self.l1.refresh(host);
        self.clock.ticks(now_ms);
        let passed_ms = self.clock.without_leaps(now_ms);
        self.join.expire(now_ms, |wanted| wanted.is_late(passed_ms));
        self.arrivals.sweep();
        self.release(host, &mut acts);
        self.let_late_go(now_ms, &mut acts);
        self.poll_or_report(host, &mut acts, now_ms);
        let gauges = [
            ("forebay_l1_vm_bytes", self.l1.vm_bytes()),
            ("forebay_held_bytes", self.memory.held() as u64),
            ("forebay_waiters", self.join.waiting() as u64),
            ("forebay_waiter_bytes", self.join.waiting_bytes() as u64),
        ];
        self.counters.flush(host, &self.services, &gauges);
        acts
    }

    /// The worker ends: its share of the gauges ends with it.
    pub fn on_end(&mut self, host: &dyn Host) -> Acts {
        self.counters.end(host, &self.services);
        Acts::go()
    }

    fn poll_or_report(&mut self, host: &dyn Host, acts: &mut Acts, now_ms: u64) {
        let Some(gate) = &self.config.gate else { return };
        self.live.refresh(host);
        let call = if self.live.takes_turn(host, gate, now_ms) {
            self.live.poll(gate, self.tally.say(&self.services, now_ms), now_ms)
        } else if self.tally.is_due(now_ms) {
            self.live.report(gate, self.tally.say(&self.services, now_ms))
        } else {
            return;
        };
        acts.push(Act::Call(Box::new(call)));
    }

    /// The root context was woken.
    pub fn on_wake(&mut self, host: &dyn Host) -> Acts {
        let (mut acts, now_ms) = (Acts::go(), host.now_ms());
        let batch = self.send_batch(now_ms, &mut acts);
        self.release(host, &mut acts);
        self.let_late_go(now_ms, &mut acts);
        // A callout is the last act of a callback.
        match batch {
            Some(call) => {
                self.refresh_soon(&mut acts);
                acts.push(Act::Call(Box::new(call)));
            }
            None => self.send_refresh(&mut acts),
        }
        self.release_soon(&mut acts);
        acts
    }

    /// Requests whose bodies take too long go on unlooked-at: a batch now, and the rest when woken.
    fn let_late_go(&mut self, now_ms: u64, acts: &mut Acts) {
        for _ in 0..BATCH {
            let Some(late) = self.arrivals.next_late(now_ms) else { return };
            self.count(late.service, Counted::Bypass, Bypass::BodyTooSlow.text());
            acts.push(Act::Resume { context: late.context });
        }
        self.wake(acts);
    }

    /// Asks for the root context, unless it was asked for and has not come.
    pub(crate) fn wake(&mut self, acts: &mut Acts) {
        if !std::mem::replace(&mut self.woken, true) {
            acts.push(Act::Wake);
        }
    }

    /// A callout of the root context was answered with a body of that size, or (`None`) failed.
    pub fn on_call_response(&mut self, host: &dyn Host, ticket: Ticket, body_size: Option<usize>) -> Acts {
        let mut acts = Acts::go();
        if let Ticket::Report(seq) | Ticket::Poll { seq, .. } = ticket
            && body_size.is_some()
            && live::was_heard(host)
        {
            self.tally.arrived(seq);
        }
        if let Ticket::Refresh(number) = ticket {
            self.refreshed(host, number, body_size);
            self.release_soon(&mut acts);
        }
        if let Ticket::Lookups(number) = ticket {
            self.batch_ends(host, number, body_size, &mut acts);
        }
        let (Some(gate), Ticket::Poll { number, .. }) = (&self.config.gate, ticket) else { return acts };
        let now_ms = host.now_ms();
        let heard = self.live.polled(host, number, body_size, now_ms);
        if heard == Heard::UnknownFormat {
            self.counters.event(Event::GateUnknownFormat);
        }
        if self.live.goes_on(host, gate, heard, now_ms) {
            let call = self.live.poll(gate, self.tally.say(&self.services, now_ms), now_ms);
            acts.push(Act::Call(Box::new(call)));
        }
        acts
    }

    /// Counts what became of a request of that service, and why.
    pub fn count(&mut self, service: u16, result: Counted, why: &'static str) {
        self.counters.request(service, result);
        if self.gate.is_some() {
            self.tally.ends.count(service, result, why);
        }
    }

    /// Tells the tally what answered a request.
    pub fn tell(&mut self, incoming: &Incoming, digest: Option<&Digest>, answered: Answered) {
        if self.gate.is_none() {
            return;
        }
        let Answered { tier, bytes, cost_us, since_ms, at_ms } = answered;
        self.tally.ends.took(tier, at_ms.saturating_sub(since_ms));
        self.tally.count(Outcome {
            service: incoming.route.service,
            model: incoming.path.infer().model,
            tenant: incoming.tenant.as_ref(),
            digest,
            tier,
            bytes,
            cost_us,
            at_ms,
        });
    }

    /// The tenant of a request on that route: `Some(None)` without tenants, `None` where one is required and the stream does not
    /// have the property that says it.
    pub fn tenant(&self, route: RouteSettings, host: &dyn Host) -> Option<Option<Tenant>> {
        if self.config.tenancy == Tenancy::None {
            return Some(None);
        }
        let number = usize::from(route.service).checked_sub(1);
        let own = number.and_then(|number| self.config.routes.values().nth(number)?.tenant.as_ref());
        match own.or(self.config.tenant.as_ref())? {
            config::Tenant::Fixed(tenant) => Tenant::parse(tenant).ok().map(Some),
            config::Tenant::Property { property } => {
                let path: Vec<&str> = property.iter().map(String::as_str).collect();
                Tenant::parse(host.property(&path)?).ok().map(Some)
            }
        }
    }

    /// Says on whose behalf a request goes upstream, where there are tenants. That it comes from the proxy, the proxy proves by a
    /// credential that the filter never sees.
    pub fn identify(&self, acts: &mut Acts, tenant: Option<&Tenant>) {
        for (name, value) in self.identity(tenant) {
            acts.push(Act::SetRequestHeader { name, value });
        }
    }

    /// The headers that say so.
    pub(crate) fn identity(&self, tenant: Option<&Tenant>) -> impl Iterator<Item = (&'static str, String)> {
        let is_required = self.config.tenancy == Tenancy::Required;
        let required = is_required.then(|| (header::X_FOREBAY_TENANCY, "required".to_owned()));
        required.into_iter().chain(tenant.map(|tenant| (header::X_FOREBAY_TENANT, tenant.to_string())))
    }
}
