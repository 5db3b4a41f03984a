//! What clients and upstreams may take up, and what they give back.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::fixture::{Fixture, Setup, eventually, get};

async fn with(limits: &str) -> Fixture {
    let setup = Setup {
        gateway: format!("{{ workers: 1, access_log: 'off', {limits} }}"),
        ..Setup::new().await
    };
    setup.start().await
}

/// The time until the gateway ends the connection.
async fn until_the_end(stream: &mut TcpStream) -> Duration {
    let begun = Instant::now();
    let mut buffer = [0; 4096];
    let reading =
        async { while matches!(stream.read(&mut buffer).await, Ok(length) if length > 0) {} };
    let ended = tokio::time::timeout(Duration::from_secs(10), reading).await;
    ended.expect("the connection does not end");
    begun.elapsed()
}

/// Whether it has so many connections of clients.
fn has(fixture: &Fixture, connections: u32) -> bool {
    (fixture.metric("pep_connections") - f64::from(connections)).abs() < 0.5
}

async fn idle(fixture: &Fixture) -> TcpStream {
    TcpStream::connect(fixture.addr).await.unwrap()
}

#[tokio::test]
async fn an_upstream_has_so_many_requests_at_most_and_so_many_wait() {
    let setup = Setup {
        upstream_settings: "connections: 1, pending: 1, pending_ms: 400".into(),
        ..Setup::new().await
    };
    let fixture = setup.start().await;
    let mut held = idle(&fixture).await;
    let never = get("/records/never", "at_alice");
    held.write_all(never.as_bytes()).await.unwrap();
    eventually("it is under way", || fixture.upstream.seen().len() == 1).await;
    let waiting = async {
        let begun = Instant::now();
        (fixture.get("/records/1", "at_alice").await, begun.elapsed())
    };
    let too_many = async {
        let pending = "pep_upstream_requests_pending";
        eventually("one waits", || fixture.metric(pending) > 0.0).await;
        let begun = Instant::now();
        (fixture.get("/records/2", "at_alice").await, begun.elapsed())
    };
    let ((waited, waited_for), (refused, refused_after)) = tokio::join!(waiting, too_many);
    for answer in [&waited, &refused] {
        assert_eq!(answer.status(), 503, "{answer:?}");
        assert_eq!(answer.header("retry-after"), Some("1"));
        assert!(answer.body().contains("upstream-full"), "{answer:?}");
    }
    assert!(waited_for >= Duration::from_millis(400), "{waited_for:?}");
    assert!(refused_after < waited_for, "{refused_after:?}");
    assert_eq!(fixture.upstream.seen().len(), 1, "nobody else got there");
    // Who leaves makes room.
    drop(held);
    eventually("there is room", || {
        fixture.metric("http_server_active_requests") == 0.0
    })
    .await;
    assert_eq!(fixture.get("/records/3", "at_alice").await.status(), 200);
    let active = "http_client_active_requests";
    eventually("nobody is there", || fixture.metric(active) == 0.0).await;
}

#[tokio::test]
async fn a_request_that_waits_goes_on_when_another_ends() {
    let setup = Setup {
        upstream_settings: "connections: 1".into(),
        ..Setup::new().await
    };
    let fixture = setup.start().await;
    let both = tokio::join!(
        fixture.get("/records/slow", "at_alice"),
        fixture.get("/records/slow", "at_alice")
    );
    assert_eq!((both.0.status(), both.1.status()), (200, 200));
    let seen = fixture.upstream.seen();
    assert!(
        seen.iter().all(|seen| seen.connection == 0),
        "one at a time"
    );
}

#[tokio::test]
async fn an_address_has_so_many_connections_and_gets_them_back() {
    let fixture = with("limits: { connections_per_address: 3 }").await;
    let mut open = Vec::new();
    for _ in 0..3 {
        open.push(idle(&fixture).await);
    }
    eventually("all are open", || has(&fixture, 3)).await;
    assert!(until_the_end(&mut idle(&fixture).await).await < Duration::from_secs(1));
    assert!(fixture.metric("pep_connections_refused_total") >= 1.0);
    open.pop();
    eventually("one is free", || has(&fixture, 2)).await;
    assert_eq!(fixture.get("/records/1", "at_alice").await.status(), 200);
}

#[tokio::test]
async fn a_head_that_comes_slowly_ends_and_others_have_its_place() {
    let fixture = with("limits: { connections: 8 }, timeouts: { head_secs: 1 }").await;
    let mut slow = Vec::new();
    for _ in 0..8 {
        slow.push(idle(&fixture).await);
    }
    eventually("all are open", || has(&fixture, 8)).await;
    assert!(until_the_end(&mut idle(&fixture).await).await < Duration::from_secs(1));
    assert!(fixture.metric("pep_connections_refused_total") >= 1.0);
    // A byte now and then keeps nobody in.
    let begun = Instant::now();
    let head = "GET /public/ok HTTP/1.1\r\nHost: gw.test\r\nX-Slow: aaaaaaaaaaaaaaaaaaaaaa";
    'dripping: for byte in head.bytes() {
        for stream in &mut slow {
            if stream.write_all(&[byte]).await.is_err() {
                break 'dripping;
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
    eventually("there is room", || has(&fixture, 0)).await;
    assert_eq!(fixture.get("/records/1", "at_alice").await.status(), 200);
    assert_eq!(fixture.upstream.seen().len(), 1);
}

#[tokio::test]
async fn a_body_that_stands_still_ends_and_never_looks_complete() {
    let fixture = with("timeouts: { idle_body_secs: 1 }").await;
    for framing in ["Content-Length: 10", "Transfer-Encoding: chunked"] {
        let head = format!("POST /public/echo HTTP/1.1\r\nHost: gw.test\r\n{framing}\r\n\r\n");
        let body = if framing.contains("chunked") {
            "5\r\nab"
        } else {
            "ab"
        };
        let mut stream = idle(&fixture).await;
        stream
            .write_all(format!("{head}{body}").as_bytes())
            .await
            .unwrap();
        assert!(until_the_end(&mut stream).await < Duration::from_secs(4));
    }
    assert!(fixture.upstream.seen().is_empty());
}

#[tokio::test]
async fn a_body_that_drips_ends_and_one_that_only_pauses_does_not() {
    let fixture =
        with("timeouts: { idle_body_secs: 1 }, limits: { body_bytes_per_sec: 1000 }").await;
    let head = "POST /public/echo HTTP/1.1\r\nHost: gw.test\r\nContent-Length: 8000\r\n\r\n";
    let (mut dripping, mut pausing) = (idle(&fixture).await, idle(&fixture).await);
    for stream in [&mut dripping, &mut pausing] {
        stream.write_all(head.as_bytes()).await.unwrap();
    }
    // What came at once is no reserve for later.
    dripping.write_all(&[b'x'; 6000]).await.unwrap();
    for _ in 0..8 {
        pausing.write_all(&[b'x'; 1000]).await.unwrap();
        let _ = dripping.write_all(b"x").await;
        tokio::time::sleep(Duration::from_millis(400)).await;
    }
    let mut answer = [0; 12];
    let ended = tokio::time::timeout(Duration::from_millis(200), dripping.read_exact(&mut answer));
    ended.await.expect("it has ended by now").unwrap();
    assert_eq!(&answer, b"HTTP/1.1 408");
    pausing.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
    assert_eq!(fixture.upstream.seen().len(), 1);
}

#[tokio::test]
async fn a_client_that_takes_nothing_of_its_answer_holds_nothing_for_long() {
    let setup = Setup {
        gateway: "{ workers: 1, access_log: 'off', timeouts: { idle_body_secs: 1 } }".into(),
        upstream_settings: "connections: 1".into(),
        ..Setup::new().await
    };
    let fixture = setup.start().await;
    let mut stream = idle(&fixture).await;
    let request = get("/public/huge", "at_alice");
    stream.write_all(request.as_bytes()).await.unwrap();
    eventually("it is under way", || has(&fixture, 1)).await;
    // Nothing is read, and the upstream's only connection is free again.
    eventually("it has ended", || has(&fixture, 0)).await;
    assert_eq!(fixture.get("/records/1", "at_alice").await.status(), 200);
    drop(stream);
}

/// By what the system says of the gateway's end of a connection.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_client_that_vanishes_is_looked_for() {
    let fixture = Fixture::start().await;
    let client = idle(&fixture).await;
    eventually("it is open", || has(&fixture, 1)).await;
    let sockets = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let port = |address: std::net::SocketAddr| format!(":{:04X}", address.port());
    let (own, peer) = (port(fixture.addr), port(client.local_addr().unwrap()));
    let timers: Vec<&str> = sockets
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|fields| fields[1].ends_with(&own) && fields[2].ends_with(&peer))
        .map(|fields| fields[5].split(':').next().unwrap())
        .map(|timer| if timer == "02" { "probes" } else { "none" })
        .collect();
    assert_eq!(timers, ["probes"]);
}
