//! Permits with conditions.

mod filter;
mod told;

use serde_json::json;

use crate::fixture::{Fixture, Setup, get};

async fn masking(gateway: &str) -> Fixture {
    let setup = Setup {
        gateway: gateway.into(),
        ..Setup::new().await
    };
    setup
        .pdp
        .oblige(json!([{ "id": "m", "type": "mask", "properties": { "fields": ["/ssn"] } }]));
    setup.start().await
}

const QUIET: &str = "{ workers: 1, access_log: 'off' }";

#[tokio::test]
async fn masked_fields_never_leave_from_memory_neither() {
    let fixture = masking(QUIET).await;
    let request = get("/records/1", "at_alice").replace(
        "Connection:",
        "Accept-Encoding: gzip\r\nRange: bytes=0-1\r\nIf-None-Match: \"1\"\r\nConnection:",
    );
    for _ in 0..2 {
        let answer = fixture.raw(&request).await;
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.body(), "{\"id\":\"1001\",\"ssn\":\"***\",\"n\":1.0}");
        assert_eq!(answer.header("content-length"), Some("33"));
        assert_eq!(answer.header("etag"), None);
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    }
    assert_eq!(fixture.pdp.count(), 1);
    let seen = fixture.upstream.last();
    assert_eq!(seen.headers["accept-encoding"], "identity");
    assert!(!seen.headers.contains_key("range") && !seen.headers.contains_key("if-none-match"));
}

#[tokio::test]
async fn an_error_of_the_upstream_is_masked_and_what_cannot_be_is_withheld() {
    let fixture =
        masking("{ workers: 1, access_log: 'off', limits: { masked_body_bytes: 100000 } }").await;
    let answer = fixture.get("/records/missing", "at_alice").await;
    assert_eq!(
        (answer.status(), answer.body()),
        (404, "{\"ssn\":\"***\",\"error\":true}")
    );
    for path in [
        "/records/text",
        "/records/broken-json",
        "/records/big",
        "/records/events",
    ] {
        let answer = fixture.get(path, "at_alice").await;
        assert_eq!(answer.status(), 502, "{path}");
        assert!(!answer.0.contains("ssn"), "{answer:?}");
    }
    let head = get("/records/1", "at_alice").replacen("GET", "HEAD", 1);
    let answer = fixture.raw(&head).await;
    assert_eq!((answer.status(), answer.header("etag")), (200, None));
}

#[tokio::test]
async fn an_unknown_obligation_is_a_deny() {
    let fixture = Fixture::start().await;
    fixture.pdp.oblige(json!([{ "id": "n", "type": "sms" }]));
    for _ in 0..2 {
        assert_eq!(fixture.get("/records/1", "at_alice").await.status(), 403);
    }
    assert!(fixture.upstream.seen().is_empty());
}

#[tokio::test]
async fn what_must_be_logged_needs_a_log_and_a_tunnel_cannot_be_masked() {
    let fixture = Fixture::start().await;
    fixture.pdp.oblige(json!([{ "id": "l", "type": "log" }]));
    assert_eq!(fixture.get("/records/1", "at_alice").await.status(), 403);
    let fixture = masking(QUIET).await;
    let upgrade = get("/ws", "at_alice").replace(
        "Connection: close",
        "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    );
    assert_eq!(fixture.raw(&upgrade).await.status(), 403);
    assert!(fixture.upstream.seen().is_empty());
}
