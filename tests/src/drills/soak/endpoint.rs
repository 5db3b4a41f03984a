//! What the soak's gateways protect: it says what has reached it, and keeps a journal of what must not happen
//! twice, or at all. A process of its own, so that it can be killed.

use std::convert::Infallible;
use std::fs::File;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use futures_util::StreamExt as _;
use http::{HeaderMap, Method, Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use service_kit::digest::sha256_base64url;
use tokio::net::TcpListener;

/// The name of a request.
pub const NUMBER: &str = "x-soak-number";
/// Is there where a request must not get this far.
pub const REFUSE: &str = "x-soak-refuse";

/// Those who have records, and how many each.
pub const OWNERS: [&str; 3] = ["alice", "bob", "dora"];
pub const RECORDS: usize = 6;

/// Between two events of a stream.
pub const BEAT: Duration = Duration::from_millis(500);

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// Serves until it is killed.
pub async fn endpoint(address: SocketAddr, journal: &Path) -> anyhow::Result<()> {
    let listener = TcpListener::bind(address).await?;
    let journal = Arc::new(File::options().create(true).append(true).open(journal)?);
    loop {
        let (stream, _) = listener.accept().await?;
        let journal = journal.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(journal.clone(), request));
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn answer(
    journal: Arc<File>,
    request: Request<Incoming>,
) -> Result<Response<Body>, hyper::Error> {
    let (head, body) = request.into_parts();
    let path = head.uri.path().to_owned();
    if path == "/healthz" {
        return Ok(Response::new(whole("well".into())));
    }
    let body = body.collect().await?.to_bytes();
    let number = text(&head.headers, NUMBER);
    // One write each: what was written is there after a kill.
    if head.headers.contains_key(REFUSE) {
        write(&journal, &format!("trespass {number} {path}\n"));
    }
    if head.method == Method::POST {
        write(&journal, &format!("order {number}\n"));
    }
    if path == "/events" {
        return Ok(Response::builder()
            .header("content-type", "text/event-stream")
            .body(events())
            .expect("a response"));
    }
    let mut seen = json!({
        "host": text(&head.headers, "host"),
        "path": path,
        "number": number,
        "claims": claims(&head.headers),
        "body": sha256_base64url(&body),
    });
    if let Some(id) = path.rsplit('/').next().filter(|_| path != "/records") {
        merge(&mut seen, record(id));
    }
    if path == "/records" {
        let ids = OWNERS
            .iter()
            .flat_map(|owner| (0..RECORDS).map(move |it| format!("{owner}-{it}")));
        seen["records"] = ids.map(|id| record(&id)).collect();
    }
    let mut response = Response::new(whole(seen.to_string()));
    let json = http::HeaderValue::from_static("application/json");
    response.headers_mut().insert("content-type", json);
    Ok(response)
}

/// Personal data of somebody who may be nobody.
pub fn record(id: &str) -> Value {
    let owner = id.split('-').next().unwrap_or_default();
    json!({ "id": id, "owner": owner, "ssn": format!("ssn of {id}"), "email": format!("{id}@example.com") })
}

fn merge(into: &mut Value, from: Value) {
    if let (Some(into), Value::Object(from)) = (into.as_object_mut(), from) {
        into.extend(from);
    }
}

fn events() -> Body {
    let beats = futures_util::stream::unfold(0_u64, |beat| async move {
        tokio::time::sleep(if beat == 0 { Duration::ZERO } else { BEAT }).await;
        Some((beat, beat + 1))
    });
    let frames = beats.map(|beat| Ok(Frame::data(Bytes::from(format!("data: {beat}\n\n")))));
    StreamBody::new(frames).boxed_unsync()
}

fn whole(text: String) -> Body {
    Full::new(Bytes::from(text)).boxed_unsync()
}

fn write(mut journal: &File, line: &str) {
    journal.write_all(line.as_bytes()).expect("a journal");
}

fn text(headers: &HeaderMap, name: &str) -> String {
    let value = headers.get(name).and_then(|it| it.to_str().ok());
    value.unwrap_or_default().to_owned()
}

/// What the JWT says; null where there is none. Who signed it, the tests of the gateway look at.
fn claims(headers: &HeaderMap) -> Value {
    let jwt = text(headers, "authorization");
    let part = jwt
        .strip_prefix("Bearer ")
        .and_then(|it| it.split('.').nth(1));
    part.and_then(|it| URL_SAFE_NO_PAD.decode(it).ok())
        .and_then(|it| serde_json::from_slice(&it).ok())
        .unwrap_or_default()
}
