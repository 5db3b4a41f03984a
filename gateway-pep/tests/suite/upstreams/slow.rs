//! Whoever is slow slows down who sends to them, and nobody else: what is in between holds little, by whichever
//! version of HTTP.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::fixture::{Fixture, PATIENCE, Setup, eventually, get};
use crate::http2;
use crate::upstream::{FLOOD, Speaks, Upstream};

/// What the system and the libraries hold on the way, at both ends and in between.
const HELD: usize = 32 << 20;

async fn start(speaks: Speaks) -> Fixture {
    let protocol = match speaks {
        Speaks::Http2 | Speaks::Http2WithoutTunnels => "http2",
        _ => "http1",
    };
    let setup = Setup {
        gateway: "{ workers: 1, access_log: 'off', h2c: true, limits: { body_bytes: 1000000000 } }"
            .into(),
        upstream: Upstream::start_speaking(speaks).await,
        upstream_settings: format!("protocol: {protocol}"),
        ..Setup::new().await
    };
    setup.start().await
}

fn both() -> [Speaks; 2] {
    [Speaks::Http1 { idle: None }, Speaks::Http2]
}

/// Until nothing more is sent, and how much it was.
async fn standstill(fixture: &Fixture) -> usize {
    let mut sent = 0;
    eventually("it begins", || fixture.upstream.sent() > 0).await;
    while fixture.upstream.sent() != sent {
        sent = fixture.upstream.sent();
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    sent
}

#[tokio::test]
async fn an_answer_that_is_not_taken_stands_still_at_its_upstream() {
    for speaks in both() {
        let fixture = start(speaks).await;
        let mut stream = TcpStream::connect(fixture.addr).await.unwrap();
        let request = get("/public/flood", "x");
        stream.write_all(request.as_bytes()).await.unwrap();
        let sent = standstill(&fixture).await;
        assert!(sent < HELD, "{sent} bytes on the way");
        let mut read = 0;
        let mut buffer = vec![0; 1 << 20];
        while let Ok(length @ 1..) = stream.read(&mut buffer).await {
            read += length;
        }
        assert!(read > FLOOD, "{read}");
    }
}

#[tokio::test]
async fn one_stream_that_is_not_taken_holds_up_no_other() {
    for speaks in both() {
        let fixture = start(speaks).await;
        let mut client = http2::client::<Full<Bytes>>(&fixture).await;
        let request = |path: &str| {
            Request::get(format!("http://gw.test/public/{path}"))
                .body(Full::default())
                .unwrap()
        };
        // More of them than a window for one would have room for.
        let mut untaken = Vec::new();
        for _ in 0..20 {
            // Of each its own, or their client's one window would be what is full.
            let mut client = http2::client::<Full<Bytes>>(&fixture).await;
            untaken.push(client.send_request(request("flood")).await.unwrap());
            std::mem::forget(client);
        }
        let sent = standstill(&fixture).await;
        assert!(sent < 20 * FLOOD / 8, "{sent} bytes on the way");
        let other = async {
            let answer = client.send_request(request("big")).await.unwrap();
            answer.into_body().collect().await.unwrap().to_bytes()
        };
        let body = timeout(PATIENCE, other).await.expect("it is held up");
        assert!(body.len() > 200_000);
        // And what was not taken is still there whole.
        let first = untaken.pop().unwrap();
        let body = first.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body.len(), FLOOD);
    }
}

#[tokio::test]
async fn a_body_that_its_upstream_does_not_take_stands_still_at_its_client() {
    for speaks in both() {
        let fixture = start(speaks).await;
        let mut stream = TcpStream::connect(fixture.addr).await.unwrap();
        let length = 64 << 20;
        let head = format!(
            "POST /public/deaf HTTP/1.1\r\nHost: gw.test\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let piece = vec![b'x'; 64 << 10];
        let mut sent = 0;
        while sent < length {
            match timeout(Duration::from_millis(800), stream.write(&piece)).await {
                Ok(written) => sent += written.unwrap(),
                Err(_) => break,
            }
        }
        assert!(sent < HELD, "{sent} bytes on the way");
        while sent < length {
            let most = piece.len().min(length - sent);
            sent += stream.write(&piece[..most]).await.unwrap();
        }
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert_eq!(fixture.upstream.last().body.len(), length);
    }
}
