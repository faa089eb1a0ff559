//! What a callback of the core comes to: the stream goes on or is held, and a list of acts for the glue to carry out.
//!
//! The core never acts on a stream itself. On some hosts a reply or a resumption runs other callbacks at once, before the call
//! returns: the glue therefore ends its borrow of the worker (and of the exchange) first, and carries out then. Acts own what
//! they need.

use crate::reply::Reply;
use smallvec::SmallVec;
use std::borrow::Cow;

/// What the proxy shall do with the request whose callback this was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// It goes on to the next filter; a callback that is not on the request's own path (a callout's answer) resumes it.
    Continue,
    /// It is held: answered now, or resumed or answered later.
    Pause,
}

/// Something to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Sets a header of the callback's own request, replacing all values of that name.
    SetRequestHeader {
        /// Lower case.
        name: &'static str,
        /// Its value.
        value: String,
    },
    /// Removes all values of a header of the callback's own request.
    RemoveRequestHeader {
        /// Lower case.
        name: String,
    },
    /// Sets a header of the callback's own response, replacing all values of that name.
    SetResponseHeader {
        /// Lower case.
        name: &'static str,
        /// Its value.
        value: String,
    },
    /// Answers the held request of `context`.
    Answer {
        /// Whose.
        context: u32,
        /// With what.
        reply: Reply,
    },
    /// Lets the held call of `context` go on to the route that answers in the filter's place: what with is put in when that answer
    /// comes by. The callback's own goes on by its flow.
    AnswerByRoute {
        /// Whose.
        context: u32,
    },
    /// Makes the headers of the callback's own response those of a call's reply.
    BeginReply {
        /// What is answered with.
        reply: Reply,
    },
    /// Makes the `size` bytes of the callback's own response's body a call's reply.
    FillReply {
        /// What is answered with.
        reply: Reply,
        /// What is there.
        size: usize,
    },
    /// Lets the held request of `context` go on to the upstream.
    Resume {
        /// Whose.
        context: u32,
    },
    /// Sends a callout; one that can't be sent is answered at once, as failed.
    Call(Box<Call>),
    /// Asks for a callback of this worker's root context, soon.
    Wake,
}

/// Which callout: comes back with its answer, to the context that sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ticket {
    /// A request's own lookup in L2; one a request.
    Lookup,
    /// Lookups that the root context sent together, by number.
    Lookups(u32),
    /// The root context's poll for live generations, with the report that it carries.
    Poll {
        /// The poll's number.
        number: u32,
        /// The report's.
        seq: u64,
    },
    /// The root context's report, by number.
    Report(u64),
    /// An answer that the root context has made anew, by number.
    Refresh(u32),
}

/// A callout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Says which answer is this call's.
    pub ticket: Ticket,
    /// The proxy's name for where it goes.
    pub cluster: String,
    /// `:authority`.
    pub authority: String,
    /// `:method`.
    pub method: &'static str,
    /// `:path`.
    pub path: Cow<'static, str>,
    /// Beside those three.
    pub headers: Vec<(Cow<'static, str>, String)>,
    /// Empty: none.
    pub body: Vec<u8>,
    /// Its deadline, in milliseconds.
    pub timeout_ms: u64,
}

/// All of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acts {
    /// What happens with the callback's own request.
    pub flow: Flow,
    /// What else, in order, and before the flow. A hit is one act: that costs no allocation.
    pub list: SmallVec<[Act; 2]>,
}

impl Acts {
    /// The request goes on.
    pub fn go() -> Self {
        Self { flow: Flow::Continue, list: SmallVec::new() }
    }

    /// The request is held.
    pub fn hold() -> Self {
        Self { flow: Flow::Pause, list: SmallVec::new() }
    }

    /// One act more.
    #[must_use]
    pub fn and(mut self, act: Act) -> Self {
        self.list.push(act);
        self
    }

    /// These acts, and then what comes next, which says whether the request goes on.
    #[must_use]
    pub fn before(mut self, next: Self) -> Self {
        if self.list.is_empty() {
            return next;
        }
        self.list.extend(next.list);
        Self { flow: next.flow, list: self.list }
    }

    /// One act more.
    pub fn push(&mut self, act: Act) {
        self.list.push(act);
    }
}
