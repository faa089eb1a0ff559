//! One inference, whatever it came by. A decoded request -> the model's version -> the pool, or an equal request that is
//! computed already, or the queue and a session -> the answer. It can be found before it goes out, so that no equal request is computed
//! again, and what is found is what goes out; a remote pool is written to behind it.

mod classify;
pub(crate) mod headers;
mod once;
mod quota;
mod remote;
mod replay;
mod work;

use std::sync::Arc;
use std::time::Instant;

use forebay_protocol::cache_control::RequestDirectives;
use forebay_protocol::digest::{self, Generation, Key, Scope};
use forebay_protocol::manner::{Manner, WrongManner};
use forebay_protocol::messages::ModelInferRequest;
use http::{Extensions, HeaderMap};
use metrics::counter;

use crate::cache::store::Store;
use crate::class::Class;
use crate::engine::signature::Mismatch;
use crate::models::{Models, UnknownModel, Version};
use crate::observe::trace::{Doing, Laps, Trace, Tracing};
use crate::record::Recorder;
use crate::schedule::answers::Done;
use crate::schedule::busy_poll::BusyPoll;
use crate::schedule::given::Given;
use crate::schedule::{QueueError, RunError};
use crate::trust::{Trust, Unproven, Whose, directives};
use once::Lookup;
pub(crate) use quota::BypassQuota;
use quota::OverQuota;
pub(crate) use replay::Replayed;
use work::{Asked, Keep};

/// What all requests share.
#[derive(Clone)]
pub(crate) struct Inference {
    pub(crate) models: Arc<Models>,
    /// `None` with `--pool none`.
    pub(crate) store: Option<Arc<Store>>,
    pub(crate) service: String,
    pub(crate) trust: Trust,
    /// `None` without `--bypass-quota`.
    pub(crate) bypass_quota: Option<Arc<BypassQuota>>,
    /// `None` with `--busy-poll-us 0`.
    pub(crate) busy_poll: Option<Arc<BusyPoll>>,
    pub(crate) tracing: Tracing,
    /// `None` without `--record`.
    pub(crate) recorder: Option<Arc<Recorder>>,
}

/// On whose behalf a request is answered, and until when.
pub(crate) struct Caller {
    /// Whose cache it uses.
    pub(crate) whose: Whose,
    /// No cache in front may keep the answer.
    pub(crate) private: bool,
    /// It carries what forbids shared caching, unless the answer allows it.
    pub(crate) restricted: bool,
    pub(crate) directives: RequestDirectives,
    /// When the answer is of no use any more; `None`: never.
    pub(crate) deadline: Option<Instant>,
    /// The trace that its requests come with; `None` while nothing is traced.
    pub(crate) parent: Option<opentelemetry::Context>,
    /// What goes on to an upstream with its requests.
    pub(crate) passed: HeaderMap,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InferError {
    #[error(transparent)]
    Unknown(#[from] UnknownModel),
    #[error(transparent)]
    Mismatch(#[from] Mismatch),
    #[error("shared memory regions are not supported by this server; send the tensor's data")]
    SharedMemory,
    #[error(transparent)]
    Manner(#[from] WrongManner),
    #[error(transparent)]
    Quota(#[from] OverQuota),
    #[error("the request says only-if-cached, and no answer is cached")]
    OnlyIfCached,
    #[error(transparent)]
    Queue(#[from] QueueError),
    #[error(transparent)]
    Run(#[from] RunError),
    #[error("the session ended before it answered")]
    Lost,
    #[error("the deadline passed before there was an answer")]
    Deadline,
}

impl InferError {
    pub(crate) fn class(&self) -> Class {
        match self {
            Self::Unknown(unknown) => unknown.class(),
            Self::Mismatch(_) | Self::Manner(_) => Class::Wrong,
            Self::SharedMemory => Class::Unimplemented,
            Self::Quota(_) => Class::Often,
            Self::OnlyIfCached => Class::Uncached,
            Self::Queue(error) => error.class(),
            Self::Run(error) => error.class(),
            Self::Lost => Class::Failed,
            Self::Deadline => Class::Late,
        }
    }
}

/// Where an answer came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// The pool.
    Pool { age_s: u64 },
    /// A session, for an equal request that came before this one.
    Collapsed,
    /// A session, for the reason that [`Miss`] says.
    Session { miss: Miss, stored: bool },
}

/// Why the pool didn't answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Miss {
    /// Caching is off, for the model or the server.
    Off,
    /// The request uses no cache.
    Bypass(Bypass),
    /// The request says no-cache.
    Request,
    /// Nothing fresh was there.
    Absent,
}

/// Why a request uses no cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bypass {
    /// It says no-store.
    NoStore,
    /// Its answer depends on more than itself.
    Uncacheable,
    /// It carries an authorization, and the model's answers are not said to be for everyone.
    Authorization,
    /// It belongs to no tenant that is proven.
    Unproven(Unproven),
}

/// A response, what computing it cost in microseconds, and where it came from.
type Outcome = (Given, u64, Source);

/// An answer, without its request's id.
pub(crate) struct Answer {
    pub(crate) response: Given,
    pub(crate) cost_us: u64,
    pub(crate) source: Source,
    pub(crate) version: Arc<Version>,
    /// What caches in front keep it by.
    pub(crate) generation: Generation,
    /// No cache in front may keep it.
    pub(crate) private: bool,
    pub(crate) trace: Trace,
}

impl Inference {
    /// On whose behalf a request comes with these headers, over a connection whose peer is in `extensions`.
    pub(crate) fn caller(
        &self,
        headers: &HeaderMap,
        extensions: &Extensions,
        deadline: Option<Instant>,
    ) -> Caller {
        let whose = self.trust.whose(&self.service, headers, extensions.get());
        Caller {
            private: Trust::is_private(&whose, headers),
            whose,
            restricted: self.trust.restricts(headers),
            directives: directives(headers),
            deadline,
            parent: self.tracing.parent(headers),
            passed: HeaderMap::new(),
        }
    }

    /// Answers a request from the pool or a session; `laps` is what it passed before.
    ///
    /// # Errors
    /// For what the client did wrong, a full queue, and a session that failed.
    pub(crate) async fn answer(
        &self,
        request: ModelInferRequest,
        caller: &Caller,
        laps: &Laps,
    ) -> Result<Answer, InferError> {
        let trace = self.tracing.begin(caller.parent.as_ref(), Doing::Infer, &request.model_name, laps);
        trace.attribute("request_id", || request.id.clone());
        let answered = self.answer_traced(request, caller, trace.clone()).await;
        if let Err(error) = &answered {
            trace.failed(error);
        }
        answered
    }

    async fn answer_traced(
        &self,
        request: ModelInferRequest,
        caller: &Caller,
        trace: Trace,
    ) -> Result<Answer, InferError> {
        let began = Instant::now();
        let version = self.models.find(&request.model_name, &request.model_version)?;
        trace.attribute("model_name", || version.config.name.clone());
        trace.attribute("model_version", || version.number.clone());
        let arrived = version.statistics.arrived();
        let id = tracing::enabled!(tracing::Level::DEBUG).then(|| request.id.clone());
        let (generation, may_give) = self.generation(&version, caller);
        let answering = self.answer_from((&version, generation, may_give), request, caller, &trace);
        let answered = match caller.deadline {
            None => answering.await,
            // What is dropped leaves the queue.
            Some(deadline) => {
                let timed = tokio::time::timeout_at(deadline.into(), answering).await;
                timed.unwrap_or(Err(InferError::Deadline))
            }
        };
        match &answered {
            Ok(_) => arrived.succeeded(),
            Err(error) => arrived.failed(error.class().into()),
        }
        if let Some(busy_poll) = &self.busy_poll {
            busy_poll.answered();
        }
        if let Some(id) = id {
            let (model, outcome) = (&version.config.name, answered.as_ref().map(|(.., source)| *source));
            tracing::debug!(id, model, version = version.number, took = ?began.elapsed(), ?outcome, "request");
        }
        let (response, cost_us, source) = answered?;
        trace.attribute("cache_status", || headers::status(source).to_owned());
        let private = caller.private;
        Ok(Answer { response, cost_us, source, version: version.clone(), generation, private, trace })
    }

    /// Under which generation results for that caller are kept now, since the last purge, and whether what is kept may be given.
    fn generation(&self, version: &Version, caller: &Caller) -> (Generation, bool) {
        let scope = caller.whose.scope(&self.service).ok();
        let of = (&*self.service, &*version.config.name);
        let purged = self
            .store
            .as_ref()
            .zip(scope)
            .map(|(store, scope)| store.purged().generation(&version.generation, of, scope.tenant));
        purged.unwrap_or((version.generation, true))
    }

    async fn answer_from(
        &self,
        (version, generation, may_give): (&Arc<Version>, Generation, bool),
        request: ModelInferRequest,
        caller: &Caller,
        trace: &Trace,
    ) -> Result<Outcome, InferError> {
        let Caller { directives, deadline, .. } = caller;
        // What is wrong is refused before anything is looked up: a cached answer doesn't make it right. An upstream refuses it itself,
        // and that is not kept.
        let outputs = match version.sessions() {
            None => Vec::new(),
            Some(_) if uses_shared_memory(&request) => return Err(InferError::SharedMemory),
            Some(_) => version.signature.check(&request, version.config.max_batch_size)?,
        };
        let manner = Manner::of(&request)?;
        if let Some(recorder) = self.recorder.as_ref().filter(|_| !directives.no_store) {
            let is_everybodys = self.scope(version, caller).is_ok_and(|scope| scope.tenant.is_none());
            recorder.offer(&version.number, &request, is_everybodys);
        }
        self.may_bypass(version, caller)?;
        let key = self.key((version, generation), &request, caller);
        let store = self.store_of(version);
        let keep = store.cloned().zip(key.ok());
        let asked = Asked {
            version: version.clone(),
            request,
            outputs,
            manner,
            keep: keep.map(|(store, key)| Keep { store, key, generation, ttl: directives.ttl }),
            passed: caller.passed.clone(),
            deadline: *deadline,
            since: None,
            lead: None,
            lease: None,
            trace: trace.clone(),
        };
        let miss = match key {
            Err(miss) => miss,
            Ok(_) if directives.no_cache => Miss::Request,
            Ok(key) => {
                let store = store.map(AsRef::as_ref).filter(|_| may_give);
                let lookup = Lookup { version, store, key, directives, trace };
                if directives.only_if_cached {
                    return lookup.answer().await.ok_or(InferError::OnlyIfCached);
                }
                return lookup.or_compute(asked).await;
            }
        };
        if directives.only_if_cached {
            return Err(InferError::OnlyIfCached);
        }
        let Done { response, cost_us, stored } = asked.compute().await?;
        Ok((response, cost_us, Source::Session { miss, stored }))
    }

    /// Whether it may have computed what is kept, if it asks for that.
    fn may_bypass(&self, version: &Version, caller: &Caller) -> Result<(), OverQuota> {
        let passes = caller.directives.no_cache || caller.directives.no_store;
        match &self.bypass_quota {
            Some(quota) if passes && self.store_of(version).is_some() => {
                let refused = |_: &OverQuota| counter!("forebay_bypass_refused").increment(1);
                quota.take(&caller.whose).inspect_err(refused)
            }
            _ => Ok(()),
        }
    }

    /// Where the version's answers are kept.
    fn store_of(&self, version: &Version) -> Option<&Arc<Store>> {
        self.store.as_ref().filter(|_| version.policy.is_some())
    }

    /// Under which key the answer is kept, or shared for the moment; `Err` says why under none.
    fn key(
        &self,
        (version, generation): (&Version, Generation),
        request: &ModelInferRequest,
        caller: &Caller,
    ) -> Result<Key, Miss> {
        // Equal requests of an upstream's model are joined where nothing is kept, too.
        if version.sessions().is_some() && self.store_of(version).is_none() {
            return Err(Miss::Off);
        }
        let scope = self.scope(version, caller).map_err(Miss::Bypass)?;
        let digest = digest::digest(&scope, request).map_err(|_| Miss::Bypass(Bypass::Uncacheable))?;
        let digest = self.store.as_ref().map_or(digest, |store| store.purged().digest(&digest));
        Ok(Key::derive(&generation, &scope, &digest))
    }

    /// Whose cache the answer is kept in; `Err` says why in none.
    fn scope<'a>(&'a self, version: &Version, caller: &'a Caller) -> Result<Scope<'a>, Bypass> {
        if caller.directives.no_store {
            return Err(Bypass::NoStore);
        }
        if caller.restricted && !version.policy.is_some_and(|policy| policy.public) {
            return Err(Bypass::Authorization);
        }
        caller.whose.scope(&self.service).map_err(Bypass::Unproven)
    }

    /// Whether a request is answered here, in front of an upstream, as far as its headers say; `Err` says why it goes on as it came.
    pub(crate) fn takes(&self, version: &Version, caller: &Caller) -> Result<(), Bypass> {
        self.scope(version, caller).map(drop)
    }
}

/// Whether nothing but the request decides its answer. In front of an upstream any other goes on as it came.
pub(crate) fn is_of_itself(request: &ModelInferRequest) -> bool {
    !uses_shared_memory(request) && !in_sequence(request) && Manner::of(request).is_ok()
}

/// Whether the answer depends on requests before this one.
fn in_sequence(request: &ModelInferRequest) -> bool {
    request.parameters.keys().any(|name| name.starts_with("sequence_"))
}

fn uses_shared_memory(request: &ModelInferRequest) -> bool {
    const REGION: &str = "shared_memory_region";
    request.inputs.iter().any(|input| input.parameters.contains_key(REGION))
        || request.outputs.iter().any(|output| output.parameters.contains_key(REGION))
}

#[cfg(test)]
mod tests;
