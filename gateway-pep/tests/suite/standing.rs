//! What lasts, lasts only as long as what it was permitted by.

mod tunnels;

use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::fixture::{Answer, Fixture, PATIENCE, Setup, eventually};

const QUICK: &str = "{ workers: 1, access_log: 'off', streams: { grace_secs: 1 } }";

const PIPES: &str =
    "  - { match: '/feeds/{id}/{kind}', methods: [GET], upstream: a, action: view, resource: 'Record/{id}' }
  - { match: '/kept/{id}/{kind}', methods: [GET], upstream: a, action: view, resource: 'Record/{id}', stale_decision_secs: 60 }
";

async fn fixture(gateway: &str) -> Fixture {
    let setup = Setup {
        gateway: gateway.into(),
        more_routes: PIPES,
        ..Setup::new().await
    };
    setup.start().await
}

fn policy_changed() -> Value {
    json!({ "kind": "policy_changed", "version": "2", "epoch": 2 })
}

/// A response that is being read.
#[derive(Debug)]
struct Stream(TcpStream);

impl Stream {
    /// Asked for, and its beginning read.
    async fn open(fixture: &Fixture, path: &str, token: &str) -> Self {
        let credential = format!("Authorization: Bearer {token}");
        Self::open_with(fixture, path, &credential).await
    }

    async fn open_with(fixture: &Fixture, path: &str, credential: &str) -> Self {
        let mut stream = TcpStream::connect(fixture.addr).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: gw.test\r\n{credential}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        while !text.contains("data: 0") {
            let mut buffer = [0; 4096];
            let length = timeout(PATIENCE, stream.read(&mut buffer)).await.unwrap();
            text.push_str(std::str::from_utf8(&buffer[..length.unwrap()]).unwrap());
        }
        assert!(text.starts_with("HTTP/1.1 200"), "{text}");
        Self(stream)
    }

    /// What comes up to its end. None: it has not ended in time.
    async fn rest(&mut self, patience: Duration) -> Option<String> {
        let mut rest = Vec::new();
        let end = timeout(patience, self.0.read_to_end(&mut rest));
        // Broken off is an end, too.
        let _ = end.await.ok()?;
        Some(String::from_utf8_lossy(&rest).into_owned())
    }

    /// It was broken off: whoever reads chunks has not seen the last one.
    async fn breaks_off(&mut self) {
        let rest = self.rest(PATIENCE).await.expect("it ends");
        assert!(!rest.ends_with("0\r\n\r\n"), "{rest}");
    }

    async fn goes_on(&mut self) {
        assert_eq!(self.rest(Duration::from_millis(600)).await, None);
    }
}

/// Until what has just begun is looked at.
async fn held(fixture: &Fixture, streams: f64) {
    eventually("the streams are looked at", || {
        (fixture.metric("pep_streams") - streams).abs() < 0.1
    })
    .await;
}

#[tokio::test]
async fn a_revocation_ends_a_stream_that_flows_and_one_that_is_silent() {
    for kind in ["feed", "silent"] {
        let fixture = fixture(QUICK).await;
        let path = format!("/feeds/1/{kind}");
        let mut alice = Stream::open(&fixture, &path, "at_alice").await;
        let mut bob = Stream::open(&fixture, &path, "at_bob").await;
        held(&fixture, 2.0).await;
        fixture.tokens.forget("at_alice");
        let begun = Instant::now();
        fixture
            .announce(json!({ "kind": "token_revoked", "token_ref": "ref_alice" }))
            .await;
        alice.breaks_off().await;
        assert!(begun.elapsed() < Duration::from_secs(1), "{kind}");
        bob.goes_on().await;
        held(&fixture, 1.0).await;
        drop(bob);
        if kind == "feed" {
            held(&fixture, 0.0).await;
        }
    }
}

#[tokio::test]
async fn what_began_with_a_key_in_its_own_header_is_asked_about_by_the_key() {
    let fixture = fixture("{ workers: 1, access_log: 'off', api_key_header: X-API-Key }").await;
    let mut stream = Stream::open_with(&fixture, "/feeds/1/feed", "X-API-Key: at_alice").await;
    held(&fixture, 1.0).await;
    fixture.announce_and_wait(policy_changed()).await;
    eventually("it was asked about again", || fixture.pdp.count() == 2).await;
    stream.goes_on().await;
    fixture.tokens.forget("at_alice");
    fixture
        .announce(json!({ "kind": "token_revoked", "token_ref": "ref_alice" }))
        .await;
    stream.breaks_off().await;
}

#[tokio::test]
async fn a_change_of_policy_asks_again_and_ends_what_is_not_permitted_any_more() {
    let fixture = fixture(QUICK).await;
    let mut stream = Stream::open(&fixture, "/feeds/1/feed", "at_alice").await;
    held(&fixture, 1.0).await;
    fixture.announce_and_wait(policy_changed()).await;
    eventually("it was asked about again", || fixture.pdp.count() == 2).await;
    assert_eq!(fixture.pdp.last().resource.id, "1");
    stream.goes_on().await;
    // A condition that the messages so far have not kept.
    fixture
        .pdp
        .oblige(json!([{ "id": "m", "type": "mask", "properties": { "fields": ["/ssn"] } }]));
    fixture.announce(policy_changed()).await;
    stream.breaks_off().await;
    fixture.pdp.oblige(json!([]));
    fixture.announce_and_wait(policy_changed()).await;
    let mut stream = Stream::open(&fixture, "/feeds/1/feed", "at_alice").await;
    // Before it is looked at: what was voided meanwhile is found then.
    fixture.pdp.denies.store(true, Ordering::SeqCst);
    fixture.announce_and_wait(policy_changed()).await;
    stream.breaks_off().await;
    assert!((fixture.metric("pep_streams_ended_total") - 2.0).abs() < 0.1);
}

#[tokio::test]
async fn a_stream_ends_with_its_token() {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let fixture = fixture(QUICK).await;
    fixture.tokens.issue("carol", now + 4);
    let mut stream = Stream::open(&fixture, "/feeds/1/silent", "at_carol").await;
    stream.goes_on().await;
    stream.breaks_off().await;
    assert!(fixture.metric("pep_streams_ended_total") > 0.0);
}

#[tokio::test]
async fn a_decision_that_holds_for_a_moment_is_asked_for_again() {
    let fixture = fixture(QUICK).await;
    *fixture.pdp.cache.lock().unwrap() = json!({ "max_age": 2 });
    let mut stream = Stream::open(&fixture, "/feeds/1/silent", "at_alice").await;
    eventually("it was asked for again", || fixture.pdp.count() > 1).await;
    stream.goes_on().await;
    fixture.pdp.denies.store(true, Ordering::SeqCst);
    stream.breaks_off().await;
}

#[tokio::test]
async fn a_stream_does_not_outlast_the_silence_of_those_who_could_permit_it() {
    let fixture = fixture(QUICK).await;
    let mut ended = Stream::open(&fixture, "/feeds/1/silent", "at_alice").await;
    let mut kept = Stream::open(&fixture, "/kept/1/silent", "at_alice").await;
    held(&fixture, 2.0).await;
    fixture.pdp.down.store(true, Ordering::SeqCst);
    *fixture.pdp.cache.lock().unwrap() = Value::Null;
    // A grant of somebody else voids nothing.
    fixture
        .announce_and_wait(json!({ "kind": "grant_revoked", "grant": "g_bob" }))
        .await;
    ended.goes_on().await;
    fixture.announce(policy_changed()).await;
    let begun = Instant::now();
    ended.breaks_off().await;
    assert!(begun.elapsed() > Duration::from_millis(900), "the grace");
    // Nor does an old answer count that a change has voided.
    kept.breaks_off().await;
    assert!(fixture.metric("pep_streams_reauthorized_total") > 1.0);
}

#[tokio::test]
async fn a_short_outage_ends_nothing() {
    let gateway = "{ workers: 1, access_log: 'off', streams: { grace_secs: 30 } }";
    let fixture = fixture(gateway).await;
    let mut stream = Stream::open(&fixture, "/feeds/1/silent", "at_alice").await;
    held(&fixture, 1.0).await;
    fixture.pdp.down.store(true, Ordering::SeqCst);
    fixture.announce_and_wait(policy_changed()).await;
    eventually("nobody answers", || fixture.pdp.count() > 1).await;
    stream.goes_on().await;
    fixture.pdp.down.store(false, Ordering::SeqCst);
    eventually("it stands again", || {
        let text = fixture.metrics.render();
        text.contains("pep_streams_reauthorized_total{result=\"permit\"} 1")
    })
    .await;
    stream.goes_on().await;
}

#[tokio::test]
async fn one_announcement_for_many_streams_is_no_storm() {
    let gateway = "{ workers: 1, access_log: 'off', streams: { questions: 4 } }";
    let fixture = fixture(gateway).await;
    let mut streams = Vec::new();
    for n in 0..200 {
        let path = format!("/feeds/{}/silent", n % 20);
        streams.push(Stream::open(&fixture, &path, "at_alice").await);
    }
    held(&fixture, 200.0).await;
    let (asked, swapped) = (fixture.pdp.count(), fixture.tokens.count());
    *fixture.pdp.delay.lock().unwrap() = Duration::from_millis(20);
    fixture.announce(policy_changed()).await;
    eventually("all were asked about", || {
        fixture.metric("pep_streams_reauthorized_total") > 199.0
    })
    .await;
    assert_eq!(fixture.pdp.count() - asked, 20, "each question once");
    assert_eq!(fixture.tokens.count() - swapped, 1);
    assert!(fixture.pdp.most_at_once() <= 4);
    for mut stream in streams.drain(..3) {
        stream.goes_on().await;
    }
}

#[tokio::test]
async fn an_upload_is_broken_off_and_its_sender_told_why() {
    let fixture = fixture(QUICK).await;
    let mut stream = TcpStream::connect(fixture.addr).await.unwrap();
    let head = "POST /records/1 HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer at_alice\r\nContent-Length: 100000\r\n\r\nhalf";
    stream.write_all(head.as_bytes()).await.unwrap();
    held(&fixture, 1.0).await;
    fixture.pdp.denies.store(true, Ordering::SeqCst);
    fixture.announce(policy_changed()).await;
    let mut answer = Vec::new();
    let end = timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    end.unwrap().unwrap();
    let answer = Answer(String::from_utf8(answer).unwrap());
    assert_eq!(answer.status(), 403, "{answer:?}");
    assert_eq!(answer.header("connection"), Some("close"));
    eventually("the upstream never got it whole", || {
        fixture.upstream.broken() == 1
    })
    .await;
    assert!(fixture.upstream.seen().is_empty());
}

#[tokio::test]
async fn an_answer_that_was_long_in_coming_is_permitted_when_it_comes() {
    let fixture = fixture(QUICK).await;
    let slow = fixture.get("/records/slower", "at_alice");
    let denied = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        fixture.pdp.denies.store(true, Ordering::SeqCst);
        fixture.announce_and_wait(policy_changed()).await;
    };
    let (answer, ()) = tokio::join!(slow, denied);
    assert_eq!(answer.status(), 403, "{answer:?}");
}

#[tokio::test]
async fn the_log_says_why_a_stream_has_ended_and_short_answers_are_not_held() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("access.jsonl");
    let log = format!("access_log: {{ file: '{}' }}", file.display());
    let fixture = fixture(&QUICK.replace("access_log: 'off'", &log)).await;
    for _ in 0..20 {
        fixture.get("/records/1", "at_alice").await;
    }
    assert!(fixture.metric("pep_streams").abs() < 0.1);
    let mut stream = Stream::open(&fixture, "/feeds/1/silent", "at_alice").await;
    held(&fixture, 1.0).await;
    fixture.pdp.denies.store(true, Ordering::SeqCst);
    fixture.announce(policy_changed()).await;
    stream.breaks_off().await;
    assert!(fixture.gateway.finish(PATIENCE).await);
    let text = std::fs::read_to_string(&file).unwrap();
    let last: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(last["error"], "stream_denied", "{last}");
    assert_eq!(last["decision"], "deny", "{last}");
    assert_eq!(last["status"], 200);
    assert!(!text.contains("at_alice"));
}
