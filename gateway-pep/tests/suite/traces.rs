//! Spans of a gateway, as a collector gets them, and what whoever is asked or forwarded to is told of the trace.

use std::path::Path;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use service_kit::traces::{Service, TracingConfig};
use service_kit::{Metrics, SystemClock, Traces};
use tokio::net::TcpListener;

use crate::fixture::{Fixture, PATIENCE, Setup};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const UNSAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

/// An OTLP receiver that keeps what it gets.
#[derive(Debug, Clone, Default)]
struct Collector(Arc<Mutex<Vec<Bytes>>>);

impl Collector {
    async fn start(sample: f64) -> (Self, Traces) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let collector = Self::default();
        let taking = collector.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let taking = taking.clone();
                let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
                    let taking = taking.clone();
                    async move {
                        let body = request.into_body().collect().await?.to_bytes();
                        taking.0.lock().unwrap().push(body);
                        Ok::<_, hyper::Error>(http::Response::new(Full::<Bytes>::default()))
                    }
                });
                let connection = hyper::server::conn::http1::Builder::new();
                tokio::spawn(connection.serve_connection(TokioIo::new(stream), service));
            }
        });
        let config = TracingConfig {
            otlp_endpoint: endpoint,
            sample,
            service_name: None,
            headers_file: None,
        };
        let service = Service {
            name: "gateway",
            version: "1",
        };
        let (clock, metrics) = (Arc::new(SystemClock), Metrics::new());
        let traces = Traces::open(&config, service, Path::new(""), clock, &metrics).unwrap();
        (collector, traces)
    }

    fn spans(&self) -> Vec<Span> {
        let bodies = self.0.lock().unwrap();
        let read = |body: &Bytes| ExportTraceServiceRequest::decode(body.clone()).unwrap();
        let resources = bodies.iter().map(read).flat_map(|read| read.resource_spans);
        let scopes = resources.flat_map(|resource| resource.scope_spans);
        scopes.flat_map(|scope| scope.spans).collect()
    }

    fn has(&self, text: &str) -> bool {
        let bodies = self.0.lock().unwrap();
        let mut bodies = bodies.iter();
        bodies.any(|body| body.windows(text.len()).any(|part| part == text.as_bytes()))
    }
}

async fn start(traces: &Traces, gateway: &str) -> Fixture {
    let setup = Setup {
        gateway: format!("{{ workers: 1, access_log: 'off', {gateway} }}"),
        traces: traces.clone(),
        ..Setup::new().await
    };
    setup.start().await
}

async fn ask(fixture: &Fixture, request: &str, parent: &str) -> u16 {
    let head = format!(
        "{request} HTTP/1.1\r\nHost: gw.test\r\nAuthorization: Bearer at_alice\r\ntraceparent: {parent}\r\n\
         tracestate: vendor=CANARY\r\nConnection: close\r\n\r\n"
    );
    fixture.raw(&head).await.status()
}

fn hex(id: &[u8]) -> String {
    id.iter()
        .fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

fn said(span: &Span) -> String {
    let pairs = span.attributes.iter().map(|attribute| {
        let value = match attribute.value.clone().unwrap().value.unwrap() {
            Value::StringValue(text) => text,
            Value::IntValue(number) => number.to_string(),
            other => format!("{other:?}"),
        };
        format!("{}={value}", attribute.key)
    });
    pairs.collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn a_request_is_one_trace_from_the_client_to_the_upstream() {
    let (collector, traces) = Collector::start(0.0).await;
    let fixture = start(&traces, "").await;
    for _ in 0..2 {
        assert_eq!(
            ask(&fixture, "GET /records/CANARY?q=CANARY", PARENT).await,
            200
        );
    }
    let seen = fixture.upstream.seen();
    let asked = fixture.pdp.traces();
    assert!(fixture.gateway.finish(PATIENCE).await);
    traces.finish().await;
    let spans = collector.spans();
    let named = |name: &str| -> Vec<&Span> { spans.iter().filter(|it| it.name == name).collect() };
    let requests = named("GET /records/{id}");
    let (swaps, decisions, forwards) = (named("swap token"), named("authorize"), named("GET"));
    // The second is answered from memory.
    let counts = [&requests, &swaps, &decisions, &forwards].map(Vec::len);
    assert_eq!(counts, [2, 1, 1, 2], "{spans:?}");
    assert!(spans.iter().all(|span| hex(&span.trace_id) == TRACE));
    let parents = |span: &&Span| hex(&span.parent_span_id);
    assert!(
        requests
            .iter()
            .all(|span| parents(span) == "b7ad6b7169203331")
    );
    let first = requests
        .iter()
        .min_by_key(|span| span.start_time_unix_nano)
        .unwrap();
    for part in [swaps[0], decisions[0]] {
        assert_eq!(part.parent_span_id, first.span_id);
        assert_eq!(part.kind, 3);
    }
    assert_eq!(
        said(first),
        "url.scheme=http http.request.method=GET http.route=/records/{id} cedargate.token.source=remote \
         cedargate.decision=permit cedargate.decision.source=remote http.response.status_code=200"
    );
    assert_eq!(
        said(forwards[0]),
        "http.request.method=GET cedargate.upstream=a http.response.status_code=200"
    );
    // What each is told is the span that it belongs to.
    assert_eq!(
        asked,
        [format!("00-{TRACE}-{}-01", hex(&decisions[0].span_id))]
    );
    for (seen, span) in seen.iter().zip(&forwards) {
        let parent = format!("00-{TRACE}-{}-01", hex(&span.span_id));
        assert_eq!(seen.headers["traceparent"], parent);
        assert_eq!(seen.headers["tracestate"], "vendor=CANARY");
    }
    // A tracestate is the vendor's own, and is all that a client says in a span.
    let mut bare = spans.clone();
    for span in &mut bare {
        span.trace_state.clear();
    }
    assert!(!format!("{bare:?}").contains("CANARY"));
    for secret in ["at_alice", "jwt.", "alice"] {
        assert!(!collector.has(secret), "{secret}");
    }
}

#[tokio::test]
async fn a_trace_that_is_not_recorded_is_handed_on_unrecorded() {
    let (collector, traces) = Collector::start(1.0).await;
    let fixture = start(&traces, "").await;
    assert_eq!(ask(&fixture, "GET /records/1", UNSAMPLED).await, 200);
    let seen = fixture.upstream.last();
    let parent = seen.headers["traceparent"].to_str().unwrap().to_owned();
    assert!(
        parent.starts_with(&format!("00-{TRACE}-")) && parent.ends_with("-00"),
        "{parent}"
    );
    // One that begins here is recorded, as configured.
    assert_eq!(fixture.get("/records/1", "at_alice").await.status(), 200);
    let parent = fixture.upstream.last().headers["traceparent"]
        .to_str()
        .unwrap()
        .to_owned();
    assert!(
        parent.ends_with("-01") && !parent.contains(TRACE),
        "{parent}"
    );
    assert!(fixture.gateway.finish(PATIENCE).await);
    traces.finish().await;
    let spans = collector.spans();
    assert!(!spans.is_empty() && spans.iter().all(|span| hex(&span.trace_id) != TRACE));
}

/// The upstream of the last request hears nothing of the client's trace.
#[track_caller]
fn hears_of_another_trace(fixture: &Fixture) {
    let seen = fixture.upstream.last();
    let parent = seen.headers["traceparent"].to_str().unwrap();
    assert!(!parent.contains(TRACE), "{parent}");
    assert!(!seen.headers.contains_key("tracestate"));
}

#[tokio::test]
async fn clients_do_not_say_what_is_recorded_where_they_are_not_to() {
    let (collector, traces) = Collector::start(1.0).await;
    let fixture = start(&traces, "client_traces: restart").await;
    assert_eq!(ask(&fixture, "GET /records/1", UNSAMPLED).await, 200);
    hears_of_another_trace(&fixture);
    assert!(fixture.gateway.finish(PATIENCE).await);
    traces.finish().await;
    let spans = collector.spans();
    let request = spans
        .iter()
        .find(|span| span.name == "GET /records/{id}")
        .unwrap();
    assert!(request.parent_span_id.is_empty() && hex(&request.trace_id) != TRACE);
    assert_eq!(hex(&request.links[0].trace_id), TRACE);
    // Without a collector, no less.
    let fixture = start(&Traces::off(), "client_traces: restart").await;
    assert_eq!(ask(&fixture, "GET /records/1", PARENT).await, 200);
    hears_of_another_trace(&fixture);
}

#[tokio::test]
async fn what_fails_says_so_and_what_is_refused_does_not() {
    let (collector, traces) = Collector::start(1.0).await;
    let fixture = start(&traces, "").await;
    assert_eq!(fixture.get("/records/1", "at_nobody").await.status(), 401);
    assert_eq!(fixture.get("/CANARY/x", "at_alice").await.status(), 404);
    fixture
        .pdp
        .down
        .store(true, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(fixture.get("/records/2", "at_alice").await.status(), 503);
    assert!(fixture.gateway.finish(PATIENCE).await);
    traces.finish().await;
    let spans = collector.spans();
    let of = |status: &str| {
        let status = format!("http.response.status_code={status}");
        let found = spans
            .iter()
            .find(|span| span.kind == 2 && said(span).contains(&status));
        found.unwrap_or_else(|| panic!("{status} in {spans:?}"))
    };
    assert_eq!(of("401").status.as_ref().unwrap().code, 0);
    assert_eq!(of("404").name, "GET");
    let failed = of("503");
    assert_eq!(failed.status.as_ref().unwrap().code, 2);
    assert!(
        said(failed).ends_with("error.type=decision_point_unavailable"),
        "{failed:?}"
    );
    let decide = spans.iter().find(|span| span.name == "authorize").unwrap();
    assert_eq!(said(decide), "error.type=unavailable");
    assert!(!collector.has("CANARY"));
}
