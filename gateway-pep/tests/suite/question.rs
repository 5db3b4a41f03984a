//! What a question takes from the request: ids and properties from query, header, body and claims; and requests that
//! name several resources.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use crate::fixture::{Answer, Fixture, Setup, get};

const ROUTES: &str = "
  - { match: '/q', methods: [GET], upstream: a, action: view, resource: 'Record/{query:id}', context: { tenant: 'header:x-tenant', tier: 'claim:tier', page: 'query:page' } }
  - { match: '/t/{tenant}/b', methods: [POST], upstream: a, action: pay, resource: 'Account/{tenant}-{body:/from/account}', resource_properties: { amount: 'body:/amount' }, subject_properties: { roles: 'body:/roles', desk: 'header:x-desk' } }
  - { match: '/many', methods: [GET], upstream: a, action: view, resource: 'Record/{query:id*}' }
  - { match: '/listed', methods: [GET], upstream: a, action: view, resource: 'Record/{query:ids,}' }
  - { match: '/bulk', methods: [POST], upstream: a, action: remove, resource: 'Record/{body:/items/*/id}' }
";

const GATEWAY: &str = "{ workers: 1, access_log: 'off', limits: { question_resources: 5, question_body_bytes: 2000 } }";

async fn fixture() -> Fixture {
    let setup = Setup {
        gateway: GATEWAY.into(),
        more_routes: ROUTES,
        ..Setup::new().await
    };
    setup.start().await
}

async fn post(fixture: &Fixture, path: &str, more: &str, body: &str) -> Answer {
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer at_alice\r\nContent-Type: application/json\r\n{more}Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    fixture.raw(&request).await
}

fn ids(fixture: &Fixture) -> Vec<String> {
    let asked = fixture.pdp.asked.lock().unwrap();
    asked
        .iter()
        .map(|asked| asked.resource.id.clone())
        .collect()
}

#[tokio::test]
async fn the_query_names_the_resource_and_what_it_says_is_in_the_key() {
    let fixture = fixture().await;
    let request = get("/q?id=7&page=2", "at_alice");
    let with = |tenant: &str| {
        request.replace("Connection:", &format!("X-Tenant: {tenant}\r\nConnection:"))
    };
    for _ in 0..2 {
        assert_eq!(fixture.raw(&with("blue")).await.status(), 200);
    }
    assert_eq!(fixture.pdp.count(), 1);
    let asked = fixture.pdp.last();
    assert_eq!(
        (asked.resource.kind.as_str(), asked.resource.id.as_str()),
        ("Record", "7")
    );
    assert_eq!(
        (&asked.context["tenant"], &asked.context["page"]),
        (&json!("blue"), &json!("2"))
    );
    assert!(!asked.context.contains_key("tier"), "nobody says it");
    // Another tenant, another page, another record: other questions.
    fixture.raw(&with("red")).await;
    fixture.get("/q?id=7", "at_alice").await;
    fixture.get("/q?id=8", "at_alice").await;
    assert_eq!(fixture.pdp.count(), 4);
    assert_eq!(
        fixture.get("/q?id=forbidden", "at_alice").await.status(),
        403
    );
    // An answer that depends on nothing is still the answer about this record.
    *fixture.pdp.cache.lock().unwrap() =
        json!({ "vary": { "subject": [], "action": [], "resource": [], "context": [] } });
    for id in ["a", "b", "a", "b"] {
        fixture.get(&format!("/q?id={id}"), "at_alice").await;
    }
    assert_eq!(fixture.pdp.count(), 7);
}

#[tokio::test]
async fn who_answers_at_once_is_asked_the_same() {
    let routes = format!(
        "{ROUTES}  - {{ match: '/route/{{a}}/{{b}}', methods: [GET], upstream: a, mapping: authzen_route }}\n"
    );
    let setup = Setup {
        gateway: "{ workers: 1, access_log: 'off', cache: { decisions: 0 } }".into(),
        more_routes: routes.leak(),
        ..Setup::new().await
    };
    let fixture = setup.start().await;
    let paths = [
        "/records/a%20b",
        "/q?id=7&page=2",
        "/route/x/y%2D",
        "/records/forbidden",
    ];
    let mut statuses = Vec::new();
    for is_at_once in [false, true] {
        fixture.pdp.is_at_once.store(is_at_once, Ordering::SeqCst);
        for path in paths {
            statuses.push(fixture.get(path, "at_alice").await.status());
        }
    }
    assert_eq!(statuses, [[200, 200, 200, 403]; 2].concat());
    let asked = fixture.pdp.asked.lock().unwrap();
    let (waited_for, at_once) = asked.split_at(paths.len());
    assert_eq!(waited_for, at_once);
    assert_eq!(asked.len(), 2 * paths.len());
}

#[tokio::test]
async fn what_is_answered_at_once_is_remembered_and_nothing_else_is() {
    let fixture = fixture().await;
    fixture.pdp.is_at_once.store(true, Ordering::SeqCst);
    fixture.pdp.down.store(true, Ordering::SeqCst);
    assert_eq!(fixture.get("/q?id=7", "at_alice").await.status(), 503);
    fixture.pdp.down.store(false, Ordering::SeqCst);
    for id in [7, 7, 8, 7, 8] {
        let answer = fixture.get(&format!("/q?id={id}"), "at_alice").await;
        assert_eq!(answer.status(), 200);
    }
    assert_eq!(fixture.pdp.count(), 3);
}

#[tokio::test]
async fn what_is_of_this_hop_alone_is_no_part_of_the_question() {
    let fixture = fixture().await;
    let request = get("/q?id=7", "at_alice").replace(
        "Connection: close",
        "X-Tenant: blue\r\nX-Other: 1\r\nConnection: close, X-Tenant",
    );
    assert_eq!(fixture.raw(&request).await.status(), 200);
    assert!(!fixture.pdp.last().context.contains_key("tenant"));
    let seen = fixture.upstream.last().headers;
    assert!(!seen.contains_key("x-tenant") && seen.contains_key("x-other"));
    // Nor is it the body's kind, or a credential.
    let body = "{\"from\":{\"account\":12}}";
    let typed = format!(
        "POST /t/blue/b HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer at_alice\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close, content-type\r\n\r\n{body}",
        body.len()
    );
    assert_eq!(fixture.raw(&typed).await.status(), 400);
    let known = get("/q?id=7", "at_alice").replace("close", "close, Authorization");
    assert_eq!(fixture.raw(&known).await.status(), 401);
    assert_eq!(fixture.upstream.seen().len(), 1);
}

#[tokio::test]
async fn what_could_be_read_in_two_ways_is_not_asked() {
    let fixture = fixture().await;
    for target in [
        "/q",
        "/q?id=",
        "/q?id=1&id=2",
        "/q?id=1&ID=2",
        "/q?id=1&id[]=2",
        "/q?id=a+b",
        "/q?id=1;id=2",
        "/q?id=%zz",
        "/many",
        "/many?id=1&id=",
        "/many?id=1&id=2&id=3&id=4&id=5&id=6",
        "/listed?ids=1&ids=2",
        "/listed?ids=1,,2",
    ] {
        let answer = fixture.get(target, "at_alice").await;
        assert_eq!(answer.status(), 400, "{target} {answer:?}");
    }
    for more in [
        "X-Tenant: a\r\nX-Tenant: b\r\n",
        "X-Tenant: a\r\nX_Tenant: b\r\n",
    ] {
        let request =
            get("/q?id=1", "at_alice").replace("Connection:", &format!("{more}Connection:"));
        assert_eq!(fixture.raw(&request).await.status(), 400, "{more}");
    }
    // Whoever is not known is told nothing of that.
    assert_eq!(fixture.get("/q", "at_nobody").await.status(), 401);
    assert_eq!(fixture.pdp.count(), 0);
    assert!(fixture.upstream.seen().is_empty());
}

#[tokio::test]
async fn a_body_is_read_once_and_forwarded_byte_for_byte() {
    let fixture = fixture().await;
    let body = "{ \"from\" : {\"account\":12}, \"amount\":1.50e1,\"roles\":[\"root\"],\"n\":\"\\u00e9\" } ";
    let answer = post(&fixture, "/t/blue/b", "X-Desk: nine\r\n", body).await;
    assert_eq!(answer.status(), 200, "{answer:?}");
    assert_eq!(fixture.upstream.last().body, body.as_bytes());
    let asked = fixture.pdp.last();
    assert_eq!(asked.resource.id, "blue-12");
    assert_eq!(asked.resource.properties["amount"], json!(15.0));
    assert_eq!(
        asked.subject.properties["roles"],
        json!(["customer"]),
        "what the token says counts more"
    );
    assert_eq!(asked.subject.properties["desk"], "nine");
    let chunked = format!(
        "POST /t/blue/b HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer at_alice\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
        body.len()
    );
    assert_eq!(fixture.raw(&chunked).await.status(), 200);
    let seen = fixture.upstream.last();
    assert_eq!(
        (
            &seen.body[..],
            seen.headers["content-length"].to_str().unwrap()
        ),
        (body.as_bytes(), body.len().to_string().as_str())
    );
    for (body, status) in [
        ("", 400),
        ("{}", 400),
        ("not json", 400),
        (r#"{"from":{"account":1,"account":2}}"#, 400),
        (r#"{"from":{"account":1},"from":{"account":2}}"#, 400),
        (r#"{"from":{"account":1.5}}"#, 400),
        (r#"{"from":{"account":["1"]}}"#, 400),
        (r#"{"from":{"account":null}}"#, 400),
    ] {
        let answer = post(&fixture, "/t/blue/b", "", body).await;
        assert_eq!(answer.status(), status, "{body} {answer:?}");
    }
    let long = format!(
        "{{\"from\":{{\"account\":1}},\"pad\":\"{}\"}}",
        "x".repeat(2000)
    );
    assert_eq!(post(&fixture, "/t/blue/b", "", &long).await.status(), 413);
    let encoded = post(&fixture, "/t/blue/b", "Content-Encoding: gzip\r\n", body).await;
    assert_eq!(encoded.status(), 400);
    assert_eq!(fixture.upstream.seen().len(), 2);
}

#[tokio::test]
async fn all_that_a_request_names_must_be_permitted_and_each_is_remembered() {
    let fixture = fixture().await;
    assert_eq!(
        fixture
            .get("/many?id=1&id=2&id=1", "at_alice")
            .await
            .status(),
        200
    );
    assert_eq!(ids(&fixture), ["1", "2"]);
    assert_eq!(fixture.pdp.batches.load(Ordering::SeqCst), 1);
    // What is known is not asked again.
    assert_eq!(
        fixture.get("/many?id=2&id=3", "at_alice").await.status(),
        200
    );
    assert_eq!(ids(&fixture), ["1", "2", "3"]);
    let answer = fixture
        .get("/many?id=4&id=forbidden&id=5", "at_alice")
        .await;
    assert_eq!(answer.status(), 403);
    assert_eq!(
        ids(&fixture)[3..],
        ["4", "forbidden"],
        "nothing after the first deny"
    );
    let asked = fixture.pdp.count();
    assert_eq!(
        fixture
            .get("/many?id=1&id=forbidden", "at_alice")
            .await
            .status(),
        403
    );
    assert_eq!(fixture.pdp.count(), asked, "a remembered deny ends it");
    fixture.pdp.down.store(true, Ordering::SeqCst);
    assert_eq!(
        fixture.get("/many?id=1&id=99", "at_alice").await.status(),
        503
    );
    assert_eq!(
        fixture.get("/many?id=1&id=2", "at_alice").await.status(),
        200
    );
}

#[tokio::test]
async fn resources_are_named_in_one_value_and_in_a_body_too() {
    let fixture = fixture().await;
    assert_eq!(
        fixture.get("/listed?ids=6,7", "at_alice").await.status(),
        200
    );
    let body = r#"{"items":[{"id":"8"},{"id":9}]}"#;
    assert_eq!(post(&fixture, "/bulk", "", body).await.status(), 200);
    assert_eq!(ids(&fixture), ["6", "7", "8", "9"]);
    assert_eq!(fixture.pdp.last().action.name, "remove");
    let body = r#"{"items":[{"id":"8"},{"id":"forbidden"}]}"#;
    assert_eq!(post(&fixture, "/bulk", "", body).await.status(), 403);
    for body in [
        r#"{"items":[]}"#,
        r#"{"items":[{"id":"8"},{}]}"#,
        r#"{"items":{}}"#,
        "{}",
    ] {
        assert_eq!(
            post(&fixture, "/bulk", "", body).await.status(),
            400,
            "{body}"
        );
    }
}

#[tokio::test]
async fn the_conditions_of_all_are_kept() {
    let fixture = fixture().await;
    let mask = json!([{ "id": "m", "type": "mask", "properties": { "fields": ["/ssn"] } }]);
    fixture.pdp.oblige(mask);
    fixture.get("/q?id=1", "at_alice").await;
    fixture.pdp.oblige(json!([]));
    // The answer about 1 is remembered with its condition.
    let answer = fixture.get("/q?id=1", "at_alice").await;
    assert!(answer.body().contains("\"ssn\":\"***\""), "{answer:?}");
    fixture
        .pdp
        .oblige(json!([{ "id": "m", "type": "mask", "properties": { "fields": ["/ssn"] } }]));
    let answer = fixture.get("/many?id=10&id=11", "at_alice").await;
    let body: Value = serde_json::from_str(answer.body()).unwrap();
    assert_eq!((&body["ssn"], &body["id"]), (&json!("***"), &json!("1001")));
}
