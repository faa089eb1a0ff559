//! How an answer goes out: over HTTP as a reply of the proxy's, to a call by a route that answers in the filter's place (an answer with
//! a message must have trailers, which no filter can write): its own answer's headers and body are replaced by ours when they come by.

use super::storable::GRPC_STATUS;
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
    pub(super) fn begin_answer(
        &mut self,
        worker: &mut Worker,
        host: &dyn Host,
        reply: Reply,
        end_of_stream: bool,
    ) -> Acts {
        let by = host.property(&CODE_DETAILS).unwrap_or_default();
        if by == BY_ROUTE && end_of_stream {
            return fail(worker, host);
        }
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

/// The route has answered, and nothing puts a status behind a message: what the client has now is OK without one. It is told to try
/// again, and calls pass from here on.
fn fail(worker: &mut Worker, host: &dyn Host) -> Acts {
    const LOST: &str = "the hit was lost in the proxy; the call may be sent again";
    if !std::mem::replace(&mut worker.passes_calls, true) {
        host.warn("forebay: no filter behind this one puts a status behind hits of calls (grpc_http1_reverse_bridge): calls pass uncached");
    }
    worker.counters.event(Event::NoRoute);
    let unavailable = Act::SetResponseHeader { name: GRPC_STATUS, value: "14".to_owned() };
    Acts::go().and(unavailable).and(Act::SetResponseHeader { name: "grpc-message", value: LOST.to_owned() })
}
