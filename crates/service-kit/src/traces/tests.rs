//! What a request is recorded as: whose trace it is in, whether it is recorded, and what is said.

use std::time::Duration;

use axum::extract;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use http::{HeaderMap, StatusCode};
use opentelemetry_proto::tonic::trace::v1::Span as Sent;

use super::send::tests::Collector;
use super::*;
use crate::{ManualClock, UnixTime, serve};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const UNSAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

pub(super) fn open(collector: &Collector, sample: f64) -> (Traces, Metrics) {
    let metrics = Metrics::new();
    let config = TracingConfig {
        otlp_endpoint: collector.url(),
        sample,
        service_name: None,
        headers_file: None,
    };
    let service = Service {
        name: "test",
        version: "1.2.3",
    };
    let clock = ManualClock::at(UnixTime::from_secs(1_700_000_000));
    let traces = Traces::open(&config, service, Path::new(""), clock, &metrics);
    (traces.unwrap(), metrics)
}

fn headers(parent: &str) -> HeaderMap {
    HeaderMap::from_iter([(context::TRACEPARENT, parent.parse().unwrap())])
}

pub(super) fn receive(
    traces: &Traces,
    headers: &HeaderMap,
) -> (Option<TraceContext>, Option<Span>) {
    traces.receive(TraceContext::from_headers(headers), Stranger::Continue)
}

#[tokio::test]
async fn a_sampled_parent_is_followed_and_an_unsampled_one_is_not_recorded() {
    let collector = Collector::start().await;
    let (traces, _) = open(&collector, 0.0);
    let (context, span) = receive(&traces, &headers(PARENT));
    let part = context.unwrap().part("part").unwrap();
    let deep = part.context().call("call").unwrap();
    assert!(deep.context().without_parts().part("no").is_none());
    drop((deep, part, span));
    let (context, span) = receive(&traces, &headers(UNSAMPLED));
    let context = context.unwrap();
    assert!(span.is_none() && !context.is_recorded() && context.part("no").is_none());
    assert_eq!(context.trace_id(), TRACE);
    let mut sent = HeaderMap::new();
    context.write(&mut sent);
    assert!(
        sent[context::TRACEPARENT]
            .to_str()
            .unwrap()
            .ends_with("-00")
    );
    traces.finish().await;
    let spans = collector.spans();
    assert_eq!(spans.len(), 3);
    let named = |name: &str| spans.iter().find(|span| span.name == name).unwrap();
    let (request, part, call) = (named("request"), named("part"), named("call"));
    assert_eq!(hex(&request.parent_span_id), "b7ad6b7169203331");
    assert_eq!(part.parent_span_id, request.span_id);
    assert_eq!(call.parent_span_id, part.span_id);
    for span in &spans {
        assert_eq!(hex(&span.trace_id), TRACE);
        assert_eq!(span.span_id.len(), 8);
        assert!(span.start_time_unix_nano >= 1_700_000_000_000_000_000);
        assert!(span.end_time_unix_nano >= span.start_time_unix_nano);
    }
}

#[tokio::test]
async fn whoever_is_not_to_say_so_begins_no_trace_here() {
    let collector = Collector::start().await;
    let (traces, _) = open(&collector, 1.0);
    for parent in [PARENT, UNSAMPLED] {
        let sent = TraceContext::from_headers(&headers(parent));
        let (context, span) = traces.receive(sent, Stranger::Restart);
        let context = context.unwrap();
        assert!(context.is_recorded() && context.trace_id() != TRACE);
        drop(span);
    }
    traces.finish().await;
    let spans = collector.spans();
    assert_eq!(spans.len(), 2);
    for span in spans {
        assert!(span.parent_span_id.is_empty());
        let links: Vec<_> = span
            .links
            .iter()
            .map(|it| (hex(&it.trace_id), hex(&it.span_id)))
            .collect();
        assert_eq!(links, [(TRACE.to_owned(), "b7ad6b7169203331".to_owned())]);
    }
    let sent = TraceContext::from_headers(&headers(PARENT));
    let (context, span) = Traces::off().receive(sent, Stranger::Restart);
    assert!(context.is_none() && span.is_none());
}

#[tokio::test]
async fn so_many_of_the_traces_that_begin_here_are_recorded() {
    let collector = Collector::start().await;
    for (sample, few, many) in [(0.0, 0, 0), (0.25, 50, 150), (1.0, 400, 400)] {
        let (traces, _) = open(&collector, sample);
        let mut recorded = 0;
        for _ in 0..400 {
            let (context, span) = receive(&traces, &HeaderMap::new());
            let context = context.unwrap();
            assert_ne!(context.trace_id(), "0".repeat(32));
            assert_eq!(span.is_some(), context.is_recorded());
            recorded += usize::from(span.is_some());
        }
        assert!((few..=many).contains(&recorded), "{sample}: {recorded}");
    }
}

#[test]
fn without_a_collector_a_context_is_handed_on_as_it_came() {
    let traces = Traces::off();
    assert!(receive(&traces, &HeaderMap::new()).0.is_none());
    for parent in [PARENT, UNSAMPLED] {
        let (context, span) = receive(&traces, &headers(parent));
        let context = context.unwrap();
        assert!(span.is_none() && context.part("no").is_none());
        let mut sent = HeaderMap::new();
        context.write(&mut sent);
        assert_eq!(sent[context::TRACEPARENT], parent);
    }
}

async fn named(extract::Path(id): extract::Path<String>) -> impl IntoResponse {
    let mut response = id.into_response();
    response.extensions_mut().insert(CallerName("app".into()));
    response
}

/// Serves a router over a socket; asks it, and says what is recorded of that.
async fn recorded(method: http::Method, path: &str) -> Sent {
    let collector = Collector::start().await;
    let (traces, _) = open(&collector, 1.0);
    let router = axum::Router::new()
        .route("/ask", post(|| async { StatusCode::BAD_REQUEST }))
        .route("/fail", get(|| async { StatusCode::SERVICE_UNAVAILABLE }))
        .route("/people/{id}", get(named));
    let server = Server {
        address: "pdp.example.org".into(),
        port: Some(8443),
        is_https: true,
    };
    let tasks = Tasks::new();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}{path}", listener.local_addr().unwrap());
    tasks.spawn(serve::serve(
        listener,
        traces.layer(router, server),
        tasks.clone(),
    ));
    let client = send::client().unwrap();
    let request = client.request(method, url).header("x-secret", "CANARY");
    request.send().await.unwrap();
    drop(client);
    assert!(tasks.finish(Duration::from_secs(5)).await);
    traces.finish().await;
    assert!(!collector.has("CANARY"));
    assert!(collector.has("service.name") && collector.has("1.2.3"));
    let mut spans = collector.spans();
    assert_eq!(spans.len(), 1);
    spans.remove(0)
}

#[tokio::test]
async fn a_request_is_described_by_its_route_and_never_by_whom_it_is_about() {
    let span = recorded(http::Method::POST, "/ask").await;
    assert_eq!((span.name.as_str(), span.kind), ("POST /ask", 2));
    assert_eq!(
        said(&span),
        "http.request.method=POST url.scheme=https server.address=pdp.example.org \
         server.port=8443 http.route=/ask url.path=/ask http.response.status_code=400"
    );
    // A client's mistake is no failure of the server.
    assert_eq!(span.status.unwrap().code, 0);
    let span = recorded(http::Method::GET, "/fail?q=CANARY").await;
    assert!(said(&span).ends_with("status_code=503 error.type=503"));
    assert_eq!(span.status.unwrap().code, 2);
    let span = recorded(http::Method::GET, "/people/CANARY").await;
    assert_eq!(span.name, "GET /people/{id}");
    let said = said(&span);
    assert!(said.contains("http.route=/people/{id}") && !said.contains("url.path"));
    assert!(said.ends_with("cedargate.caller=app"), "{said}");
    let odd = http::Method::from_bytes(b"CANARY").unwrap();
    let span = recorded(odd, "/CANARY").await;
    assert_eq!(span.name, "HTTP");
}

pub(super) fn hex(id: &[u8]) -> String {
    use std::fmt::Write as _;
    id.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn said(span: &Sent) -> String {
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
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
