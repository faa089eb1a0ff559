//! Whether a miss is looked up in L2. The miss enters, and what became of those before it: the gate's answers, what a backend's
//! answers say of the pool, and that there was no backend; to ask or not comes out.

use crate::config::Ask;
use crate::exchange::Going;
use crate::exchange::storable::GRPC_STATUS;
use crate::host::{Headers, Host};
use crate::wanted::Wanted;
use crate::worker::Worker;
use forebay_protocol::header;

/// Envoy's response flags of a request that met no backend: UH, UF and UO, as bits of `response.flags`.
const NO_BACKEND: i64 = 1 << 1 | 1 << 5 | 1 << 7;
/// A call's status of the same.
const UNAVAILABLE: &[u8] = b"14";

impl Worker {
    /// Is it worth to ask the gate for it? Always where nothing else may answer, where no backend is known to be there, and of models
    /// whose backends come and go; never of a model that a table which is believed doesn't list.
    pub(crate) fn should_ask(&mut self, host: &dyn Host, wanted: &Wanted, now_ms: u64) -> bool {
        let Some(settings) = &self.config.gate else { return true };
        let (incoming, number) = (&wanted.incoming, wanted.incoming.route.service);
        let (service, path) = (self.service(number), incoming.path.infer());
        if settings.ask == Ask::Always
            || incoming.directives.only_if_cached
            || self.config.backends.is_on_demand(service, path.model)
        {
            return true;
        }
        self.live.may_have(incoming.asked(service), now_ms, settings.stale_ms)
            && (self.worth.asks((number, path.model), now_ms)
                || self.live.is_away(host, self.service(number)))
    }

    /// The pool had an entry that took so many microseconds to compute, or (`None`) had nothing: so a lookup found out, or the backend.
    pub(crate) fn learn_of_pool(&mut self, wanted: &Wanted, cost_us: Option<u64>) {
        let of = (wanted.incoming.route.service, wanted.incoming.path.infer().model);
        self.worth.found(of, cost_us.map(|cost_us| (cost_us, wanted.body_bytes)));
    }

    /// What the answer to a miss says: that there is no backend, or, of one that was not looked up, whether the pool had it.
    pub(crate) fn learn(&mut self, host: &dyn Host, headers: &Headers, going: &Going, now_ms: u64) {
        if headers.number::<u16>(":status") == Some(503) || headers.first(GRPC_STATUS) == Some(UNAVAILABLE) {
            let flags = host.property(&["response", "flags"]);
            let flags = flags.and_then(|flags| Some(i64::from_le_bytes(*flags.first_chunk()?)));
            if flags.is_some_and(|flags| flags & NO_BACKEND != 0) {
                self.worth.met_no_backend(going.wanted.incoming.route.service, now_ms);
            }
            return;
        }
        let mut said = headers.values(header::CACHE_STATUS);
        if !going.is_asked
            && let Some(said) = said.find(|said| said.starts_with(header::BY_SERVE.as_bytes()))
        {
            let cost_us = headers.number(header::X_FOREBAY_COST_US).unwrap_or(0);
            let is_hit = said == header::HIT_BY_SERVE.as_bytes();
            self.learn_of_pool(&going.wanted, is_hit.then_some(cost_us));
        }
    }

    /// Is no backend of the service there, as far as is known?
    pub(crate) fn lacks_backend(&self, host: &dyn Host, service: u16, now_ms: u64) -> bool {
        self.worth.lacks_backend(service, now_ms) || self.live.is_away(host, self.service(service))
    }
}
