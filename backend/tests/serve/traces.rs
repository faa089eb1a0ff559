//! Traces: what comes with a trace is traced as a part of it, stage by stage, and a collector gets the spans over OTLP.

mod collector;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use axum::Router;
use axum::routing::post;
use bytes::Bytes;
use forebay_protocol::messages::ModelInferResponse;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Text;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span};
use prost::Message as _;
use rig::process::{Signal, until};
use rig::v2;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::client::send;
use crate::grpc;
use crate::mesh::{Mesh, ask, lookup, lookup_with};
use crate::process::{Forebay, repository_with, test_repository};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";
const MODEL: &str = "identity_fp32";
/// The longest wait for spans.
const PATIENCE: Duration = Duration::from_secs(20);

/// Takes what `forebay` sends over OTLP.
struct Collector {
    url: String,
    messages: mpsc::Receiver<ExportTraceServiceRequest>,
    _runtime: tokio::runtime::Runtime,
}

impl Collector {
    fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("http://{}/v1/traces", listener.local_addr().unwrap());
        let (send, messages) = mpsc::channel();
        let take = move |body: Bytes| async move {
            send.send(ExportTraceServiceRequest::decode(body).unwrap()).unwrap();
        };
        let routes = Router::new().route("/v1/traces", post(take));
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let service = TowerToHyperService::new(routes.clone());
                let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                tokio::spawn(connection);
            }
        });
        Self { url, messages, _runtime: runtime }
    }

    fn next(&self) -> Vec<ResourceSpans> {
        self.messages.recv_timeout(PATIENCE).expect("spans come").resource_spans
    }

    /// The spans of the next message.
    fn spans(&self) -> Vec<Span> {
        let scopes = self.next().into_iter().flat_map(|of_resource| of_resource.scope_spans);
        scopes.flat_map(|scope| scope.spans).collect()
    }

    /// What the next request's trace is: its resource, the request's span, and those of its stages.
    fn trace(&self) -> (Resource, Span, Vec<Span>) {
        let mut resource = None;
        let mut spans = Vec::new();
        loop {
            for of_resource in self.next() {
                resource = of_resource.resource;
                spans.extend(of_resource.scope_spans.into_iter().flat_map(|scope| scope.spans));
            }
            let root = spans.iter().position(|span| span.name.starts_with("infer "));
            if let Some(root) = root {
                let root = spans.remove(root);
                return (resource.unwrap_or_default(), root, spans);
            }
        }
    }
}

fn serve(collector: &str, settings: &[&str]) -> Forebay {
    serve_from(&test_repository(), collector, settings)
}

fn serve_from(repository: &Path, collector: &str, settings: &[&str]) -> Forebay {
    let traces = trace_config(collector, settings);
    let arguments = ["--instances", "1"].into_iter().chain(traces.iter().map(String::as_str));
    Forebay::serve_from(repository, &arguments.collect::<Vec<_>>())
}

/// The arguments that say so.
fn trace_config(collector: &str, settings: &[&str]) -> Vec<String> {
    let url = format!("opentelemetry,url={collector}");
    let all = ["mode=opentelemetry", &url].into_iter().chain(settings.iter().copied());
    all.flat_map(|setting| ["--trace-config".to_owned(), setting.to_owned()]).collect()
}

/// A repository whose model computes nothing before two rows wait.
fn patient_repository() -> TempDir {
    repository_with(
        MODEL,
        "max_batch_size: 8 response_cache { enable: true } \
         dynamic_batching { preferred_batch_size: [ 2 ] max_queue_delay_microseconds: 60000000 }",
    )
}

/// Has one request lead with that trace, an equal one of the trace [`TRACE`] follow, and both answered.
fn lead_and_follow(forebay: &Forebay, leader: &str) {
    let reach = |metric: &str| until("they come", || (forebay.metric(metric, MODEL) == 1).then_some(()));
    std::thread::scope(|scope| {
        let leads = scope.spawn(|| infer(forebay, 1.0, Some(leader)));
        reach("forebay_requests_in_progress");
        let follows = scope.spawn(|| infer(forebay, 1.0, Some(&sampled())));
        reach("forebay_waiters");
        assert_eq!(infer(forebay, 2.0, None).status, 200);
        assert_eq!(leads.join().unwrap().status, 200);
        let status = follows.join().unwrap();
        assert_eq!(status.header("cache-status"), "forebay-serve; fwd=uri-miss; collapsed");
    });
}

fn infer(forebay: &Forebay, value: f32, traceparent: Option<&str>) -> rig::http::Answer {
    let body = v2::request(&[value]).to_string();
    let headers: Vec<_> = traceparent.map(|value| ("traceparent", value)).into_iter().collect();
    send(forebay.http_port, "POST", "/v2/models/identity_fp32/infer", &headers, body.as_bytes())
}

/// The same over gRPC, in the trace [`TRACE`].
async fn call(forebay: &Forebay) {
    let mut asked = tonic::Request::new(grpc::raw(MODEL, "FP32", &[1, 1], &[0; 4]));
    asked.metadata_mut().insert("traceparent", sampled().parse().unwrap());
    let path = format!("{}/ModelInfer", grpc::SERVICE);
    let answered: Result<ModelInferResponse, _> = grpc::call(&mut grpc::channel(forebay), &path, asked).await;
    answered.unwrap();
}

fn sampled() -> String {
    format!("00-{TRACE}-{CALLER}-01")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

fn names(spans: &[Span]) -> BTreeSet<&str> {
    spans.iter().map(|span| span.name.as_str()).collect()
}

fn attribute(span: &Span, name: &str) -> String {
    let found = span.attributes.iter().find(|attribute| attribute.key == name);
    match found.and_then(|found| found.value.clone()?.value) {
        Some(Text::StringValue(text)) => text,
        other => panic!("{name}: {other:?}"),
    }
}

/// A trace of another client's.
const OTHER: &str = "1af7651916cd43dd8448eb211c80319c";

const SOON: &str = "opentelemetry,bsp_schedule_delay=10";

#[test]
fn a_request_that_comes_with_a_trace_has_a_span_in_it_and_one_for_each_stage() {
    let collector = Collector::start();
    let resource = "opentelemetry,resource=service.name=shop";
    let forebay = serve(&collector.url, &["level=TIMESTAMPS", "rate=0", SOON, resource]);
    assert_eq!(infer(&forebay, 0.0, None).status, 200, "this one is not traced");
    assert_eq!(infer(&forebay, 1.0, Some(&sampled())).status, 200);
    let (resource, root, stages) = collector.trace();
    let service = resource.attributes.iter().find(|attribute| attribute.key == "service.name").unwrap();
    assert_eq!(service.value.clone().unwrap().value, Some(Text::StringValue("shop".into())));
    assert_eq!((hex(&root.trace_id), hex(&root.parent_span_id)), (TRACE.into(), CALLER.into()));
    assert_eq!(root.name, "infer identity_fp32");
    assert_eq!(attribute(&root, "model_version"), "1");
    assert_eq!(attribute(&root, "cache_status"), "forebay-serve; fwd=uri-miss; stored");
    let computed = [
        "read",
        "decode",
        "lookup",
        "queue",
        "compute_input",
        "compute_infer",
        "compute_output",
        "keep",
        "encode",
    ];
    assert_eq!(names(&stages), computed.into());
    for stage in &stages {
        assert_eq!((&stage.trace_id, &stage.parent_span_id), (&root.trace_id, &root.span_id), "{stage:?}");
        let within = root.start_time_unix_nano <= stage.start_time_unix_nano
            && stage.start_time_unix_nano <= stage.end_time_unix_nano
            && stage.end_time_unix_nano <= root.end_time_unix_nano;
        assert!(within, "{stage:?} in {root:?}");
    }

    assert!(infer(&forebay, 1.0, Some(&sampled())).is_hit());
    let (_, root, stages) = collector.trace();
    assert_eq!(attribute(&root, "cache_status"), "forebay-serve; hit");
    assert_eq!(names(&stages), ["read", "decode", "lookup", "encode"].into());

    let wrong = send(
        forebay.http_port,
        "POST",
        "/v2/models/add_fp32/infer",
        &[("traceparent", &sampled())],
        v2::request(&[1.0]).to_string().as_bytes(),
    );
    assert_eq!(wrong.status, 400);
    let (_, root, _) = collector.trace();
    let status = root.status.unwrap();
    assert_eq!((status.code(), status.message), (StatusCode::Error, wrong.error()));
}

#[tokio::test]
async fn calls_over_grpc_are_traced_as_requests_over_http_are() {
    let collector = tokio::task::spawn_blocking(Collector::start).await.unwrap();
    let forebay = serve(&collector.url, &["level=TIMESTAMPS", "rate=0", SOON]);
    call(&forebay).await;
    let channel = &mut grpc::channel(&forebay);
    let setting = grpc::proto::TraceSettingRequest { model_name: "nope".into(), ..Default::default() };
    let unknown: Result<grpc::proto::TraceSettingResponse, _> =
        grpc::ask(channel, "TraceSetting", setting).await;
    assert_eq!(unknown.unwrap_err().code(), tonic::Code::NotFound);
    tokio::task::spawn_blocking(move || {
        let (_, root, stages) = collector.trace();
        assert_eq!((hex(&root.trace_id), hex(&root.parent_span_id)), (TRACE.into(), CALLER.into()));
        assert!(names(&stages).is_superset(&["read", "decode", "queue", "encode"].into()), "{stages:?}");
    })
    .await
    .unwrap();
}

#[test]
fn a_request_that_takes_an_equal_ones_result_is_linked_to_it() {
    let (collector, repository) = (Collector::start(), patient_repository());
    let forebay = serve_from(repository.path(), &collector.url, &["level=TIMESTAMPS", "rate=0", SOON]);
    lead_and_follow(&forebay, &format!("00-{OTHER}-{CALLER}-01"));
    let mut roots = Vec::new();
    while roots.len() < 2 {
        roots.extend(collector.spans().into_iter().filter(|span| span.name.starts_with("infer ")));
    }
    let (leaders, followers): (Vec<_>, Vec<_>) =
        roots.into_iter().partition(|root| hex(&root.trace_id) == OTHER);
    assert!(leaders[0].links.is_empty(), "{leaders:?}");
    let links: Vec<_> = followers[0].links.iter().map(|link| (&link.trace_id, &link.span_id)).collect();
    assert_eq!(links, [(&leaders[0].trace_id, &leaders[0].span_id)]);
}

#[test]
fn a_lookup_at_the_gate_has_a_span_in_the_trace_that_it_comes_with() {
    let (collector, mesh) = (Collector::start(), Mesh::redis());
    let traces = trace_config(&collector.url, &["level=TIMESTAMPS", "rate=0", SOON]);
    let traces: Vec<_> = traces.iter().map(String::as_str).collect();
    let (server, gate) = (mesh.serve(), Forebay::gate(&mesh.arguments(&traces)));
    ask(&server, 1.0);
    until("the gate finds it", || (lookup(&gate, 1.0).status == 200).then_some(()));
    for (value, status, found) in [(1.0, 200, "true"), (2.0, 404, "false")] {
        assert_eq!(lookup_with(&gate, value, &[("traceparent", &sampled())]).status, status);
        let mut spans = Vec::new();
        while !spans.iter().any(|span: &Span| span.name.starts_with("lookup ")) {
            spans.extend(collector.spans());
        }
        let (root, stages): (Vec<_>, Vec<_>) =
            spans.into_iter().partition(|span| span.name == "lookup identity_fp32");
        let root = &root[0];
        assert_eq!((hex(&root.trace_id), hex(&root.parent_span_id)), (TRACE.into(), CALLER.into()));
        assert_eq!(["found", "service"].map(|name| attribute(root, name)), [found, "default"]);
        assert_eq!(names(&stages), ["lookup", "encode"].into());
        assert!(stages.iter().all(|stage| stage.parent_span_id == root.span_id), "{stages:?}");
    }
    gate.signal(Signal::TERM);
    assert!(gate.wait().success());
}

#[test]
fn clients_say_which_requests_are_traced_and_one_that_says_it_is_not_sampled_is_not() {
    let collector = Collector::start();
    let forebay = serve(&collector.url, &[SOON]);
    let set = |path: &str, settings: &Value| {
        send(forebay.http_port, "POST", path, &[], settings.to_string().as_bytes())
    };
    infer(&forebay, 1.0, Some(&sampled()));
    let told = set("/v2/models/identity_fp32/trace/setting", &json!({ "trace_level": ["TIMESTAMPS"] }));
    assert_eq!((told.status, &told.json()["trace_level"]), (200, &json!(["TIMESTAMPS"])));
    assert_eq!(forebay.get("/v2/trace/setting").json()["trace_level"], json!(["OFF"]));
    infer(&forebay, 2.0, Some(&format!("00-{TRACE}-{CALLER}-00")));
    set("/v2/trace/setting", &json!({ "trace_rate": "2", "trace_count": "1" }));
    for value in [3.0, 4.0, 5.0, 6.0] {
        infer(&forebay, value, None);
    }
    let (_, root, _) = collector.trace();
    assert!(root.parent_span_id.is_empty(), "it is the first that is traced, by its rate: {root:?}");
    let told = forebay.get("/v2/models/identity_fp32/trace/setting").json();
    assert_eq!((&told["trace_count"], &told["trace_rate"]), (&json!("0"), &json!("2")));
    infer(&forebay, 7.0, Some(&sampled()));
    assert_eq!(hex(&collector.trace().1.trace_id), TRACE, "none came between");
}

#[test]
fn what_waits_is_sent_at_the_end() {
    let collector = Collector::start();
    let forebay = serve(&collector.url, &["level=TIMESTAMPS", "opentelemetry,bsp_schedule_delay=600000"]);
    assert_eq!(infer(&forebay, 1.0, Some(&sampled())).status, 200);
    forebay.signal(Signal::TERM);
    assert_eq!(hex(&collector.trace().1.trace_id), TRACE);
    assert!(forebay.wait().success());
}

#[test]
fn a_collector_that_is_away_costs_spans_and_nothing_else() {
    // A port that nobody listens on.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let forebay = serve(&format!("http://127.0.0.1:{port}/v1/traces"), &["level=TIMESTAMPS", SOON]);
    assert_eq!(infer(&forebay, 1.0, Some(&sampled())).status, 200);
    until("lost spans are counted", || {
        (forebay.metric_line("forebay_trace_spans{result=\"lost\"}") > 0).then_some(())
    });
    assert!(infer(&forebay, 1.0, Some(&sampled())).is_hit());
    forebay.signal(Signal::TERM);
    assert!(forebay.wait().success());
}
