//! The real collector of OpenTelemetry, by what it writes of the spans that it took. `cargo xtask traces` builds it and runs this.

use std::collections::BTreeSet;
use std::process::Command;

use rig::process::{Process, free_port};

use super::*;

/// What it writes of one span.
#[derive(Debug, Default, Clone)]
struct Written {
    /// What stands behind a name and a colon, such as `Trace ID`; attributes by their own names.
    fields: Vec<(String, String)>,
    /// Trace and span that it is linked to.
    links: Vec<(String, String)>,
}

impl Written {
    fn is(&self, name: &str) -> &str {
        self.fields.iter().find(|(of, _)| of == name).map_or("", |(_, value)| value)
    }
}

/// It runs, and takes spans at that URL.
struct Real {
    process: Process,
    url: String,
    _folder: TempDir,
}

impl Real {
    fn start() -> Self {
        let program = std::env::var_os("FOREBAY_COLLECTOR").expect("FOREBAY_COLLECTOR is its program");
        let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
        let config = folder.path().join("collector.yaml");
        let settings = json!({
            "receivers": {"otlp": {"protocols": {"http": {"endpoint": format!("127.0.0.1:{port}")}}}},
            "exporters": {"debug": {"verbosity": "detailed", "use_internal_logger": false}},
            "service": {"pipelines": {"traces": {"receivers": ["otlp"], "exporters": ["debug"]}}},
        });
        std::fs::write(&config, settings.to_string()).unwrap();
        let mut command = Command::new(program);
        command.arg("--config").arg(&config);
        let mut process = Process::start("collector", command);
        process.until_line(|line| line.contains("Everything is ready").then_some(()));
        Self { process, url: format!("http://127.0.0.1:{port}/v1/traces"), _folder: folder }
    }

    /// Attributes of the resource, and the spans of all requests, when those of so many are there.
    fn written(&self, requests: usize) -> (BTreeSet<String>, Vec<Written>) {
        until("spans come", || {
            let read = read(&self.process.log());
            let roots = read.1.iter().filter(|span| span.is("Name").starts_with("infer ")).count();
            (roots == requests).then_some(read)
        })
    }
}

/// Reads what the `debug` exporter writes.
fn read(log: &str) -> (BTreeSet<String>, Vec<Written>) {
    let (mut resource, mut spans) = (BTreeSet::new(), Vec::<Written>::new());
    let (mut of_resource, mut of_link) = (false, false);
    for line in log.lines().map(str::trim) {
        if line.starts_with("Span #") {
            spans.push(Written::default());
            of_link = false;
        }
        match line {
            "Resource attributes:" => of_resource = true,
            "Attributes:" => (of_resource, of_link) = (false, false),
            _ => {}
        }
        of_link |= line.starts_with("SpanLink #");
        let named = line.trim_start_matches("-> ").split_once(':');
        let Some((name, value)) = named.map(|(name, value)| (name.trim(), bare(value.trim()))) else {
            continue;
        };
        match (spans.last_mut(), name) {
            _ if line.starts_with("ScopeSpans") => of_resource = false,
            _ if of_resource && line.starts_with("->") => {
                resource.insert(format!("{name}={value}"));
            }
            (Some(span), "Trace ID") if of_link && line.starts_with("->") => {
                span.links.push((value.to_owned(), String::new()));
            }
            (Some(span), "ID") if of_link && line.starts_with("->") => {
                if let Some((_, id)) = span.links.last_mut() {
                    value.clone_into(id);
                }
            }
            (Some(span), _) => span.fields.push((name.to_owned(), value.to_owned())),
            (None, _) => {}
        }
    }
    (resource, spans)
}

/// A text without the name of its type.
fn bare(value: &str) -> &str {
    value.strip_prefix("Str(").and_then(|value| value.strip_suffix(')')).unwrap_or(value)
}

/// A row of the report.
fn found(claim: &str, found: &str) {
    println!("| {claim} | {found} |");
}

#[test]
#[ignore = "wants OpenTelemetry's collector, minutes to build: cargo xtask traces"]
fn the_real_collector_takes_spans_of_both_protocols_with_their_parents_links_and_resource() {
    let (collector, repository) = (Real::start(), patient_repository());
    let settings = ["level=TIMESTAMPS", "rate=0", SOON, "opentelemetry,resource=service.name=shop"];
    let forebay = serve(&collector.url, &settings);
    assert_eq!(infer(&forebay, 1.0, Some(&sampled())).status, 200);
    tokio::runtime::Runtime::new().unwrap().block_on(call(&forebay));
    let (resource, spans) = collector.written(2);
    for attribute in ["service.name=shop", concat!("service.version=", env!("CARGO_PKG_VERSION"))] {
        assert!(resource.contains(attribute), "{resource:?}");
    }
    found("attributes of the resource", &resource.into_iter().collect::<Vec<_>>().join(", "));
    for (root, protocol) in spans.iter().filter(|span| span.is("Kind") == "Server").zip(["HTTP", "gRPC"]) {
        assert_eq!(["Trace ID", "Parent ID"].map(|name| root.is(name)), [TRACE, CALLER], "{root:?}");
        assert_eq!((root.is("Name"), root.is("Status code")), ("infer identity_fp32", "Ok"), "{root:?}");
        let stages: Vec<_> = spans.iter().filter(|span| span.is("Parent ID") == root.is("ID")).collect();
        assert!(stages.iter().all(|stage| stage.is("Trace ID") == TRACE), "{stages:?}");
        let names: Vec<_> = stages.iter().map(|stage| stage.is("Name")).collect();
        let computed =
            ["read", "decode", "lookup", "queue", "compute_input", "compute_infer", "compute_output"];
        assert_eq!(names, [&computed[..], &["keep", "encode"]].concat());
        found(
            &format!("a call over {protocol} with a `traceparent`"),
            &format!(
                "`{}` of that trace, below the client's span, {}; below it {}",
                root.is("Name"),
                root.is("cache_status"),
                names.join(", ")
            ),
        );
    }

    let forebay = serve_from(repository.path(), &collector.url, &settings);
    lead_and_follow(&forebay, &format!("00-{OTHER}-{CALLER}-01"));
    let (_, spans) = collector.written(4);
    let linked: Vec<_> = spans.iter().filter(|span| !span.links.is_empty()).collect();
    let leader = spans.iter().find(|span| span.is("Trace ID") == OTHER && span.is("Kind") == "Server");
    let leader = leader.expect("a span of the one that leads");
    assert_eq!(linked.iter().map(|span| span.is("Trace ID")).collect::<Vec<_>>(), [TRACE]);
    assert_eq!(linked[0].links, [(OTHER.to_owned(), leader.is("ID").to_owned())]);
    found(
        "an equal request that waited",
        "its span is linked to that of the one that computed, of another trace",
    );
}
