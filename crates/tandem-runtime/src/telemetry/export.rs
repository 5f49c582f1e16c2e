//! Sending spans away.
//!
//! They wait in a bounded queue, and a thread of its own sends them: when a receiver is slow or
//! gone, spans are lost and requests are not.

use std::fmt;
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use opentelemetry::KeyValue;
use opentelemetry_otlp::{SpanExporter as Otlp, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchSpanProcessor, Sampler, SdkTracerProvider, SpanData, SpanExporter,
};
use serde_json::json;
use tokio::runtime::{Builder, Runtime};
use tracing::{info, warn};

use super::TelemetryError;

/// Longest wait for a receiver to take spans.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Longest wait at the end of the process.
const LAST_WAIT: Duration = Duration::from_secs(2);

/// Where spans go, and which.
#[derive(Debug, Clone, PartialEq)]
pub struct Export {
    /// Where they go.
    pub receiver: Receiver,
    /// Share of the traces that begin here, 0 to 1. Those of callers go by the callers' choice.
    pub share: f64,
    /// Attributes of the process, such as `service.name`.
    pub resource: Vec<(&'static str, String)>,
}

/// Who takes spans.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Receiver {
    /// A collector that speaks OTLP over gRPC; an address with its scheme.
    Otlp(String),
    /// Standard output, one JSON object a line.
    Stdout,
}

impl Receiver {
    /// A collector at `endpoint`, which may be without a scheme.
    pub fn otlp(endpoint: &str, plain_text: Transport) -> Self {
        if endpoint.contains("://") {
            return Self::Otlp(endpoint.to_owned());
        }
        let scheme = match plain_text {
            Transport::Plain => "http",
            Transport::Tls => "https",
        };
        Self::Otlp(format!("{scheme}://{endpoint}"))
    }
}

/// How a collector is reached whose address says nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// Plain text.
    Plain,
    /// TLS, with the system's certificates.
    Tls,
}

impl fmt::Display for Receiver {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Otlp(endpoint) => formatter.write_str(endpoint),
            Self::Stdout => formatter.write_str("standard output"),
        }
    }
}

/// Spans on their way.
pub(super) struct Exporting {
    provider: SdkTracerProvider,
    /// Its connection lives here: the process's own runtime may be busy, or not there yet.
    runtime: Option<Runtime>,
}

impl Exporting {
    pub(super) fn start(export: &Export) -> Result<Self, TelemetryError> {
        let failed = |reason: String| TelemetryError::Export {
            receiver: export.receiver.to_string(),
            reason,
        };
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("spans")
            .enable_all()
            .build()
            .map_err(|error| failed(error.to_string()))?;
        let entered = runtime.enter();
        let processor = match &export.receiver {
            Receiver::Stdout => BatchSpanProcessor::builder(Lines).build(),
            Receiver::Otlp(endpoint) => {
                let exporter = Otlp::builder()
                    .with_tonic()
                    .with_endpoint(endpoint)
                    .with_timeout(TIMEOUT)
                    .build()
                    .map_err(|error| failed(error.to_string()))?;
                BatchSpanProcessor::builder(Watched::new(exporter)).build()
            }
        };
        drop(entered);
        let attributes = export.resource.iter();
        let attributes = attributes.map(|(name, value)| KeyValue::new(*name, value.clone()));
        let share = Sampler::TraceIdRatioBased(export.share);
        let provider = SdkTracerProvider::builder()
            .with_resource(Resource::builder().with_attributes(attributes).build())
            .with_sampler(Sampler::ParentBased(Box::new(share)))
            .with_span_processor(processor)
            .build();
        Ok(Self {
            provider,
            runtime: Some(runtime),
        })
    }

    pub(super) fn provider(&self) -> &SdkTracerProvider {
        &self.provider
    }
}

impl Drop for Exporting {
    fn drop(&mut self) {
        if let Err(error) = self.provider.shutdown_with_timeout(LAST_WAIT) {
            warn!(%error, "the last spans were not exported");
        }
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Says once that a receiver does not take spans, and once that it does again.
#[derive(Debug)]
struct Watched<E> {
    exporter: E,
    failing: AtomicBool,
}

impl<E> Watched<E> {
    fn new(exporter: E) -> Self {
        Self {
            exporter,
            failing: AtomicBool::new(false),
        }
    }
}

impl<E: SpanExporter> SpanExporter for Watched<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let result = self.exporter.export(batch).await;
        match (
            &result,
            self.failing.swap(result.is_err(), Ordering::Relaxed),
        ) {
            (Err(error), false) => warn!(%error, "failed to export spans, which are lost"),
            (Ok(()), true) => info!("spans are exported again"),
            _ => {}
        }
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

/// Writes spans to standard output.
#[derive(Debug)]
struct Lines;

impl SpanExporter for Lines {
    fn export(&self, batch: Vec<SpanData>) -> impl Future<Output = OTelSdkResult> + Send {
        let lines: String = batch.iter().map(|span| line(span) + "\n").collect();
        // Whoever has closed standard output does not want to know.
        let _written = std::io::stdout().lock().write_all(lines.as_bytes());
        std::future::ready(Ok(()))
    }
}

fn line(span: &SpanData) -> String {
    let attributes = span.attributes.iter();
    let attributes: serde_json::Map<String, serde_json::Value> = attributes
        .map(|pair| (pair.key.to_string(), pair.value.as_str().into()))
        .collect();
    let start = span.start_time.duration_since(UNIX_EPOCH);
    let took = span.end_time.duration_since(span.start_time);
    json!({
        "name": span.name,
        "trace_id": span.span_context.trace_id().to_string(),
        "span_id": span.span_context.span_id().to_string(),
        "parent_span_id": span.parent_span_id.to_string(),
        "start": start.unwrap_or_default().as_secs_f64(),
        "duration": took.unwrap_or_default().as_secs_f64(),
        "attributes": attributes,
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use opentelemetry_sdk::error::OTelSdkError;
    use parking_lot::Mutex;

    use super::*;

    #[test]
    fn an_address_without_a_scheme_gets_that_of_its_transport() {
        let check = |endpoint: &str, transport, want: &str| {
            let receiver = Receiver::otlp(endpoint, transport);
            assert_eq!(receiver, Receiver::Otlp(want.to_owned()));
        };
        check("jaeger:4317", Transport::Plain, "http://jaeger:4317");
        check("jaeger:4317", Transport::Tls, "https://jaeger:4317");
        check("http://jaeger:4317", Transport::Tls, "http://jaeger:4317");
    }

    /// Takes the first and the fourth batch.
    #[derive(Debug, Default)]
    struct Moody(std::sync::atomic::AtomicUsize);

    impl SpanExporter for Moody {
        fn export(&self, batch: Vec<SpanData>) -> impl Future<Output = OTelSdkResult> + Send {
            drop(batch);
            let at = self.0.fetch_add(1, Ordering::Relaxed);
            let taken = matches!(at, 0 | 3);
            std::future::ready(match taken {
                true => Ok(()),
                false => Err(OTelSdkError::InternalFailure("gone".to_owned())),
            })
        }
    }

    /// Log lines.
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_receiver_that_is_gone_is_named_once() {
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone());
        let exporter = Watched::new(Moody::default());
        let runtime = Builder::new_current_thread().build().unwrap();
        tracing::subscriber::with_default(subscriber.finish(), || {
            for _ in 0..5 {
                // The result is that of the exporter.
                let _taken = runtime.block_on(exporter.export(Vec::new()));
            }
        });
        let log = String::from_utf8(log.0.lock().clone()).unwrap();
        assert_eq!(log.matches("failed to export spans").count(), 2, "{log}");
        assert_eq!(log.matches("exported again").count(), 1, "{log}");
    }

    #[test]
    fn a_receiver_must_have_an_address() {
        let export = Export {
            receiver: Receiver::Otlp("not an address".to_owned()),
            share: 1.0,
            resource: Vec::new(),
        };
        assert!(matches!(
            Exporting::start(&export),
            Err(TelemetryError::Export { .. })
        ));
    }
}
