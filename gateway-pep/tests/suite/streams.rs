//! What flows: events, tunnels, uploads; and upstreams that fail.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use http::Request;
use http_body_util::{BodyExt as _, Full};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use crate::fixture::{Fixture, PATIENCE, Setup, eventually, get};
use crate::upstream::{Speaks, Upstream};

#[tokio::test]
async fn an_event_arrives_when_it_is_sent_not_when_the_response_ends() {
    let fixture = Fixture::start().await;
    let mut stream = TcpStream::connect(fixture.addr).await.unwrap();
    let begun = Instant::now();
    stream
        .write_all(get("/records/events", "at_alice").as_bytes())
        .await
        .unwrap();
    let mut text = String::new();
    let mut buffer = [0; 4096];
    while !text.contains("data: 0") {
        let length = timeout(Duration::from_secs(3), stream.read(&mut buffer))
            .await
            .unwrap()
            .unwrap();
        text.push_str(std::str::from_utf8(&buffer[..length]).unwrap());
    }
    assert!(
        begun.elapsed() < Duration::from_millis(900),
        "{:?}",
        begun.elapsed()
    );
    assert!(!text.contains("data: 1"));
}

#[tokio::test]
async fn a_websocket_is_permitted_like_any_request_and_then_a_tunnel() {
    let fixture = Fixture::start().await;
    let url = format!("ws://{}/ws", fixture.addr);
    let refused = tokio_tungstenite::connect_async(url.as_str())
        .await
        .unwrap_err();
    assert!(refused.to_string().contains("401"), "{refused}");
    let mut request = url.as_str().into_client_request().unwrap();
    request
        .headers_mut()
        .insert("authorization", "Bearer at_alice".parse().unwrap());
    let (mut socket, _) = tokio_tungstenite::connect_async(request).await.unwrap();
    for n in 0..3 {
        let text = format!("hello {n} {}", "x".repeat(n * 40_000));
        socket.send(Message::text(text.clone())).await.unwrap();
        let echoed = timeout(Duration::from_secs(3), socket.next())
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        assert_eq!(echoed.into_text().unwrap().as_str(), text);
    }
    socket.close(None).await.unwrap();
    let seen = fixture.upstream.last();
    assert_eq!(seen.headers["authorization"], "Bearer jwt.alice.signature");
    assert_eq!(seen.headers["upgrade"], "websocket");
}

#[tokio::test]
async fn only_a_route_that_says_so_takes_a_websocket() {
    let fixture = Fixture::start().await;
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for path in ["/records/1", "/stale/1", "/todos/1"] {
        for token in ["Authorization: Bearer at_alice\r\n", ""] {
            let request = format!("GET {path} HTTP/1.1\r\nHost: gw.test\r\n{token}{upgrade}\r\n");
            let answer = fixture.raw(&request).await;
            assert_eq!(answer.status(), 403, "{path} {answer:?}");
            assert!(answer.body().contains("upgrade-not-allowed"), "{answer:?}");
        }
    }
    assert!(fixture.upstream.seen().is_empty() && fixture.pdp.count() == 0);
    // A wish for something else is none, as ever.
    let h2c = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n";
    let request = format!(
        "GET /records/1 HTTP/1.1\r\nHost: gw.test\r\nAuthorization: Bearer at_alice\r\n{h2c}\r\n"
    );
    let answer = fixture.raw(&request).await;
    assert_eq!(answer.status(), 200, "{answer:?}");
}

#[tokio::test]
async fn an_upload_is_streamed_whole() {
    let fixture = Fixture::start().await;
    let body = "0123456789abcdef".repeat(300_000);
    let request = format!(
        "POST /public/echo HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    let answer = fixture.raw(&request).await;
    assert!(answer.0.contains("HTTP/1.1 200"), "{answer:?}");
    let seen = fixture.upstream.last();
    assert!(seen.body == body.as_bytes() && !seen.headers.contains_key("expect"));
}

/// A moment in which nothing is to come.
const MOMENT: Duration = Duration::from_millis(250);

/// What comes next within a time; nothing, where nothing does.
async fn heard(stream: &mut TcpStream, within: Duration) -> String {
    let mut buffer = [0; 4096];
    let reading = timeout(within, stream.read(&mut buffer));
    let length = reading.await.map_or(0, Result::unwrap);
    String::from_utf8_lossy(&buffer[..length]).into_owned()
}

#[tokio::test]
async fn a_body_is_asked_for_once_it_is_permitted_and_never_before() {
    for (speaks, settings) in [
        (Speaks::Http1 { idle: None }, ""),
        (Speaks::Http2, "protocol: http2"),
    ] {
        let setup = Setup {
            upstream: Upstream::start_speaking(speaks).await,
            upstream_settings: settings.into(),
            ..Setup::new().await
        };
        let fixture = setup.start().await;
        *fixture.pdp.delay.lock().unwrap() = Duration::from_millis(600);
        let head = |id: &str| {
            format!(
                "POST /records/{id} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer at_alice\r\n\
                 Content-Length: 5\r\nExpect: 100-continue\r\n\r\n"
            )
        };
        let mut stream = TcpStream::connect(fixture.addr).await.unwrap();
        stream.write_all(head("1").as_bytes()).await.unwrap();
        let early = heard(&mut stream, MOMENT).await;
        assert_eq!(early, "", "nothing was decided yet");
        let asked_for = heard(&mut stream, PATIENCE).await;
        assert_eq!(asked_for, "HTTP/1.1 100 Continue\r\n\r\n");
        stream.write_all(b"hello").await.unwrap();
        let answer = heard(&mut stream, PATIENCE).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert_eq!(fixture.upstream.last().body, "hello");
        // Who may not is not asked for it.
        let mut stream = TcpStream::connect(fixture.addr).await.unwrap();
        stream
            .write_all(head("forbidden").as_bytes())
            .await
            .unwrap();
        let answer = heard(&mut stream, PATIENCE).await;
        assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
        assert_eq!(fixture.upstream.seen().len(), 1);
    }
}

#[tokio::test]
async fn events_arrive_when_they_are_sent_by_http_2_as_well() {
    let setup = Setup {
        gateway: "{ workers: 1, access_log: 'off', h2c: true }".into(),
        upstream: Upstream::start_speaking(Speaks::Http2).await,
        upstream_settings: "protocol: http2".into(),
        ..Setup::new().await
    };
    let fixture = setup.start().await;
    let mut client = crate::http2::client::<Full<Bytes>>(&fixture).await;
    let request = Request::get("http://gw.test/records/events")
        .header("authorization", "Bearer at_alice")
        .body(Full::default())
        .unwrap();
    let begun = Instant::now();
    let answer = client.send_request(request).await.unwrap();
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    let mut body = answer.into_body();
    for n in 0..2 {
        let event = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(event, format!("data: {n}\n\n"));
        let took = begun.elapsed().as_millis();
        assert!((n * 1_000..n * 1_000 + 900).contains(&took), "{took}");
    }
}

/// Sends the head of a request, and the rest a moment later; what has come after another moment.
async fn in_two_pieces(stream: &mut TcpStream, head: &str, body: &str) -> String {
    for piece in [head, body] {
        stream.write_all(piece.as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut buffer = [0; 4096];
    let length = timeout(Duration::from_secs(3), stream.read(&mut buffer));
    let length = length.await.unwrap().unwrap();
    String::from_utf8_lossy(&buffer[..length]).into_owned()
}

#[tokio::test]
async fn a_refused_message_leaves_the_connection_good_for_the_next() {
    let fixture = Fixture::start().await;
    let mut stream = TcpStream::connect(fixture.addr).await.unwrap();
    let line = "HTTP/1.1\r\nHost: a\r\n";
    for (target, more, body, status) in [
        ("/records/1", "Content-Length: 10\r\n", "0123456789", 401),
        (
            "/records/1",
            "Transfer-Encoding: chunked\r\n",
            "3\r\nabc\r\n0\r\n\r\n",
            401,
        ),
        (
            "/records/1",
            "Authorization: Bearer at_nobody\r\nContent-Length: 3\r\n",
            "abc",
            401,
        ),
        ("/scoped", "Content-Length: 3\r\n", "abc", 405),
        ("/records/1", "", "", 401),
    ] {
        let answer = in_two_pieces(
            &mut stream,
            &format!("POST {target} {line}{more}\r\n"),
            body,
        )
        .await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{answer}"
        );
        assert!(!answer.contains("connection: close"), "{answer}");
    }
}

#[tokio::test]
async fn a_refused_upload_is_not_waited_for_and_ends_the_connection_in_words() {
    let fixture = Fixture::start().await;
    let line = "POST /records/1 HTTP/1.1\r\nHost: a\r\n";
    for more in [
        "Content-Length: 1000000\r\n",
        // Nothing of it is asked for.
        "Content-Length: 10\r\nExpect: 100-continue\r\n",
        // Announced as a message, and never sent.
        "Content-Length: 10\r\n",
        "Transfer-Encoding: chunked\r\n",
    ] {
        let mut stream = TcpStream::connect(fixture.addr).await.unwrap();
        let answer = in_two_pieces(&mut stream, &format!("{line}{more}\r\n"), "").await;
        assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
        assert!(answer.contains("connection: close"), "{answer}");
        let mut rest = Vec::new();
        let end = timeout(Duration::from_secs(3), stream.read_to_end(&mut rest));
        end.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_client_that_goes_away_takes_its_upload_along() {
    let fixture = Fixture::start().await;
    let mut stream = TcpStream::connect(fixture.addr).await.unwrap();
    stream
        .write_all(b"POST /public/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf")
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    drop(stream);
    eventually("the upstream's request broke off", || {
        fixture.upstream.broken() == 1
    })
    .await;
    assert!(fixture.upstream.seen().is_empty());
    // And the pool has no broken connection in it.
    assert_eq!(fixture.get("/records/1", "at_alice").await.status(), 200);
}

#[tokio::test]
async fn a_request_on_a_connection_that_the_upstream_closed_is_sent_again() {
    let idle = Some(Duration::from_millis(600));
    let upstream = Upstream::start_closing_after(idle).await;
    let fixture = Setup {
        upstream,
        ..Setup::new().await
    }
    .start()
    .await;
    for _ in 0..4 {
        assert_eq!(fixture.get("/records/1", "at_alice").await.status(), 200);
        tokio::time::sleep(Duration::from_millis(610)).await;
    }
    assert_eq!(fixture.upstream.seen().len(), 4);
}

#[tokio::test]
async fn an_upstream_that_is_down_is_502_and_one_that_is_slow_504() {
    let mut setup = Setup::new().await;
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    setup.upstream.addr = closed.local_addr().unwrap();
    drop(closed);
    let fixture = setup.start().await;
    let answer = fixture.get("/records/1", "at_alice").await;
    assert_eq!(answer.status(), 502);
    assert_eq!(
        answer.header("content-type"),
        Some("application/problem+json")
    );

    let gateway = "{ workers: 1, access_log: 'off', timeouts: { response_secs: 1 } }".into();
    let fixture = Setup {
        gateway,
        ..Setup::new().await
    }
    .start()
    .await;
    assert_eq!(
        fixture.get("/records/never", "at_alice").await.status(),
        504
    );
}
