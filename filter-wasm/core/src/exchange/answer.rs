//! How an answer goes out: over HTTP as a reply of the proxy's, to a call by a route that answers in the filter's place (an answer with
//! a message must have trailers, which no filter can write): its own answer's headers and body are replaced by ours when they come by.

use super::{Exchange, State};
use crate::acts::{Act, Acts};
use crate::cache_status::{CacheStatus, Detail};
use crate::counters::Event;
use crate::host::{Host, Of};
use crate::reply::Reply;
use crate::worker::Worker;

/// What Envoy says of an answer that a route gave, and of one that an upstream gave.
const CODE_DETAILS: [&str; 2] = ["response", "code_details"];
const BY_ROUTE: &[u8] = b"direct_response";
const BY_UPSTREAM: &[u8] = b"via_upstream";

/// How far the answer to a call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begun {
    /// On its way to the route.
    NotYet,
    /// Its headers are out.
    Begun,
}

impl Exchange {
    /// Answers with what is kept, in the callback of the request's own.
    pub(super) fn reply(&mut self, reply: Reply, is_call: bool) -> Acts {
        let context = self.context;
        if is_call {
            self.state = State::Answering(Begun::NotYet, reply);
            Acts::go().and(Act::AnswerByRoute { context })
        } else {
            Acts::hold().and(Act::Answer { context, reply })
        }
    }

    /// An answer to a call comes by: the route's, to be made `reply`; or, where the proxy has no such route, the upstream's.
    pub(super) fn begin_answer(&mut self, worker: &mut Worker, host: &dyn Host, reply: Reply) -> Acts {
        let by = host.property(&CODE_DETAILS).unwrap_or_default();
        if by == BY_ROUTE {
            self.state = State::Answering(Begun::Begun, reply.clone());
            return Acts::go().and(Act::BeginReply { reply });
        }
        if by != BY_UPSTREAM {
            // The proxy's own word: the client left, or its time is over.
            return Acts::go();
        }
        worker.counters.event(Event::NoRoute);
        let status = CacheStatus::Miss { forward: Detail::NoRoute.into(), stored: false, not_stored: None };
        Acts::go().and(status.tell(&host.headers(Of::Response)))
    }
}
