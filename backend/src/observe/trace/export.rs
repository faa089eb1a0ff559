//! Ended spans -> a bounded queue -> batches -> OTLP over HTTP to a collector. What doesn't fit the queue is lost, and what the
//! collector doesn't take is counted.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use hyper_rustls::HttpsConnectorBuilder;
use metrics::{Counter, counter};
use opentelemetry::KeyValue;
use opentelemetry_http::hyper::HyperClient;
use opentelemetry_otlp::{SpanExporter as Otlp, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, SdkTracerProvider, SpanData, SpanExporter,
};
use rustls::RootCertStore;
use tokio::runtime::Handle;

use crate::settings::{Export, SettingsError};
use crate::trust::roots;

/// What the process is called, unless a resource's `service.name` says it.
const SERVICE: &str = "forebay";
/// A message to the collector gets so long, as OpenTelemetry's specification has it.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What makes spans and sends them so.
pub(super) fn provider(export: &Export) -> Result<SdkTracerProvider, SettingsError> {
    let exporter = OnRuntime {
        exporter: Arc::new(otlp(export)?),
        runtime: Handle::current(),
        sent: counter!("forebay_trace_spans", "result" => "sent"),
        lost: counter!("forebay_trace_spans", "result" => "lost"),
    };
    let batches = BatchConfigBuilder::default()
        .with_max_queue_size(export.max_queue)
        .with_max_export_batch_size(export.max_batch)
        .with_scheduled_delay(export.delay)
        .build();
    let attributes = export.resource.iter().map(|(key, value)| KeyValue::new(key.clone(), value.clone()));
    let resource = Resource::builder_empty()
        .with_service_name(SERVICE)
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .with_detector(Box::new(opentelemetry_sdk::resource::EnvResourceDetector::new()))
        .with_attributes(attributes)
        .build();
    let processor = BatchSpanProcessor::builder(exporter).with_batch_config(batches).build();
    Ok(SdkTracerProvider::builder().with_span_processor(processor).with_resource(resource).build())
}

fn otlp(export: &Export) -> Result<Otlp, SettingsError> {
    let refused = |error: &dyn ToString| {
        let reason = format!("the collector can't be used: {}", error.to_string());
        SettingsError::Wrong { flag: "--trace-config", reason }
    };
    // An address that is said, and asks for no encryption, wants no CAs, which take their time to read.
    let is_plain = export.url.as_ref().is_some_and(|url| url.starts_with("http://"));
    let believed = if is_plain { RootCertStore::empty() } else { roots::of_system() };
    let tls = roots::believing(believed).map_err(|error| refused(&error))?;
    let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build();
    let client = HyperClient::new(connector, TIMEOUT, None);
    let mut builder = Otlp::builder().with_http().with_http_client(client).with_timeout(TIMEOUT);
    if let Some(url) = &export.url {
        builder = builder.with_endpoint(url);
    }
    builder.build().map_err(|error| refused(&error))
}

/// Sends on the runtime: batches are made on a thread that has none.
#[derive(Debug)]
struct OnRuntime {
    exporter: Arc<Otlp>,
    runtime: Handle,
    sent: Counter,
    lost: Counter,
}

impl SpanExporter for OnRuntime {
    fn export(&self, batch: Vec<SpanData>) -> impl Future<Output = OTelSdkResult> + Send {
        let spans = batch.len() as u64;
        let exporter = self.exporter.clone();
        let sending = self.runtime.spawn(async move { exporter.export(batch).await });
        async move {
            let sent = sending.await.unwrap_or(Err(OTelSdkError::AlreadyShutdown));
            if sent.is_ok() { &self.sent } else { &self.lost }.increment(spans);
            sent
        }
    }

    fn set_resource(&mut self, resource: &Resource) {
        // Nothing is sent yet, so nobody else has it.
        if let Some(exporter) = Arc::get_mut(&mut self.exporter) {
            exporter.set_resource(resource);
        }
    }
}
