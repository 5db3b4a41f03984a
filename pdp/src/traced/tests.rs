//! Whole requests, from a caller's `traceparent` to what a collector gets, what a provider is told
//! and what the decision log says; and what must be in none of them.

mod collector;

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ::http::{HeaderMap, Request, StatusCode};
use axum::body::Body;
use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use opentelemetry_proto::tonic::trace::v1::Span as Sent;
use serde_json::{Value, json};
use service_kit::line_sink::LineTarget;
use service_kit::traces::{Service, TracingConfig};
use service_kit::{SystemClock, Traces};

use self::collector::{Collector, hex, said};
use crate::config::{CallerConfig, EntityRight, ExplainRight};
use crate::fixture::Fixture;
use crate::{AttributeProviderConfig, HttpSource, Pdp};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const UNSAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
const KEY: &str = "CANARY-of-the-caller";
const ONE: &str = "/access/v1/evaluation";

const POLICIES: &str = r#"@id("adults") permit (principal, action == Action::"read", resource)
    when { principal has age && principal.age >= 18 };
    @id("any") permit (principal, action == Action::"delete", resource);"#;

/// A PDP with a provider that keeps what headers it gets, a log and a collector.
struct World {
    fixture: Fixture,
    collector: Collector,
    traces: Traces,
    told: Arc<Mutex<Vec<HeaderMap>>>,
    pdp: Option<Pdp>,
}

#[derive(Clone)]
struct Provider {
    told: Arc<Mutex<Vec<HeaderMap>>>,
    delay: Duration,
}

async fn attributes(State(provider): State<Provider>, headers: HeaderMap) -> Json<Value> {
    provider.told.lock().unwrap().push(headers);
    tokio::time::sleep(provider.delay).await;
    Json(json!({ "age": 30 }))
}

impl World {
    /// `sample`: none where no collector is configured.
    async fn new(sample: Option<f64>) -> Self {
        Self::slow(sample, Duration::ZERO).await
    }

    async fn slow(sample: Option<f64>, delay: Duration) -> Self {
        let mut fixture = Fixture::new();
        let collector = Collector::start(&fixture.tasks).await;
        let config = |sample| TracingConfig {
            otlp_endpoint: collector.url(),
            sample,
            service_name: None,
            headers_file: None,
        };
        let service = Service {
            name: "pdp",
            version: "1",
        };
        let (clock, metrics) = (Arc::new(SystemClock), &fixture.metrics);
        let traces = sample.map_or_else(Traces::off, |sample| {
            Traces::open(&config(sample), service, Path::new(""), clock, metrics).unwrap()
        });
        let told = Arc::<Mutex<Vec<HeaderMap>>>::default();
        let provider = Provider {
            told: told.clone(),
            delay,
        };
        let router = Router::new()
            .route("/people/{id}", get(attributes))
            .with_state(provider);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/people/{{id}}", listener.local_addr().unwrap());
        fixture
            .tasks
            .spawn(async move { axum::serve(listener, router).await.unwrap() });
        fixture.write("policies.cedar", POLICIES);
        fixture.traces = traces.clone();
        fixture.config.decision_log = LineTarget::File("decisions.jsonl".into());
        fixture.config.public_url = Some("https://pdp.example.org".into());
        fixture.config.callers = vec![caller()];
        fixture.config.attribute_providers = vec![provided(url)];
        let pdp = Some(fixture.open());
        Self {
            fixture,
            collector,
            traces,
            told,
            pdp,
        }
    }

    async fn ask(&self, path: &str, parents: &[&str], body: &Value) -> (StatusCode, Value) {
        let mut request = Request::post(path)
            .header("content-type", "application/json")
            .header("authorization", format!("Bearer {KEY}"))
            .header("x-request-id", "CANARY");
        for parent in parents {
            request = request.header("traceparent", *parent);
        }
        let request = request.body(Body::from(body.to_string())).unwrap();
        let api = self.pdp.as_ref().unwrap().api();
        let (parts, body) = api.oneshot(request).await.unwrap().into_parts();
        let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
        let body = serde_json::from_slice(&body).unwrap_or_default();
        (parts.status, body)
    }

    /// Everything that was recorded, and the lines of the log.
    async fn end(&mut self) -> (Vec<Sent>, Vec<Value>) {
        self.pdp = None;
        self.traces.finish().await;
        assert!(!self.collector.has("CANARY"));
        let file = self.fixture.folder.path().join("decisions.jsonl");
        let text = std::fs::read_to_string(file).unwrap();
        let lines = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        (self.collector.spans(), lines)
    }

    /// The `traceparent`s that the provider got.
    fn told(&self) -> Vec<String> {
        let told = self.told.lock().unwrap();
        let parent = |headers: &HeaderMap| headers["traceparent"].to_str().unwrap().to_owned();
        told.iter().map(parent).collect()
    }
}

fn caller() -> CallerConfig {
    CallerConfig {
        name: "gateway".into(),
        api_key: Some(service_kit::Secret::new(KEY)),
        api_key_file: None,
        basic_user: None,
        rate_per_second: None,
        entities: EntityRight::Read,
        explain: ExplainRight::Full,
        residuals: true,
        snapshots: false,
        jwt: None,
        certificate: None,
    }
}

fn provided(url: String) -> AttributeProviderConfig {
    AttributeProviderConfig {
        name: "hr".into(),
        entity_type: "User".into(),
        attributes: vec!["age".into()],
        http: Some(HttpSource {
            url,
            bearer_file: None,
        }),
        postgresql: None,
        sqlite: None,
        timeout_ms: 2000,
        cache_seconds: 0,
        max_entries: 1000,
        max_concurrent: Some(4),
    }
}

/// Whatever is not a word of the schema is a canary.
fn question() -> Value {
    json!({
        "subject": { "type": "user", "id": "CANARY", "properties": { "name": "CANARY" } },
        "action": { "name": "GET /docs/{id}", "properties": { "CANARY": "CANARY" } },
        "resource": { "type": "urn:x:doc", "id": "CANARY" },
        "context": { "tries": 3, "CANARY": "CANARY" },
    })
}

fn named<'a>(spans: &'a [Sent], name: &str) -> &'a Sent {
    let mut found = spans.iter().filter(|span| span.name == name);
    let span = found.next().unwrap_or_else(|| panic!("no `{name}`"));
    assert!(found.next().is_none(), "one `{name}`");
    span
}

#[tokio::test]
async fn a_request_that_is_turned_away_names_its_caller() {
    let mut world = World::new(Some(0.0)).await;
    let deep = (0..100).fold(json!({}), |inner, _| json!([inner]));
    let (status, _) = world.ask(ONE, &[PARENT], &deep).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let (spans, _) = world.end().await;
    let request = said(named(&spans, "POST /access/v1/evaluation"));
    assert!(request.contains("cedargate.caller=gateway"), "{request}");
}

#[tokio::test]
async fn a_request_is_one_tree_in_its_callers_trace() {
    let mut world = World::new(Some(0.0)).await;
    let (status, answer) = world.ask(ONE, &[PARENT], &question()).await;
    assert_eq!(
        (status, &answer["decision"]),
        (StatusCode::OK, &json!(true))
    );
    let told = world.told();
    let (spans, log) = world.end().await;
    assert_eq!(spans.len(), 3);
    let request = named(&spans, "POST /access/v1/evaluation");
    let (decide, fetch) = (named(&spans, "decide"), named(&spans, "GET"));
    assert!(spans.iter().all(|span| hex(&span.trace_id) == TRACE));
    assert_eq!(hex(&request.parent_span_id), "b7ad6b7169203331");
    assert_eq!(decide.parent_span_id, request.span_id);
    assert_eq!(fetch.parent_span_id, decide.span_id);
    assert_eq!((request.kind, decide.kind, fetch.kind), (2, 1, 3));
    assert_eq!(told, [format!("00-{TRACE}-{}-01", hex(&fetch.span_id))]);
    assert_eq!(log[0]["trace_id"], TRACE);
    assert_eq!(log[0]["span_id"], json!(hex(&request.span_id)));
    assert_eq!(
        said(request),
        "http.request.method=POST url.scheme=http server.address=pdp.example.org server.port=443 \
         http.route=/access/v1/evaluation url.path=/access/v1/evaluation \
         http.response.status_code=200 cedargate.caller=gateway"
    );
    let version = answer["context"]["snapshot"]["version"].as_str().unwrap();
    assert_eq!(
        said(decide),
        format!(
            "cedargate.action=GET /docs/{{id}} cedargate.subject.type=user \
             cedargate.resource.type=urn:x:doc cedargate.decision=permit \
             cedargate.snapshot.version={version} cedargate.snapshot.revision=0"
        )
    );
    let fetch = said(fetch);
    assert!(fetch.contains("server.address=127.0.0.1 "), "{fetch}");
    let end = "cedargate.provider=hr http.response.status_code=200";
    assert!(fetch.ends_with(end), "{fetch}");
}

#[tokio::test]
async fn what_is_not_recorded_is_handed_on_and_logged() {
    // A caller that does not record decides so for all; without a collector, nothing is recorded.
    for (sample, parent, flags) in [
        (Some(1.0), UNSAMPLED, "00"),
        (None, PARENT, "01"),
        (None, UNSAMPLED, "00"),
    ] {
        let mut world = World::new(sample).await;
        world.ask(ONE, &[parent], &question()).await;
        let told = world.told();
        let (spans, log) = world.end().await;
        assert!(spans.is_empty());
        assert_eq!(log[0]["trace_id"], TRACE);
        let span = log[0]["span_id"].as_str().unwrap();
        assert_eq!(told, [format!("00-{TRACE}-{span}-{flags}")]);
        if sample.is_none() {
            assert_eq!(told, [parent], "as it came");
        }
    }
    let mut world = World::new(None).await;
    world.ask(ONE, &[], &question()).await;
    assert!(!world.told.lock().unwrap()[0].contains_key("traceparent"));
    let (_, log) = world.end().await;
    assert!(log[0].get("trace_id").is_none() && log[0].get("span_id").is_none());
}

#[tokio::test]
async fn without_a_valid_parent_a_trace_begins_here() {
    let zeros = "0".repeat(32);
    let bad = [
        vec![],
        vec![PARENT, PARENT],
        vec!["ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"],
        vec!["00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01"],
        vec!["00-00000000000000000000000000000000-b7ad6b7169203331-01"],
        vec!["00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01"],
        vec!["00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x"],
        vec!["00-0af7651916cd43dd8448eb211c8031-b7ad6b7169203331-01"],
    ];
    let mut world = World::new(Some(1.0)).await;
    for parents in &bad {
        world.ask(ONE, parents, &question()).await;
    }
    let (spans, log) = world.end().await;
    let roots: Vec<_> = spans.iter().filter(|span| span.kind == 2).collect();
    assert_eq!((roots.len(), log.len()), (bad.len(), bad.len()));
    let mut seen = std::collections::HashSet::new();
    for (root, line) in roots.iter().zip(&log) {
        let trace = hex(&root.trace_id);
        assert_eq!(line["trace_id"], json!(trace));
        assert!(root.parent_span_id.is_empty() && trace != TRACE && trace != zeros);
        assert!(seen.insert(trace), "each has its own");
    }
}

#[tokio::test]
async fn a_batch_is_one_span_and_few_entries_have_their_own() {
    for (entries, own) in [(3, 3), (17, 0)] {
        let mut world = World::new(Some(1.0)).await;
        let mut body = question();
        body["evaluations"] = json!(vec![json!({}); entries]);
        world.ask("/access/v1/evaluations", &[PARENT], &body).await;
        let native = json!({ "requests": vec![json!({}); entries], "principal": "User::\"CANARY\"",
            "action": "Action::\"read\"", "resource": "Doc::\"CANARY\"", "context": {} });
        world
            .ask("/cedar/v1/authorize/batch", &[PARENT], &native)
            .await;
        let told = world.told();
        let (spans, log) = world.end().await;
        let of = |name: &str| spans.iter().filter(|span| span.name == name).count();
        assert_eq!((of("decide batch"), of("decide")), (2, own * 2));
        assert_eq!(of("GET"), if own == 0 { 0 } else { told.len() });
        assert_eq!(told.len(), entries * 2);
        assert!(
            told.iter()
                .all(|parent| parent.starts_with(&format!("00-{TRACE}-")))
        );
        assert_eq!(log.len(), entries * 2);
        assert!(log.iter().all(|line| line["trace_id"] == TRACE));
        let batch = spans.iter().find(|span| span.name == "decide batch");
        assert_eq!(said(batch.unwrap()), format!("cedargate.entries={entries}"));
    }
}

#[tokio::test]
async fn a_page_of_a_search_is_a_span() {
    let mut world = World::new(Some(1.0)).await;
    let body = json!({ "subject": { "type": "user" },
        "action": { "name": "delete", "properties": {} },
        "resource": { "type": "urn:x:doc", "id": "d1" }, "context": { "reason": "CANARY", "action": {} } });
    let (status, answer) = world.ask("/access/v1/search/subject", &[], &body).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let (spans, log) = world.end().await;
    let search = said(named(&spans, "search"));
    let begin = "cedargate.search.kind=subject cedargate.search.results=2 \
                 cedargate.search.decided=2 cedargate.search.more=false";
    assert!(search.starts_with(begin), "{search}");
    assert_eq!(log[0]["trace_id"], json!(hex(&spans[0].trace_id)));
    assert!(!world.collector.has("ann"));
}

#[tokio::test]
async fn what_goes_wrong_is_said_in_few_words() {
    let mut world = World::slow(Some(1.0), Duration::from_secs(30)).await;
    let mut odd = question();
    odd["subject"]["type"] = json!("CANARY");
    odd["action"]["name"] = json!("CANARY");
    world.ask(ONE, &[], &odd).await;
    let mut wrong = question();
    wrong["context"]["tries"] = json!("CANARY");
    let (status, _) = world.ask(ONE, &[], &wrong).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let (_, hung) = world.ask(ONE, &[], &question()).await;
    assert_eq!(hung["context"]["error"]["type"], "attributes_unavailable");
    world.ask("/CANARY", &[], &json!({})).await;
    let partial = json!({ "principal": "User::\"CANARY\"", "action": "Action::\"delete\"",
        "resource": { "type": "Doc" } });
    world.ask("/cedar/v1/partial", &[PARENT], &partial).await;
    let entity = Request::get("/cedar/v1/entities/User/CANARY")
        .header("authorization", format!("Bearer {KEY}"));
    let api = world.pdp.as_ref().unwrap().api();
    api.oneshot(entity.body(Body::empty()).unwrap())
        .await
        .unwrap();
    let (spans, log) = world.end().await;
    let decided: Vec<_> = spans
        .iter()
        .filter(|span| span.name == "decide")
        .map(said)
        .collect();
    assert!(
        decided[0].starts_with("cedargate.decision=deny"),
        "{decided:?}"
    );
    assert!(decided[0].ends_with("error.type=404"), "{decided:?}");
    assert_eq!(decided[1], "error.type=rejected");
    assert!(
        decided[2].ends_with("error.type=attributes_unavailable"),
        "{decided:?}"
    );
    // The answer did not wait for the provider.
    assert!(said(named(&spans, "GET")).ends_with("error.type=cancelled"));
    named(&spans, "POST");
    named(&spans, "GET /cedar/v1/entities/{type}/{id}");
    let left_open = log.iter().find(|line| line["kind"] == "partial").unwrap();
    assert_eq!(left_open["trace_id"], TRACE);
}
