//! What comes after a body: it goes on as far as it may come there, by whichever version of HTTP.

use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body::Frame;
use http_body_util::{BodyExt as _, Full, StreamBody};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::fixture::{Fixture, Setup, get};
use crate::http2;
use crate::upstream::{Speaks, Upstream};

const ROUTES: &str = "
  - match: '/removed/{id}'
    methods: [GET, POST]
    upstream: a
    public: true
    request_headers: { set: { x-set: ours }, remove: [x-checksum] }
    response_headers: { remove: [x-checksum] }
";

async fn start(speaks: Speaks, settings: &str) -> Fixture {
    let protocol = match speaks {
        Speaks::Http2 | Speaks::Http2WithoutTunnels => "http2",
        _ => "http1",
    };
    let setup = Setup {
        gateway: "{ workers: 1, access_log: 'off', h2c: true }".into(),
        upstream: Upstream::start_speaking(speaks).await,
        upstream_settings: format!("protocol: {protocol}, {settings}"),
        more_routes: ROUTES,
        ..Setup::new().await
    };
    setup.start().await
}

fn both() -> [Speaks; 2] {
    [Speaks::Http1 { idle: None }, Speaks::Http2]
}

#[tokio::test]
async fn those_of_an_answer_go_on_to_whoever_takes_them() {
    for speaks in both() {
        let fixture = start(speaks, "").await;
        let asked = get("/public/trailers", "x").replace("Host", "TE: trailers\r\nHost");
        let answer = fixture.raw(&asked).await;
        assert_eq!(answer.status(), 200, "{answer:?}");
        assert_eq!(answer.header("trailer"), Some("x-checksum"));
        let end = "5\r\nwhole\r\n0\r\nx-checksum: 7\r\n\r\n";
        assert_eq!(answer.body(), end);
        // And whoever does not has the body alone.
        let answer = fixture.raw(&get("/public/trailers", "x")).await;
        assert_eq!(answer.body(), "5\r\nwhole\r\n0\r\n\r\n");

        let mut client = http2::client(&fixture).await;
        let request = Request::get("http://gw.test/public/trailers")
            .header("te", "trailers")
            .body(Full::<Bytes>::default())
            .unwrap();
        let answer = client.send_request(request).await.unwrap();
        let read = answer.into_body().collect().await.unwrap();
        let trailers = read.trailers().unwrap();
        assert_eq!(trailers.len(), 1, "{trailers:?}");
        assert_eq!(trailers["x-checksum"], "7");
        assert_eq!(read.to_bytes(), "whole");
    }
}

#[tokio::test]
async fn what_a_policy_or_a_route_has_said_before_is_not_said_again() {
    let fixture = start(Speaks::Http2, "request_trailers: true").await;
    let set = serde_json::json!([
        { "id": "h", "type": "headers", "properties": { "response": { "x-checksum": "ours" } } }
    ]);
    fixture.pdp.oblige(set);
    for (path, said) in [("/records", Some("ours")), ("/removed", None)] {
        let asked = get(&format!("{path}/trailers"), "at_alice");
        let asked = asked.replace("Host", "TE: trailers\r\nHost");
        let answer = fixture.raw(&asked).await;
        assert_eq!(answer.header("x-checksum"), said, "{answer:?}");
        assert_eq!(answer.body(), "5\r\nwhole\r\n0\r\n\r\n");
    }
    let trailing = "POST /removed/echo HTTP/1.1\r\nHost: gw.test\r\nConnection: close\r\n\
         Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx-checksum: 7\r\nx_set: 1\r\nx-kept: 1\r\n\r\n";
    assert_eq!(fixture.raw(trailing).await.status(), 200);
    let seen = fixture.upstream.last();
    assert_eq!(seen.headers["x-set"], "ours");
    let names: Vec<_> = seen.trailers.keys().map(http::HeaderName::as_str).collect();
    assert_eq!(names, ["x-kept"]);
}

/// SECURITY: nothing was decided on them.
#[tokio::test]
async fn those_of_a_request_go_on_where_that_is_configured() {
    for (speaks, is_passed) in both()
        .into_iter()
        .zip([true; 2])
        .chain(both().into_iter().zip([false; 2]))
    {
        let settings = format!("request_trailers: {is_passed}");
        let fixture = start(speaks, &settings).await;
        let by_http_1 = "POST /public/echo HTTP/1.1\r\nHost: gw.test\r\nConnection: close\r\n\
             Transfer-Encoding: chunked\r\nTrailer: x-checksum, x-auth-subject\r\n\r\n\
             5\r\nhello\r\n0\r\nx-checksum: 7\r\nx-auth-subject: admin\r\nx-user-id: 1\r\n\r\n";
        assert_eq!(fixture.raw(by_http_1).await.status(), 200);
        by_http_2(&fixture).await;
        // Both at hand and in pieces.
        in_pieces(&fixture, by_http_1).await;
        let seen = fixture.upstream.seen();
        assert_eq!(seen.len(), 3);
        for seen in seen {
            assert_eq!(seen.body, "hello");
            let names: Vec<_> = seen.trailers.keys().map(http::HeaderName::as_str).collect();
            let expected: &[&str] = if is_passed { &["x-checksum"] } else { &[] };
            assert_eq!(names, expected);
            assert!(!seen.headers.contains_key("x-checksum"));
        }
    }
}

async fn by_http_2(fixture: &Fixture) {
    let mut trailers = HeaderMap::new();
    trailers.insert("x-checksum", "7".parse().unwrap());
    trailers.insert("x-auth-subject", "admin".parse().unwrap());
    let frames = [
        Frame::data(Bytes::from_static(b"hello")),
        Frame::trailers(trailers),
    ];
    let frames = frames.map(Ok::<_, std::convert::Infallible>);
    let body = StreamBody::new(futures_util::stream::iter(frames));
    let request = Request::post("http://gw.test/public/echo")
        .header("trailer", "x-checksum")
        .body(body)
        .unwrap();
    let mut client = http2::client(fixture).await;
    let answer = client.send_request(request).await.unwrap();
    assert_eq!(answer.status(), 200);
}

async fn in_pieces(fixture: &Fixture, request: &str) {
    let mut stream = TcpStream::connect(fixture.addr).await.unwrap();
    for piece in request.split_inclusive("hello\r\n") {
        stream.write_all(piece.as_bytes()).await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}
