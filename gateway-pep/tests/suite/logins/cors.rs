//! Pages of other origins that may act with a session, and those that may not.

use super::{Site, assert_refused};
use crate::fixture::Answer;

/// A script's request, by a browser that has a session here.
async fn act(site: &Site, line: &str, origin: &str, more: &str) -> Answer {
    let mut browser = site.logged_in().await;
    let fields =
        format!("Sec-Fetch-Mode: cors\r\nSec-Fetch-Site: same-site\r\nOrigin: {origin}\r\n{more}");
    browser.send(line, &fields, "").await
}

#[tokio::test]
async fn a_page_that_is_named_acts_as_the_gateways_own() {
    let site = Site::start().await;
    for origin in [
        "https://front.test",
        "https://a.fronts.test",
        "https://app.test",
    ] {
        let allowed = act(&site, "POST /shared/1", origin, "").await;
        let is_own = origin == "https://app.test";
        assert_eq!(
            allowed.status(),
            if is_own { 403 } else { 200 },
            "{origin} {}",
            allowed.0
        );
    }
    let read = act(&site, "GET /shared/1", "https://front.test", "").await;
    assert_eq!(read.status(), 200);
    assert_eq!(
        read.header("access-control-allow-credentials"),
        Some("true")
    );
    assert_eq!(
        read.header("access-control-allow-origin"),
        Some("https://front.test")
    );
}

#[tokio::test]
async fn nobody_else_acts_with_a_session() {
    let site = Site::start().await;
    let twice = "Origin: https://front.test\r\n";
    for (line, origin, more) in [
        ("POST /shared/1", "https://evil.test", ""),
        ("POST /shared/1", "http://front.test", ""),
        ("POST /shared/1", "null", ""),
        ("POST /shared/1", "https://evil.test", twice),
        ("POST /shared/1", "https://front.test", twice),
        // It may call, with a token, and not as whoever looks at it.
        ("POST /lent/1", "https://front.test", ""),
        // Another route names it.
        ("POST /app/1", "https://front.test", ""),
    ] {
        let answer = act(&site, line, origin, more).await;
        assert_refused(&answer, 403, "cross_site");
    }
}

#[tokio::test]
async fn a_socket_opens_for_a_page_that_is_named_and_for_no_other() {
    let site = Site::start().await;
    let wish = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for (origin, status) in [
        ("https://front.test", 101),
        ("https://evil.test", 403),
        ("null", 403),
    ] {
        let answer = act(&site, "GET /shared/ws", origin, wish).await;
        assert_eq!(answer.status(), status, "{origin} {}", answer.0);
    }
}
