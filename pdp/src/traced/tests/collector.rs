//! An OTLP receiver over HTTP that keeps what it gets.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::routing::post;
use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use service_kit::Tasks;

/// Everything that was posted.
pub(super) struct Collector {
    url: String,
    bodies: Arc<Mutex<Vec<Bytes>>>,
}

impl Collector {
    pub(super) async fn start(tasks: &Tasks) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let bodies = Arc::<Mutex<Vec<Bytes>>>::default();
        let router = Router::new()
            .route("/v1/traces", post(take))
            .with_state(bodies.clone());
        tasks.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, bodies }
    }

    pub(super) fn url(&self) -> String {
        self.url.clone()
    }

    /// In the order in which they ended.
    pub(super) fn spans(&self) -> Vec<Span> {
        let bodies = self.bodies.lock().unwrap();
        let read = |body: &Bytes| ExportTraceServiceRequest::decode(body.clone()).unwrap();
        let resources = bodies.iter().map(read).flat_map(|read| read.resource_spans);
        let scopes = resources.flat_map(|resource| resource.scope_spans);
        scopes.flat_map(|scope| scope.spans).collect()
    }

    /// Whether a text is in the bytes.
    pub(super) fn has(&self, text: &str) -> bool {
        let bodies = self.bodies.lock().unwrap();
        let has = |body: &Bytes| body.windows(text.len()).any(|part| part == text.as_bytes());
        bodies.iter().any(has)
    }
}

async fn take(State(bodies): State<Arc<Mutex<Vec<Bytes>>>>, body: Bytes) {
    bodies.lock().unwrap().push(body);
}

pub(super) fn hex(id: &[u8]) -> String {
    id.iter()
        .fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// The attributes, in the order in which they were set.
pub(super) fn said(span: &Span) -> String {
    let pairs = span.attributes.iter().map(|attribute| {
        let value = match attribute.value.clone().unwrap().value.unwrap() {
            Value::StringValue(text) => text,
            Value::IntValue(number) => number.to_string(),
            Value::BoolValue(is_so) => is_so.to_string(),
            other => format!("{other:?}"),
        };
        format!("{}={value}", attribute.key)
    });
    pairs.collect::<Vec<_>>().join(" ")
}
