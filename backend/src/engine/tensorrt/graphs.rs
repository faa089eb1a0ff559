//! A lane's runs as CUDA graphs. The first run of a shape is enqueued in the instance's context, the second in a context that is
//! made for it and captured, later ones are launches of that graph. Copies stay outside of it, for those of one lane go on while
//! another runs. What can't be captured is enqueued as it is without graphs.
//!
//! Why a context for each graph: TensorRT wants a graph captured anew once its context took other shapes, and batches of a server
//! seldom have the shapes of the one before, so that graphs of one context would be captured again and again and hardly launched.
//! The contexts of an instance share their scratch memory, the large part of a context, for their runs are one after another on
//! the GPU in any case. What each has beside it is bounded by the number of graphs (`buckets`).

use std::fmt::Display;
use std::sync::{Arc, Once};

use forebay_bindings::cuda::{Graph, Stream};
use forebay_bindings::{Context, Error};
use tracing::Span;

use super::buckets::Buckets;
use super::lane::LaneOutputs;
use super::shapes::{self, Placed};

/// The graphs of one lane.
pub(super) struct Graphs {
    buckets: Buckets<Captured>,
    stream: Stream,
    warning: Arc<Warning>,
}

/// A run, and what it gives.
pub(super) struct Captured {
    graph: Graph,
    results: Vec<LaneOutputs>,
    /// Nothing but the graph uses it, so it stays as it was captured.
    _context: Context,
}

impl Captured {
    pub(super) fn new(graph: Graph, context: Context, results: &[LaneOutputs]) -> Self {
        Self { graph, results: results.to_vec(), _context: context }
    }
}

/// Says once that a model has runs that are no graphs.
pub(super) struct Warning {
    plan: String,
    /// Of the model's load, which tells its name.
    span: Span,
    said: Once,
}

impl Warning {
    /// For the plan of that name, whose model is loaded now.
    pub(super) fn about(plan: &str) -> Self {
        Self { plan: plan.to_owned(), span: Span::current(), said: Once::new() }
    }

    fn say(&self, reason: &dyn Display) {
        let Self { plan, span, said } = self;
        let say = || tracing::warn!(plan, "some runs are enqueued, not launched as CUDA graphs: {reason}");
        said.call_once(|| span.in_scope(say));
    }
}

impl Graphs {
    /// For a lane with that stream.
    pub(super) fn new(stream: &Stream, warning: &Arc<Warning>) -> Self {
        Self { buckets: Buckets::default(), stream: stream.clone(), warning: warning.clone() }
    }

    /// Puts the run on the stream and tells what it gives, if there is a graph of it. `memory` says how often the lane's memory
    /// was allocated anew: graphs have the addresses of what they use.
    pub(super) fn launch(
        &mut self,
        memory: u64,
        inputs: &[Placed<'_>],
        results: &mut Vec<LaneOutputs>,
    ) -> bool {
        let Some(captured) = self.buckets.captured(memory, &shapes::key(inputs)) else { return false };
        match captured.graph.launch(&self.stream) {
            Ok(()) => {
                results.clone_from(&captured.results);
                true
            }
            Err(error) => {
                self.give_up(&error);
                false
            }
        }
    }

    /// Is it the second run of its shapes, which is worth to be captured? [`Graphs::keep`] is next then.
    pub(super) fn is_second(&mut self, memory: u64, inputs: &[Placed<'_>]) -> bool {
        self.buckets.seen(memory, &shapes::key(inputs))
    }

    /// Keeps what was captured. Whether the run is on the stream.
    pub(super) fn keep(&mut self, captured: Result<Result<Captured, Error>, Error>) -> bool {
        match captured {
            Ok(Ok(captured)) => self.buckets.settle(Some(captured)),
            Ok(Err(error)) => self.give_up(&error),
            Err(error) => {
                self.give_up(&error);
                return false;
            }
        }
        true
    }

    /// After a run was enqueued that gives `results`.
    pub(super) fn note(&mut self, memory: u64, inputs: &[Placed<'_>], results: &[LaneOutputs]) {
        if self.buckets.note(memory, shapes::key(inputs))
            && let Some(reason) = never(inputs, results)
        {
            self.give_up(&reason);
        }
    }

    fn give_up(&mut self, reason: &dyn Display) {
        self.buckets.settle(None);
        self.warning.say(reason);
    }
}

/// Why such a run can't be captured, if that is known beforehand.
fn never(inputs: &[Placed<'_>], results: &[LaneOutputs]) -> Option<&'static str> {
    if inputs.iter().any(Placed::is_values) {
        return Some("TensorRT reads values of an input on the host");
    }
    let is_told = results.iter().any(|computed| !computed.is_known());
    is_told.then_some("the size of an output is known only as it runs")
}
