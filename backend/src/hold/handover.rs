//! Those who wait, and the backends that come up -> who goes where, one by one, as fast as a backend takes them. It says that a backend
//! is wanted as soon as somebody waits and none is there: once, however many wait.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use metrics::gauge;
use tokio::sync::{Notify, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::asked::Model;
use super::backends::{self, Backend, How};
use super::line::Line;
use super::phase::{Phase, Seen, Wakes};
use super::refusal::HoldError;
use super::told::{HoldTold, Queue, Standing};
use crate::observe::logs::seldom;
use crate::schedule::QueueLimits;
use crate::settings::HeldFor;

/// While somebody waits, it is looked so often for what changed by itself: for readiness, and for addresses.
const LOOK: Duration = Duration::from_millis(20);
const RESOLVE: Duration = Duration::from_millis(100);

/// Whose they are, and what they wait for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Flow {
    /// "" where there are no tenants.
    pub(super) tenant: String,
    pub(super) model: Model,
}

/// Who waits, and what is there.
pub(crate) struct Handover {
    held_for: Arc<HeldFor>,
    state: Mutex<State>,
    changed: Notify,
    wanted: watch::Sender<bool>,
}

struct State {
    line: Line<Flow, Waiting>,
    backends: Vec<Arc<Backend>>,
    resolving: Resolving,
    wakes: Wakes,
    /// Since when somebody waits.
    since: Option<Instant>,
    is_over: bool,
}

/// When addresses were last asked for, and when the last answer came.
#[derive(Default)]
struct Resolving {
    asked: Option<Instant>,
    done: Option<Instant>,
}

/// One who waits.
struct Waiting {
    tell: oneshot::Sender<Grant>,
    since: Instant,
}

/// The right to send one request to a backend.
pub(super) struct Grant {
    pub(super) backend: Arc<Backend>,
    model: Model,
    handover: Arc<Handover>,
    how: How,
}

impl Grant {
    /// It is over, so. One that is dropped before was left by its client.
    pub(super) fn ends(mut self, how: How) {
        self.how = how;
    }
}

impl Drop for Grant {
    fn drop(&mut self) {
        self.backend.end(&self.model, self.how);
        self.handover.changed.notify_one();
    }
}

impl Handover {
    pub(crate) fn new(held_for: HeldFor, limits: QueueLimits) -> Arc<Self> {
        let state = State {
            line: Line::new(limits),
            backends: Vec::new(),
            resolving: Resolving::default(),
            wakes: Wakes::default(),
            since: None,
            is_over: false,
        };
        let (wanted, _) = watch::channel(false);
        let (held_for, changed) = (Arc::new(held_for), Notify::new());
        Arc::new(Self { held_for, state: Mutex::new(state), changed, wanted })
    }

    /// Whether a backend is wanted and none is there.
    pub(crate) fn wanted(&self) -> watch::Receiver<bool> {
        self.wanted.subscribe()
    }

    /// Waits for a backend that is ready for the flow's model. One that came back has been waiting `since` then, and is first.
    ///
    /// # Errors
    /// The line is full, the time is over, or the gate ends.
    pub(super) async fn wait(
        self: &Arc<Self>,
        flow: &Flow,
        bytes: usize,
        until: Instant,
        since: Option<Instant>,
    ) -> Result<Grant, HoldError> {
        let (tell, told) = oneshot::channel();
        let _place = {
            let mut state = self.lock();
            if state.is_over {
                return Err(HoldError::Ends);
            }
            state.since.get_or_insert_with(Instant::now);
            let flow = flow.clone();
            let place = match since {
                Some(since) => state.line.come_back(flow, bytes, Waiting { tell, since }),
                None => state.line.enter(flow, bytes, Waiting { tell, since: Instant::now() })?,
            };
            Leaving(Some(move || drop(self.lock().line.leave(&place))))
        };
        self.changed.notify_one();
        match tokio::time::timeout_at(until.into(), told).await {
            Ok(granted) => granted.map_err(|_| HoldError::Ends),
            Err(_) => Err(HoldError::Late),
        }
    }

    /// Seconds after which a backend is expected, or a place in the line.
    pub(super) fn retry_after(&self) -> u64 {
        let left = self.lock().wakes.left();
        // Begun seconds count.
        left.as_secs().saturating_add(u64::from(left.subsec_nanos() > 0)).max(1)
    }

    /// How long a wake takes, if one was seen.
    pub(super) fn takes(&self) -> Option<Duration> {
        self.lock().wakes.takes()
    }

    /// Another gate saw how long a wake takes.
    pub(super) fn learn(&self, takes: Duration) {
        self.lock().wakes.learn(takes);
    }

    /// Whether a backend is there, as far as is known.
    pub(super) fn is_awake(&self) -> bool {
        self.lock().wakes.phase() == Phase::Awake
    }

    /// A backend that is ready for that model now, without waiting: for what nobody is woken for.
    pub(super) async fn at_once(self: &Arc<Self>, model: &Model) -> Option<Grant> {
        let backends = self.backends().await;
        join_all(backends.iter().map(|backend| backend.ask(model))).await;
        best(&backends, model, Instant::now()).map(|backend| self.grant(backend, model.clone()))
    }

    /// Requests that wait.
    pub(super) fn held(&self) -> u64 {
        self.lock().line.count() as u64
    }

    /// Who waits and why, and the last wakes.
    pub(crate) fn told(&self) -> HoldTold {
        let state = self.lock();
        let State { line, backends, wakes, .. } = &*state;
        let standing = Standing { phase: wakes.phase(), wakes: wakes.last(), backends, now: Instant::now() };
        standing.tell(line.queues().map(|(flow, requests, bytes, first)| Queue {
            model: &flow.model,
            requests,
            bytes,
            since: first.since,
        }))
    }

    /// The backends that there are now.
    pub(super) async fn backends(&self) -> Vec<Arc<Backend>> {
        let addresses = backends::resolve(&self.held_for).await.unwrap_or_default();
        self.meet(&addresses)
    }

    /// Hands over until `stop`; who waits then is told that the gate ends.
    pub(crate) async fn run(self: Arc<Self>, stop: CancellationToken) {
        loop {
            let waits = self.lock().line.count() > 0;
            let look =
                async { if waits { tokio::time::sleep(LOOK).await } else { std::future::pending().await } };
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.changed.notified() => {}
                () = look => {}
            }
            self.look();
            self.hand_over();
        }
        let mut state = self.lock();
        state.is_over = true;
        while state.line.next(|_| true).is_some() {}
    }

    /// Asks for what may have changed; what comes of it is told by `changed`.
    fn look(self: &Arc<Self>) {
        let now = Instant::now();
        let mut state = self.lock();
        if state.line.count() == 0 {
            state.since = None;
        }
        self.judge(&mut state, now);
        if state.line.count() == 0 {
            return;
        }
        if state.resolving.asked.is_none_or(|asked| now.duration_since(asked) >= RESOLVE) {
            state.resolving.asked = Some(now);
            tokio::spawn(self.clone().resolve());
        }
        for backend in &state.backends {
            for flow in state.line.flows().filter(|flow| backend.is_to_be_asked(&flow.model, now)) {
                let (handover, backend, model) = (self.clone(), backend.clone(), flow.model.clone());
                tokio::spawn(async move {
                    backend.ask(&model).await;
                    handover.changed.notify_one();
                });
            }
        }
    }

    async fn resolve(self: Arc<Self>) {
        match backends::resolve(&self.held_for).await {
            Ok(addresses) => drop(self.meet(&addresses)),
            // A name without an address is what a service at zero has.
            Err(error) => {
                seldom!(debug, "backends: {error}");
                self.meet(&[]);
            }
        }
        self.lock().resolving.done = Some(Instant::now());
        self.changed.notify_one();
    }

    /// Those are the backends now; what is known of one that stays is kept.
    fn meet(&self, addresses: &[std::net::IpAddr]) -> Vec<Arc<Backend>> {
        let mut state = self.lock();
        let now = Instant::now();
        state.backends.retain(|backend| backend.stays(addresses, now));
        for address in addresses {
            if state.backends.iter().all(|backend| backend.address != *address) {
                state.backends.push(Arc::new(Backend::new(*address, &self.held_for)));
            }
        }
        state.backends.clone()
    }

    /// Whether one is there, and whether one is wanted.
    fn judge(&self, state: &mut State, now: Instant) {
        let is_up = state.backends.iter().any(|backend| backend.is_up(now));
        // Nobody may have looked while nobody waited.
        let is_known_down = state.since.is_some_and(|since| {
            state.resolving.done.is_some_and(|done| done >= since)
                && state.backends.iter().all(|backend| backend.is_known_down(since))
        });
        state.wakes.judge(Seen { is_up, is_known_down, held: state.line.count() }, now);
        let is_wanted = state.wakes.is_wanted();
        self.wanted.send_if_modified(|wanted| std::mem::replace(wanted, is_wanted) != is_wanted);
        gauge!("forebay_held_requests").set(state.line.count() as f64);
        gauge!("forebay_held_bytes").set(state.line.bytes() as f64);
    }

    fn hand_over(self: &Arc<Self>) {
        loop {
            let now = Instant::now();
            let mut state = self.lock();
            let State { line, backends, .. } = &mut *state;
            // Chosen once: a backend that takes no more a moment later must not leave somebody without a place in the line.
            let models = line.flows().map(|flow| &flow.model);
            let mut chosen: HashMap<Model, Arc<Backend>> =
                models.filter_map(|model| Some((model.clone(), best(backends, model, now)?))).collect();
            let Some((flow, Waiting { tell, .. })) = line.next(|flow| chosen.contains_key(&flow.model))
            else {
                return;
            };
            let backend = chosen.remove(&flow.model);
            drop(state);
            // Who left meanwhile gives it back by dropping it.
            let _ = backend.map(|backend| tell.send(self.grant(backend, flow.model)));
        }
    }

    fn grant(self: &Arc<Self>, backend: Arc<Backend>, model: Model) -> Grant {
        backend.begin();
        Grant { backend, model, handover: self.clone(), how: How::Left }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The one of them that has the most room for that model.
fn best(backends: &[Arc<Backend>], model: &Model, now: Instant) -> Option<Arc<Backend>> {
    let loads = backends.iter().filter_map(|backend| Some((backend.load(model, now)?, backend)));
    loads.min_by(|(one, _), (other, _)| one.total_cmp(other)).map(|(_, backend)| backend.clone())
}

/// Does something when it is dropped.
struct Leaving<F: FnOnce()>(Option<F>);

impl<F: FnOnce()> Drop for Leaving<F> {
    fn drop(&mut self) {
        if let Some(leave) = self.0.take() {
            leave();
        }
    }
}
