//! Equal requests, on a session that does as it is told.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::mpsc;
use std::time::Duration;

use bytes::Bytes;
use forebay_protocol::cache_control::Freshness;
use forebay_protocol::datatype::DataType;
use forebay_protocol::digest::Generation;
use forebay_protocol::entry::Entry;
use forebay_protocol::messages::ModelInferResponse;
use forebay_protocol::messages::{Choice, InferInputTensor, InferParameter};
use futures_util::poll;
use http::HeaderValue;

use super::*;
use crate::cache::live::Purged;
use crate::cache::pool::MemoryPool;
use crate::config::ModelConfig;
use crate::engine::signature::{Signature, TensorSpec};
use crate::engine::{EngineError, InputTensor, OutputTensor, Run, Session};
use crate::models::Policy;
use crate::models::repository::Fingerprint;
use crate::models::served::{Computes, Model, ModelSet};
use crate::observe::statistics::Statistics;
use crate::schedule::batching::Batching;
use crate::schedule::flight::Flights;
use crate::schedule::{QueueLimits, Schedule};
use crate::settings::TraceConfig;
use crate::time::clock::now_ms;
use crate::trust::{Authorization, Cookie, Tenancy, TrustedProxies};

/// Tells of each run, and waits for how it is to end.
struct Told {
    signature: Signature,
    runs: mpsc::Sender<()>,
    ends: mpsc::Receiver<Result<(), EngineError>>,
}

impl Session for Told {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn run(&mut self, inputs: &[InputTensor<'_>], _outputs: &[usize]) -> Result<Run, EngineError> {
        let mut data = vec![0; inputs[0].data.len()];
        inputs[0].data.copy_into(&mut data);
        self.runs.send(()).unwrap();
        self.ends.recv().unwrap()?;
        let output = OutputTensor { index: 0, shape: inputs[0].shape.to_vec(), data: data.into() };
        Ok(Run { outputs: vec![output], gathering: Duration::ZERO })
    }
}

struct Bench {
    model: &'static str,
    inference: Inference,
    version: Arc<Version>,
    runs: mpsc::Receiver<()>,
    ends: mpsc::Sender<Result<(), EngineError>>,
}

/// A server of one model, which has one session; so many requests may wait.
fn bench(model: &'static str, requests: usize) -> Bench {
    let spec = || {
        vec![TensorSpec { name: "x".into(), datatype: DataType::Uint8, shape: vec![-1], is_optional: false }]
    };
    let signature = Signature { inputs: spec(), outputs: spec() };
    let ((ran, runs), (ends, on_end)) = (mpsc::channel(), mpsc::channel());
    let session = Told { signature: signature.clone(), runs: ran, ends: on_end };
    let (limits, config) = (QueueLimits { requests, bytes: 1000 }, ModelConfig::default());
    let statistics = Arc::new(Statistics::new(model, "1"));
    let batching = Batching::of(&config).unwrap();
    let schedule = Schedule::start("told", vec![Box::new(session)], batching, limits, statistics.clone());
    let freshness = Freshness { max_age_s: 60, stale_while_revalidate_s: 0, stale_if_error_s: 0 };
    let version = Arc::new(Version {
        number: "1".into(),
        signature,
        generation: Generation([1; 32]),
        generation_header: HeaderValue::from_static("1"),
        policy: Some(Policy { freshness, public: false }),
        config,
        labels: BTreeMap::new(),
        platform: "told",
        computes: Computes::Sessions(schedule.unwrap()),
        flights: Arc::new(Flights::new(QueueLimits { requests: 100, bytes: 10_000 })),
        statistics,
        variant: None,
        origin: None,
    });
    let models = Models::default();
    let versions = Model {
        versions: [(1, version.clone())].into(),
        out: BTreeMap::new(),
        fingerprint: Fingerprint::default(),
        is_brought: false,
    };
    let served = [(model.to_owned(), Arc::new(versions))].into();
    models.publish(ModelSet { models: served, ..ModelSet::default() });
    let trust = Trust {
        tenancy: Tenancy::None,
        credentials: None,
        proxies: Arc::new(TrustedProxies::default()),
        authorization: Authorization::Forbids,
        cookie: Cookie::Ignored,
    };
    let purged = Arc::new(Purged::own());
    let store = Arc::new(Store::new(MemoryPool::new(1 << 20, 1 << 16), purged, 1 << 16));
    let inference = Inference {
        models: Arc::new(models),
        store: Some(store),
        service: "s".into(),
        trust,
        bypass_quota: None,
        busy_poll: None,
        tracing: Tracing::start(&TraceConfig::default()).unwrap(),
        recorder: None,
    };
    Bench { model, inference, version, runs, ends }
}

fn with(mut request: ModelInferRequest, name: &str, choice: Choice) -> ModelInferRequest {
    request.parameters.insert(name.into(), InferParameter { choice: Some(choice) });
    request
}

impl Bench {
    fn request(&self, data: &'static [u8]) -> ModelInferRequest {
        ModelInferRequest {
            model_name: self.model.into(),
            inputs: vec![InferInputTensor {
                name: "x".into(),
                datatype: "UINT8".into(),
                shape: vec![i64::try_from(data.len()).unwrap()],
                ..InferInputTensor::default()
            }],
            raw_input_contents: vec![Bytes::from_static(data)],
            ..ModelInferRequest::default()
        }
    }

    fn caller(&self, cache_control: &'static str) -> Caller {
        let mut headers = HeaderMap::new();
        headers.insert("cache-control", HeaderValue::from_static(cache_control));
        self.inference.caller(&headers, &Extensions::new(), None)
    }

    async fn ask(&self, cache_control: &'static str) -> Result<(Bytes, Source), InferError> {
        self.send(self.request(b"ab"), &self.caller(cache_control)).await
    }

    async fn send(&self, request: ModelInferRequest, caller: &Caller) -> Result<(Bytes, Source), InferError> {
        let answer = self.inference.answer(request, caller, &Laps::begin()).await?;
        Ok((answer.response.raw_output_contents[0].clone(), answer.source))
    }

    /// The session runs; it ends as `end` tells.
    fn end(&self, end: Result<(), EngineError>) {
        self.ends.send(end).unwrap();
    }

    /// Waits until the session runs.
    fn runs(&self) {
        self.runs.recv_timeout(Duration::from_secs(20)).unwrap();
    }

    /// Nothing was run but what was waited for.
    fn is_idle(&self) -> bool {
        self.runs.try_recv().is_err()
    }

    /// What a lookup finds that is so old.
    fn keep(&self, age_s: u64) {
        let scope = forebay_protocol::digest::Scope { service: "s", tenant: None };
        let digest = digest::digest(&scope, &self.request(b"ab")).unwrap();
        let key = Key::derive(&self.version.generation, &scope, &digest);
        let response = ModelInferResponse {
            raw_output_contents: vec![Bytes::from_static(b"kept")],
            ..ModelInferResponse::default()
        };
        let entry = Entry {
            response: Some(response),
            generation: self.version.generation.0.to_vec().into(),
            created_ms: now_ms() - age_s * 1000,
            max_age_s: 600,
            ..Entry::default()
        };
        assert!(self.inference.store.as_ref().unwrap().keep(key, Arc::new(entry)));
    }

    fn misses(&self) -> u64 {
        let stats = self.version.statistics.snapshot("", "").inference_stats.unwrap();
        stats.cache_miss.unwrap().count
    }
}

fn collapsed() -> (Bytes, Source) {
    (Bytes::from_static(b"ab"), Source::Collapsed)
}

const COMPUTED: Source = Source::Session { miss: Miss::Absent, stored: true };

/// A failure that may pass.
fn lost() -> EngineError {
    EngineError::Failed("as the test asked".into())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn equal_requests_make_one_lookup_and_one_run() {
    let bench = bench("told_1", 10);
    let mut all: Vec<_> = (0..8).map(|_| Box::pin(bench.ask(""))).collect();
    for one in &mut all {
        assert!(poll!(one).is_pending());
    }
    bench.runs();
    bench.end(Ok(()));
    let mut sources = Vec::new();
    for one in all {
        sources.push(one.await.unwrap().1);
    }
    assert_eq!(sources.iter().filter(|source| **source == COMPUTED).count(), 1, "{sources:?}");
    assert_eq!(sources.iter().filter(|source| **source == Source::Collapsed).count(), 7);
    assert!(bench.is_idle());
    assert_eq!(bench.misses(), 1);
    assert!(matches!(bench.ask("").await.unwrap().1, Source::Pool { .. }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_runs_is_everybodys_though_who_asked_for_it_has_left() {
    let bench = bench("told_2", 10);
    let mut leads = Box::pin(bench.ask(""));
    assert!(poll!(&mut leads).is_pending());
    bench.runs();
    let mut waits = pin!(bench.ask(""));
    assert!(poll!(waits.as_mut()).is_pending());
    drop(leads);
    let mut comes = pin!(bench.ask(""));
    assert!(poll!(waits.as_mut()).is_pending() && poll!(comes.as_mut()).is_pending());
    bench.end(Ok(()));
    assert_eq!(waits.await.unwrap(), collapsed());
    assert_eq!(comes.await.unwrap(), collapsed());
    assert!(bench.is_idle());
    let stats = bench.version.statistics.snapshot("", "").inference_stats.unwrap();
    assert_eq!((stats.success.unwrap().count, stats.fail.unwrap().count), (2, 1), "one left");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_failure_that_may_pass_has_one_try_again_and_the_others_wait_for_that() {
    let bench = bench("told_3", 10);
    let mut leads = pin!(bench.ask(""));
    assert!(poll!(leads.as_mut()).is_pending());
    let (mut first, mut second) = (pin!(bench.ask("")), pin!(bench.ask("")));
    assert!(poll!(first.as_mut()).is_pending() && poll!(second.as_mut()).is_pending());
    bench.runs();
    bench.end(Err(lost()));
    assert!(matches!(leads.await, Err(InferError::Run(RunError::Engine(EngineError::Failed(_))))));
    assert!(poll!(first.as_mut()).is_pending() && poll!(second.as_mut()).is_pending());
    bench.runs();
    assert!(bench.is_idle(), "one tries");
    bench.end(Ok(()));
    assert_eq!(first.await.unwrap().1, COMPUTED);
    assert_eq!(second.await.unwrap(), collapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn tensors_that_nobody_can_compute_on_are_tried_once_for_all() {
    let bench = bench("told_4", 10);
    let (mut leads, mut waits) = (pin!(bench.ask("")), pin!(bench.ask("")));
    assert!(poll!(leads.as_mut()).is_pending() && poll!(waits.as_mut()).is_pending());
    bench.runs();
    bench.end(Err(EngineError::BadInput("wrong".into())));
    for answer in [leads.await, waits.await] {
        assert!(matches!(answer, Err(InferError::Run(RunError::Engine(EngineError::BadInput(_))))));
    }
    assert!(bench.is_idle());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn when_the_queue_is_full_each_hears_it_and_nobody_runs() {
    let bench = bench("told_5", 1);
    let mut runs = pin!(bench.ask("no-store"));
    assert!(poll!(runs.as_mut()).is_pending());
    bench.runs();
    let caller = bench.caller("");
    let mut queued = pin!(bench.send(bench.request(b"x"), &caller));
    assert!(poll!(queued.as_mut()).is_pending());
    // The queue is full now: who leads is refused, and who would wait for it too, one after the other.
    let answers = futures_util::future::join_all((0..3).map(|_| bench.ask(""))).await;
    assert!(answers.iter().all(|answer| matches!(answer, Err(InferError::Queue(_)))), "{answers:?}");
    bench.end(Ok(()));
    runs.await.unwrap();
    bench.runs();
    bench.end(Ok(()));
    queued.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_takes_over_has_waited_since_it_came() {
    let bench = bench("told_6", 10);
    let blocker = bench.caller("");
    let mut runs = pin!(bench.send(bench.request(b"x"), &blocker));
    assert!(poll!(runs.as_mut()).is_pending());
    bench.runs();
    let hurried = || with(bench.request(b"ab"), "timeout", Choice::Int64(60_000));
    let caller = bench.caller("");
    let mut leads = Box::pin(bench.send(hurried(), &caller));
    assert!(poll!(&mut leads).is_pending());
    let mut waits = pin!(bench.send(hurried(), &caller));
    assert!(poll!(waits.as_mut()).is_pending());
    let came = Instant::now();
    drop(leads);
    // It is queued now; it has what is left of its 60 ms.
    let answer = waits.await;
    assert!(matches!(answer, Err(InferError::Run(RunError::Expired))), "{answer:?}");
    assert!(came.elapsed() < Duration::from_secs(10));
    bench.end(Ok(()));
    runs.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_waiter_gets_no_kept_answer_that_is_older_than_it_wants() {
    let bench = bench("told_7", 10);
    bench.keep(50);
    let is_kept = |(data, source): (Bytes, Source)| data == "kept" && matches!(source, Source::Pool { .. });
    for strict in ["max-age=0", "max-age=40", "min-fresh=560", "no-cache"] {
        let mut computes = pin!(bench.ask(strict));
        assert!(poll!(computes.as_mut()).is_pending(), "{strict}");
        bench.runs();
        // What was found meanwhile is others'.
        if strict != "no-cache" {
            for easy in ["", "max-age=100, min-fresh=400", "only-if-cached"] {
                assert!(is_kept(bench.ask(easy).await.unwrap()), "{strict} {easy}");
            }
        }
        let mut also = pin!(bench.ask("max-age=0"));
        assert!(poll!(also.as_mut()).is_pending(), "{strict}");
        if strict == "no-cache" {
            // It is on its own.
            bench.end(Ok(()));
            computes.await.unwrap();
            bench.runs();
            bench.end(Ok(()));
            assert_eq!(also.await.unwrap().1, COMPUTED);
        } else {
            bench.end(Ok(()));
            assert_eq!(computes.await.unwrap().1, COMPUTED, "{strict}");
            assert_eq!(also.await.unwrap(), collapsed(), "{strict}");
        }
        bench.keep(50);
    }
    assert!(matches!(bench.ask("only-if-cached, max-age=40").await, Err(InferError::OnlyIfCached)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn parameters_of_a_wrong_kind_are_refused_though_the_answer_is_cached() {
    let bench = bench("told_8", 10);
    bench.keep(0);
    for (name, choice) in [
        ("priority", Choice::String("high".into())),
        ("priority", Choice::Int64(-1)),
        ("timeout", Choice::Double(0.5)),
        ("timeout", Choice::Bool(true)),
    ] {
        for cache_control in ["", "only-if-cached", "no-store"] {
            let caller = bench.caller(cache_control);
            let asked = bench.send(with(bench.request(b"ab"), name, choice.clone()), &caller).await;
            assert!(matches!(asked, Err(InferError::Manner(_))), "{name} {choice:?}: {asked:?}");
        }
    }
    let urgent = with(bench.request(b"ab"), "priority", Choice::Uint64(1));
    let urgent = bench.send(urgent, &bench.caller("")).await;
    assert!(matches!(urgent.unwrap().1, Source::Pool { .. }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn only_what_waits_for_a_session_is_pending() {
    let bench = bench("pending", 10);
    let pending = |expected: u32| {
        let line = "nv_inference_pending_request_count{model=\"pending\",version=\"1\"} ";
        let text = crate::observe::metrics::series();
        let found = text.lines().find_map(|text| text.strip_prefix(line));
        assert_eq!(found, Some(expected.to_string().as_str()), "{text}");
    };
    let caller = bench.caller("no-store");
    let mut runs = pin!(bench.ask("no-store"));
    assert!(poll!(runs.as_mut()).is_pending());
    bench.runs();
    pending(0);
    let (mut waits, mut leaves) =
        (pin!(bench.ask("no-store")), Box::pin(bench.send(bench.request(b"x"), &caller)));
    assert!(poll!(waits.as_mut()).is_pending() && poll!(&mut leaves).is_pending());
    pending(2);
    drop(leaves);
    pending(1);
    bench.end(Ok(()));
    bench.runs();
    pending(0);
    bench.end(Ok(()));
    runs.await.unwrap();
    waits.await.unwrap();
}
