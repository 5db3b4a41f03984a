//! One trace through gateway, token service, PDP and upstream, in one process and in three: every span's parent is
//! there, and the upstream is told the last.

use std::collections::HashMap;
use std::net::SocketAddr;

use e2e::http::{client, post_form, send};
use e2e::recorder::Recorder;
use e2e::{Site, site, tokens};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";

/// Of all processes.
const SPANS_OF_ALL: [&str; 4] = ["GET /records", "swap token", "authorize", "GET"];

/// With a collector, and an upstream that shows what it gets.
fn traced(text: String) -> String {
    let host = host(&text);
    let text = text.replace(
        &format!("http://{host}:9000"),
        &format!("http://{host}:9100"),
    );
    format!("{text}\ntracing:\n  otlp_endpoint: http://{host}:4318\n  sample: 0\n")
}

/// With a collector.
fn traced_elsewhere(text: String) -> String {
    let host = host(&text);
    format!("{text}\ntracing:\n  otlp_endpoint: http://{host}:4318\n  sample: 0\n")
}

/// Where its site is: all that it names is there.
fn host(text: &str) -> String {
    let (_, after) = text.split_once("listen: ").expect("a listener");
    let (host, _) = after.split_once(':').expect("a port");
    host.to_owned()
}

async fn one_trace(site: Site, more: &[(&str, &str)]) {
    let at = |port| SocketAddr::from((site.host, port));
    let (collector, upstream) = (Recorder::default(), Recorder::default());
    collector.start_upstream(at(4318)).await;
    upstream.start_upstream(at(9100)).await;
    let machine = [
        ("grant_type", "client_credentials"),
        ("scope", "records:list"),
    ];
    let credential = ("nightly-report", "demo-secret-of-nightly-report");
    let url = site.token_service_url("/token");
    let token = post_form(&url, Some(credential), &machine).await;
    let token = tokens::text(&token.json(), "access_token");
    let request = client()
        .get(site.gateway_url("/records?q=CANARY"))
        .bearer_auth(&token)
        .header("traceparent", format!("00-{TRACE}-{CALLER}-01"));
    assert_eq!(send(request).await.status, 200);
    let wanted: Vec<&str> = SPANS_OF_ALL
        .into_iter()
        .chain(more.iter().map(|it| it.0))
        .collect();
    let patience = std::time::Duration::from_secs(20);
    // Each process sends its own, when it comes to it.
    let is_whole = || async {
        let spans = spans(&collector);
        let has = |name: &&str| spans.iter().any(|span| span.name == *name);
        let ids: Vec<_> = spans.iter().map(|span| hex(&span.span_id)).collect();
        let mut parents = spans.iter().map(|span| hex(&span.parent_span_id));
        wanted.iter().all(has) && parents.all(|it| it == CALLER || ids.contains(&it))
    };
    site::eventually("all spans arrive, with their parents", patience, is_whole).await;
    let spans = spans(&collector);
    let by_id: HashMap<_, _> = spans
        .iter()
        .map(|span| (hex(&span.span_id), span))
        .collect();
    let named = |name: &str| {
        let found = spans.iter().find(|span| span.name == name);
        found.unwrap_or_else(|| panic!("no `{name}` in {spans:?}"))
    };
    assert_eq!(hex(&named("GET /records").parent_span_id), CALLER);
    for part in ["swap token", "authorize", "GET"] {
        assert_eq!(
            named(part).parent_span_id,
            named("GET /records").span_id,
            "{part}"
        );
    }
    for (name, parent) in more {
        let of: Vec<_> = spans.iter().filter(|span| span.name == *name).collect();
        let parents = of
            .iter()
            .filter_map(|span| by_id.get(&hex(&span.parent_span_id)));
        let parents: Vec<_> = parents.map(|span| &*span.name).collect();
        assert!(parents.contains(parent), "`{name}` within {parents:?}");
    }
    let seen = upstream.requests();
    let told = format!("00-{TRACE}-{}-01", hex(&named("GET").span_id));
    assert!(
        seen[0].headers.contains(&("traceparent".to_owned(), told)),
        "{seen:?}"
    );
    let bodies = collector.requests().into_iter().filter_map(|it| it.body);
    let bytes = bodies.collect::<Vec<_>>().concat();
    for secret in ["CANARY", "nightly-report", &*token, "demo-secret"] {
        let has = bytes
            .windows(secret.len())
            .any(|part| part == secret.as_bytes());
        assert!(!has, "{secret}");
    }
}

/// Those of the trace.
fn spans(collector: &Recorder) -> Vec<Span> {
    let bodies = collector.requests().into_iter().filter_map(|it| it.body);
    let read = bodies.map(|body| ExportTraceServiceRequest::decode(&*body).expect("OTLP"));
    let resources = read.flat_map(|read| read.resource_spans);
    let scopes = resources.flat_map(|resource| resource.scope_spans);
    let spans = scopes.flat_map(|scope| scope.spans);
    spans.filter(|span| hex(&span.trace_id) == TRACE).collect()
}

fn hex(id: &[u8]) -> String {
    id.iter()
        .fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_trace_through_one_process() {
    let site = Site::all_in_one_with(traced);
    one_trace(
        site,
        &[("introspect", "swap token"), ("decide", "authorize")],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_trace_through_three_processes() {
    let site = Site::split_changed(&[
        ("gateway.yaml", &traced),
        ("token-service.yaml", &traced_elsewhere),
        ("pdp.yaml", &traced_elsewhere),
    ]);
    let more = [
        ("POST /introspect", "swap token"),
        ("POST /access/v1/evaluation", "authorize"),
        ("decide", "POST /access/v1/evaluation"),
    ];
    one_trace(site, &more).await;
}
