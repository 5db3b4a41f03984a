//! Another configuration while requests are answered: none of them fails, and from then on it counts.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use gateway_pep::GatewayError;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::fixture::{Answer, Fixture, PATIENCE, Setup, config, eventually};
use crate::http2_frames::Frames;

const GATEWAY: &str = "{ workers: 2, access_log: 'off', h2c: true }";

const MORE: &str =
    "  - { match: '/feeds/{id}/{kind}', methods: [GET], upstream: a, action: view, resource: 'Record/{id}' }
";
const OTHER: &str = "  - { match: '/other/{id}', methods: [GET], upstream: a, public: true }
";

async fn fixture() -> Fixture {
    let setup = Setup {
        gateway: GATEWAY.into(),
        more_routes: MORE,
        ..Setup::new().await
    };
    setup.start().await
}

async fn reload(
    fixture: &mut Fixture,
    gateway: &str,
    more_routes: &str,
) -> Result<(), GatewayError> {
    let addr = fixture.upstream.addr;
    let config = config(gateway, ("http", addr), "", more_routes);
    fixture.gateway.reload(&config, Path::new(".")).await
}

/// A connection on which one request is sent after the other.
#[derive(Debug)]
struct Kept(TcpStream);

impl Kept {
    async fn open(fixture: &Fixture) -> Self {
        Self(TcpStream::connect(fixture.addr).await.unwrap())
    }

    async fn get(&mut self, path: &str) -> Answer {
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: gw.test\r\nAuthorization: Bearer at_alice\r\n\r\n"
        );
        self.0.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        loop {
            let mut buffer = [0; 4096];
            let read = timeout(PATIENCE, self.0.read(&mut buffer)).await.unwrap();
            let length = read.unwrap();
            assert!(length > 0, "closed after {text:?}");
            text.push_str(std::str::from_utf8(&buffer[..length]).unwrap());
            let answer = Answer(text.clone());
            let length = answer.header("content-length");
            let length: Option<usize> = length.map(|length| length.parse().unwrap());
            if length.is_some_and(|length| answer.body().len() >= length) {
                return answer;
            }
        }
    }
}

#[tokio::test]
async fn a_kept_connection_is_answered_by_the_configuration_of_now() {
    let mut fixture = fixture().await;
    let (mut one, mut two) = (Kept::open(&fixture).await, Kept::open(&fixture).await);
    for kept in [&mut one, &mut two] {
        assert_eq!(kept.get("/feeds/1/x").await.status(), 200);
        assert_eq!(kept.get("/other/1").await.status(), 404);
    }
    reload(&mut fixture, GATEWAY, OTHER).await.unwrap();
    for kept in [&mut one, &mut two, &mut Kept::open(&fixture).await] {
        assert_eq!(kept.get("/feeds/1/x").await.status(), 404);
        assert_eq!(kept.get("/other/1").await.status(), 200);
        // What is not another route is remembered anew.
        assert_eq!(kept.get("/records/1").await.status(), 200);
    }
}

#[tokio::test]
async fn no_request_fails_while_the_configuration_is_replaced_again_and_again() {
    let mut fixture = fixture().await;
    let (stop, answered) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let mut clients = Vec::new();
    for client in 0..8 {
        let (stop, answered, addr) = (stop.clone(), answered.clone(), fixture.addr);
        clients.push(tokio::task::spawn(async move {
            let mut kept = Kept(TcpStream::connect(addr).await.unwrap());
            let mut by_http2 = Frames::begin(TcpStream::connect(addr).await.unwrap()).await;
            for n in 0_u32.. {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                // Some connections are kept, some are new.
                if client % 2 == 1 {
                    kept = Kept(TcpStream::connect(addr).await.unwrap());
                }
                let path = if n % 10 == 0 {
                    "/records/slow"
                } else {
                    "/records/1"
                };
                let answer = kept.get(path).await;
                assert_eq!(answer.status(), 200, "{answer:?}");
                let fields = [
                    (":method", "GET"),
                    (":scheme", "http"),
                    (":authority", "gw.test"),
                    (":path", "/records/2"),
                    ("authorization", "Bearer at_bob"),
                ];
                let stream = 2 * n + 1;
                by_http2.headers(stream, &fields, true).await;
                let outcome = by_http2.outcome(stream).await;
                assert_eq!(outcome.status(), Some(200), "{outcome:?}");
                answered.fetch_add(2, Ordering::SeqCst);
            }
        }));
    }
    // Thirty times, and for as long as it takes to ask often enough.
    let mut n = 0;
    while n < 30 || answered.load(Ordering::SeqCst) <= 500 {
        let is_going_on = !clients.iter().any(JoinHandle::is_finished);
        assert!(is_going_on && n < 1000, "{answered:?}");
        let more = if n % 2 == 0 { OTHER } else { MORE };
        reload(&mut fixture, GATEWAY, more).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        n += 1;
    }
    stop.store(true, Ordering::SeqCst);
    for client in clients {
        timeout(PATIENCE, client).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn what_goes_on_goes_on_and_is_ended_by_what_ends_it() {
    let mut fixture = fixture().await;
    let mut stream = TcpStream::connect(fixture.addr).await.unwrap();
    let request =
        "GET /feeds/1/feed HTTP/1.1\r\nHost: gw.test\r\nAuthorization: Bearer at_alice\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    eventually("it is looked at", || fixture.metric("pep_streams") > 0.9).await;
    reload(&mut fixture, GATEWAY, OTHER).await.unwrap();
    // Long enough for what is not needed any more to be let go of.
    tokio::time::sleep(Duration::from_millis(2500)).await;
    let mut buffer = vec![0; 65536];
    while let Ok(length) = timeout(Duration::from_millis(5), stream.read(&mut buffer)).await {
        assert!(length.unwrap() > 0);
    }
    let more = timeout(PATIENCE, stream.read(&mut buffer)).await;
    assert!(more.unwrap().unwrap() > 0, "it goes on");
    fixture
        .announce(json!({ "kind": "grant_revoked", "grant": "g_alice" }))
        .await;
    fixture.tokens.forget("at_alice");
    let ended = async {
        while stream
            .read(&mut buffer)
            .await
            .is_ok_and(|length| length > 0)
        {}
    };
    timeout(PATIENCE, ended).await.unwrap();
    assert!(fixture.metric("pep_streams_ended_total") > 0.9);
}

#[tokio::test]
async fn a_revocation_from_before_counts_after() {
    let mut fixture = fixture().await;
    assert_eq!(fixture.get("/records/1", "at_alice").await.status(), 200);
    fixture
        .announce_and_wait(json!({ "kind": "grant_revoked", "grant": "g_alice" }))
        .await;
    reload(&mut fixture, GATEWAY, MORE).await.unwrap();
    assert_eq!(fixture.get("/records/1", "at_alice").await.status(), 401);
    assert_eq!(fixture.get("/records/1", "at_bob").await.status(), 200);
    fixture
        .announce_and_wait(json!({ "kind": "grant_revoked", "grant": "g_bob" }))
        .await;
    assert_eq!(fixture.get("/records/1", "at_bob").await.status(), 401);
}

#[tokio::test]
async fn what_is_wrong_changes_nothing_and_is_said() {
    let mut fixture = fixture().await;
    for (gateway, routes, said) in [
        (
            GATEWAY,
            "  - { match: '/x', methods: [GET], upstream: nobody, public: true }\n",
            "nobody",
        ),
        (
            "{ workers: 3, access_log: 'off', h2c: true }",
            MORE,
            "`gateway.workers`",
        ),
        (
            "{ workers: 2, access_log: 'off', h2c: true, listen: '127.0.0.1:1' }",
            MORE,
            "`gateway.listen`",
        ),
        (
            "{ workers: 2, h2c: true, access_log: { file: '/proc/none/log' } }",
            MORE,
            "/proc/none/log",
        ),
    ] {
        let refused = reload(&mut fixture, gateway, routes).await.unwrap_err();
        assert!(refused.to_string().contains(said), "{refused}");
        assert_eq!(fixture.get("/feeds/1/x", "at_alice").await.status(), 200);
    }
    assert!(fixture.gateway.finish(PATIENCE).await);
}

#[tokio::test]
async fn a_log_that_stays_is_written_on_and_another_is_begun() {
    let folder = tempfile::tempdir().unwrap();
    let log = |name: &str| {
        let path = folder.path().join(name);
        format!(
            "{{ workers: 2, h2c: true, access_log: {{ file: '{}' }} }}",
            path.display()
        )
    };
    let lines = |name: &str| {
        let text = std::fs::read_to_string(folder.path().join(name)).unwrap();
        text.lines().count()
    };
    let setup = Setup {
        gateway: log("one"),
        ..Setup::new().await
    };
    let mut fixture = setup.start().await;
    for (gateway, requests) in [("one", 3), ("two", 2)] {
        reload(&mut fixture, &log(gateway), "").await.unwrap();
        for _ in 0..requests {
            fixture.get("/records/1", "at_alice").await;
        }
    }
    assert!(fixture.gateway.finish(PATIENCE).await);
    assert_eq!((lines("one"), lines("two")), (3, 2));
}

#[tokio::test]
async fn metrics_go_on_counting_and_what_is_remembered_is_counted_once() {
    let mut fixture = fixture().await;
    for _ in 0..5 {
        fixture.get("/records/1", "at_alice").await;
    }
    let decided = |fixture: &Fixture| {
        let counts = fixture.gateway.caches().state().decisions;
        counts.l1 + counts.l2 + counts.remote
    };
    for round in 1..4 {
        reload(&mut fixture, GATEWAY, OTHER).await.unwrap();
        assert_eq!(
            decided(&fixture),
            5 * round,
            "before the route decides again"
        );
        for _ in 0..5 {
            fixture.get("/records/1", "at_alice").await;
        }
    }
    // A worker has one entry at most, and old ones have none.
    eventually("gauges are up to date", || {
        let entries = fixture.metric("pep_cache_token_entries");
        (0.9..2.1).contains(&entries)
    })
    .await;
    let text = fixture.metrics.render();
    let decided: f64 = text
        .lines()
        .filter(|line| line.starts_with("pep_decisions_total") && line.contains("/records/"))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum();
    assert!((decided - 20.0).abs() < 0.1, "{decided} {text}");
}
