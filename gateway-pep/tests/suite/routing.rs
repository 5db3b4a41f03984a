//! Routes that are told by more than host, path and method, with real requests.

mod mirrors;
mod splits;

use std::sync::atomic::Ordering;

use serde_json::json;

use crate::fixture::{Fixture, Setup, get};
use crate::forward_auth::{DIALECTS, LISTENERS};

const TOLD: &str = "
  - { match: '/told/{id}', methods: [GET, POST], upstream: a, action: view, resource: 'Record/{id}' }
  - { match: '/told/{id}', methods: [GET], upstream: a, action: preview, resource: 'Record/{id}', when: { headers: { X-Api-Version: { exact: '2' } } } }
  - { match: '/told/{id}', methods: [GET], upstream: a, action: export, resource: 'Record/{id}', when: { query: { export: present } }, priority: 1 }
  - { match: '/told/{id}', methods: ['*'], host: '*.gw.test', upstream: a, action: administer, resource: 'Record/{id}' }
  - { match: '/told/{id}/{*rest}', methods: [GET], upstream: a, action: view, resource: 'Record/{id}', when: { headers: { X-Api-Version: present } } }
";

async fn fixture() -> Fixture {
    let setup = Setup {
        gateway: format!("{{ workers: 1, access_log: 'off', {LISTENERS} }}"),
        more_routes: TOLD,
        ..Setup::new().await
    };
    setup.start().await
}

fn with(path: &str, fields: &str) -> String {
    get(path, "at_alice").replacen("\r\nHost", &format!("\r\n{fields}Host"), 1)
}

#[tokio::test]
async fn what_a_request_says_leads_it_to_its_question() {
    let fixture = fixture().await;
    for (path, fields, action) in [
        ("/told/1", "", "view"),
        ("/told/1", "X-Api-Version: 1\r\n", "view"),
        ("/told/1", "x-api-version: 2\r\n", "preview"),
        ("/told/1?export", "", "export"),
        ("/told/1?export=1", "X-Api-Version: 2\r\n", "export"),
        // Another decision than that of the same path before, whatever is remembered.
        ("/told/1", "", "view"),
    ] {
        let asked = fixture.pdp.count();
        let answer = fixture.raw(&with(path, fields)).await;
        assert_eq!(answer.status(), 200, "{path} {fields} {answer:?}");
        assert_eq!(answer.header("vary"), Some("x-api-version"));
        if fixture.pdp.count() > asked {
            assert_eq!(fixture.pdp.last().action.name, action, "{path} {fields}");
        }
        let seen = fixture.upstream.seen().last().unwrap().clone();
        assert_eq!(seen.target, path);
        let said = fields.split_once(": ").map(|(_, value)| value.trim());
        let arrived = seen.headers.get("x-api-version");
        assert_eq!(arrived.map(|value| value.to_str().unwrap()), said);
    }
    // Three questions, whatever was asked.
    assert_eq!(fixture.pdp.count(), 3);
    let other_host = get("/told/1", "at_alice").replace("gw.test", "b.gw.test");
    assert_eq!(fixture.raw(&other_host).await.status(), 200);
    assert_eq!(fixture.pdp.last().action.name, "administer");
}

#[tokio::test]
async fn whoever_meets_no_conditions_or_says_them_twice_gets_no_further() {
    let fixture = fixture().await;
    for (path, fields, status, reason) in [
        ("/told/1/a", "", 404, "not-found"),
        (
            "/told/1",
            "X-Api-Version: 2\r\nX-Api-Version: 1\r\n",
            400,
            "unread",
        ),
        ("/told/1", "X-Api-Version: 1, 2\r\n", 400, "unread"),
        ("/told/1", "X_Api_Version: 2\r\n", 400, "unread"),
        (
            "/told/1",
            "X-Api_Version: 1\r\nX-Api-Version: 2\r\n",
            400,
            "unread",
        ),
        ("/told/1?export=1&export=2", "", 400, "unread"),
        ("/told/1?Export=1", "", 400, "unread"),
        ("/told/1?export[]=1", "", 400, "unread"),
    ] {
        let answer = fixture.raw(&with(path, fields)).await;
        assert_eq!(answer.status(), status, "{path} {fields}");
        assert!(answer.body().contains(reason), "{answer:?}");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    }
    // What `Connection` names goes no further, and leads nowhere.
    let nominated = with("/told/1", "X-Api-Version: 2\r\n");
    let nominated = nominated.replace("Connection: close", "Connection: close, x-api-version");
    assert_eq!(fixture.raw(&nominated).await.status(), 200);
    assert_eq!(fixture.pdp.last().action.name, "view");
    let put = get("/told/1", "at_alice").replace("GET", "PUT");
    let answer = fixture.raw(&put).await;
    assert_eq!(answer.status(), 405);
    assert_eq!(answer.header("allow"), Some("GET, HEAD, POST"));
    assert_eq!(fixture.upstream.seen().len(), 1);
}

#[tokio::test]
async fn a_proxy_that_asks_and_an_explanation_find_the_same_route() {
    let fixture = fixture().await;
    let alice = "Authorization: Bearer at_alice\r\n";
    for dialect in DIALECTS {
        for (fields, status, action) in [
            ("X-Api-Version: 2\r\n", 200, "preview"),
            ("X-Api-Version: 2\r\nX_Api_Version: 1\r\n", 400, ""),
        ] {
            fixture
                .announce_and_wait(json!({ "kind": "policy_changed" }))
                .await;
            let fields = format!("{alice}{fields}");
            let answer = dialect.ask(&fixture, "GET", "/told/1", &fields).await;
            assert_eq!(
                answer.status(),
                dialect.status(status),
                "{dialect:?} {answer:?}"
            );
            if status == 200 {
                assert_eq!(fixture.pdp.last().action.name, action, "{dialect:?}");
            }
        }
    }
    let asked = json!({
        "method": "GET", "url": "https://gw.test/told/1", "token": "at_alice",
        "headers": { "X-Api-Version": "2" },
    });
    let asked = serde_json::from_value(asked).unwrap();
    let found = fixture.gateway.explainer().explain(asked).await.unwrap();
    let route = found.route.as_ref().unwrap();
    assert_eq!(route.when, ["header `x-api-version` is `2`"]);
    assert!(found.to_string().contains("is `2`, upstream a"), "{found}");
    fixture.pdp.down.store(true, Ordering::SeqCst);
    assert_eq!(
        fixture
            .raw(&with("/told/9", "X-Api-Version: 2\r\n"))
            .await
            .status(),
        503
    );
}

const REWRITTEN: &str = "
  - match: '/api/v1/files/{*rest}'
    methods: [GET, PUT]
    upstream: a
    action: view
    resource: 'File/{rest}'
    rewrite: { path: '/files/{*rest}', host: 'inner.test:81' }
    request_headers: { set: { X-Forwarded-Prefix: /api/v1, X-Env: prod }, remove: [X-Debug] }
    response_headers: { set: { X-Frame-Options: DENY }, remove: [ETag] }
  - { match: '/api/{kind}/{id}', methods: [GET], upstream: a, public: true, rewrite: { path: '/{id}/of/{kind}' } }
";

async fn rewriting() -> Fixture {
    let setup = Setup {
        gateway: format!("{{ workers: 1, access_log: 'off', {LISTENERS} }}"),
        more_routes: REWRITTEN,
        ..Setup::new().await
    };
    setup.start().await
}

#[tokio::test]
async fn an_upstream_is_asked_by_another_path_for_what_was_decided_on() {
    let fixture = rewriting().await;
    let path = "/api/v1/files/a%20b/..c/%C3%A9?x=../y&x";
    let fields = "X-Debug: 1\r\nx_debug: 1\r\nX_Env: dev\r\nX-Forwarded-Prefix: /evil\r\n";
    let answer = fixture.raw(&with(path, fields)).await;
    assert_eq!(answer.status(), 200, "{answer:?}");
    assert_eq!(answer.header("x-frame-options"), Some("DENY"));
    assert_eq!(answer.header("etag"), None);
    let question = fixture.pdp.last();
    assert_eq!(question.resource.id, "a b/..c/\u{e9}");
    assert_eq!(question.context["path"], "/api/v1/files/a%20b/..c/%C3%A9");
    let seen = fixture.upstream.seen().last().unwrap().clone();
    assert_eq!(seen.target, "/files/a%20b/..c/%C3%A9?x=../y&x");
    let said = |name: &str| {
        let values = seen.headers.get_all(name).iter();
        values
            .map(|value| value.to_str().unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(said("host"), ["inner.test:81"]);
    assert_eq!(said("x-forwarded-host"), ["gw.test"]);
    assert_eq!(said("x-forwarded-prefix"), ["/api/v1"]);
    assert_eq!(said("x-env"), ["prod"]);
    for gone in ["x-debug", "x_debug", "x_env"] {
        assert!(said(gone).is_empty(), "{gone}");
    }
    assert_eq!(said("authorization"), ["Bearer jwt.alice.signature"]);
    let public = fixture.raw(&get("/api/a%2Cb/c.d?q", "at_alice")).await;
    assert_eq!(public.status(), 200);
    let seen = fixture.upstream.seen().last().unwrap().clone();
    assert_eq!(seen.target, "/c.d/of/a%2Cb?q");
}

#[tokio::test]
async fn no_parameter_makes_another_path_of_a_rewritten_one() {
    let fixture = rewriting().await;
    for rest in [
        "..",
        "../x",
        "x/..",
        "./x",
        "%2e%2e/x",
        "..%2fx",
        "x%2f..%2fy",
        "x//y",
        "",
        "/x",
        "..%5cx",
        "x;/..;",
        "%252e%252e/x",
        "..%00",
    ] {
        let path = format!("/api/v1/files/{rest}");
        let answer = fixture.get(&path, "at_alice").await;
        assert!([400, 404].contains(&answer.status()), "{path} {answer:?}");
    }
    assert!(fixture.upstream.seen().is_empty());
}

#[tokio::test]
async fn an_explanation_shows_where_a_rewritten_request_goes() {
    let fixture = rewriting().await;
    let asked = json!({ "method": "GET", "url": "https://gw.test/api/v1/files/a%20b/c?x", "token": "at_alice" });
    let asked = serde_json::from_value(asked).unwrap();
    let found = fixture.gateway.explainer().explain(asked).await.unwrap();
    let to = found.outcome.upstream.unwrap();
    assert!(
        to.ends_with("/files/a%20b/c?x") && !to.contains("/api"),
        "{to}"
    );
    let alice = "Authorization: Bearer at_alice\r\n";
    for dialect in DIALECTS {
        // The proxy forwards: what it asks about is decided, and its own affair is where that goes.
        let yes = dialect.ask(&fixture, "GET", "/api/v1/files/x", alice).await;
        assert_eq!(yes.status(), 200, "{dialect:?} {yes:?}");
        assert_eq!(
            yes.header("authorization"),
            Some("Bearer jwt.alice.signature")
        );
    }
    assert_eq!(fixture.pdp.last().resource.id, "x");
}
