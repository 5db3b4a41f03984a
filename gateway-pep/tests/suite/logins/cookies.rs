//! What rides on the cookie, and where it goes.

use super::browser::{NAVIGATION, SESSION, set_cookies};
use super::{Site, assert_refused};
use crate::fixture::raw;

#[tokio::test]
async fn what_another_sites_page_sends_is_refused() {
    let site = Site::start().await;
    let mut browser = site.logged_in().await;
    let before = site.one.pdp.count();
    for method in ["POST", "PUT", "PATCH", "DELETE", "PROPFIND"] {
        for fields in [
            "Origin: https://evil.test\r\nSec-Fetch-Site: cross-site\r\n",
            "Origin: https://evil.test\r\n",
            "Sec-Fetch-Site: cross-site\r\n",
            "Sec-Fetch-Site: same-site\r\nOrigin: https://other.app.test\r\n",
            "Origin: null\r\n",
            "Origin: http://app.test\r\n",
            "Origin: https://b.test\r\n",
            "Referer: https://app.test/\r\n",
            "",
        ] {
            let line = format!("{method} /app/1");
            let answer = browser.send(&line, fields, "a=1").await;
            assert_refused(&answer, 403, "cross_site");
        }
    }
    let tunnel = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for origin in ["", "Origin: https://evil.test\r\n", "Origin: null\r\n"] {
        let fields = format!("{tunnel}{origin}");
        let raw_line = "GET /app-ws";
        let mut browser = browser.clone();
        let answer = browser.send(raw_line, &fields, "").await;
        assert_refused(&answer, 403, "cross_site");
    }
    assert_eq!(site.one.pdp.count(), before, "nobody was asked");
    // A link from elsewhere is a link.
    let linked = "Sec-Fetch-Mode: navigate\r\nSec-Fetch-Site: cross-site\r\n";
    assert_eq!(browser.send("GET /app/1", linked, "").await.status(), 200);
}

#[tokio::test]
async fn a_tunnel_is_opened_for_our_own_page() {
    let site = Site::start().await;
    let browser = site.logged_in().await;
    let session = browser.session().unwrap();
    let request = format!(
        "GET /app/ws HTTP/1.1\r\nHost: app.test\r\nCookie: a=1; {SESSION}={session}\r\nOrigin: https://app.test\r\n\
         Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    let answer = raw(site.one.addr, &request).await;
    assert_eq!(answer.status(), 101, "{}", answer.0);
    assert_eq!(site.one.upstream.last().headers["cookie"], "a=1");
}

#[tokio::test]
async fn no_upstream_sees_a_session_on_any_route() {
    let site = Site::start().await;
    let mut browser = site.logged_in().await;
    browser.get("/app/again").await;
    browser
        .cookies
        .insert("__Host-cedargate-other".into(), "x".into());
    browser
        .cookies
        .insert("__Host-cedargate-web-login-1".into(), "x".into());
    browser.cookies.insert("own".into(), "\"y z\"".into());
    for (line, fields) in [
        ("GET /app/1", NAVIGATION),
        ("GET /anything", NAVIGATION),
        ("POST /public/x", ""),
        ("GET /records/1", "Authorization: Bearer at_bob\r\n"),
    ] {
        let answer = browser.send(line, fields, "").await;
        assert_eq!(answer.status(), 200, "{line}: {}", answer.0);
        let seen = site.one.upstream.last();
        assert_eq!(seen.headers["cookie"], "own=\"y z\"", "{line}");
        let text = format!("{:?}", seen.headers);
        assert!(!text.contains(browser.session().unwrap()), "{text}");
    }
}

#[tokio::test]
async fn what_is_reserved_reaches_no_upstream() {
    let site = Site::start().await;
    let mut browser = site.logged_in().await;
    site.one.upstream.seen();
    let before = site.one.upstream.seen().len();
    for (line, status) in [
        ("GET /.cedargate", 404),
        ("GET /.cedargate/", 400),
        ("GET /.cedargate/web", 404),
        ("GET /.cedargate/web/unknown", 404),
        ("POST /.cedargate/web/callback", 405),
        ("PUT /.cedargate/web/logout", 405),
        ("GET /.cedargate/web/backchannel-logout", 405),
        ("GET /%2Ecedargate/web/unknown", 404),
        ("GET /.%63edargate/web/unknown", 404),
        ("GET /x/../.cedargate/web/unknown", 400),
    ] {
        let answer = browser.send(line, NAVIGATION, "").await;
        assert!(
            answer.status() == status || (status == 400 && answer.status() == 404),
            "{line}: {}",
            answer.0
        );
        assert!(set_cookies(&answer).is_empty());
    }
    assert_eq!(site.one.upstream.seen().len(), before);
}
