//! A collector over HTTP that answers as it is told, and what becomes of spans then.

use std::io::Write;
use std::sync::{Arc, Mutex};

use axum::extract::State;
use http::HeaderMap;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTracePartialSuccess;
use opentelemetry_proto::tonic::trace::v1::Span as Sent;

use super::super::tests::{open, receive};
use super::super::{Traces, TracingConfig};
use super::*;

/// Status and body of an answer.
type Told = (u16, Vec<u8>);

/// What was posted, and how it is answered.
#[derive(Clone, Default)]
pub(in super::super) struct Collector {
    address: String,
    bodies: Arc<Mutex<Vec<Bytes>>>,
    heads: Arc<Mutex<Vec<HeaderMap>>>,
    /// For one request each, the last first; then 200.
    answers: Arc<Mutex<Vec<Told>>>,
    tasks: crate::Tasks,
}

impl Collector {
    pub(in super::super) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let collector = Self {
            address: listener.local_addr().unwrap().to_string(),
            ..Self::default()
        };
        let router = axum::Router::new()
            .route("/base/v1/traces", axum::routing::post(take))
            .with_state(collector.clone());
        let tasks = collector.tasks.clone();
        collector
            .tasks
            .spawn(crate::serve::serve(listener, router, tasks));
        collector
    }

    pub(in super::super) fn url(&self) -> String {
        format!("http://{}/base", self.address)
    }

    /// What it has taken.
    pub(in super::super) fn spans(&self) -> Vec<Sent> {
        let bodies = self.bodies.lock().unwrap();
        let read = |body: &Bytes| ExportTraceServiceRequest::decode(body.clone()).unwrap();
        let resources = bodies.iter().map(read).flat_map(|read| read.resource_spans);
        let scopes = resources.flat_map(|resource| resource.scope_spans);
        scopes.flat_map(|scope| scope.spans).collect()
    }

    /// Whether a text is in the bytes that it was sent.
    pub(in super::super) fn has(&self, text: &str) -> bool {
        let bodies = self.bodies.lock().unwrap();
        let has = |body: &Bytes| body.windows(text.len()).any(|part| part == text.as_bytes());
        bodies.iter().any(has)
    }
}

async fn take(
    State(collector): State<Collector>,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, Vec<u8>) {
    let answer = collector.answers.lock().unwrap().pop();
    let (status, said) = answer.unwrap_or((200, Vec::new()));
    let status = StatusCode::from_u16(status).unwrap();
    collector.heads.lock().unwrap().push(headers);
    if status.is_success() {
        collector.bodies.lock().unwrap().push(body);
    }
    (status, said)
}

fn record(traces: &Traces, spans: usize) {
    for _ in 0..spans {
        drop(receive(traces, &HeaderMap::new()).1.unwrap());
    }
}

fn counted(metrics: &Metrics, line: &str) {
    let text = metrics.render();
    assert!(text.lines().any(|one| one == line), "no {line} in\n{text}");
}

#[tokio::test]
async fn spans_are_posted_with_the_configured_headers() {
    let collector = Collector::start().await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("h"), "Authorization: Bearer s3cret\n").unwrap();
    let config = TracingConfig {
        otlp_endpoint: collector.url(),
        sample: 1.0,
        service_name: Some("named".into()),
        headers_file: Some("h".into()),
    };
    let service = super::super::Service {
        name: "unnamed",
        version: "1",
    };
    let (clock, metrics) = (Arc::new(crate::SystemClock), Metrics::new());
    let traces = Traces::open(&config, service, folder.path(), clock, &metrics).unwrap();
    record(&traces, 3);
    // Without being told to.
    let end = Instant::now() + Duration::from_secs(20);
    while collector.spans().len() < 3 {
        assert!(Instant::now() < end, "nothing comes");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // What has arrived is counted only once its answer has come back.
    traces.finish().await;
    counted(&metrics, "traces_sent_total 3");
    let heads = collector.heads.lock().unwrap();
    assert_eq!(heads.len(), 1, "they are sent together");
    assert_eq!(heads[0]["authorization"], "Bearer s3cret");
    assert_eq!(heads[0]["content-type"], "application/x-protobuf");
    assert!(collector.has("named") && !collector.has("unnamed") && !collector.has("s3cret"));
}

#[tokio::test]
async fn what_may_be_taken_later_is_sent_again() {
    let collector = Collector::start().await;
    let later = [429, 502, 503].map(|status| (status, Vec::new()));
    collector.answers.lock().unwrap().extend(later);
    let (traces, metrics) = open(&collector, 1.0);
    record(&traces, 5);
    let end = Instant::now() + Duration::from_secs(30);
    while collector.spans().len() < 5 {
        assert!(Instant::now() < end, "nothing comes");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(collector.heads.lock().unwrap().len(), 4);
    traces.finish().await;
    counted(&metrics, "traces_sent_total 5");
    counted(&metrics, "traces_dropped_total{reason=\"refused\"} 0");
}

/// A log that is kept.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn what_is_refused_is_counted_and_logged_when_it_begins_and_when_it_ends() {
    let lines = Lines::default();
    let writer = lines.clone();
    let log = tracing_subscriber::fmt().with_writer(move || writer.clone());
    let _log = tracing::subscriber::set_default(log.finish());
    let collector = Collector::start().await;
    let part = ExportTraceServiceResponse {
        partial_success: Some(ExportTracePartialSuccess {
            rejected_spans: 2,
            error_message: "s3cret".into(),
        }),
    };
    let answers = [
        (200, Vec::new()),
        (200, part.encode_to_vec()),
        (401, Vec::new()),
        (400, Vec::new()),
    ];
    collector.answers.lock().unwrap().extend(answers);
    let (traces, metrics) = open(&collector, 1.0);
    for asked in 1..=4 {
        record(&traces, 3);
        let end = Instant::now() + Duration::from_secs(20);
        while collector.heads.lock().unwrap().len() < asked {
            assert!(Instant::now() < end, "nothing comes");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    traces.finish().await;
    counted(&metrics, "traces_sent_total 4");
    counted(&metrics, "traces_dropped_total{reason=\"refused\"} 8");
    let log = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    let times = |text| log.matches(text).count();
    assert_eq!(times("the collector does not take spans"), 1, "{log}");
    assert_eq!(times("it answers 400"), 1, "{log}");
    assert_eq!(times("the collector takes spans again"), 1, "{log}");
    assert!(!log.contains("s3cret"));
}

/// Takes connections and says nothing.
async fn silent() -> (Collector, tokio::net::TcpListener) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let collector = Collector {
        address: listener.local_addr().unwrap().to_string(),
        ..Collector::default()
    };
    (collector, listener)
}

#[tokio::test]
async fn a_collector_that_hangs_holds_up_nobody() {
    let (collector, _listener) = silent().await;
    let (traces, metrics) = open(&collector, 1.0);
    let began = Instant::now();
    record(&traces, QUEUE + 1000);
    assert!(began.elapsed() < Duration::from_secs(5));
    counted(&metrics, "traces_dropped_total{reason=\"full\"} 1000");
    let began = Instant::now();
    traces.finish().await;
    assert!(began.elapsed() < LAST_CALL + Duration::from_secs(1));
    counted(
        &metrics,
        &format!("traces_dropped_total{{reason=\"unsent\"}} {QUEUE}"),
    );
    // Whoever comes later is too late.
    record(&traces, 1);
    counted(
        &metrics,
        &format!("traces_dropped_total{{reason=\"unsent\"}} {}", QUEUE + 1),
    );
}

#[tokio::test]
async fn what_waits_at_the_end_is_sent_at_once() {
    let collector = Collector::start().await;
    let (traces, metrics) = open(&collector, 1.0);
    record(&traces, BATCH * 2 + 1);
    let began = Instant::now();
    traces.finish().await;
    assert!(began.elapsed() < LAST_CALL);
    assert_eq!(collector.spans().len(), BATCH * 2 + 1);
    counted(&metrics, &format!("traces_sent_total {}", BATCH * 2 + 1));
}
