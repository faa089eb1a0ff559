//! The one way out to the upstream: whatever leaves the filter there is told who asks, and counted, here. (Those who wait are told
//! here too, while their headers can be changed, and counted when they are released: [`crate::landing`].)

use super::{Exchange, Going, State};
use crate::acts::{Act, Acts, Flow};
use crate::cache_status::{Bypass, CacheStatus, Detail};
use crate::counters::{Event, Result as Counted};
use crate::join::Seat;
use crate::reply::Reply;
use crate::wanted::{Incoming, Wanted};
use crate::worker::Worker;
use forebay_protocol::tenant::Tenant;
use std::rc::Rc;

impl Exchange {
    /// On to the upstream, as `state`.
    fn upstream(
        &mut self,
        worker: &mut Worker,
        tenant: Option<&Tenant>,
        counted: Option<(u16, Counted)>,
        state: State,
    ) -> Acts {
        let mut acts = Acts::go();
        worker.identify(&mut acts, tenant);
        if let Some((service, result)) = counted {
            worker.counters.request(service, result);
        }
        self.state = state;
        acts
    }

    /// An infer request that is not looked at, and not counted: the filter is off, or there is no body.
    pub(super) fn pass(&mut self, worker: &mut Worker, tenant: Option<&Tenant>) -> Acts {
        self.upstream(worker, tenant, None, State::Passing(None))
    }

    /// Lets a request through unlooked-at, of which no more than that is known.
    pub(super) fn bypass_as(
        &mut self,
        worker: &mut Worker,
        service: u16,
        tenant: Option<&Tenant>,
        why: Bypass,
    ) -> Acts {
        if why == Bypass::OutOfMemory {
            worker.counters.event(Event::OutOfMemory);
        }
        let state = State::Passing(Some(CacheStatus::Bypass(why)));
        self.upstream(worker, tenant, Some((service, Counted::Bypass)), state)
    }

    /// Lets the request through unlooked-at.
    pub(super) fn bypass(&mut self, worker: &mut Worker, incoming: &Incoming, why: Bypass) -> Acts {
        self.bypass_as(worker, incoming.route.service, incoming.tenant.as_ref(), why)
    }

    /// Nothing to answer from: on to the upstream, unless the client wants nothing but a cached answer.
    pub(super) fn forward(&mut self, worker: &mut Worker, mut going: Going) -> Acts {
        going.let_go();
        let wanted = going.wanted.clone();
        let service = wanted.incoming.route.service;
        if wanted.incoming.directives.only_if_cached && !going.is_shadow() {
            worker.counters.request(service, Counted::Unsatisfiable);
            let mut forward = going.forward;
            forward.detail = Some(Detail::OnlyIfCached);
            let status = CacheStatus::Miss { forward, stored: false, not_stored: None };
            let reply = Reply::Unsatisfiable { status };
            return Acts::hold().and(Act::Answer { context: self.context, reply });
        }
        let counted = Some((service, Counted::Miss));
        self.upstream(worker, wanted.incoming.tenant.as_ref(), counted, State::Forwarding(going))
    }

    /// An equal request is on its way: held, and ready to go on.
    pub(super) fn wait(&mut self, worker: &mut Worker, going: Going, seat: Rc<Seat<Rc<Wanted>>>) -> Acts {
        let wanted = going.wanted.clone();
        let acts = self.upstream(worker, wanted.incoming.tenant.as_ref(), None, State::Waiting(going, seat));
        Acts { flow: Flow::Pause, ..acts }
    }
}
