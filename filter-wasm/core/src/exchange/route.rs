//! What routes are told of a request, by headers that the route is chosen by again: which backends compute its model, and which
//! requests shall meet at one of them. A client's own headers of these names are gone by then.
//!
//! Of HTTP the path names the model, so all is said with the headers. Of gRPC the first message does: its beginning is awaited.

use super::{Exchange, State};
use crate::acts::{Act, Acts};
use crate::config::{Backends, Hold};
use crate::host::{Headers, Host, Of};
use crate::memory::Held;
use crate::wanted::Wanted;
use crate::worker::Worker;
use forebay_protocol::call::{self, Named};
use forebay_protocol::{header, path};

/// Where a message may name its model at the latest, in bytes. Every serializer writes fields by number, and the name is the first.
const MOST: usize = 64 << 10;

impl Exchange {
    /// Tells by the path, or begins to read the call. `true`: it is read, and all else about it is said.
    pub(super) fn tell_route(
        &mut self,
        worker: &Worker,
        service: u16,
        headers: &Headers,
        acts: &mut Acts,
    ) -> bool {
        let backends = &worker.config.backends;
        if backends.on_demand_of(worker.service(service)).is_none() {
            return false;
        }
        let Some(target) = headers.first(":path").and_then(|path| std::str::from_utf8(path).ok()) else {
            return false;
        };
        // Headers can't be changed any more once they were let go.
        if worker.config.hold == Hold::Headers && call::is_about_a_model(target) {
            self.state = State::Calling(service, worker.memory.hold());
            return true;
        }
        if let Some(model) = path::model(target) {
            mark(backends, worker.service(service), &model, acts);
        }
        false
    }

    /// More of a call to that service has come: `size` bytes in all.
    pub(super) fn calls(
        &mut self,
        worker: &Worker,
        host: &dyn Host,
        (service, held): (u16, Held),
        (size, is_all): (usize, bool),
    ) -> Acts {
        let mut acts = Acts::go();
        let body = host.body(Of::Request, size.min(MOST)).unwrap_or_default();
        match call::model(&body) {
            Named::Model(model) => mark(&worker.config.backends, worker.service(service), model, &mut acts),
            Named::NotYet if !is_all && size < MOST && held.grow_to(size) => {
                self.state = State::Calling(service, held);
                return Acts::hold();
            }
            Named::NotYet | Named::Nobody => {}
        }
        self.state = State::Passing(None);
        acts
    }
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

/// Says where equal requests meet, of one that nothing is kept for. Said though it may wait for another: whoever lets it go on then
/// can't say it any more.
pub(super) fn meet(worker: &Worker, wanted: &Wanted, acts: Acts) -> Acts {
    let backends = &worker.config.backends;
    if !backends.hash || worker.config.hold == Hold::Body {
        return acts;
    }
    let incoming = &wanted.incoming;
    if backends.is_on_demand(worker.service(incoming.route.service), incoming.path.infer().model) {
        return acts;
    }
    let value = blake3::Hash::from_bytes(wanted.flight.what).to_hex().to_string();
    let told = Act::SetRequestHeader { name: header::X_FOREBAY_HASH, value };
    Acts { list: std::iter::once(told).chain(acts.list).collect(), ..acts }
}
