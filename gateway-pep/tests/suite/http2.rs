//! HTTP/2 from clients, without TLS: what is the same as by HTTP/1.1, and what is not.

mod floods;
mod malformed;
mod random;
mod websockets;

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Version};
use http_body::Body;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::fixture::{Fixture, PATIENCE, Setup, eventually, get};
use crate::http2_frames::{
    ACK, DATA, END_HEADERS, END_STREAM, Frames, GOAWAY, HEADERS, Outcome, PING, RST_STREAM,
    SETTINGS, WINDOW_UPDATE, block, frame,
};

pub(crate) const NO_ERROR: u32 = 0;
pub(crate) const PROTOCOL_ERROR: u32 = 1;
pub(crate) const REFUSED_STREAM: u32 = 7;
pub(crate) const CANCEL: u32 = 8;
pub(crate) const ENHANCE_YOUR_CALM: u32 = 11;

pub(crate) async fn start(more: &str) -> Fixture {
    let setup = Setup {
        gateway: format!("{{ workers: 1, access_log: 'off', h2c: true{more} }}"),
        ..Setup::new().await
    };
    setup.start().await
}

pub(crate) async fn connect(fixture: &Fixture) -> Frames<TcpStream> {
    Frames::begin(TcpStream::connect(fixture.addr).await.unwrap()).await
}

/// One that does as it should.
pub(crate) async fn client<B>(fixture: &Fixture) -> SendRequest<B>
where
    B: Body + Unpin + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let stream = TcpStream::connect(fixture.addr).await.unwrap();
    let (client, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .unwrap();
    tokio::task::spawn(connection);
    client
}

pub(crate) fn head(method: &'static str, path: &'static str) -> Vec<(&'static str, &'static str)> {
    vec![
        (":method", method),
        (":scheme", "http"),
        (":authority", "gw.test"),
        (":path", path),
    ]
}

pub(crate) fn with_token(path: &'static str) -> Vec<(&'static str, &'static str)> {
    let mut fields = head("GET", path);
    fields.push(("authorization", "Bearer at_alice"));
    fields
}

#[tokio::test]
async fn a_request_is_decided_and_forwarded_as_by_http_1() {
    let fixture = start("").await;
    let by_http_1 = fixture.get("/records/1001?a=b", "at_alice").await;
    let (seen_1, asked_1) = (fixture.upstream.last(), fixture.pdp.last());
    let mut client = client(&fixture).await;
    let request = Request::get("http://gw.test/records/1001?a=b")
        .header("authorization", "Bearer at_alice")
        .header("te", "trailers")
        .header("cookie", "a=1")
        .header("cookie", "b=2")
        .body(Full::<Bytes>::default())
        .unwrap();
    let answer = client.send_request(request).await.unwrap();
    assert_eq!(answer.version(), Version::HTTP_2);
    assert_eq!(answer.status(), by_http_1.status());
    for name in ["content-type", "x-own"] {
        let value = answer.headers()[name].to_str().unwrap();
        assert_eq!(Some(value), by_http_1.header(name));
    }
    for name in ["keep-alive", "connection", "x-hop", "transfer-encoding"] {
        assert!(!answer.headers().contains_key(name), "{name}");
    }
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, by_http_1.body());
    let (seen, asked) = (fixture.upstream.last(), fixture.pdp.last());
    assert_eq!(
        (&seen.method, &seen.target),
        (&seen_1.method, &seen_1.target)
    );
    for name in [
        "host",
        "authorization",
        "x-forwarded-host",
        "x-forwarded-proto",
        "x-forwarded-for",
    ] {
        assert_eq!(seen.headers.get(name), seen_1.headers.get(name), "{name}");
    }
    assert_eq!(seen.headers["cookie"], "a=1; b=2");
    // It is passed on what comes after an answer.
    assert_eq!(seen.headers["te"], "trailers");
    assert_eq!(asked.context, asked_1.context);
    // One answer served both: the question was the same.
    assert_eq!(fixture.pdp.count(), 1);
}

#[tokio::test]
async fn bodies_pass_with_a_length_and_without() {
    let fixture = start("").await;
    let mut frames = connect(&fixture).await;
    for (stream, length) in [(1, Some("11")), (3, None)] {
        let mut fields = head("POST", "/public/echo");
        fields.extend(length.map(|length| ("content-length", length)));
        frames.headers(stream, &fields, false).await;
        frames.write(DATA, 0, stream, b"hello ").await;
        frames.write(DATA, END_STREAM, stream, b"world").await;
        assert_eq!(frames.outcome(stream).await.status(), Some(200));
        let seen = fixture.upstream.last();
        assert_eq!(seen.body, "hello world");
        assert_eq!(
            seen.headers.contains_key("content-length"),
            length.is_some()
        );
        assert_eq!(
            seen.headers.contains_key("transfer-encoding"),
            length.is_none()
        );
    }
    // Trailers end the message, and go no further.
    frames
        .headers(5, &head("POST", "/public/echo"), false)
        .await;
    frames.write(DATA, 0, 5, b"hello").await;
    frames
        .headers(5, &[("x-auth-subject", "admin")], true)
        .await;
    assert_eq!(frames.outcome(5).await.status(), Some(200));
    let seen = fixture.upstream.last();
    assert_eq!(
        (&seen.body[..], seen.headers.contains_key("x-auth-subject")),
        (&b"hello"[..], false)
    );
}

#[tokio::test]
async fn many_are_answered_at_a_time_and_more_than_many_are_not() {
    let fixture = start(", limits: { streams: 10 }").await;
    let mut frames = connect(&fixture).await;
    for stream in (1..20).step_by(2) {
        frames
            .headers(stream, &with_token("/records/slow"), true)
            .await;
    }
    frames.headers(21, &with_token("/records/1"), true).await;
    assert_eq!(frames.outcome(21).await, Outcome::Reset(REFUSED_STREAM));
    let begin = Instant::now();
    assert_eq!(frames.outcome(19).await.status(), Some(200));
    assert!(
        begin.elapsed() < Duration::from_millis(900),
        "one after the other"
    );
    assert_eq!(fixture.upstream.seen().len(), 10);
}

#[tokio::test]
async fn a_refusal_ends_a_stream_and_not_the_connection() {
    let fixture = start(", limits: { body_bytes: 10 }").await;
    let mut frames = connect(&fixture).await;
    frames.headers(1, &head("POST", "/records/1"), false).await;
    frames.write(DATA, 0, 1, b"not to be waited for").await;
    assert_eq!(frames.outcome(1).await.status(), Some(401));
    frames.headers(3, &head("GET", "/nowhere"), true).await;
    assert_eq!(frames.outcome(3).await.status(), Some(404));
    frames
        .headers(5, &head("POST", "/public/echo"), false)
        .await;
    frames
        .write(DATA, END_STREAM, 5, b"more than ten bytes")
        .await;
    assert_eq!(frames.outcome(5).await.status(), Some(413));
    let mut fields = head("POST", "/public/echo");
    fields.push(("content-length", "11"));
    frames.headers(7, &fields, false).await;
    assert_eq!(frames.outcome(7).await.status(), Some(413));
    frames.headers(9, &head("GET", "/public/ok"), true).await;
    assert_eq!(frames.outcome(9).await.status(), Some(200));
    assert_eq!(fixture.upstream.seen().len(), 1);
}

#[tokio::test]
async fn a_body_that_its_client_breaks_off_never_looks_whole() {
    let fixture = start("").await;
    let mut frames = connect(&fixture).await;
    for (stream, code) in [(1, NO_ERROR), (3, CANCEL), (5, PROTOCOL_ERROR)] {
        frames
            .headers(stream, &head("POST", "/public/echo"), false)
            .await;
        frames.write(DATA, 0, stream, b"half of a message").await;
        // The upstream has begun to read it.
        let begun = f64::from(stream.div_ceil(2));
        let connects = || fixture.metric("pep_upstream_connects_total");
        eventually("it is on its way", || connects() >= begun).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        frames
            .write(RST_STREAM, 0, stream, &code.to_be_bytes())
            .await;
    }
    eventually("the upstream knows", || fixture.upstream.broken() == 3).await;
    assert!(
        fixture.upstream.seen().is_empty(),
        "{:?}",
        fixture.upstream.seen()
    );
    frames.headers(7, &head("GET", "/public/ok"), true).await;
    assert_eq!(frames.outcome(7).await.status(), Some(200));
}

#[tokio::test]
async fn without_h2c_the_preface_is_no_request_and_with_it_http_1_is_served_as_ever() {
    let fixture = Fixture::start().await;
    let mut frames = connect(&fixture).await;
    frames.headers(1, &head("GET", "/public/ok"), true).await;
    let outcome = frames.outcome(1).await;
    assert!(outcome.status().is_none(), "{outcome:?}");
    let fixture = start("").await;
    assert_eq!(fixture.get("/records/1", "at_alice").await.status(), 200);
    // What begins like the preface, and is none.
    for begin in [
        "P",
        "PR",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\rX",
        "PRI * HTTP/1.1\r\nHost: gw.test\r\n",
    ] {
        let answer = fixture.raw(&format!("{begin}\r\n\r\n")).await;
        assert!(matches!(answer.status(), 0 | 400), "{begin} {answer:?}");
    }
    let post = "POST /public/echo HTTP/1.1\r\nHost: gw.test\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi";
    assert_eq!(fixture.raw(post).await.status(), 200);
    let upgrade = get("/public/ok", "x").replace("Connection: close", "Connection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA");
    let answer = fixture.raw(&upgrade).await;
    assert_eq!(answer.status(), 200, "{answer:?}");
}

#[tokio::test]
async fn at_shutdown_clients_are_told_and_what_has_begun_is_finished() {
    let fixture = start("").await;
    let mut frames = connect(&fixture).await;
    let mut idle = connect(&fixture).await;
    idle.headers(1, &head("GET", "/public/ok"), true).await;
    assert_eq!(idle.outcome(1).await.status(), Some(200));
    let mut silent = connect(&fixture).await;
    silent.headers(1, &head("GET", "/public/ok"), true).await;
    assert_eq!(silent.outcome(1).await.status(), Some(200));
    frames.headers(1, &with_token("/records/slow"), true).await;
    eventually("it is on its way", || !fixture.upstream.seen().is_empty()).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let finishing = tokio::task::spawn(fixture.gateway.finish(PATIENCE));
    let answer = frames.outcome(1).await;
    assert_eq!(answer, Outcome::Answer(200, b"{\"slow\":true}".to_vec()));
    let mut said = Vec::new();
    while let Some(frame) = idle.next().await {
        said.push((frame.kind, frame.payload));
    }
    let goaways = said.iter().filter(|(kind, _)| *kind == GOAWAY);
    assert!(goaways.clone().count() >= 1, "{said:?}");
    assert!(goaways.clone().all(|(_, payload)| payload[4..8] == [0; 4]));
    // `silent` has not answered the ping that is between the two, and is not waited for.
    assert!(finishing.await.unwrap());
}

#[tokio::test]
async fn who_asks_nothing_is_not_kept() {
    let fixture = start(", timeouts: { head_secs: 1 }").await;
    let begin = Instant::now();
    let bare = TcpStream::connect(fixture.addr).await.unwrap();
    let mut never = connect(&fixture).await;
    let mut idle = connect(&fixture).await;
    idle.headers(1, &head("GET", "/public/ok"), true).await;
    assert_eq!(idle.outcome(1).await.status(), Some(200));
    // A head that does not end.
    let mut slow = connect(&fixture).await;
    let begun = block(&head("GET", "/public/ok"));
    slow.write(HEADERS, END_STREAM, 1, &begun).await;
    let mut half = TcpStream::connect(fixture.addr).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut half, b"PRI * HT")
        .await
        .unwrap();
    for frames in [&mut never, &mut idle, &mut slow] {
        let end = async { while frames.next().await.is_some() {} };
        tokio::time::timeout(PATIENCE, end).await.expect("an end");
    }
    for mut stream in [bare, half] {
        let mut rest = Vec::new();
        let end = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut rest);
        let _ = tokio::time::timeout(PATIENCE, end).await.expect("an end");
    }
    assert!(begin.elapsed() > Duration::from_millis(900));
    eventually("they are gone", || fixture.metric("pep_connections") == 0.0).await;
}

#[tokio::test]
async fn pings_are_no_requests() {
    let fixture = start(", timeouts: { head_secs: 1 }").await;
    let mut frames = connect(&fixture).await;
    frames.headers(1, &head("GET", "/public/ok"), true).await;
    assert_eq!(frames.outcome(1).await.status(), Some(200));
    let begin = Instant::now();
    let keeping = async {
        while frames.write(PING, 0, 0, &[0; 8]).await {
            let answered = async { while frames.next().await.is_some() {} };
            let _ = tokio::time::timeout(Duration::from_millis(200), answered).await;
        }
    };
    let ended = tokio::time::timeout(PATIENCE * 2, keeping).await;
    assert!(ended.is_ok(), "it is kept");
    assert!(begin.elapsed() > Duration::from_millis(900));
}

#[tokio::test]
async fn an_answer_that_nobody_takes_is_given_up_and_others_are_not() {
    let fixture = start(", timeouts: { idle_body_secs: 1 }").await;
    let mut frames = connect(&fixture).await;
    // A window that 200 kB do not fit into; the second stream needs none.
    frames.headers(1, &head("GET", "/public/big"), true).await;
    frames.headers(3, &head("HEAD", "/public/ok"), true).await;
    assert_eq!(frames.outcome(3).await.status(), Some(200));
    assert_eq!(frames.outcome(1).await, Outcome::Reset(CANCEL));
    frames.headers(5, &head("HEAD", "/public/ok"), true).await;
    assert_eq!(frames.outcome(5).await.status(), Some(200));
    eventually("nothing is in flight", || {
        fixture.metric("http_server_active_requests") == 0.0
    })
    .await;
}

/// What is there whole waits for its client here, and not at the upstream.
#[tokio::test]
async fn a_small_answer_that_nobody_takes_holds_no_connection_of_the_upstream() {
    let setup = Setup {
        gateway: "{ workers: 1, access_log: 'off', h2c: true }".into(),
        upstream_settings: "connections: 1, pending_ms: 1000".into(),
        ..Setup::new().await
    };
    let fixture = setup.start().await;
    let mut frames = connect(&fixture).await;
    // SETTINGS_INITIAL_WINDOW_SIZE: nothing is taken.
    frames.write(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]).await;
    frames.headers(1, &head("GET", "/public/ok"), true).await;
    eventually("it was answered", || fixture.upstream.seen().len() == 1).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(fixture.get("/records/1", "at_alice").await.status(), 200);
    assert!(
        fixture.metric("http_server_active_requests") > 0.5,
        "it waits"
    );
    drop(frames);
}
