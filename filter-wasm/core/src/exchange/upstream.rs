//! The one way out to the upstream: whatever leaves the filter there by itself is counted here. (Who asks was told with the headers.
//! Those who wait are counted when they are released, in [`crate::landing`]; those whose bodies take too long when the worker lets
//! them go.)

use super::{Exchange, Going, State};
use crate::acts::{Act, Acts};
use crate::cache_status::{Bypass, CacheStatus, Detail};
use crate::counters::{Event, Result as Counted};
use crate::reply::Reply;
use crate::worker::Worker;

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
    pub(super) fn forward(&mut self, worker: &mut Worker, going: Going) -> Acts {
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
}
