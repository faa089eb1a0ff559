//! One request's trace: when each stage that it passed began and ended -> its spans, made when nobody holds it any more, so after
//! whoever computes for it although its client has left.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use opentelemetry::trace::{
    Span as _, SpanBuilder, SpanContext, SpanKind, Status, TraceContextExt as _, Tracer as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{SdkTracer, Span as SdkSpan};

/// What is done for a request, and is its span.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Doing {
    /// It is answered.
    Infer,
    /// A proxy asks the gate for its answer.
    Lookup,
}

impl Doing {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Infer => "infer",
            Self::Lookup => "lookup",
        }
    }
}

/// What a request passes. Those that statistics count too have their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Its body comes.
    Read,
    /// It is decoded and checked.
    Decode,
    /// The pool is asked.
    Lookup,
    /// An equal request computes.
    Wait,
    /// A session is waited for.
    Queue,
    ComputeInput,
    ComputeInfer,
    ComputeOutput,
    /// The result is put into the pool.
    Keep,
    Encode,
}

impl Stage {
    fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Decode => "decode",
            Self::Lookup => "lookup",
            Self::Wait => "wait",
            Self::Queue => "queue",
            Self::ComputeInput => "compute_input",
            Self::ComputeInfer => "compute_infer",
            Self::ComputeOutput => "compute_output",
            Self::Keep => "keep",
            Self::Encode => "encode",
        }
    }
}

/// The first stages of a request, which are over before it is known whether it is traced.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Laps {
    began: Instant,
    ends: [Option<(Stage, Instant)>; 2],
}

impl Laps {
    /// The request comes.
    pub(crate) fn begin() -> Self {
        Self { began: Instant::now(), ends: [None; 2] }
    }

    /// A stage ends, and the next one begins.
    pub(crate) fn end(&mut self, stage: Stage) {
        if let Some(free) = self.ends.iter_mut().find(|end| end.is_none()) {
            *free = Some((stage, Instant::now()));
        }
    }
}

/// The trace of a request; the default is of one that isn't traced, and costs nothing.
#[derive(Clone, Default)]
pub(crate) struct Trace(Option<Arc<Traced>>);

struct Traced {
    tracer: SdkTracer,
    /// The request's span.
    root: SdkSpan,
    began: Instant,
    /// What the clock showed then.
    began_at: SystemTime,
    passed: Mutex<Passed>,
}

#[derive(Default)]
struct Passed {
    stages: Vec<(Stage, Instant, Instant)>,
    attributes: Vec<KeyValue>,
    /// Whose result it took.
    leader: Option<SpanContext>,
    /// When it was answered, and why it failed.
    ended: Option<(Instant, Status)>,
}

impl Trace {
    pub(super) fn begin(tracer: SdkTracer, parent: &Context, name: String, laps: &Laps) -> Self {
        let mut stages = Vec::with_capacity(8);
        let mut since = laps.began;
        for (stage, end) in laps.ends.into_iter().flatten() {
            stages.push((stage, since, end));
            since = end;
        }
        let began_at = SystemTime::now() - laps.began.elapsed();
        let root = SpanBuilder::from_name(name).with_kind(SpanKind::Server).with_start_time(began_at);
        Self(Some(Arc::new(Traced {
            root: tracer.build_with_context(root, parent),
            tracer,
            began: laps.began,
            began_at,
            passed: Mutex::new(Passed { stages, ..Passed::default() }),
        })))
    }

    /// The request passed a stage that began then and ends now.
    pub(crate) fn stage(&self, stage: Stage, since: Instant) {
        self.with(|passed| passed.stages.push((stage, since, Instant::now())));
    }

    /// The request passed one stage after the other, which took so long; the first began then.
    pub(crate) fn stages(&self, mut since: Instant, took: &[(Stage, Duration)]) {
        self.with(|passed| {
            for &(stage, took) in took {
                let until = since + took;
                passed.stages.push((stage, since, until));
                since = until;
            }
        });
    }

    /// What is known of the request.
    pub(crate) fn attribute(&self, name: &'static str, value: impl FnOnce() -> String) {
        self.with(|passed| passed.attributes.push(KeyValue::new(name, value())));
    }

    /// What others link to.
    pub(crate) fn span(&self) -> Option<SpanContext> {
        self.0.as_ref().map(|traced| traced.root.span_context().clone())
    }

    /// The request took the result of another one, of that span.
    pub(crate) fn follows(&self, leader: Option<SpanContext>) {
        self.with(|passed| passed.leader = leader);
    }

    /// The answer is encoded since then, and goes out now.
    pub(crate) fn goes_out(&self, since: Instant) {
        self.stage(Stage::Encode, since);
        self.with(|passed| passed.ended = Some((Instant::now(), Status::Ok)));
    }

    /// The request has no answer, for that reason.
    pub(crate) fn failed(&self, reason: &impl ToString) {
        self.with(|passed| passed.ended = Some((Instant::now(), Status::error(reason.to_string()))));
    }

    fn with(&self, change: impl FnOnce(&mut Passed)) {
        if let Some(traced) = &self.0 {
            change(&mut traced.passed.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }
}

impl Traced {
    fn at(&self, instant: Instant) -> SystemTime {
        self.began_at + instant.saturating_duration_since(self.began)
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        let passed = self.passed.get_mut().unwrap_or_else(PoisonError::into_inner);
        let Passed { stages, attributes, leader, ended } = std::mem::take(passed);
        let (ended, status) = ended.unwrap_or_else(|| (Instant::now(), Status::error("the client left")));
        self.root.set_attributes(attributes);
        if let Some(leader) = leader {
            self.root.add_link(leader, Vec::new());
        }
        self.root.set_status(status);
        let within = Context::new().with_remote_span_context(self.root.span_context().clone());
        for (stage, since, until) in stages {
            let span = SpanBuilder::from_name(stage.name()).with_start_time(self.at(since));
            self.tracer.build_with_context(span, &within).end_with_timestamp(self.at(until));
        }
        let ended = self.at(ended);
        self.root.end_with_timestamp(ended);
    }
}
