//! Several upstreams of one route: each request goes to one of them, with the JWT that is cut for it.

use serde_json::{Value, json};

use crate::fakes::OTHER_RESOURCE;
use crate::fixture::{Fixture, Setup, get};
use crate::forward_auth::{DIALECTS, LISTENERS};
use crate::upstream::{Seen, Upstream};

const SPLIT: &str = "
  - { match: '/split/{id}', methods: [GET], upstream: { a: 70, b: 30 }, action: view, resource: 'Record/{id}' }
  - { match: '/sticky/{id}', methods: [GET], upstream: { a: 60, b: 40 }, sticky_on: subject, action: view, resource: 'Record/{id}' }
  - { match: '/by-header', methods: [GET], upstream: { a: 50, b: 50 }, sticky_on: 'header:X-Tenant', public: true }
";

/// With another upstream, `b`.
async fn fixture() -> (Fixture, Upstream) {
    let other = Upstream::start().await;
    let setup = Setup {
        gateway: format!("{{ workers: 1, access_log: 'off', {LISTENERS} }}"),
        upstream_settings: format!(
            "connections: 20 }}, b: {{ url: 'http://{}', resource: '{OTHER_RESOURCE}'",
            other.addr
        ),
        more_routes: SPLIT,
        ..Setup::new().await
    };
    (setup.start().await, other)
}

fn credential(seen: &Seen) -> &str {
    let value = seen.headers.get("authorization");
    value.map_or("", |value| value.to_str().unwrap())
}

#[tokio::test]
async fn each_upstream_gets_its_share_with_its_own_jwt() {
    let (fixture, other) = fixture().await;
    for number in 0..200 {
        let answer = fixture.get(&format!("/split/{number}"), "at_alice").await;
        assert_eq!(answer.status(), 200, "{answer:?}");
    }
    let (here, there) = (fixture.upstream.seen(), other.seen());
    assert_eq!(here.len() + there.len(), 200);
    assert!((30..100).contains(&there.len()), "{}", there.len());
    for seen in &here {
        assert_eq!(credential(seen), "Bearer jwt.alice.signature");
    }
    for seen in &there {
        assert_eq!(credential(seen), "Bearer jwt.alice.other");
    }
    // A token is swapped once for each of them.
    assert_eq!(fixture.tokens.count(), 2);
}

#[tokio::test]
async fn whoever_calls_stays_where_they_are() {
    let (fixture, other) = fixture().await;
    let mut there = Vec::new();
    for number in 0..30 {
        let name = format!("user-{number}");
        fixture.tokens.issue(&name, 4_000_000_000);
        let before = other.seen().len();
        for id in 0..4 {
            // Another token of the same subject leads to the same.
            let token = if id < 2 {
                format!("at_{name}")
            } else {
                format!("again_{name}")
            };
            if id == 2 {
                fixture.tokens.rename(&format!("at_{name}"), &token);
            }
            let answer = fixture.get(&format!("/sticky/{id}"), &token).await;
            assert_eq!(answer.status(), 200, "{answer:?}");
        }
        let seen = other.seen();
        let more = &seen[before..];
        assert!([0, 4].contains(&more.len()), "{name} was at both");
        for seen in more {
            assert_eq!(credential(seen), format!("Bearer jwt.{name}.other"));
        }
        there.push(more.len() / 4);
    }
    let there: usize = there.iter().sum();
    assert!((4..26).contains(&there), "{there} of 30");
    for tenant in ["one", "two", "three", "four", "five", "six"] {
        let before = other.seen().len();
        for _ in 0..4 {
            let request = get("/by-header", "at_alice");
            let request =
                request.replacen("\r\nHost", &format!("\r\nX-Tenant: {tenant}\r\nHost"), 1);
            assert_eq!(fixture.raw(&request).await.status(), 200);
        }
        assert!([0, 4].contains(&(other.seen().len() - before)), "{tenant}");
    }
    // Nobody's credentials on a public route, wherever it leads.
    let of_public = other
        .seen()
        .into_iter()
        .filter(|seen| seen.target == "/by-header");
    assert!(
        of_public
            .into_iter()
            .all(|seen| credential(&seen).is_empty())
    );
}

#[tokio::test]
async fn a_token_that_is_dead_is_dead_at_each_of_them() {
    let (fixture, other) = fixture().await;
    for path in ["/split/1", "/sticky/1"] {
        for _ in 0..5 {
            assert_eq!(fixture.get(path, "at_nobody").await.status(), 401);
            assert_eq!(fixture.get(path, "at_alice").await.status(), 200);
        }
    }
    fixture.tokens.forget("at_alice");
    fixture
        .announce_and_wait(json!({ "kind": "token_revoked", "token_ref": "ref_alice" }))
        .await;
    let before = fixture.upstream.seen().len() + other.seen().len();
    for path in ["/split/1", "/sticky/1"] {
        for _ in 0..5 {
            assert_eq!(fixture.get(path, "at_alice").await.status(), 401);
        }
    }
    assert_eq!(fixture.upstream.seen().len() + other.seen().len(), before);
}

#[tokio::test]
async fn an_explanation_shows_all_of_them_and_a_proxy_gets_the_heaviests_jwt() {
    let (fixture, _other) = fixture().await;
    let asked = json!({ "method": "GET", "url": "https://gw.test/sticky/1", "token": "at_alice" });
    let asked = serde_json::from_value(asked).unwrap();
    let found = fixture.gateway.explainer().explain(asked).await.unwrap();
    let text = found.to_string();
    assert!(text.contains("upstream a (of a 60, b 40)"), "{text}");
    let found: Value = serde_json::to_value(found).unwrap();
    assert_eq!(found["route"]["upstreams"], json!({ "a": 60, "b": 40 }));
    let alice = "Authorization: Bearer at_alice\r\n";
    for dialect in DIALECTS {
        for _ in 0..6 {
            let yes = dialect.ask(&fixture, "GET", "/split/1", alice).await;
            assert_eq!(
                yes.header("authorization"),
                Some("Bearer jwt.alice.signature")
            );
        }
    }
}
