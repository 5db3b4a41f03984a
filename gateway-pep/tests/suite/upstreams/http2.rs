//! An upstream that speaks HTTP/2: many requests on few connections, and what becomes of those that it does not begin
//! on.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::Version;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::fixture::{Answer, Fixture, Setup, get, raw};
use crate::http2_frames::{
    ACK, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, RST_STREAM, SETTINGS, block, frame,
};
use crate::upstream::{Speaks, Upstream};
use crate::upstreams::Several;

pub(crate) async fn start(settings: &str) -> Fixture {
    let upstream = Upstream::start_speaking(Speaks::Http2).await;
    start_at(upstream, settings).await
}

async fn start_at(upstream: Upstream, settings: &str) -> Fixture {
    let setup = Setup {
        upstream,
        upstream_settings: format!("protocol: http2, {settings}"),
        ..Setup::new().await
    };
    setup.start().await
}

/// So many at a time.
async fn at_once(addr: SocketAddr, count: usize, path: &'static str) -> Vec<Answer> {
    let mut waiting = JoinSet::new();
    for _ in 0..count {
        waiting.spawn(async move { raw(addr, &get(path, "at_alice")).await });
    }
    waiting.join_all().await
}

fn post(path: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nHost: gw.test\r\nAuthorization: Bearer at_alice\r\n\
         Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}

#[tokio::test]
async fn a_request_says_the_same_as_by_http_1() {
    let by_http_1 = Fixture::start().await;
    let answer_1 = by_http_1.get("/records/1001?a=b", "at_alice").await;
    let seen_1 = by_http_1.upstream.last();
    let fixture = start("").await;
    let answer = fixture.get("/records/1001?a=b", "at_alice").await;
    assert_eq!((answer.status(), answer.body()), (200, answer_1.body()));
    assert_eq!(answer.header("x-own"), Some("2"));
    let seen = fixture.upstream.last();
    assert_eq!(seen.version, Version::HTTP_2);
    let addr = fixture.upstream.addr;
    // Whose it is, is said once.
    assert_eq!(seen.target, format!("http://{addr}/records/1001?a=b"));
    assert!(!seen.headers.contains_key("host"), "{:?}", seen.headers);
    for name in ["authorization", "x-forwarded-host", "x-forwarded-proto"] {
        assert_eq!(seen.headers.get(name), seen_1.headers.get(name), "{name}");
    }
    for name in ["connection", "transfer-encoding", "te", "upgrade"] {
        assert!(!seen.headers.contains_key(name), "{name}");
    }
    for (length, body) in [
        ("Content-Length: 5", "hello"),
        ("Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\n\r\n"),
    ] {
        let request = format!(
            "POST /public/echo HTTP/1.1\r\nHost: shop.example:81\r\n{length}\r\nConnection: close\r\n\r\n{body}"
        );
        assert_eq!(fixture.raw(&request).await.status(), 200);
        let seen = fixture.upstream.last();
        assert_eq!(seen.body, "hello");
        assert!(!seen.headers.contains_key("transfer-encoding"));
    }
    let fixture = start("preserve_host: true").await;
    let request = get("/public/ok", "x").replace("gw.test", "Shop.example:81");
    assert_eq!(fixture.raw(&request).await.status(), 200);
    let seen = fixture.upstream.last();
    assert_eq!(seen.target, "http://shop.example:81/public/ok");
}

#[tokio::test]
async fn requests_share_a_connection_and_another_is_opened_where_it_is_full() {
    let fixture = start("http2: { streams: 10, connections: 2 }").await;
    let begin = Instant::now();
    let answers = at_once(fixture.addr, 20, "/records/slow").await;
    assert!(answers.iter().all(|answer| answer.status() == 200));
    assert!(begin.elapsed() < Duration::from_millis(900), "not at once");
    assert!(fixture.is("pep_upstream_connects_total", 2.0));
    // What comes later needs no other.
    for _ in 0..5 {
        assert_eq!(fixture.get("/records/1", "at_alice").await.status(), 200);
    }
    assert!(fixture.is("pep_upstream_connects_total", 2.0));
}

#[tokio::test]
async fn where_all_are_full_requests_wait_for_a_while() {
    let fixture = start("http2: { streams: 2, connections: 2 }, pending: 2").await;
    let mut statuses: Vec<_> = at_once(fixture.addr, 8, "/records/slow")
        .await
        .iter()
        .map(Answer::status)
        .collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 200, 200, 200, 200, 503, 503]);
    assert!(fixture.is("pep_upstream_requests_pending", 0.0));
    assert!(fixture.is("pep_upstream_connects_total", 2.0));
    let impatient = start("http2: { streams: 1, connections: 1 }, pending_ms: 50").await;
    let answers = at_once(impatient.addr, 2, "/records/slow").await;
    let full = answers.iter().find(|it| it.status() == 503).unwrap();
    assert!(full.body().contains("upstream-full"), "{full:?}");
}

#[tokio::test]
async fn what_nobody_waits_for_any_more_is_cancelled_and_the_connection_stays() {
    let fixture = start("http2: { streams: 1, connections: 1 }, pending_ms: 2000").await;
    let mut stream = TcpStream::connect(fixture.addr).await.unwrap();
    let request = get("/records/never", "at_alice");
    stream.write_all(request.as_bytes()).await.unwrap();
    crate::fixture::eventually("it is there", || fixture.upstream.seen().len() == 1).await;
    drop(stream);
    // There would be no place for another, were it still under way.
    assert_eq!(fixture.get("/records/1", "at_alice").await.status(), 200);
    assert!(fixture.is("pep_upstream_connects_total", 1.0));
}

#[tokio::test]
async fn an_upstream_that_is_none_is_a_failed_one() {
    let http_1 = Upstream::start().await;
    let fixture = start_at(http_1, "").await;
    let answer = fixture.get("/records/1", "at_alice").await;
    assert_eq!(answer.status(), 502, "{answer:?}");
    let http_2 = Upstream::start_speaking(Speaks::Http2).await;
    let setup = Setup {
        upstream: http_2,
        ..Setup::new().await
    };
    let fixture = setup.start().await;
    assert_eq!(fixture.get("/records/1", "at_alice").await.status(), 502);
}

#[tokio::test]
async fn health_is_asked_for_by_http_2() {
    let upstream = Upstream::start_speaking(Speaks::Http2).await;
    let fixture = start_at(
        upstream,
        "health_check: { path: /healthz, interval_ms: 50 }",
    )
    .await;
    crate::fixture::eventually("it is asked", || fixture.upstream.checks() > 2).await;
    assert_eq!(fixture.get("/records/1", "at_alice").await.status(), 200);
    let passed = fixture.metric("pep_upstream_health_checks_total");
    assert!(passed > 1.0, "{passed}");
}

/// What a connection does with the requests on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Does {
    Answer,
    /// Refuses the first so often.
    Refuse(usize),
    /// Goes away, and has begun on nothing.
    GoAway,
    /// Goes away once it has begun on it, and says so.
    GoAwayLater,
    /// Ends without a word.
    Close,
    Reset,
    Status503,
    /// Answers the first, and ends without a word at the next.
    Once,
}

/// An upstream frame by frame: each connection does what it is told to.
#[derive(Debug, Clone)]
struct Scripted {
    addr: SocketAddr,
    /// Connection and stream of every request.
    requests: Arc<Mutex<Vec<(usize, u32)>>>,
    refused: Arc<AtomicUsize>,
}

impl Scripted {
    async fn start(script: &'static [Does]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let scripted = Self {
            addr: listener.local_addr().unwrap(),
            requests: Arc::default(),
            refused: Arc::default(),
        };
        let serving = scripted.clone();
        tokio::task::spawn(async move {
            for number in 0.. {
                let (stream, _) = listener.accept().await.unwrap();
                let does = script.get(number).or(script.last()).copied().unwrap();
                let serving = serving.clone();
                tokio::task::spawn(async move { serving.serve(stream, number, does).await });
            }
        });
        scripted
    }

    async fn serve(&self, mut stream: TcpStream, number: usize, does: Does) -> Option<()> {
        let mut preface = [0; 24];
        stream.read_exact(&mut preface).await.ok()?;
        stream.write_all(&frame(SETTINGS, 0, 0, &[])).await.ok()?;
        loop {
            let mut head = [0; 9];
            stream.read_exact(&mut head).await.ok()?;
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let id = u32::from_be_bytes([head[5] & 0x7f, head[6], head[7], head[8]]);
            let mut payload = vec![0; usize::try_from(length).unwrap()];
            stream.read_exact(&mut payload).await.ok()?;
            let is_ack = head[4] & ACK != 0;
            let answer = match head[3] {
                SETTINGS if !is_ack => frame(SETTINGS, ACK, 0, &[]),
                PING if !is_ack => frame(PING, ACK, 0, &payload),
                HEADERS | DATA if head[4] & END_STREAM != 0 => {
                    self.requests.lock().unwrap().push((number, id));
                    match self.done(does, id) {
                        Some(bytes) => bytes,
                        None => return None,
                    }
                }
                _ => continue,
            };
            stream.write_all(&answer).await.ok()?;
            if does == Does::GoAwayLater && !answer.is_empty() && answer[3] == GOAWAY {
                return None;
            }
        }
    }

    /// None: it hangs up.
    fn done(&self, does: Does, id: u32) -> Option<Vec<u8>> {
        let reset = |code: u32| frame(RST_STREAM, 0, id, &code.to_be_bytes());
        let go_away = |last: u32| {
            let payload = [last.to_be_bytes(), 0_u32.to_be_bytes()].concat();
            frame(GOAWAY, 0, 0, &payload)
        };
        let status = |status: &'static str| {
            let block = block(&[(":status", status)]);
            frame(HEADERS, END_HEADERS | END_STREAM, id, &block)
        };
        Some(match does {
            Does::Refuse(times) if self.refused.fetch_add(1, Ordering::SeqCst) < times => reset(7),
            Does::Answer | Does::Refuse(_) => status("200"),
            Does::Status503 => status("503"),
            Does::GoAway => go_away(id - 1),
            Does::GoAwayLater => go_away(id),
            Does::Once if id == 1 => status("200"),
            Does::Close | Does::Once => return None,
            Does::Reset => reset(2),
        })
    }

    async fn gateway(&self, settings: &str) -> Fixture {
        let upstream = Upstream::elsewhere(self.addr).await;
        start_at(upstream, settings).await
    }

    fn count(&self) -> usize {
        self.requests.lock().unwrap().len()
    }
}

#[tokio::test]
async fn what_was_refused_is_sent_again_whatever_it_is() {
    for request in [get("/records/1", "at_alice"), post("/records/1", "hello")] {
        let upstream = Scripted::start(&[Does::Refuse(2)]).await;
        let fixture = upstream.gateway("").await;
        let answer = fixture.raw(&request).await;
        assert_eq!(answer.status(), 200, "{answer:?}");
        assert_eq!(*upstream.requests.lock().unwrap(), [(0, 1), (0, 3), (0, 5)]);
    }
    // But not for ever.
    let upstream = Scripted::start(&[Does::Refuse(usize::MAX)]).await;
    let fixture = upstream.gateway("").await;
    assert_eq!(fixture.get("/records/1", "at_alice").await.status(), 502);
    assert_eq!(upstream.count(), 3);
}

#[tokio::test]
async fn what_an_upstream_that_goes_away_has_not_begun_on_goes_to_another_connection() {
    for request in [get("/records/1", "at_alice"), post("/records/1", "hello")] {
        let upstream = Scripted::start(&[Does::GoAway, Does::Answer]).await;
        let fixture = upstream.gateway("").await;
        let answer = fixture.raw(&request).await;
        assert_eq!(answer.status(), 200, "{answer:?}");
        assert_eq!(*upstream.requests.lock().unwrap(), [(0, 1), (1, 1)]);
    }
}

/// SECURITY: twice would be once too often.
#[tokio::test]
async fn what_may_have_been_begun_on_is_not_sent_again_where_that_does_harm() {
    const SCRIPTS: [&[Does]; 3] = [
        &[Does::GoAwayLater, Does::Answer],
        &[Does::Close, Does::Answer],
        &[Does::Reset, Does::Answer],
    ];
    for script in SCRIPTS {
        let upstream = Scripted::start(script).await;
        let fixture = upstream.gateway("").await;
        let answer = fixture.raw(&post("/records/1", "hello")).await;
        assert_eq!(answer.status(), 502, "{script:?} {answer:?}");
        assert_eq!(upstream.count(), 1, "{script:?}");
    }
    // An answer is one, too, and other endpoints are there.
    let (bad, good) = (
        Scripted::start(&[Does::Status503]).await,
        Scripted::start(&[Does::Answer]).await,
    );
    let places = [bad.addr, good.addr].map(|addr| format!("'{addr}'"));
    let settings = format!(
        "endpoints: [{}], retries: {{ statuses: [503] }}",
        places.join(", ")
    );
    let fixture = bad.gateway(&settings).await;
    assert_eq!(
        fixture.raw(&post("/records/1", "hello")).await.status(),
        503
    );
    assert_eq!((bad.count(), good.count()), (1, 0));
    let again = fixture.get("/records/1", "at_alice").await;
    assert_eq!(again.status(), 200);
    let again = fixture.get("/records/1", "at_alice").await;
    assert_eq!(again.status(), 200);
    assert_eq!((bad.count(), good.count()), (2, 2));
}

#[tokio::test]
async fn what_does_no_harm_is_sent_again_where_a_used_connection_breaks_off() {
    let upstream = Scripted::start(&[Does::Once, Does::Answer]).await;
    let fixture = upstream.gateway("").await;
    for _ in 0..2 {
        assert_eq!(fixture.get("/records/1", "at_alice").await.status(), 200);
    }
    assert_eq!(*upstream.requests.lock().unwrap(), [(0, 1), (0, 3), (1, 1)]);
    let upstream = Scripted::start(&[Does::Once, Does::Answer]).await;
    let fixture = upstream.gateway("").await;
    assert_eq!(fixture.get("/records/1", "at_alice").await.status(), 200);
    let answer = fixture.raw(&post("/records/1", "hello")).await;
    assert_eq!(answer.status(), 502, "{answer:?}");
    assert_eq!(*upstream.requests.lock().unwrap(), [(0, 1), (0, 3)]);
}

#[tokio::test]
async fn places_share_requests_as_they_do_by_http_1() {
    let mut all = Vec::new();
    for _ in 0..3 {
        all.push(Upstream::start_speaking(Speaks::Http2).await);
    }
    let fixture = Several::setup(&all, "protocol: http2").await.start().await;
    let several = Several { fixture, all };
    for _ in 0..10 {
        let answer = several.fixture.get("/records/1", "at_alice").await;
        assert_eq!(answer.status(), 200);
    }
    assert_eq!(several.counts(), [6, 2, 2]);
    assert!(several.fixture.is("pep_upstream_connects_total", 3.0));
}
