//! Requests that RFC 9113 sections 8.1 to 8.3 call malformed, and those that HTTP/1.1 would read in
//! another way.

use super::*;

type Fields = Vec<(&'static str, &'static str)>;

/// Without the pseudo-header field of this name, and with others.
fn but(name: &str, more: &[(&'static str, &'static str)]) -> Fields {
    let mut fields = head("GET", "/public/ok");
    fields.retain(|(found, _)| *found != name);
    let at = fields.len();
    fields.splice(at..at, more.iter().copied());
    fields
}

fn and(more: &[(&'static str, &'static str)]) -> Fields {
    but("", more)
}

#[expect(clippy::too_many_lines, reason = "a table")]
fn malformed() -> Vec<Fields> {
    let mut cases = vec![
        // Fields of a connection (8.2.2).
        and(&[("transfer-encoding", "chunked")]),
        and(&[("connection", "close")]),
        and(&[("connection", "x-auth-subject")]),
        and(&[("keep-alive", "timeout=5")]),
        and(&[("proxy-connection", "keep-alive")]),
        and(&[("upgrade", "websocket")]),
        and(&[("upgrade", "h2c")]),
        and(&[("te", "gzip")]),
        and(&[("te", "trailers, chunked")]),
        // Names and values (8.2.1).
        and(&[("X-Auth-Subject", "admin")]),
        and(&[("x-Auth", "admin")]),
        and(&[("", "x")]),
        and(&[("x y", "1")]),
        and(&[("x:y", "1")]),
        and(&[("x\u{0}", "1")]),
        and(&[("x\r\ny", "1")]),
        and(&[("x\u{e9}", "1")]),
        and(&[("x-a", " a")]),
        and(&[("x-a", "\ta")]),
        and(&[("x-a", "a ")]),
        and(&[("x-a", "a\t")]),
        and(&[("x-a", "a\r\nx-b: c")]),
        and(&[("x-a", "a\nb")]),
        and(&[("x-a", "a\u{0}b")]),
        // Pseudo-header fields (8.3).
        but(":method", &[]),
        but(":scheme", &[]),
        but(":path", &[]),
        but(":path", &[(":path", "")]),
        but(":method", &[("x-a", "1"), (":method", "GET")]),
        and(&[("x-a", "1"), (":path", "/admin/secrets")]),
        and(&[(":path", "/admin/secrets")]),
        and(&[(":method", "POST")]),
        and(&[(":authority", "admin.gw.test")]),
        and(&[(":scheme", "http")]),
        and(&[(":status", "200")]),
        and(&[(":unknown", "1")]),
        and(&[(":", "1")]),
        and(&[(":protocol", "websocket")]),
        but(
            ":method",
            &[(":method", "GET /admin/secrets HTTP/1.1\r\nx: y")],
        ),
        but(":method", &[(":method", "GE T")]),
        but(":method", &[(":method", "")]),
        but(
            ":method",
            &[(":method", "CONNECT"), (":protocol", "connect-udp")],
        ),
        but(":method", &[(":method", "CONNECT")]),
        vec![(":method", "CONNECT"), (":authority", "gw.test:80")],
        but(":method", &[(":method", "TRACE")]),
        but(":path", &[(":path", "/public/ok HTTP/1.1\r\nx: y")]),
        but(":path", &[(":path", "/public/o k")]),
        but(":path", &[(":path", "public/ok")]),
        but(":path", &[(":path", "*")]),
        but(":path", &[(":path", "?x=/public/ok")]),
        but(":path", &[(":path", "http://gw.test/public/ok")]),
        but(":path", &[(":path", "//gw.test/public/ok")]),
        but(":path", &[(":path", "/public/../admin/secrets")]),
        but(":path", &[(":path", "/public/%2e%2e/admin/secrets")]),
        but(":path", &[(":path", "/public/\u{e9}")]),
        but(":path", &[(":path", "/public/\u{0}")]),
        but(":scheme", &[(":scheme", "https")]),
        but(":scheme", &[(":scheme", "ftp")]),
        but(":scheme", &[(":scheme", "http://evil.test/")]),
        but(":scheme", &[(":scheme", "")]),
        // Whose it is (8.3.1).
        and(&[("host", "admin.gw.test")]),
        and(&[("host", "gw.test"), ("host", "gw.test")]),
        and(&[("host", "")]),
        but(":authority", &[]),
        but(":authority", &[(":authority", "")]),
        but(":authority", &[(":authority", "admin@gw.test")]),
        but(":authority", &[(":authority", "gw.test/x")]),
        but(":authority", &[(":authority", "gw.test, admin.gw.test")]),
        but(":authority", &[(":authority", "gw test")]),
        but(":authority", &[(":authority", "gw.test:99999")]),
        but(
            ":authority",
            &[("host", "gw.test"), ("host", "admin.gw.test")],
        ),
        // Lengths (8.1.1).
        and(&[("content-length", "5")]),
        and(&[("content-length", "0"), ("content-length", "0")]),
        and(&[("content-length", "0"), ("content-length", "5")]),
        and(&[("content-length", "0, 0")]),
        and(&[("content-length", "+0")]),
        and(&[("content-length", "-1")]),
        and(&[("content-length", "")]),
        and(&[("expect", "200-maybe")]),
    ];
    let forbidden = ["authorization", "content-length"];
    cases.extend(forbidden.map(|name| and(&[(name, " 0")])));
    cases
}

/// Answered with a status that says no, or the stream or connection ended by a protocol error.
#[track_caller]
fn assert_refused(outcome: &Outcome, fields: &Fields) {
    let is_refused = match outcome {
        Outcome::Answer(status, _) => matches!(status, 400 | 405 | 413 | 417 | 431),
        Outcome::Reset(code) | Outcome::GoAway(code) => *code == PROTOCOL_ERROR,
        Outcome::Closed | Outcome::Silence => false,
    };
    assert!(is_refused, "{outcome:?} for {fields:?}");
}

#[tokio::test]
async fn what_is_malformed_is_refused_and_reaches_nobody() {
    let fixture = start("").await;
    for fields in malformed() {
        let mut frames = connect(&fixture).await;
        frames.headers(1, &fields, true).await;
        let outcome = frames.outcome(1).await;
        assert_refused(&outcome, &fields);
        if !matches!(outcome, Outcome::GoAway(_)) {
            frames.headers(3, &head("GET", "/public/ok"), true).await;
            let next = frames.outcome(3).await;
            assert_eq!(next.status(), Some(200), "{next:?} after {fields:?}");
        }
    }
    let seen = fixture.upstream.seen();
    assert!(
        seen.iter()
            .all(|seen| seen.target == "/public/ok" && !seen.headers.contains_key("x-a"))
    );
    assert_eq!(fixture.pdp.count(), 0);
}

#[tokio::test]
async fn a_body_of_another_length_than_was_said_never_looks_whole() {
    let fixture = start("").await;
    let mut frames = connect(&fixture).await;
    for (stream, length) in [(1, "4"), (3, "6")] {
        let mut fields = head("POST", "/public/echo");
        fields.push(("content-length", length));
        frames.headers(stream, &fields, false).await;
        frames.write(DATA, END_STREAM, stream, b"hello").await;
        let outcome = frames.outcome(stream).await;
        assert!(
            matches!(
                outcome,
                Outcome::Reset(PROTOCOL_ERROR) | Outcome::Answer(400, _)
            ),
            "{length} {outcome:?}"
        );
    }
    assert!(
        fixture.upstream.seen().is_empty(),
        "{:?}",
        fixture.upstream.seen()
    );
}

#[tokio::test]
async fn trailers_that_are_none_are_refused() {
    let fixture = start("").await;
    for trailers in [
        vec![("transfer-encoding", "chunked")],
        vec![("content-length", "5")],
        vec![("content-length", "7")],
        vec![("host", "admin.gw.test")],
        vec![("authorization", "Bearer at_bob")],
        vec![("X-A", "1")],
    ] {
        let mut frames = connect(&fixture).await;
        frames
            .headers(1, &head("POST", "/public/echo"), false)
            .await;
        frames.write(DATA, 0, 1, b"hello").await;
        frames.headers(1, &trailers, true).await;
        let outcome = frames.outcome(1).await;
        assert!(
            matches!(
                outcome,
                Outcome::Reset(_) | Outcome::GoAway(_) | Outcome::Answer(400, _)
            ),
            "{trailers:?} {outcome:?}"
        );
        assert!(fixture.upstream.seen().is_empty(), "{trailers:?}");
    }
    // What the library passes over changes nothing: trailers go no further.
    let mut frames = connect(&fixture).await;
    frames
        .headers(1, &head("POST", "/public/echo"), false)
        .await;
    frames.write(DATA, 0, 1, b"hello").await;
    frames
        .headers(1, &[(":path", "/admin/secrets")], true)
        .await;
    if frames.outcome(1).await.status() == Some(200) {
        assert_eq!(fixture.upstream.last().target, "/public/echo");
    }
}

#[tokio::test]
async fn nothing_follows_a_body_of_no_length() {
    let fixture = start("").await;
    let mut frames = connect(&fixture).await;
    let mut fields = head("POST", "/public/echo");
    fields.push(("content-length", "0"));
    frames.headers(1, &fields, false).await;
    frames
        .write(
            DATA,
            END_STREAM,
            1,
            b"GET /admin/secrets HTTP/1.1\r\nHost: gw.test\r\n\r\n",
        )
        .await;
    frames.outcome(1).await;
    frames.headers(3, &head("GET", "/public/ok"), true).await;
    assert_eq!(frames.outcome(3).await.status(), Some(200));
    let seen = fixture.upstream.seen();
    assert!(
        seen.iter()
            .all(|seen| seen.body.is_empty() && seen.target.starts_with("/public/"))
    );
}

#[tokio::test]
async fn two_credentials_are_refused_however_they_come() {
    let fixture = start("").await;
    let mut frames = connect(&fixture).await;
    let mut fields = with_token("/records/1");
    fields.push(("authorization", "Bearer at_bob"));
    frames.headers(1, &fields, true).await;
    assert_eq!(frames.outcome(1).await.status(), Some(400));
    frames
        .headers(3, &with_token("/records/1?access_token=at_bob"), true)
        .await;
    assert_eq!(frames.outcome(3).await.status(), Some(400));
    assert_eq!(fixture.tokens.count(), 0);
}

#[tokio::test]
async fn whose_request_it_is_has_one_spelling() {
    let fixture = start("").await;
    let mut frames = connect(&fixture).await;
    let spellings = [
        vec![(":authority", "GW.test.:80")],
        vec![(":authority", "gw.test"), ("host", "gw.test:80")],
        vec![("host", "Gw.Test")],
    ];
    for (stream, named) in (1..).step_by(2).zip(spellings) {
        let fields = but(":authority", &named);
        frames.headers(stream, &fields, true).await;
        assert_eq!(
            frames.outcome(stream).await.status(),
            Some(200),
            "{named:?}"
        );
        let seen = fixture.upstream.last();
        assert_eq!(seen.headers["x-forwarded-host"], "gw.test");
        assert_eq!(seen.headers.get_all("host").iter().count(), 1);
    }
    // The host of another: its routes alone.
    let fields = [
        (":method", "GET"),
        (":scheme", "http"),
        (":authority", "AdMiN.gw.test."),
        (":path", "/only"),
    ];
    frames.headers(99, &fields, true).await;
    assert_eq!(frames.outcome(99).await.status(), Some(401));
}

#[tokio::test]
async fn a_fragment_is_no_part_of_a_path_for_anybody() {
    let fixture = start("").await;
    let mut frames = connect(&fixture).await;
    let fields = but(":path", &[(":path", "/public/ok#/../../admin/secrets")]);
    frames.headers(1, &fields, true).await;
    match frames.outcome(1).await.status() {
        Some(200) => assert_eq!(fixture.upstream.last().target, "/public/ok"),
        refused => assert_eq!(refused, Some(400)),
    }
}
