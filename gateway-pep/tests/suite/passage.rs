//! What passes, what does not, and what the upstream gets to see.

use serde_json::{Value, json};

use crate::fixture::Fixture;

#[tokio::test]
async fn the_upstream_gets_the_jwt_and_never_the_opaque_token() {
    let fixture = Fixture::start().await;
    let answer = fixture.get("/records/1001?q=a%20b&x=/y", "at_alice").await;
    assert_eq!(answer.status(), 200, "{answer:?}");
    let seen = fixture.upstream.last();
    assert_eq!(seen.target, "/records/1001?q=a%20b&x=/y");
    assert_eq!(seen.headers["authorization"], "Bearer jwt.alice.signature");
    assert_eq!(seen.headers["host"], fixture.upstream.addr.to_string());
    assert_eq!(seen.headers["x-forwarded-host"], "gw.test");
    assert_eq!(seen.headers["x-forwarded-for"], "127.0.0.1");
    assert_eq!(seen.headers["x-forwarded-proto"], "http");
    assert_eq!(seen.headers["x-request-id"].len(), 32);
    assert!(!format!("{:?}", seen.headers).contains("at_alice"));
    assert!(answer.header("x-hop").is_none() && answer.header("keep-alive").is_none());
    assert_eq!(answer.header("x-own"), Some("2"));
}

#[tokio::test]
async fn the_question_says_who_what_which_and_how() {
    let fixture = Fixture::start().await;
    fixture.get("/records/a%20b%C3%A9", "at_alice").await;
    let asked = serde_json::to_value(fixture.pdp.last()).unwrap();
    assert_eq!(
        asked,
        json!({
            "subject": { "type": "User", "id": "alice", "properties": {
                "roles": ["customer"], "client_id": "web", "scope": ["read"] } },
            "action": { "name": "view" },
            "resource": { "type": "Record", "id": "a bé" },
            "context": { "method": "GET", "path": "/records/a%20b%C3%A9", "host": "gw.test",
                "scheme": "http", "client_ip": "127.0.0.1" },
        })
    );
}

#[tokio::test]
async fn the_authzen_gateway_mapping_is_one_word_of_configuration() {
    let fixture = Fixture::start().await;
    assert_eq!(fixture.get("/todos/7", "at_alice").await.status(), 200);
    let asked = fixture.pdp.last();
    assert_eq!(
        (asked.subject.kind.as_str(), asked.subject.id.as_str()),
        ("identity", "alice")
    );
    assert_eq!(asked.action.name, "GET");
    assert_eq!(
        (asked.resource.kind.as_str(), asked.resource.id.as_str()),
        ("route", "/todos/{todoId}")
    );
    assert_eq!(
        Value::Object(asked.resource.properties),
        json!({ "uri": "http://gw.test/todos/7", "schema": "http", "hostname": "gw.test",
            "path": "/todos/7", "params": { "todoId": "7" }, "ip": "127.0.0.1" })
    );
}

/// Request line, credentials, status, and a header of the answer.
const REFUSED: &[(&str, &str, u16, &str, &str)] = &[
    (
        "GET /records/1",
        "",
        401,
        "www-authenticate",
        r#"Bearer realm="cedargate""#,
    ),
    (
        "GET /records/1",
        "Basic YQ==",
        401,
        "www-authenticate",
        r#"Bearer realm="cedargate""#,
    ),
    (
        "GET /records/1",
        "Bearer nope",
        401,
        "www-authenticate",
        INVALID_TOKEN,
    ),
    (
        "GET /records/1",
        "Bearer jwt.alice.signature",
        401,
        "www-authenticate",
        INVALID_TOKEN,
    ),
    (
        "GET /records/1",
        "Bearer a b",
        400,
        "www-authenticate",
        INVALID_REQUEST,
    ),
    (
        "GET /scoped",
        "Bearer at_alice",
        403,
        "www-authenticate",
        INSUFFICIENT_SCOPE,
    ),
    (
        "GET /records/forbidden",
        "Bearer at_alice",
        403,
        "content-type",
        PROBLEM,
    ),
    ("GET /nowhere", "", 404, "content-type", PROBLEM),
    (
        "DELETE /records/1",
        "",
        405,
        "allow",
        "GET, HEAD, POST, PUT",
    ),
    (
        "OPTIONS /records/1",
        "",
        405,
        "allow",
        "GET, HEAD, POST, PUT",
    ),
];
const PROBLEM: &str = "application/problem+json";
const INVALID_TOKEN: &str = r#"Bearer realm="cedargate", error="invalid_token", error_description="the token is not valid""#;
const INVALID_REQUEST: &str = r#"Bearer realm="cedargate", error="invalid_request", error_description="the token is malformed""#;
const INSUFFICIENT_SCOPE: &str = r#"Bearer realm="cedargate", error="insufficient_scope", error_description="the token lacks a scope", scope="read write""#;

#[tokio::test]
async fn refusals_have_their_status_and_touch_no_upstream() {
    let fixture = Fixture::start().await;
    for (line, credentials, status, header, expected) in REFUSED {
        let authorization = match *credentials {
            "" => String::new(),
            credentials => format!("Authorization: {credentials}\r\n"),
        };
        let request =
            format!("{line} HTTP/1.1\r\nHost: gw.test\r\n{authorization}Connection: close\r\n\r\n");
        let answer = fixture.raw(&request).await;
        assert_eq!(answer.status(), *status, "{request}\n{answer:?}");
        assert_eq!(answer.header(header), Some(*expected), "{request}");
        let problem: Value = serde_json::from_str(answer.body()).unwrap();
        assert_eq!(problem["status"], *status);
        assert!(problem["instance"].is_string());
    }
    assert!(fixture.upstream.seen().is_empty());
}

#[tokio::test]
async fn a_scope_that_is_missing_is_refused_before_the_pdp_is_asked() {
    let fixture = Fixture::start().await;
    assert_eq!(fixture.get("/scoped", "at_alice").await.status(), 403);
    assert_eq!(fixture.pdp.count(), 0);
}

#[tokio::test]
async fn a_public_route_passes_everyone_and_no_credentials() {
    let fixture = Fixture::start().await;
    let answer = fixture
        .raw("GET /public/ok HTTP/1.1\r\nHost: gw.test\r\nAuthorization: Bearer at_alice\r\nProxy-Authorization: x\r\nX-Auth-Subject: admin\r\nX_Auth_Roles: admin\r\nX-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Prefix: /p\r\nForwarded: for=6.6.6.6\r\nX-Original-URL: /admin\r\nX-Request-Id: mine\r\nX-Custom: kept\r\nConnection: close\r\n\r\n")
        .await;
    assert_eq!(answer.status(), 200);
    let seen = fixture.upstream.last();
    let mut names: Vec<_> = seen.headers.keys().map(http::HeaderName::as_str).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "host",
            "traceparent",
            "x-custom",
            "x-forwarded-for",
            "x-forwarded-host",
            "x-forwarded-proto",
            "x-request-id"
        ]
    );
    assert_eq!(seen.headers["x-forwarded-for"], "127.0.0.1");
    assert_ne!(seen.headers["x-request-id"], "mine");
    assert_eq!((fixture.tokens.count(), fixture.pdp.count()), (0, 0));
}

#[tokio::test]
async fn connection_cannot_nominate_away_what_the_gateway_says() {
    let fixture = Fixture::start().await;
    let request = "GET /records/1 HTTP/1.1\r\nHost: gw.test\r\nAuthorization: Bearer at_alice\r\nConnection: close, X-Forwarded-For, Host\r\n\r\n";
    assert_eq!(fixture.raw(request).await.status(), 200);
    let nobody = request.replace("X-Forwarded-For", "Authorization");
    assert_eq!(fixture.raw(&nobody).await.status(), 401);
    assert_eq!(fixture.upstream.seen().len(), 1);
    let seen = fixture.upstream.last();
    assert_eq!(seen.headers["authorization"], "Bearer jwt.alice.signature");
    assert_eq!(seen.headers["x-forwarded-for"], "127.0.0.1");
}

#[tokio::test]
async fn head_and_bodies_and_kept_connections_work() {
    let fixture = Fixture::start().await;
    let head = "HEAD /public/ok HTTP/1.1\r\nHost: gw.test\r\nConnection: close\r\n\r\n";
    let answer = fixture.raw(head).await;
    assert_eq!((answer.status(), answer.body()), (200, ""));
    assert_eq!(answer.header("content-length"), Some("41"));
    let two = "POST /public/echo HTTP/1.1\r\nHost: gw.test\r\nContent-Length: 5\r\n\r\nhello\
               POST /public/echo HTTP/1.1\r\nHost: gw.test\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let answer = fixture.raw(two).await;
    assert_eq!(answer.0.matches("HTTP/1.1 200 OK").count(), 2, "{answer:?}");
    let seen = fixture.upstream.seen();
    let bodies: Vec<_> = seen.iter().map(|seen| &seen.body[..]).collect();
    assert_eq!(bodies, [&b""[..], b"hello", b"abc"]);
    assert_eq!(seen[1].headers["content-length"], "5");
    // All of it was there: its length is known.
    assert_eq!(seen[2].headers["content-length"], "3");
    let methods: Vec<_> = seen.iter().map(|seen| seen.method.as_str()).collect();
    assert_eq!(methods, ["HEAD", "POST", "POST"]);
    let connections: Vec<_> = seen.iter().map(|seen| seen.connection).collect();
    assert_eq!(connections, [0, 0, 0], "one connection is kept");
}
