//! Requests that fail at one endpoint: which of them go to another, and who is looked at in between.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use super::Several;
use crate::fixture::{Answer, Fixture, Setup, eventually, get};
use crate::upstream::Upstream;

/// An endpoint that takes requests and never answers one: it closes the connection after a while.
#[derive(Debug, Clone)]
struct Dying {
    addr: std::net::SocketAddr,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Dying {
    async fn start(after: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let seen = Arc::<Mutex<Vec<String>>>::default();
        let dying = Self { addr, seen };
        let all = dying.seen.clone();
        tokio::task::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let all = all.clone();
                tokio::task::spawn(async move {
                    let text = whole(&mut stream).await;
                    all.lock().unwrap().push(text);
                    tokio::time::sleep(after).await;
                });
            }
        });
        dying
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

/// A request, head and body.
async fn whole(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    let mut buffer = vec![0; 65536];
    loop {
        let length = stream.read(&mut buffer).await.unwrap_or(0);
        text.push_str(&String::from_utf8_lossy(&buffer[..length]));
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            assert!(length > 0, "no head: {text}");
            continue;
        };
        let said = head.lines().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("content-length")
                .then(|| value.parse().unwrap())
        });
        if body.len() >= said.unwrap_or(0) || length == 0 {
            return text;
        }
    }
}

const STABLE: &str = "outlier_detection: { consecutive_failures: 0 }";

/// The first of two endpoints is at `addr`, and gets three of four requests.
async fn setup(addr: std::net::SocketAddr, settings: &str) -> (Setup, Upstream) {
    let well = Upstream::start().await;
    let mut first = well.clone();
    first.addr = addr;
    let settings = format!("{STABLE}, {settings}");
    let setup = Several::setup(&[first, well.clone()], &settings).await;
    (setup, well)
}

async fn dying(settings: &str) -> (Fixture, Dying, Upstream) {
    let dying = Dying::start(Duration::ZERO).await;
    let (setup, well) = setup(dying.addr, settings).await;
    (setup.start().await, dying, well)
}

fn post(more: &str, body: &str) -> String {
    format!(
        "POST /records/1 HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer at_alice\r\n{more}Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn count(fixture: &Fixture, name: &str, reason: &str) -> u32 {
    let series = format!("{name}{{reason=\"{reason}\",upstream=\"a\"}} ");
    let text = fixture.metrics.render();
    let line = text.lines().find_map(|line| line.strip_prefix(&series));
    line.map_or(0, |value| value.parse().unwrap())
}

#[tokio::test]
async fn what_never_left_goes_elsewhere_whatever_it_is() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = closed.local_addr().unwrap();
    drop(closed);
    let (setup, well) = setup(addr, "").await;
    let fixture = setup.start().await;
    for _ in 0..4 {
        let answer = fixture.raw(&post("", "a body")).await;
        assert_eq!(answer.status(), 200, "{answer:?}");
    }
    let seen = well.seen();
    assert_eq!(seen.len(), 4);
    for one in &seen {
        assert_eq!(one.body, "a body");
        assert_eq!(one.headers["host"], addr.to_string().as_str());
        assert_eq!(one.headers["authorization"], "Bearer jwt.alice.signature");
    }
    assert_eq!(count(&fixture, "pep_upstream_retries_total", "failure"), 3);
}

#[tokio::test]
async fn what_may_have_left_goes_elsewhere_only_where_that_is_safe() {
    let (fixture, dying, well) = dying("retries: { body_bytes: 1000 }").await;
    let long = "x".repeat(1001);
    let key = "Idempotency-Key: \"k\"\r\n";
    for (request, status, at_other) in [
        (get("/records/1", "at_alice"), 200, true),
        (post(key, "a body"), 200, true),
        // This one is the other's in the first place.
        (get("/records/1", "at_alice"), 200, true),
        (post("", "a body"), 502, false),
        (post(key, &long), 502, false),
        (post(key, ""), 200, true),
    ] {
        let before = well.seen().len();
        let answer = fixture.raw(&request).await;
        assert_eq!(answer.status(), status, "{request}");
        assert_eq!(well.seen().len() > before, at_other, "{request}");
    }
    let tried = dying.seen();
    assert_eq!(tried.len(), 5);
    // Both have got the same, to the byte.
    let has_key = |text: &&String| text.ends_with("a body") && text.contains("idempotency-key");
    let twice = tried.iter().find(has_key).unwrap();
    let seen = well.seen();
    let again = seen.iter().find(|seen| seen.body == "a body").unwrap();
    for (name, value) in &again.headers {
        let line = format!("{name}: {}\r\n", value.to_str().unwrap());
        assert!(twice.contains(&line), "{twice} has no {line}");
    }
    assert_eq!(twice.matches("\r\n").count(), again.headers.len() + 2);
}

#[tokio::test]
async fn nobody_is_tried_again_for_who_may_not_go_on_meanwhile() {
    for is_told in [true, false] {
        let dying = Dying::start(Duration::from_millis(400)).await;
        let (setup, well) = setup(dying.addr, "").await;
        let fixture = setup.start().await;
        let addr = fixture.addr;
        let asking = tokio::task::spawn(async move {
            crate::fixture::raw(addr, &get("/records/1", "at_alice")).await
        });
        eventually("the first has it", || dying.seen().len() == 1).await;
        fixture.tokens.forget("at_alice");
        if is_told {
            let event = json!({ "kind": "token_revoked", "token_ref": "ref_alice" });
            fixture.announce_and_wait(event).await;
        }
        let answer: Answer = asking.await.unwrap();
        let (status, seen) = if is_told { (401, 0) } else { (200, 1) };
        assert_eq!(answer.status(), status, "{answer:?}");
        assert_eq!(well.seen().len(), seen);
        assert_eq!(dying.seen().len(), 1);
    }
}

#[tokio::test]
async fn who_is_revoked_during_another_try_is_told_so() {
    let (fixture, dying, well) = dying("").await;
    let addr = fixture.addr;
    let asking = tokio::task::spawn(async move {
        crate::fixture::raw(addr, &get("/records/slow", "at_alice")).await
    });
    eventually("the other has it", || well.seen().len() == 1).await;
    assert_eq!(dying.seen().len(), 1);
    fixture.tokens.forget("at_alice");
    let event = json!({ "kind": "token_revoked", "token_ref": "ref_alice" });
    fixture.announce_and_wait(event).await;
    let answer: Answer = asking.await.unwrap();
    assert_eq!(answer.status(), 401, "{answer:?}");
}

#[tokio::test]
async fn a_kept_connection_that_ended_late_is_no_way_around_a_revocation() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut setup = Setup::new().await;
    setup.upstream.addr = listener.local_addr().unwrap();
    let (told, asked) = tokio::sync::oneshot::channel();
    let (go, may_go) = tokio::sync::oneshot::channel::<()>();
    let serving = tokio::task::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        whole(&mut stream).await;
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
        stream.write_all(answer).await.unwrap();
        whole(&mut stream).await;
        told.send(()).unwrap();
        may_go.await.unwrap();
        drop(stream);
        // Whoever comes again is one too many.
        let again = tokio::time::timeout(Duration::from_millis(300), listener.accept());
        again.await.is_err()
    });
    let fixture = setup.start().await;
    assert_eq!(fixture.get("/records/1", "at_alice").await.status(), 200);
    tokio::time::sleep(Duration::from_millis(600)).await;
    let addr = fixture.addr;
    let asking = tokio::task::spawn(async move {
        crate::fixture::raw(addr, &get("/records/2", "at_alice")).await
    });
    asked.await.unwrap();
    fixture.tokens.forget("at_alice");
    let event = json!({ "kind": "token_revoked", "token_ref": "ref_alice" });
    fixture.announce_and_wait(event).await;
    go.send(()).unwrap();
    assert_eq!(asking.await.unwrap().status(), 401);
    assert!(serving.await.unwrap());
}

#[tokio::test]
async fn a_bad_answer_is_exchanged_for_a_better_one_if_there_is_one() {
    for (better, expected) in [(200, 200), (503, 503)] {
        let settings = format!("{STABLE}, retries: {{ statuses: [503] }}");
        let several = Several::start(2, &settings).await;
        several.all[0].answer_with(503);
        several.all[1].answer_with(better);
        let answer = several.fixture.get("/records/status", "at_alice").await;
        assert_eq!(answer.status(), expected);
        assert_eq!(answer.header("x-own"), Some("2"), "an upstream's answer");
        assert_eq!(several.counts(), [1, 1]);
        let retries = count(&several.fixture, "pep_upstream_retries_total", "status");
        assert_eq!(retries, 1);
    }
}

#[tokio::test]
async fn there_are_only_so_many_retries() {
    let settings = "retries: { budget_percent: 0, budget_min_per_second: 2 }";
    let (fixture, _dying, well) = dying(settings).await;
    let mut failed = 0;
    for _ in 0..40 {
        let answer = fixture.get("/records/1", "at_alice").await;
        failed += u32::from(answer.status() == 502);
    }
    assert!(failed >= 20, "{failed}");
    assert!(well.seen().len() < 20);
    let refused = fixture.metric("pep_upstream_retry_budget_exhausted_total");
    assert!((refused - f64::from(failed)).abs() < 0.1);
    let (fixture, dying, _) = self::dying("retries: { attempts: 0 }").await;
    assert_eq!(fixture.get("/records/1", "at_alice").await.status(), 502);
    assert_eq!(dying.seen().len(), 1);
}

#[tokio::test]
async fn one_that_does_not_begin_to_answer_is_given_up_and_all_together_is_bounded() {
    let silent = Dying::start(Duration::from_mins(1)).await;
    let (setup, _well) = setup(silent.addr, "retries: { per_try_timeout_ms: 200 }").await;
    let fixture = setup.start().await;
    let begun = Instant::now();
    assert_eq!(fixture.get("/records/1", "at_alice").await.status(), 200);
    assert!(begun.elapsed() < Duration::from_secs(2));
    // A request that cannot be sent again has all the time that there is.
    let settings = "retries: { attempts: 5, per_try_timeout_ms: 400 }";
    let (mut setup, _well) = self::setup(silent.addr, settings).await;
    setup.gateway = "{ workers: 1, access_log: 'off', timeouts: { response_secs: 1 } }".into();
    let fixture = setup.start().await;
    let begun = Instant::now();
    assert_eq!(fixture.raw(&post("", "x")).await.status(), 504);
    assert!(begun.elapsed() >= Duration::from_secs(1));
    let begun = Instant::now();
    let path = "/records/never";
    assert_eq!(fixture.get(path, "at_alice").await.status(), 504);
    assert!(
        begun.elapsed() < Duration::from_millis(1_500),
        "{:?}",
        begun.elapsed()
    );
}
