//! gRPC through the gateway: a real client and a real server, and what the gateway itself says to callers.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::time::{Instant, timeout};

use crate::fixture::{Fixture, PATIENCE, Setup, eventually};
use crate::http2;
use crate::upstream::Upstream;

/// `Nowhere` has none for a call, and `Slow` has little time.
const ROUTES: &str = "
  - { match: '/tests.Every/{method}', methods: [POST], upstream: a, action: call, resource: 'Method/{method}' }
  - { match: '/tests.Every/Forbidden', methods: [POST], upstream: a, action: call, resource: Method/forbidden }
  - { match: '/tests.Every/Nowhere', methods: [GET], upstream: a, action: call, resource: Method/x }
  - { match: '/tests.Every/Slow', methods: [POST], upstream: a, action: call, resource: Method/x, timeouts: { total_secs: 1 } }
";

/// The server of `tests/python`.
struct Server {
    process: Child,
    port: u16,
}

impl Server {
    fn start() -> Self {
        let mut process = python("grpc_server.py")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut said = BufReader::new(process.stdout.take().unwrap());
        said.read_line(&mut line).unwrap();
        let said: Value = serde_json::from_str(&line).unwrap();
        let port = said["port"].as_u64().unwrap().try_into().unwrap();
        Self { process, port }
    }

    async fn behind(&self, settings: &str) -> Fixture {
        let upstream = Upstream::elsewhere(([127, 0, 0, 1], self.port).into()).await;
        start(upstream, settings).await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn python(script: &str) -> Command {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/python");
    let python = folder.join(".venv/bin/python");
    assert!(
        python.exists(),
        "the Python tests' packages are not installed: run `script/test install`"
    );
    let mut command = Command::new(python);
    command.arg("-B").arg(script).current_dir(folder);
    command
}

async fn start(upstream: Upstream, settings: &str) -> Fixture {
    let setup = Setup {
        gateway: "{ workers: 1, access_log: 'off', h2c: true, streams: { grace_secs: 1 } }".into(),
        upstream,
        upstream_settings: format!("protocol: http2, {settings}"),
        more_routes: ROUTES,
        ..Setup::new().await
    };
    setup.start().await
}

/// What the client of `tests/python` came to.
async fn play(fixture: &Fixture) -> Value {
    let mut client = python("grpc_client.py");
    client.env("TARGET", fixture.addr.to_string());
    let output = tokio::task::spawn_blocking(move || client.output().unwrap());
    let output = output.await.unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_of_every_kind_pass_and_refusals_are_statuses() {
    let server = Server::start();
    let fixture = server.behind("").await;
    let came = play(&fixture).await;
    assert_eq!(came["unary"]["answer"], "hello");
    let names = |which: &str| {
        let names = came["unary"][which].as_array().unwrap();
        let names = names.iter().map(|name| name.as_str().unwrap().to_owned());
        names.collect::<Vec<_>>()
    };
    assert!(names("initial").contains(&"x-initial".to_owned()), "{came}");
    assert_eq!(names("trailing"), ["x-checksum"]);
    let seen = &came["metadata"]["metadata"];
    assert_eq!(seen["authorization"], "Bearer jwt.alice.signature");
    // Its own deadline, as the server hears of it.
    let left = came["metadata"]["left"].as_f64().unwrap();
    assert!((3.0..=5.5).contains(&left), "{left}");
    let expected =
        json!({ "code": "NOT_FOUND", "details": "no such record: \u{e4} %", "detail": "00ff" });
    assert_eq!(came["failed"], expected);
    assert_eq!(came["count"], 1000);
    assert_eq!(came["total"], "499500");
    let talk: Vec<_> = (0..5).map(|n| format!("heard {n}")).collect();
    assert_eq!(came["talk"], json!(talk));
    assert_eq!(came["big"], 3_000_000);
    assert_eq!(came["cancelled"], "CANCELLED");
    for (call, code) in [
        ("deadline", "DEADLINE_EXCEEDED"),
        ("no_token", "UNAUTHENTICATED"),
        ("bad_token", "UNAUTHENTICATED"),
        ("forbidden", "PERMISSION_DENIED"),
        ("nowhere", "UNIMPLEMENTED"),
        ("unknown", "UNIMPLEMENTED"),
        ("too_slow", "DEADLINE_EXCEEDED"),
    ] {
        assert_eq!(came[call]["code"], code, "{call}: {}", came[call]);
    }
    assert_eq!(came["no_token"]["details"], "an access token is needed");
    // All of it on one connection.
    assert!(fixture.is("pep_upstream_connects_total", 1.0));
    // Refusals are counted as what they are.
    let text = fixture.metrics.render();
    assert!(text.contains("reason=\"denied\""), "{text}");
    eventually("all calls are over", || {
        fixture.is("http_server_active_requests", 0.0)
    })
    .await;
}

/// A call with one message.
async fn call(fixture: &Fixture, method: &str, message: &str, timeout: &str) -> Response<Incoming> {
    call_as(fixture, "alice", (method, message), timeout).await
}

async fn call_as(
    fixture: &Fixture,
    name: &str,
    (method, message): (&str, &str),
    timeout: &str,
) -> Response<Incoming> {
    let mut framed = vec![0];
    framed.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
    framed.extend(message.as_bytes());
    let request = Request::post(format!("http://gw.test/tests.Every/{method}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("grpc-timeout", timeout)
        .header("authorization", format!("Bearer at_{name}"))
        .body(Full::new(Bytes::from(framed)))
        .unwrap();
    let mut client = http2::client(fixture).await;
    client.send_request(request).await.unwrap()
}

/// Messages, and what came after them.
async fn rest(answer: Response<Incoming>) -> (usize, HeaderMap) {
    let read = timeout(PATIENCE, answer.into_body().collect())
        .await
        .unwrap();
    let read = read.unwrap();
    let trailers = read.trailers().cloned().unwrap_or_default();
    (read.to_bytes().len(), trailers)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_is_kept_whatever_server_and_client_do() {
    let server = Server::start();
    let fixture = server.behind("").await;
    let begin = Instant::now();
    let answer = call(&fixture, "Sleep", "3", "300m").await;
    assert!(begin.elapsed() < Duration::from_secs(1));
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "application/grpc");
    assert_eq!(answer.headers()["grpc-status"], "4");
    assert_eq!(rest(answer).await, (0, HeaderMap::new()));
    // Once it has begun, too.
    let answer = call(&fixture, "Feed", "", "1S").await;
    assert!(!answer.headers().contains_key("grpc-status"));
    let (length, trailers) = rest(answer).await;
    assert!(length > 10, "{length}");
    assert_eq!(trailers["grpc-status"], "4");
    // What nobody understands is no deadline of ours.
    let answer = call(&fixture, "Unary", "x", "1x").await;
    assert_ne!(
        answer
            .headers()
            .get("grpc-status")
            .map(http::HeaderValue::as_bytes),
        Some(&b"4"[..])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_not_permitted_any_more_ends_and_its_caller_is_told() {
    let server = Server::start();
    let fixture = server.behind("").await;
    let answer = call(&fixture, "Feed", "", "60S").await;
    eventually("it is looked at", || fixture.is("pep_streams", 1.0)).await;
    fixture.tokens.forget("at_alice");
    let begin = Instant::now();
    fixture
        .announce(json!({ "kind": "token_revoked", "token_ref": "ref_alice" }))
        .await;
    let (length, trailers) = rest(answer).await;
    assert!(begin.elapsed() < Duration::from_secs(2));
    assert!(length > 0);
    assert_eq!(trailers["grpc-status"], "16");
    // The server knows, too: it has no call under way.
    let again = call(&fixture, "Unary", "x", "5S").await;
    assert_eq!(again.headers()["grpc-status"], "16");
    assert!(again.headers().contains_key("www-authenticate"));
    // And so does a denial.
    let answer = call_as(&fixture, "bob", ("Feed", ""), "60S").await;
    eventually("it is looked at", || fixture.is("pep_streams", 1.0)).await;
    fixture
        .pdp
        .denies
        .store(true, std::sync::atomic::Ordering::SeqCst);
    fixture
        .announce(json!({ "kind": "policy_changed", "version": "2", "epoch": 2 }))
        .await;
    let (_, trailers) = rest(answer).await;
    assert_eq!(trailers["grpc-status"], "7");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_there_or_goes_is_unavailable() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = Upstream::elsewhere(closed.local_addr().unwrap()).await;
    drop(closed);
    let fixture = start(upstream, "").await;
    let answer = call(&fixture, "Unary", "x", "5S").await;
    assert_eq!(answer.headers()["grpc-status"], "14");
    let server = Server::start();
    let fixture = server.behind("").await;
    let answer = call(&fixture, "Feed", "", "60S").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    drop(server);
    let (_, trailers) = rest(answer).await;
    assert_eq!(trailers["grpc-status"], "14");
}
