//! What routes are told of a request, by headers that the route is chosen by again: which backends compute its model, and which
//! requests shall meet at one of them. A client's own headers of these names are gone by then.
//!
//! Of HTTP the path names the model, so all is said with the headers. Of gRPC the first message does: its beginning is awaited.

use super::{Exchange, State};
use crate::acts::{Act, Acts};
use crate::cache_status::CacheStatus;
use crate::config::{Backends, Hold};
use crate::host::{Headers, Host, Of};
use crate::memory::Held;
use crate::wanted::{Incoming, Wanted};
use crate::worker::Worker;
use forebay_protocol::call::{self, Named};
use forebay_protocol::{header, path};

/// Where a message may name its model at the latest, in bytes. Every serializer writes fields by number, and the name is the first.
const MOST: usize = 64 << 10;

/// What Envoy's router tries again for, beside what the route says; no client from outside can say it (Envoy, "x-envoy-retry-on").
const RETRY_ON: &str = "x-envoy-retry-on";
/// A backend that gave no answer at all.
const RESET: &str = "reset";

/// A call that is not looked up, whose model is awaited.
pub(super) struct Calling {
    service: u16,
    held: Held,
    /// Why it isn't looked up.
    status: Option<CacheStatus>,
}

impl Exchange {
    /// Tells by the path of HTTP what routes are to be told.
    pub(super) fn tell_path(worker: &Worker, service: u16, headers: &Headers, acts: &mut Acts) {
        let backends = &worker.config.backends;
        let target = headers.first(":path").and_then(|path| std::str::from_utf8(path).ok());
        if let Some(model) = target.and_then(path::model) {
            mark(backends, worker.service(service), &model, acts);
        }
    }

    /// Holds a call that is not looked up until it says whose it is, where that matters.
    pub(super) fn await_name(
        &mut self,
        worker: &Worker,
        service: u16,
        headers: &Headers,
        acts: Acts,
    ) -> Acts {
        let target = headers.first(":path").and_then(|path| std::str::from_utf8(path).ok());
        // Headers can't be changed any more once they were let go.
        let is_awaited = target.is_some_and(call::is_about_a_model)
            && worker.config.backends.on_demand_of(worker.service(service)).is_some()
            && worker.config.hold == Hold::Headers;
        match std::mem::replace(&mut self.state, State::Done) {
            State::Passing(status) if is_awaited => {
                self.state = State::Calling(Calling { service, held: worker.memory.hold(), status });
                acts.before(Acts::hold())
            }
            state => {
                self.state = state;
                acts
            }
        }
    }

    /// More of a call has come: `size` bytes in all.
    pub(super) fn calls(
        &mut self,
        worker: &Worker,
        host: &dyn Host,
        calling: Calling,
        (size, is_all): (usize, bool),
    ) -> Acts {
        let mut acts = Acts::go();
        let body = host.body(Of::Request, size.min(MOST)).unwrap_or_default();
        let Calling { service, held, status } = calling;
        match call::model(&body) {
            Named::Model(model) => mark(&worker.config.backends, worker.service(service), model, &mut acts),
            Named::NotYet if !is_all && size < MOST && held.grow_to(size) => {
                self.state = State::Calling(Calling { service, held, status });
                return Acts::hold();
            }
            Named::NotYet | Named::Nobody => {}
        }
        self.state = State::Passing(status);
        acts
    }
}

/// What routes are told of a call of which so much has come, as soon as it says whose it is: it may go on before all of it is there.
pub(super) fn told_early(worker: &Worker, host: &dyn Host, incoming: &mut Incoming, size: usize) -> Acts {
    let mut acts = Acts::go();
    let service = worker.service(incoming.route.service);
    let is_awaited = incoming.path.is_call()
        && !incoming.is_told
        && worker.config.hold == Hold::Headers
        && worker.config.backends.on_demand_of(service).is_some();
    if is_awaited
        && let Some(body) = host.body(Of::Request, size.min(MOST))
        && let Named::Model(model) = call::model(&body)
    {
        mark(&worker.config.backends, service, model, &mut acts);
        incoming.is_told = true;
    }
    acts
}

/// What routes are told of a call that is there.
pub(super) fn told(worker: &Worker, incoming: &Incoming) -> Acts {
    let mut acts = Acts::go();
    if incoming.path.is_call() && !incoming.is_told && worker.config.hold == Hold::Headers {
        let service = worker.service(incoming.route.service);
        mark(&worker.config.backends, service, incoming.path.infer().model, &mut acts);
    }
    acts
}

/// Says that on-demand backends compute the model, if they do; where several may, all of its requests meet at one, which has it
/// loaded.
fn mark(backends: &Backends, service: &str, model: &str, acts: &mut Acts) {
    if !backends.is_on_demand(service, model) {
        return;
    }
    acts.push(Act::SetRequestHeader {
        name: header::X_FOREBAY_BACKENDS,
        value: header::ON_DEMAND.to_owned(),
    });
    if backends.hash {
        acts.push(Act::SetRequestHeader { name: header::X_FOREBAY_HASH, value: model.to_owned() });
    }
}

/// Says where equal requests meet, and that another backend may be asked where the first is lost, of one that nothing is kept for. Said
/// though it may wait for another: whoever lets it go on then can't say it any more.
pub(super) fn meet(worker: &Worker, wanted: &Wanted, acts: Acts) -> Acts {
    let backends = &worker.config.backends;
    if worker.config.hold == Hold::Body {
        return acts;
    }
    let (incoming, mut said) = (&wanted.incoming, Acts::go());
    if backends.hash
        && !backends.is_on_demand(worker.service(incoming.route.service), incoming.path.infer().model)
    {
        let value = blake3::Hash::from_bytes(wanted.flight.what).to_hex().to_string();
        said.push(Act::SetRequestHeader { name: header::X_FOREBAY_HASH, value });
    }
    if backends.retry {
        said.push(Act::SetRequestHeader { name: RETRY_ON, value: RESET.to_owned() });
    }
    if said.list.is_empty() { acts } else { said.before(acts) }
}
