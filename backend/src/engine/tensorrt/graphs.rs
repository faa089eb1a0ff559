//! A lane's runs as CUDA graphs. The first run of a shape is enqueued, the second is enqueued and captured, later ones are launches
//! of that graph. Copies stay outside of it, for those of one lane go on while another runs. What can't be captured is enqueued as
//! it is without graphs.

use std::fmt::Display;
use std::sync::{Arc, Once};

use forebay_bindings::Context;
use forebay_bindings::cuda::{Graph, Stream};
use tracing::Span;

use super::buckets::{Buckets, State};
use super::lane::Computed;
use super::shapes::{self, Placed};

/// The graphs of one lane.
pub(super) struct Graphs {
    buckets: Buckets<Captured>,
    stream: Stream,
    warning: Arc<Warning>,
}

/// A run, and what it gives.
struct Captured {
    graph: Graph,
    results: Vec<Computed>,
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

    /// Puts the run on the stream and tells what it gives, if there is a graph of it.
    pub(super) fn launch(
        &mut self,
        state: State,
        inputs: &[Placed<'_>],
        results: &mut Vec<Computed>,
    ) -> bool {
        let Some(captured) = self.buckets.captured(state, &shapes::key(inputs)) else { return false };
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

    /// After a run was enqueued that gives `results`: captures it, if it is the second of its shapes. The context is as that run
    /// left it, so TensorRT has nothing to allocate.
    pub(super) fn capture(
        &mut self,
        state: State,
        context: &mut Context,
        inputs: &[Placed<'_>],
        results: &[Computed],
    ) {
        if !self.buckets.note(state, shapes::key(inputs)) {
            return;
        }
        if let Some(reason) = never(inputs, results) {
            return self.give_up(&reason);
        }
        match self.stream.capture(|stream| context.enqueue(stream)) {
            Ok(graph) => self.buckets.settle(Some(Captured { graph, results: results.to_vec() })),
            Err(error) => self.give_up(&error),
        }
    }

    fn give_up(&mut self, reason: &dyn Display) {
        self.buckets.settle(None);
        self.warning.say(reason);
    }
}

/// Why such a run can't be captured, if that is known beforehand.
fn never(inputs: &[Placed<'_>], results: &[Computed]) -> Option<&'static str> {
    if inputs.iter().any(Placed::is_values) {
        return Some("TensorRT reads values of an input on the host");
    }
    let is_told = results.iter().any(|computed| !computed.is_known());
    is_told.then_some("the size of an output is known only as it runs")
}
