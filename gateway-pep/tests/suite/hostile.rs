//! Requests that have broken other gateways, byte for byte.

use crate::fixture::{Fixture, Setup};

#[track_caller]
fn assert_refused(status: u16, request: &str) {
    assert!(
        matches!(status, 0 | 400..=499 | 501 | 505),
        "status {status} for {request:?}"
    );
}

const AMBIGUOUS: &[&str] = &[
    "GET /public/../admin/secrets HTTP/1.1\r\nHost: gw.test\r\n",
    "GET /public/%2e%2e%2fadmin/secrets HTTP/1.1\r\nHost: gw.test\r\n",
    "GET /public/%252e%252e/admin/secrets HTTP/1.1\r\nHost: gw.test\r\n",
    "GET /public/..;foo=bar/admin/secrets HTTP/1.1\r\nHost: gw.test\r\n",
    "GET /public/x#/../../admin/secrets HTTP/1.1\r\nHost: gw.test\r\n",
    "GET /public//secrets HTTP/1.1\r\nHost: gw.test\r\n",
    "GET /public/secrets%00.css HTTP/1.1\r\nHost: gw.test\r\n",
    "GET /public/%zz HTTP/1.1\r\nHost: gw.test\r\n",
    "GET /public /secrets HTTP/1.1\r\nHost: gw.test\r\n",
    "GET /public/\\secrets HTTP/1.1\r\nHost: gw.test\r\n",
    "GET /public/\u{e9} HTTP/1.1\r\nHost: gw.test\r\n",
    "GET http://admin.gw.test/public/x HTTP/1.1\r\nHost: gw.test\r\n",
    "GET * HTTP/1.1\r\nHost: gw.test\r\n",
    "OPTIONS * HTTP/1.1\r\nHost: gw.test\r\n",
    "CONNECT gw.test:80 HTTP/1.1\r\nHost: gw.test\r\n",
    "TRACE /public/ok HTTP/1.1\r\nHost: gw.test\r\n",
    "GET /public/ok HTTP/1.1\r\n",
    "GET /public/ok HTTP/1.1\r\nHost: gw.test\r\nHost: admin.gw.test\r\n",
    "GET /public/ok HTTP/1.1\r\nHost: gw.test, admin.gw.test\r\n",
    "GET /public/ok HTTP/1.1\r\nHost: gw.test:80abc\r\n",
    "GET /public/ok HTTP/1.1\r\nHost: gw.test\r\nX-A: b\rX-B: c\r\n",
    "GET /public/ok HTTP/1.1\r\nHost: gw.test\r\nX-A: b\0c\r\n",
    "GET /public/ok HTTP/1.1\r\nHost: gw.test\r\nX-Auth-Subject : admin\r\n",
    "GET /public/ok HTTP/1.1\r\nHost: gw.test\r\nX-A: b\r\n c\r\n",
    "GET /public/ok HTTP/1.1\r\nHost: gw.test\r\nNocolon\r\n",
    "GET /public/ok HTTP/1.1\nHost: gw.test\n",
    "\r\nGET /public/ok HTTP/1.1\r\nHost: gw.test\r\n",
    "GET /records/1 HTTP/1.1\r\nHost: gw.test\r\nAuthorization: Bearer at_alice\r\nAuthorization: Bearer at_bob\r\n",
    "GET /records/1?access_token=at_bob HTTP/1.1\r\nHost: gw.test\r\nAuthorization: Bearer at_alice\r\n",
    "GET /records/1 HTTP/1.1\r\nHost: gw.test\r\nAuthorization: Bearer at_alice x\r\n",
    "GET /public/ok HTTP/1.1\r\nHost: gw.test\r\nExpect: 200-maybe\r\n",
    "GET /ADMIN/secrets HTTP/1.1\r\nHost: gw.test\r\n",
    "GET /only HTTP/1.1\r\nHost: AdMiN.gw.test.\r\n",
    "GET /metrics HTTP/1.1\r\nHost: gw.test\r\n",
];

#[tokio::test]
async fn ambiguous_heads_are_refused_and_reach_nobody() {
    let fixture = Fixture::start().await;
    let end = "Connection: close\r\n\r\n";
    for head in AMBIGUOUS {
        let request = format!("{head}{end}");
        let answer = fixture.raw(&request).await;
        assert_refused(answer.status(), &request);
    }
    assert!(
        fixture.upstream.seen().is_empty(),
        "{:?}",
        fixture.upstream.seen()
    );
    assert_eq!(fixture.pdp.count(), 0);
}

#[tokio::test]
async fn a_head_over_the_limit_is_refused() {
    let fixture = Fixture::start().await;
    let end = "Connection: close\r\n\r\n";
    for (long, status) in [
        (
            format!(
                "GET /public/{} HTTP/1.1\r\nHost: gw.test\r\n{end}",
                "a".repeat(9000)
            ),
            414,
        ),
        (
            format!(
                "GET /public/ok HTTP/1.1\r\nHost: gw.test\r\nX: {}\r\n{end}",
                "a".repeat(131_072)
            ),
            431,
        ),
        (
            format!(
                "GET /public/ok HTTP/1.1\r\nHost: gw.test\r\n{}{end}",
                "X: v\r\n".repeat(300)
            ),
            431,
        ),
    ] {
        let answer = fixture.raw(&long).await;
        assert!(
            matches!(answer.status(), 0) || answer.status() == status,
            "{answer:?}"
        );
    }
    assert!(
        fixture.upstream.seen().is_empty(),
        "{:?}",
        fixture.upstream.seen()
    );
    assert_eq!(fixture.pdp.count(), 0);
}

#[tokio::test]
async fn a_body_with_two_lengths_smuggles_nothing() {
    let fixture = Fixture::start().await;
    let smuggled = "GET /admin/secrets HTTP/1.1\r\nHost: gw.test\r\n\r\n";
    for (fields, body) in [
        (
            "Content-Length: 6\r\nTransfer-Encoding: chunked",
            format!("0\r\n\r\nG{smuggled}"),
        ),
        ("Content-Length: 0\r\nContent-Length: 46", smuggled.into()),
        ("Content-Length: 5\r\nContent-Length: 5", "hello".into()),
        ("Content-Length: +5", "hello".into()),
        ("Content-Length: 0x5", "hello".into()),
        ("Content-Length: 05", "hello".into()),
        ("Content-Length: ", "hello".into()),
        ("Content-Length: \u{b}5", "hello".into()),
        (
            "Content-Length: 5\r\nTransfer-Encoding: xchunked",
            "0\r\n\r\n".into(),
        ),
        (
            "Transfer-Encoding: identity, chunked, identity",
            "0\r\n\r\n".into(),
        ),
        ("Transfer-Encoding: \u{b}chunked", "0\r\n\r\n".into()),
        ("Transfer-Encoding: chunked;a=b", "0\r\n\r\n".into()),
        ("Transfer-Encoding: gzip, chunked", "0\r\n\r\n".into()),
        ("Transfer-Encoding: ", "0\r\n\r\n".into()),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            "1\r\nZ\r\n0\r\n\r\n".into(),
        ),
        (
            "Transfer-Encoding:\r\n chunked\r\nContent-Length: 5",
            "0\r\n\r\n".into(),
        ),
    ] {
        let request =
            format!("POST /public/echo HTTP/1.1\r\nHost: gw.test\r\n{fields}\r\n\r\n{body}");
        let answer = fixture.raw(&request).await;
        assert_refused(answer.status(), &request);
        assert!(answer.0.matches("HTTP/1.1").count() <= 1, "{answer:?}");
    }
    let old = "POST /public/echo HTTP/1.0\r\nHost: gw.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    assert_refused(fixture.raw(old).await.status(), old);
    assert!(
        fixture.upstream.seen().is_empty(),
        "{:?}",
        fixture.upstream.seen()
    );
}

#[tokio::test]
async fn a_connection_on_which_a_head_is_bad_ends_soon_though_it_could_go_on() {
    let fixture = Fixture::start().await;
    let good = "GET /public/ok HTTP/1.1\r\nHost: gw.test\r\n\r\n";
    for (beginning, answers) in [
        // An empty line is a beginning to the parser, and no message.
        (format!("{good}\r\n"), 1),
        (format!("{good}\n"), 1),
        (
            "GET /public/ok HTTP/1.1\r\nHost: gw.test\r\n\t".to_owned(),
            0,
        ),
        (
            "GET /public/ok HTTP/1.1\r\nHost: gw.test\r\r\n".to_owned(),
            0,
        ),
        (
            "GET /public/ok#x HTTP/1.1\r\nHost: gw.test\r\n".to_owned(),
            0,
        ),
    ] {
        let begun = std::time::Instant::now();
        let answer = fixture.raw(&beginning).await;
        // Before the reading of this test would end by itself.
        assert!(begun.elapsed().as_millis() < 2_500, "{beginning:?}");
        let passed = answer.0.matches("HTTP/1.1 200 OK").count();
        assert_eq!(passed, answers, "{beginning:?}");
    }
    let seen = fixture.upstream.seen();
    assert_eq!(seen.len(), 2);
}

#[tokio::test]
async fn a_malformed_chunk_never_looks_complete_to_the_upstream() {
    let fixture = Fixture::start().await;
    for chunks in [
        "+5\r\nhello\r\n0\r\n\r\n",
        "0_5\r\nhello\r\n0\r\n\r\n",
        "5;\r\nhello\r\n0\r\n\r\n",
        "5;\0x\r\nhello\r\n0\r\n\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "FFFFFFFFFFFFFFFFF\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello\r\n+0\r\n\r\n",
        "5\r\nhelloX\r\n0\r\n\r\n",
        "1\r\nZ\r\n0\r\nContent-Length: 60\r\nHost: admin.gw.test\r\n\r\n",
    ] {
        let request = format!(
            "POST /public/echo HTTP/1.1\r\nHost: gw.test\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}GET /public/smuggled HTTP/1.1\r\nHost: gw.test\r\n\r\n"
        );
        let answer = fixture.raw(&request).await;
        assert_refused(answer.status(), &request);
    }
    assert!(
        fixture.upstream.seen().is_empty(),
        "{:?}",
        fixture.upstream.seen()
    );
    // What is bad and short does not even begin there.
    assert_eq!(fixture.upstream.broken(), 0);
}

#[tokio::test]
async fn a_body_of_no_stated_length_goes_on_whole_whatever_the_method() {
    let fixture = Fixture::start().await;
    for method in ["GET", "HEAD", "DELETE", "OPTIONS", "POST"] {
        let head = format!(
            "{method} /public/any HTTP/1.1\r\nHost: gw.test\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
        );
        let short = format!("{head}3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
        assert_eq!(fixture.raw(&short).await.status(), 200, "{method}");
        let seen = fixture.upstream.last();
        assert_eq!((&*seen.body, seen.method.as_str()), (&b"abcde"[..], method));
        // All of it was there, so that its length is known.
        assert_eq!(seen.headers["content-length"], "5");
        assert!(!seen.headers.contains_key("transfer-encoding"));
        let long = "x".repeat(200_000);
        let long = format!("{head}{:x}\r\n{long}\r\n0\r\n\r\n", long.len());
        assert_eq!(fixture.raw(&long).await.status(), 200, "{method}");
        let seen = fixture.upstream.last();
        assert_eq!((seen.body.len(), seen.method.as_str()), (200_000, method));
        assert_eq!(seen.headers["transfer-encoding"], "chunked");
    }
    assert_eq!(fixture.upstream.broken(), 0);
}

#[tokio::test]
async fn an_upgrade_that_is_none_is_an_ordinary_request() {
    let fixture = Fixture::start().await;
    let h2c = "GET /public/ok HTTP/1.1\r\nHost: gw.test\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\nConnection: Upgrade, HTTP2-Settings, close\r\n\r\n";
    assert_eq!(fixture.raw(h2c).await.status(), 200);
    let seen = fixture.upstream.last();
    assert!(!seen.headers.contains_key("upgrade") && !seen.headers.contains_key("http2-settings"));
    let websocket = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let early = format!(
        "GET /public/ok HTTP/1.1\r\nHost: gw.test\r\n{websocket}\r\nGET /admin/secrets HTTP/1.1\r\nHost: gw.test\r\nConnection: close\r\n\r\n"
    );
    let answer = fixture.raw(&early).await;
    assert!(
        answer.0.contains("HTTP/1.1 401"),
        "decided on its own: {answer:?}"
    );
    let body = format!(
        "GET /ws HTTP/1.1\r\nHost: gw.test\r\nAuthorization: Bearer at_alice\r\n{websocket}Content-Length: 3\r\n\r\nabc"
    );
    assert_eq!(fixture.raw(&body).await.status(), 400);
    assert!(
        fixture
            .upstream
            .seen()
            .iter()
            .all(|seen| seen.target == "/public/ok")
    );
}

#[tokio::test]
async fn a_body_over_the_limit_is_413_however_it_is_sent() {
    let setup = Setup {
        gateway: "{ workers: 1, access_log: 'off', limits: { body_bytes: 1000 } }".into(),
        ..Setup::new().await
    };
    let fixture = setup.start().await;
    let head = "POST /public/echo HTTP/1.1\r\nHost: gw.test\r\n";
    let known = format!("{head}Content-Length: 1073741824\r\n\r\nx");
    assert_eq!(fixture.raw(&known).await.status(), 413);
    let chunk = format!("200\r\n{}\r\n", "x".repeat(0x200));
    let unknown = format!("{head}Transfer-Encoding: chunked\r\n\r\n{chunk}{chunk}0\r\n\r\n");
    assert_eq!(fixture.raw(&unknown).await.status(), 413);
    assert!(fixture.upstream.seen().is_empty());
}
