//! Pages of other origins: what their browsers ask before a request, and who may read an answer.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use crate::fixture::{Answer, Fixture, Setup, raw};

const ROUTES: &str = "
  - { match: '/open/{id}', methods: [GET, PUT], upstream: a, action: view, resource: 'Record/{id}', cors: { origins: ['https://app.test', 'https://*.apps.test'], headers: [X-Mine], exposed_headers: [ETag], max_age_secs: 60 } }
  - { match: '/any/{id}', methods: ['*'], upstream: a, public: true, cors: { origins: ['*'], headers: ['*'], exposed_headers: ['*'] } }
  - { match: '/told/{id}', methods: [GET], upstream: a, public: true, cors: { origins: ['https://app.test'] }, when: { headers: { X-Version: { exact: '2' } } } }
  - { match: '/told/{id}', methods: [GET], upstream: a, public: true, cors: { origins: ['https://app.test'] }, when: { headers: { X-Version: { exact: '3' } } } }
";

async fn fixture(gateway: &str) -> Fixture {
    let setup = Setup {
        gateway: format!("{{ workers: 1, access_log: 'off'{gateway} }}"),
        more_routes: ROUTES,
        ..Setup::new().await
    };
    setup.start().await
}

/// What a page of this origin sends, or its browser.
async fn send(fixture: &Fixture, line: &str, origin: &str, more: &str) -> Answer {
    let request = format!(
        "{line} HTTP/1.1\r\nHost: gw.test\r\nOrigin: {origin}\r\n{more}Connection: close\r\n\r\n"
    );
    raw(fixture.addr, &request).await
}

async fn preflight(fixture: &Fixture, path: &str, origin: &str, method: &str) -> Answer {
    let more = format!(
        "Access-Control-Request-Method: {method}\r\nAccess-Control-Request-Headers: authorization,x-mine\r\n"
    );
    send(fixture, &format!("OPTIONS {path}"), origin, &more).await
}

/// Every value of a field.
fn all<'a>(answer: &'a Answer, name: &str) -> Vec<&'a str> {
    let head = answer.0.split("\r\n\r\n").next().unwrap();
    let fields = head.lines().filter_map(|line| line.split_once(": "));
    fields
        .filter(|(found, _)| found.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
        .collect()
}

fn allowed(answer: &Answer) -> Vec<&str> {
    all(answer, "access-control-allow-origin")
}

const APP: &str = "https://app.test";

#[tokio::test]
async fn a_preflight_is_answered_without_a_token_and_reaches_nobody() {
    let fixture = fixture("").await;
    for origin in [APP, "https://one.apps.test"] {
        let answer = preflight(&fixture, "/open/1", origin, "PUT").await;
        assert_eq!(answer.status(), 204, "{}", answer.0);
        assert_eq!(allowed(&answer), [origin]);
        let said = |name| answer.header(name).unwrap_or_default().to_owned();
        assert_eq!(said("access-control-allow-methods"), "PUT");
        let headers = "authorization, content-type, x-mine";
        assert_eq!(said("access-control-allow-headers"), headers);
        assert_eq!(said("access-control-max-age"), "60");
        assert_eq!(said("access-control-allow-credentials"), "");
        assert_eq!(said("vary"), "Origin");
    }
    // By any method of the route, and what a route is told by is not asked for.
    for (path, method) in [("/open/1", "HEAD"), ("/told/1", "GET"), ("/any/1", "PURGE")] {
        let answer = preflight(&fixture, path, APP, method).await;
        assert_eq!(answer.status(), 204, "{path} {}", answer.0);
        assert_eq!(answer.header("access-control-allow-methods"), Some(method));
    }
    assert_eq!(fixture.tokens.count(), 0);
    assert_eq!(fixture.pdp.count(), 0);
    assert!(fixture.upstream.seen().is_empty());
    assert_eq!(
        fixture.metric_of("pep_rejected_requests_total", &[("reason", "cross_origin")]),
        0
    );
}

#[tokio::test]
async fn other_origins_are_told_no_and_nothing_else_is_a_preflight() {
    let fixture = fixture("").await;
    for origin in [
        "https://evil.test",
        "http://app.test",
        "null",
        "https://a.b.apps.test",
        "x",
    ] {
        let answer = preflight(&fixture, "/open/1", origin, "GET").await;
        assert_eq!(answer.status(), 403, "{origin} {}", answer.0);
        assert!(answer.body().contains("cross-origin"), "{}", answer.0);
        assert_eq!(allowed(&answer), [""; 0]);
        assert_eq!(all(&answer, "vary"), ["Origin"]);
        assert_eq!(answer.header("access-control-allow-methods"), None);
    }
    let refused = [("reason", "cross_origin")];
    assert_eq!(
        fixture.metric_of("pep_rejected_requests_total", &refused),
        5
    );
    // No such route, no such method, and a route whose upstream sees to it.
    for (path, method, status) in [
        ("/nowhere", "GET", 404),
        ("/open/1", "DELETE", 405),
        ("/open/1", "a b", 405),
        ("/records/1", "GET", 405),
        ("/public/x", "GET", 200),
    ] {
        let answer = preflight(&fixture, path, APP, method).await;
        assert_eq!(answer.status(), status, "{path} {}", answer.0);
        assert_eq!(allowed(&answer), [""; 0]);
    }
    assert_eq!(fixture.upstream.seen().len(), 1);
    let wanted = "Access-Control-Request-Method: GET\r\n";
    for more in [
        String::new(),
        format!("{wanted}{wanted}"),
        format!("Origin: {APP}\r\n{wanted}"),
        format!("Connection: origin\r\n{wanted}"),
    ] {
        let answer = send(&fixture, "OPTIONS /open/1", APP, &more).await;
        assert!([400, 405].contains(&answer.status()), "{more} {}", answer.0);
    }
    // Another method is asked for on a request that is itself none to ask by.
    let answer = send(&fixture, "GET /open/1", APP, wanted).await;
    assert_eq!(answer.status(), 401, "{}", answer.0);
}

#[tokio::test]
async fn a_page_may_read_every_answer_whatever_it_says() {
    let fixture = fixture("").await;
    let token = |name: &str| format!("Authorization: Bearer at_{name}\r\n");
    for (line, more, status) in [
        ("GET /open/1", token("alice"), 200),
        ("GET /open/1", String::new(), 401),
        ("GET /open/1", token("nobody"), 401),
        ("GET /open/forbidden", token("alice"), 403),
        ("GET /open/missing", token("alice"), 404),
    ] {
        let answer = send(&fixture, line, APP, &more).await;
        assert_eq!(answer.status(), status, "{line} {}", answer.0);
        assert_eq!(allowed(&answer), [APP], "{line}");
        let exposed = answer.header("access-control-expose-headers").unwrap();
        assert!(
            exposed.starts_with("www-authenticate, retry-after"),
            "{exposed}"
        );
        assert!(exposed.ends_with("ratelimit-policy, etag"), "{exposed}");
        let answer = send(&fixture, line, "https://evil.test", &more).await;
        assert_eq!(answer.status(), status, "a token is worth as much there");
        assert_eq!(allowed(&answer), [""; 0]);
        assert_eq!(all(&answer, "vary"), ["Origin"]);
    }
    fixture.pdp.down.store(true, Ordering::SeqCst);
    let answer = send(&fixture, "GET /open/new", APP, &token("alice")).await;
    assert_eq!((answer.status(), allowed(&answer)), (503, vec![APP]));
    // Of no route, where the gateway says nothing of it.
    let answer = send(&fixture, "GET /nowhere", APP, "").await;
    assert_eq!((answer.status(), allowed(&answer)), (404, vec![]));
}

#[tokio::test]
async fn what_the_upstream_says_of_it_counts_only_where_the_gateway_does_not() {
    let fixture = fixture("").await;
    let token = "Authorization: Bearer at_alice\r\n";
    let credentials = "access-control-allow-credentials";
    let exposed = "access-control-expose-headers";
    let answer = send(&fixture, "GET /open/cors", APP, token).await;
    assert_eq!(allowed(&answer), [APP]);
    assert_eq!(all(&answer, credentials), [""; 0]);
    assert_eq!(all(&answer, exposed).len(), 1);
    assert!(!answer.0.contains("X-Of-Upstream"), "{}", answer.0);
    assert_eq!(all(&answer, "vary"), ["Accept", "Origin"]);
    let answer = send(&fixture, "GET /open/cors", "https://evil.test", token).await;
    assert_eq!(allowed(&answer), [""; 0]);
    assert_eq!(all(&answer, exposed), [""; 0]);
    let answer = send(&fixture, "GET /any/cors", "https://anywhere.test", "").await;
    assert_eq!(allowed(&answer), ["*"]);
    assert_eq!(all(&answer, credentials), [""; 0]);
    let said = "*, www-authenticate, retry-after, dpop-nonce, ratelimit, ratelimit-policy";
    assert_eq!(all(&answer, exposed), [said]);
    assert_eq!(all(&answer, "vary"), ["Accept"]);
    let answer = send(&fixture, "GET /public/cors", APP, "").await;
    assert_eq!(
        (allowed(&answer), all(&answer, credentials)),
        (vec!["*"], vec!["true"])
    );
    assert_eq!(all(&answer, exposed), ["X-Of-Upstream"]);
}

#[tokio::test]
async fn the_gateway_says_it_for_routes_that_do_not() {
    let more = ", cors: { origins: ['https://all.test'] }, authorization_servers: ['https://as.example'], api_key_header: X-Key, public_origins: ['https://gw.test', 'https://admin.gw.test']";
    let fixture = fixture(more).await;
    let all = "https://all.test";
    let answer = preflight(&fixture, "/records/1", all, "GET").await;
    assert_eq!((answer.status(), allowed(&answer)), (204, vec![all]));
    let headers = "authorization, content-type, dpop, x-key";
    assert_eq!(answer.header("access-control-allow-headers"), Some(headers));
    assert_eq!(answer.header("access-control-max-age"), Some("600"));
    for path in ["/records/1", "/nowhere", "/public/%00"] {
        let answer = send(&fixture, &format!("GET {path}"), all, "").await;
        assert!(answer.status() >= 400, "{}", answer.0);
        assert_eq!(allowed(&answer), [all], "{path}");
    }
    // A route of its own has its own.
    let answer = preflight(&fixture, "/open/1", all, "GET").await;
    assert_eq!((answer.status(), allowed(&answer)), (403, vec![]));
    // Metadata are for every page, whatever else is said.
    let path = "GET /.well-known/oauth-protected-resource";
    let answer = send(&fixture, path, "https://evil.test", "").await;
    assert_eq!((answer.status(), allowed(&answer)), (200, vec!["*"]));
}

#[tokio::test]
async fn an_explanation_says_that_a_preflight_is_answered_here() {
    let fixture = fixture("").await;
    for (origin, text, status) in [
        (APP, "answers this itself", Value::Null),
        ("https://evil.test", "cross_origin", json!(403)),
    ] {
        let asked = json!({
            "method": "OPTIONS",
            "url": "https://gw.test/open/1",
            "headers": { "Origin": origin, "Access-Control-Request-Method": "PUT" },
        });
        let asked = serde_json::from_value(asked).unwrap();
        let found = fixture.gateway.explainer().explain(asked).await.unwrap();
        assert!(found.to_string().contains(text), "{found}");
        let json = serde_json::to_value(&found).unwrap();
        assert_eq!(json["outcome"]["status"], status);
        assert_eq!(json["route"]["match"], "/open/{id}");
    }
}
