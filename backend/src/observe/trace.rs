//! Traces of requests for an OpenTelemetry collector. A request's headers and the model that it asks -> whether it is traced
//! (`sampling`), and then its [`Trace`], which each stage that it passes tells when it began and ended (`request`); when nobody holds
//! it any more, a span of the request and one for each stage go to the collector (`export`), over OTLP. A request that took the result of
//! an equal one is linked to it.
//!
//! A request that comes with a sampled `traceparent` (W3C Trace Context) is traced in any case and its spans are of that trace; one
//! that says that it is not sampled is not traced. Of the others each so many-th is.

mod export;
mod request;
mod sampling;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use forebay_protocol::header::TRACEPARENT;
use http::HeaderMap;
use opentelemetry::Context;
use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry::trace::{TraceContextExt as _, TracerProvider as _};
use opentelemetry_http::HeaderExtractor;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};

use crate::proto::{TraceSettingRequest, TraceSettingResponse};
use crate::settings::{SettingsError, TraceConfig};
pub(crate) use request::{Doing, Laps, Stage, Trace};
use sampling::Settings;
pub(crate) use sampling::{TRACE_LEVEL, TraceError};

/// Where traces are said to come from.
const SCOPE: &str = "forebay";

/// What traces requests, and where their spans go.
#[derive(Clone)]
pub(crate) struct Tracing(Arc<Shared>);

struct Shared {
    settings: Settings,
    /// `None`: nothing is ever traced.
    out: Option<Out>,
}

struct Out {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
}

impl Tracing {
    /// Must be called inside the runtime that spans are to be sent on.
    ///
    /// # Errors
    /// `Wrong` for a collector's address that can't be used.
    pub(crate) fn start(config: &TraceConfig) -> Result<Self, SettingsError> {
        let provider = config.export.as_ref().map(export::provider).transpose()?;
        let out = provider.map(|provider| Out { tracer: provider.tracer(SCOPE), provider });
        Ok(Self(Arc::new(Shared { settings: Settings::new(config.sampling, out.is_some()), out })))
    }

    /// The trace that a request comes with; `None` when that would not be asked for.
    pub(crate) fn parent(&self, headers: &HeaderMap) -> Option<Context> {
        self.0.settings.is_on().then(|| {
            TraceContextPropagator::new().extract_with_context(&Context::new(), &HeaderExtractor(headers))
        })
    }

    /// The same of what came with others in one request.
    pub(crate) fn parent_of(&self, traceparent: &str) -> Option<Context> {
        let carrier = || HashMap::from([(TRACEPARENT.to_owned(), traceparent.to_owned())]);
        self.0.settings.is_on().then(|| TraceContextPropagator::new().extract(&carrier()))
    }

    /// The trace of what is done for a request to `model`, which has passed the stages of `laps`; one that nobody looks at if it isn't
    /// to be traced.
    pub(crate) fn begin(&self, parent: Option<&Context>, doing: Doing, model: &str, laps: &Laps) -> Trace {
        let (Some(parent), Some(out)) = (parent, &self.0.out) else { return Trace::default() };
        let span = parent.span();
        let sampled = span.span_context().is_valid().then(|| span.span_context().is_sampled());
        if !self.0.settings.traces(model, sampled) {
            return Trace::default();
        }
        Trace::begin(out.tracer.clone(), parent, format!("{} {model}", doing.name()), laps)
    }

    /// Takes settings as a client asks for them, for the server or for a model that there is, and tells them all.
    ///
    /// # Errors
    /// For what isn't served, and values that a setting can't have; nothing is changed then.
    pub(crate) fn settings(&self, asked: &TraceSettingRequest) -> Result<TraceSettingResponse, TraceError> {
        self.0.settings.take(asked)
    }

    /// Sends what waits, for no longer than that.
    pub(crate) async fn end(self, timeout: Duration) {
        let send = move || {
            if let Some(out) = &self.0.out
                && let Err(error) = out.provider.shutdown_with_timeout(timeout)
            {
                tracing::warn!("the last traces were not sent: {error}");
            }
        };
        // It blocks, and a panic of its own is no reason not to end.
        let _ = tokio::task::spawn_blocking(send).await;
    }
}
