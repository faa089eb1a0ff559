//! The one way out to the upstream: whatever leaves the filter there by itself is counted here. (Who asks was told with the headers.
//! Those who wait are counted when they are released, in [`crate::landing`]; those whose bodies take too long when the worker lets
//! them go.)

use super::{Exchange, Going, State};
use crate::acts::{Act, Acts};
use crate::cache_status::{Bypass, CacheStatus, Detail};
use crate::counters::{Event, Result as Counted};
use crate::host::Host;
use crate::join::Entered;
use crate::refresh::Led;
use crate::reply::Reply;
use crate::worker::Worker;

impl Going {
    /// Is it a call that is asked by a callout, since it has something stale in the place of an error?
    pub(super) fn goes_by_callout(&self, worker: &Worker) -> bool {
        let incoming = &self.wanted.incoming;
        let (service, model) = (worker.service(incoming.route.service), incoming.path.infer().model);
        self.leads
            && self.wanted.stale.borrow().is_some()
            && incoming.path.is_call()
            && worker.refreshes.reach(true)
            && !worker.config.backends.is_on_demand(service, model)
    }
}

impl Exchange {
    /// On to the upstream, as `state`.
    fn upstream(&mut self, state: State) -> Acts {
        self.state = state;
        Acts::go()
    }

    /// An infer request that is not looked at, and not counted: the filter is off, or there is no body.
    pub(super) fn pass(&mut self) -> Acts {
        self.upstream(State::Passing(None))
    }

    /// Lets a request of that service through unlooked-at.
    pub(super) fn bypass(&mut self, worker: &mut Worker, service: u16, why: Bypass) -> Acts {
        if why == Bypass::OutOfMemory {
            worker.counters.event(Event::OutOfMemory);
        }
        worker.count(service, Counted::Bypass, why.text());
        self.upstream(State::Passing(Some(CacheStatus::Bypass(why))))
    }

    /// Nothing to answer from: on to the upstream, unless the client wants nothing but a cached answer.
    pub(super) fn forward(&mut self, worker: &mut Worker, host: &dyn Host, going: Going) -> Acts {
        let going = match self.ask_by_callout(worker, host, going) {
            Ok(acts) => return acts,
            Err(going) => going,
        };
        let wanted = &going.wanted;
        wanted.body.let_go();
        let service = wanted.incoming.route.service;
        if wanted.incoming.directives.only_if_cached && !going.is_shadow() {
            worker.count(service, Counted::Unsatisfiable, going.forward.text());
            let mut forward = going.forward;
            forward.detail = Some(Detail::OnlyIfCached);
            let status = CacheStatus::Miss { forward, stored: false, not_stored: None };
            let reply = Reply::Unsatisfiable { status, is_call: wanted.incoming.path.is_call() };
            return Acts::hold().and(Act::Answer { context: self.context, reply });
        }
        worker.count(service, Counted::Miss, going.forward.text());
        self.upstream(State::Forwarding(going))
    }

    /// An error can't be replaced on its way to who called: it has no body. So a call that has something stale in its place waits for
    /// the upstream's answer to a callout, as for an equal request that leads.
    ///
    /// # Errors
    /// It is none of those, or there is no room for it.
    fn ask_by_callout(
        &mut self,
        worker: &mut Worker,
        host: &dyn Host,
        mut going: Going,
    ) -> Result<Acts, Going> {
        if !going.goes_by_callout(worker) {
            return Err(going);
        }
        let (wanted, now_ms, mut acts) = (going.wanted.clone(), host.now_ms(), Acts::hold());
        let entered = worker.join.enter(wanted.flight, self.context, &wanted, wanted.body_bytes, now_ms);
        let Entered::Waits(seat) = entered else { return Err(going) };
        // It ends before who waits for it is sent upstream after it.
        let waited_ms = now_ms.saturating_sub(going.since_ms).saturating_add(worker.tick_ms());
        let within_ms = worker.config.join.timeout_ms.saturating_sub(waited_ms);
        let led = Led { context: self.context, within_ms };
        if !worker.begin_refresh(host, (&wanted, Some(led)), now_ms, &mut acts) {
            worker.join.leave(&seat, now_ms);
            return Err(going);
        }
        // The callout does, in its name.
        going.leads = false;
        self.state = State::Waiting(going, seat);
        Ok(acts)
    }
}
