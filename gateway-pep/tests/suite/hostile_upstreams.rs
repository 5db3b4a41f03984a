//! Upstreams that do not keep to HTTP, or answer before they have read: clients get one reading of it or a refusal,
//! and nobody holds the connection.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Empty};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::fixture::{Fixture, Setup, eventually, get};
use crate::http2::{client, connect, head};
use crate::http2_frames::DATA;

/// Says the same to everybody as soon as a head has come, and reads on.
#[derive(Debug, Clone)]
struct Raw {
    addr: SocketAddr,
    /// Connections.
    open: Arc<AtomicUsize>,
}

impl Raw {
    async fn start(answer: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let raw = Self {
            addr: listener.local_addr().unwrap(),
            open: Arc::default(),
        };
        let (open, answer) = (raw.open.clone(), Arc::<str>::from(answer));
        tokio::task::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                open.fetch_add(1, Ordering::SeqCst);
                let (open, answer) = (open.clone(), answer.clone());
                tokio::task::spawn(async move {
                    serve(stream, &answer).await;
                    open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        raw
    }

    fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }
}

async fn serve(mut stream: TcpStream, answer: &str) {
    let mut read = Vec::new();
    while matches!(stream.read_buf(&mut read).await, Ok(1..)) {
        if read.windows(4).any(|end| end == b"\r\n\r\n") {
            read.clear();
            if stream.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
    }
}

async fn behind(upstream: &Raw) -> Fixture {
    let mut setup = Setup {
        gateway: "{ workers: 1, access_log: 'off', h2c: true }".into(),
        ..Setup::new().await
    };
    setup.upstream.addr = upstream.addr;
    setup.start().await
}

/// The lengths that are said, and the body.
async fn by_http_2(fixture: &Fixture) -> (Vec<String>, Bytes) {
    let mut client = client(fixture).await;
    let request = Request::get("http://gw.test/public/ok").body(Empty::<Bytes>::new());
    let answer = client.send_request(request.unwrap()).await.unwrap();
    let lengths = answer.headers().get_all("content-length").iter();
    let lengths = lengths.map(|it| it.to_str().unwrap().to_owned()).collect();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    (lengths, body)
}

#[tokio::test]
async fn a_length_that_is_said_in_several_ways_is_said_in_one_or_not_at_all() {
    let chunked = "Transfer-Encoding: chunked\r\n";
    let chunks = "5\r\nhello\r\n0\r\n\r\n";
    for (fields, body, length) in [
        ("Content-Length: 5\r\n".to_owned(), "hello", Some("5")),
        (
            "Content-Length: 5\r\nContent-Length: 5\r\n".into(),
            "hello",
            Some("5"),
        ),
        ("Content-Length: 5, 5\r\n".into(), "hello", Some("5")),
        (format!("Content-Length: 3\r\n{chunked}"), chunks, None),
        (format!("{chunked}Content-Length: 30\r\n"), chunks, None),
    ] {
        let upstream = Raw::start(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n{body}")).await;
        let fixture = behind(&upstream).await;
        let answer = fixture.get("/public/ok", "x").await;
        assert_eq!(answer.status(), 200, "{fields} {answer:?}");
        let lines = answer.0.to_ascii_lowercase();
        assert_eq!(
            lines.matches("content-length").count(),
            length.iter().count(),
            "{answer:?}"
        );
        assert_eq!(answer.header("content-length"), length, "{answer:?}");
        let whole = if length.is_some() { "hello" } else { chunks };
        assert_eq!(answer.body(), whole, "{answer:?}");
        let (lengths, body) = by_http_2(&fixture).await;
        assert_eq!(body, "hello", "{fields}");
        assert_eq!(lengths, Vec::from_iter(length), "{fields}");
    }
}

#[tokio::test]
async fn a_length_of_no_body_is_passed_on_where_it_is_one() {
    for (length, expected) in [
        ("5", Some("5")),
        ("5, 5", Some("5")),
        ("5, 6", None),
        ("+5", None),
        ("x", None),
    ] {
        let upstream = Raw::start(&format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n"
        ))
        .await;
        let fixture = behind(&upstream).await;
        let answer = fixture
            .raw(&get("/public/ok", "x").replace("GET", "HEAD"))
            .await;
        assert_eq!(
            (answer.status(), answer.header("content-length")),
            (200, expected),
            "{answer:?}"
        );
    }
}

#[tokio::test]
async fn what_is_no_answer_to_this_request_is_502() {
    let long = "x".repeat(1 << 20);
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!".to_owned(),
        "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello".into(),
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".into(),
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
            .into(),
        "HTTP/1.1 200 OK\r\nX-A: a\0b\r\n\r\n".into(),
        "HTTP/1.1 200 OK\r\nX-A : a\r\n\r\n".into(),
        "HTTP/1.1 200 OK\r\nX-A: a\r\n b\r\n\r\n".into(),
        "HTTP/2.0 200 OK\r\n\r\n".into(),
        "hello\r\n\r\n".into(),
        format!("HTTP/1.1 200 OK\r\nX-A: {long}\r\n\r\n"),
        format!("HTTP/1.1 200 OK\r\n{}\r\n", "X-A: a\r\n".repeat(200)),
    ] {
        let upstream = Raw::start(&answer).await;
        let fixture = behind(&upstream).await;
        let refused = fixture.get("/public/ok", "x").await;
        let begin: String = answer.chars().take(80).collect();
        assert_eq!(refused.status(), 502, "{begin} {refused:?}");
        eventually("its connection is closed", || upstream.open() == 0).await;
    }
    // What is said on the way goes no further.
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n".repeat(2000);
    let upstream = Raw::start(&format!("{hints}HTTP/1.1 204 No Content\r\n\r\n")).await;
    let fixture = behind(&upstream).await;
    let answer = fixture.get("/public/ok", "x").await;
    assert_eq!(answer.status(), 204);
    assert!(!answer.0.contains("103"), "{answer:?}");
}

#[tokio::test]
async fn what_follows_an_answer_is_no_answer_to_the_next_request() {
    let both = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";
    let upstream = Raw::start(both).await;
    let fixture = behind(&upstream).await;
    for _ in 0..20 {
        let answer = fixture.get("/public/ok", "x").await;
        assert_eq!((answer.status(), answer.body()), (200, "ok"), "{answer:?}");
    }
}

/// Some upstreams answer a request without its body, and take the body for the next one: what they would say to that
/// must be nobody's answer.
#[tokio::test]
async fn a_connection_on_which_the_answer_came_first_is_not_used_again() {
    let early = "HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno";
    for pause in [0, 300] {
        let upstream = Raw::start(early).await;
        let fixture = behind(&upstream).await;
        let body = "GET /admin HTTP/1.1\r\nX: ";
        let mut stream = TcpStream::connect(fixture.addr).await.unwrap();
        let begun = format!(
            "POST /public/echo HTTP/1.1\r\nHost: gw.test\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(begun.as_bytes()).await.unwrap();
        let mut answer = vec![0; 4096];
        let length = stream.read(&mut answer).await.unwrap();
        assert!(answer[..length].starts_with(b"HTTP/1.1 404"));
        tokio::time::sleep(Duration::from_millis(pause)).await;
        // With the rest the client's own connection is good for the next request.
        let next = format!("{body}{}", get("/public/ok", "x"));
        stream.write_all(next.as_bytes()).await.unwrap();
        let length = stream.read(&mut answer).await.unwrap();
        assert!(answer[..length].starts_with(b"HTTP/1.1 404"), "{pause}");
        assert!(
            fixture.metric("pep_upstream_connects_total") > 1.5,
            "{pause}"
        );
        eventually("the first is closed", || upstream.open() <= 1).await;
    }
}

/// Whoever drips an upload whose answer is there holds no connection of the upstream by it.
#[tokio::test]
async fn an_upload_ends_with_its_answer() {
    let early = "HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno";
    let upstream = Raw::start(early).await;
    let fixture = behind(&upstream).await;
    let mut stream = TcpStream::connect(fixture.addr).await.unwrap();
    let begun = "POST /public/echo HTTP/1.1\r\nHost: gw.test\r\nContent-Length: 1000\r\n\r\nx";
    stream.write_all(begun.as_bytes()).await.unwrap();
    let mut answer = vec![0; 4096];
    let length = stream.read(&mut answer).await.unwrap();
    assert!(answer[..length].starts_with(b"HTTP/1.1 404"));
    for _ in 0..20 {
        let _ = stream.write_all(b"x").await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(upstream.open(), 0);
    let mut frames = connect(&fixture).await;
    for stream in [1, 3, 5] {
        frames
            .headers(stream, &head("POST", "/public/echo"), false)
            .await;
        frames.write(DATA, 0, stream, b"x").await;
        assert_eq!(frames.outcome(stream).await.status(), Some(404));
    }
    for _ in 0..20 {
        for stream in [1, 3, 5] {
            frames.write(DATA, 0, stream, b"x").await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(upstream.open(), 0);
}

/// Begins in any way, breaks off anywhere, and says a second thing or hangs up.
#[tokio::test]
async fn whatever_an_upstream_says_nothing_is_left_over() {
    const SAID: [&str; 12] = [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-A: b\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloworld",
        "HTTP/1.1 200 OK\r\n\r\nhello",
        "HTTP/1.0 200 OK\r\n\r\nhello",
        "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n\u{1}x",
        "HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n",
        "\r\n\r\nx",
    ];
    const ASKED: [&str; 6] = [
        "GET /public/ok HTTP/1.1\r\nHost: gw.test\r\n\r\n",
        "HEAD /public/ok HTTP/1.1\r\nHost: gw.test\r\n\r\n",
        "POST /public/echo HTTP/1.1\r\nHost: gw.test\r\nContent-Length: 5\r\n\r\nhello",
        "POST /public/echo HTTP/1.1\r\nHost: gw.test\r\nContent-Length: 50\r\n\r\nhello",
        "POST /public/echo HTTP/1.1\r\nHost: gw.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "GET /public/ws HTTP/1.1\r\nHost: gw.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    ];
    let mut count = 0_usize;
    for first in SAID {
        for second in ["", SAID[0], SAID[9]] {
            let cut = first.len() - (count * 7) % first.len();
            let said = format!("{}{second}", first.get(..cut).unwrap());
            let upstream = Raw::start(&said).await;
            let fixture = behind(&upstream).await;
            let mut open = Vec::new();
            for asked in ASKED {
                count += 1;
                let mut stream = TcpStream::connect(fixture.addr).await.unwrap();
                let cut = if count.is_multiple_of(3) { 3 } else { 0 };
                let asked = &asked.as_bytes()[..asked.len() - cut];
                stream.write_all(asked).await.unwrap();
                open.push(stream);
            }
            tokio::time::sleep(Duration::from_millis(30)).await;
            drop(open);
            for gauge in [
                "pep_connections",
                "http_server_active_requests",
                "http_client_active_requests",
            ] {
                eventually(gauge, || fixture.metric(gauge) < 0.5).await;
            }
        }
    }
}
