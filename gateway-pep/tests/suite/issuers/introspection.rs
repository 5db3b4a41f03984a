//! Issuers that are asked what a token is worth (RFC 7662): what counts of their answers, and for how
//! long.

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value, json};

use super::foreign::Foreign;
use super::{Gateway, NOW, ROUTES, claims};
use crate::holder::changed;
use crate::signer::Signer;

/// `corp` is asked; `other` has keys.
async fn gateway(foreign: &Foreign, more: &str, rest: &str) -> (Gateway, Signer) {
    let other = Signer::new("o1");
    let issuers = format!(
        "{{ corp: {{ introspection: {{ introspection_url: '{}', issuer: '{}', client_id: 'gate:way', \
            client_secret: 's ecret'{more} }} }}, \
            other: {{ jwt: {{ issuer: 'https://other.example', jwks: {} }} }} }}",
        foreign.introspection_url(),
        foreign.issuer(),
        crate::signer::jwks(&[&other]),
    );
    // A token that says nothing is shown to one of them alone.
    let routes = ROUTES.split_inclusive('\n');
    let routes: String = routes.filter(|line| !line.contains("/mixed/")).collect();
    let gateway = Gateway::start_with(&issuers, rest, routes.leak()).await;
    (gateway, other)
}

fn active(foreign: &Foreign, changes: &[(&str, Value)]) -> Value {
    let answer = json!({
        "active": true, "iss": foreign.issuer(), "aud": ["https://a"], "sub": "alice",
        "client_id": "web", "scope": "read", "exp": NOW + 300, "token_type": "Bearer",
    });
    changed(answer, changes)
}

#[tokio::test]
async fn an_active_token_passes_and_is_asked_about_once() {
    let foreign = Foreign::start(&[]).await;
    let (gateway, _) = gateway(&foreign, "", "").await;
    foreign.say("opaque~1+/=", &active(&foreign, &[]));
    for _ in 0..3 {
        let answer = gateway.get("/corp/1", "opaque~1+/=").await;
        assert_eq!(answer.status(), 200, "{answer:?}");
    }
    assert_eq!(foreign.asked(), 1);
    let (authorization, form) = foreign.asked.lock().unwrap()[0].clone();
    // RFC 6749 section 2.3.1: both are encoded before they are joined.
    assert_eq!(authorization, "Basic Z2F0ZSUzQXdheTpzK2VjcmV0");
    assert_eq!(
        form,
        "token=opaque%7E1%2B%2F%3D&token_type_hint=access_token"
    );
    let subject = gateway.fixture.pdp.last().subject;
    assert_eq!((&*subject.kind, &*subject.id), ("User", "corp:alice"));
    assert_eq!(subject.properties["issuer"], "corp");
    let seen = gateway.fixture.upstream.last();
    assert!(!seen.headers.contains_key("authorization"));
}

#[tokio::test]
async fn the_credential_is_shown_as_configured_and_the_token_goes_on_only_then() {
    let foreign = Foreign::start(&[]).await;
    let more = ", auth_method: client_secret_post, forward: same";
    let (gateway, _) = gateway(&foreign, more, "").await;
    foreign.say("opaque", &active(&foreign, &[("sub", Value::Null)]));
    assert_eq!(gateway.get("/corp/1", "opaque").await.status(), 200);
    let (authorization, form) = foreign.asked.lock().unwrap()[0].clone();
    assert_eq!(authorization, "");
    assert!(
        form.ends_with("&client_id=gate%3Away&client_secret=s+ecret"),
        "{form}"
    );
    assert_eq!(
        gateway.fixture.upstream.last().headers["authorization"],
        "Bearer opaque"
    );
    // A client by itself has no `sub`.
    let subject = gateway.fixture.pdp.last().subject;
    assert_eq!((&*subject.kind, &*subject.id), ("Client", "corp:web"));
}

#[tokio::test]
async fn an_answer_counts_no_longer_than_it_says_nor_than_configured() {
    let foreign = Foreign::start(&[]).await;
    let (gateway, _) = gateway(&foreign, ", ttl_secs: 30", "").await;
    foreign.say("short", &active(&foreign, &[("exp", json!(NOW + 10))]));
    foreign.say("long", &active(&foreign, &[]));
    foreign.say("endless", &active(&foreign, &[("exp", Value::Null)]));
    let all = async |expected: [u16; 3], asked: usize| {
        for (token, status) in ["short", "long", "endless"].into_iter().zip(expected) {
            assert_eq!(
                gateway.get("/corp/1", token).await.status(),
                status,
                "{token}"
            );
        }
        assert_eq!(foreign.asked(), asked);
    };
    all([200; 3], 3).await;
    gateway.clock.advance(Duration::from_millis(9_999));
    all([200; 3], 3).await;
    // It is asked about again, and the answer is from before.
    gateway.clock.advance(Duration::from_millis(1));
    all([401, 200, 200], 4).await;
    gateway.clock.advance(Duration::from_secs(20));
    foreign.say("long", &json!({ "active": false }));
    all([401, 401, 200], 7).await;
}

#[tokio::test]
async fn a_refusal_is_remembered_for_a_moment_and_not_for_longer() {
    let foreign = Foreign::start(&[]).await;
    let (gateway, _) = gateway(&foreign, "", "").await;
    for _ in 0..3 {
        assert_eq!(gateway.get("/corp/1", "opaque").await.status(), 401);
    }
    assert_eq!(foreign.asked(), 1);
    foreign.say("opaque", &active(&foreign, &[]));
    gateway.clock.advance(Duration::from_secs(5));
    assert_eq!(gateway.get("/corp/1", "opaque").await.status(), 200);
}

#[tokio::test]
async fn what_an_answer_says_of_an_active_token_has_to_fit() {
    let foreign = Foreign::start(&[]).await;
    let (gateway, _) = gateway(&foreign, ", require: { tenant: [acme] }", "").await;
    let tenant = ("tenant", json!("acme"));
    foreign.say("good", &active(&foreign, std::slice::from_ref(&tenant)));
    assert_eq!(gateway.get("/corp/1", "good").await.status(), 200);
    let passed = gateway.fixture.upstream.seen().len();
    for (index, (name, value)) in [
        ("iss", json!("https://other.example")),
        ("iss", json!(7)),
        ("aud", json!("https://b")),
        ("aud", Value::Null),
        ("aud", json!(7)),
        ("exp", json!(NOW)),
        ("exp", json!("soon")),
        ("nbf", json!(NOW + 1)),
        ("tenant", json!("other")),
        ("client_id", Value::Null),
        ("token_type", json!("refresh_token")),
        ("token_type", json!("DPoP")),
        ("cnf", json!({})),
        ("cnf", json!({ "x5t#S256": "hash" })),
        ("scope", json!(7)),
    ]
    .into_iter()
    .enumerate()
    {
        let answer = active(&foreign, &[tenant.clone(), (name, value)]);
        foreign.say(&format!("t{index}"), &answer);
        let refused = gateway.get("/corp/1", &format!("t{index}")).await;
        assert_eq!(refused.status(), 401, "{answer}");
    }
    assert_eq!(gateway.fixture.upstream.seen().len(), passed);
}

#[tokio::test]
async fn an_answer_without_an_audience_is_taken_only_where_that_is_configured() {
    let foreign = Foreign::start(&[]).await;
    let (gateway, _) = gateway(&foreign, ", requires_audience: false", "").await;
    foreign.say("without", &active(&foreign, &[("aud", Value::Null)]));
    foreign.say("other", &active(&foreign, &[("aud", json!("https://b"))]));
    assert_eq!(gateway.get("/corp/1", "without").await.status(), 200);
    assert_eq!(gateway.get("/corp/1", "other").await.status(), 401);
}

#[tokio::test]
async fn what_is_no_answer_is_no_refusal_either_and_lets_nobody_pass() {
    let foreign = Foreign::start(&[]).await;
    let (gateway, _) = gateway(&foreign, "", "").await;
    for (index, text) in [
        "",
        "[]",
        "{}",
        r#"{"active":"true"}"#,
        r#"{"active":1}"#,
        r#"{"active":false,"active":true}"#,
        &format!(r#"{{"active":true,"pad":"{}"}}"#, "x".repeat(70_000)),
        "<html>",
    ]
    .into_iter()
    .enumerate()
    {
        foreign.say_text(&format!("t{index}"), text);
        let answer = gateway.get("/corp/1", &format!("t{index}")).await;
        assert_eq!(answer.status(), 503, "{text:.40} {answer:?}");
        assert!(answer.body().contains("issuer-unavailable"), "{answer:?}");
    }
    for status in [302, 400, 401, 403, 404, 429, 500, 503] {
        *foreign.status.lock().unwrap() = status;
        let answer = gateway.get("/corp/1", &format!("s{status}")).await;
        assert_eq!(answer.status(), 503, "{status} {answer:?}");
    }
    gateway.assert_nothing_passed();
    *foreign.status.lock().unwrap() = 200;
    foreign.say("good", &active(&foreign, &[]));
    assert_eq!(gateway.get("/corp/1", "good").await.status(), 200);
    foreign.is_down.store(true, Ordering::SeqCst);
    assert_eq!(
        gateway.get("/corp/1", "good").await.status(),
        200,
        "it is known"
    );
    assert_eq!(gateway.get("/corp/1", "fresh").await.status(), 503);
}

#[tokio::test]
async fn a_jwt_is_shown_to_whom_it_names_and_to_nobody_else() {
    let foreign = Foreign::start(&[]).await;
    let (gateway, other) = gateway(&foreign, "", "").await;
    let stranger = Signer::new("s1");
    let of_other = other.token(&claims("https://other.example", &[]));
    assert_eq!(gateway.get("/both/1", &of_other).await.status(), 200);
    // Configured, and not accepted there: its token is not shown around.
    assert_eq!(gateway.get("/corp/1", &of_other).await.status(), 401);
    let forged = stranger.token(&claims("https://other.example", &[]));
    assert_eq!(gateway.get("/both/1", &forged).await.status(), 401);
    assert_eq!(foreign.asked(), 0);
    // Its own JWTs, and those of nobody that is known, it says something of.
    for issuer in [foreign.issuer(), "https://nobody.example".to_owned()] {
        let token = stranger.token(&claims(&issuer, &[]));
        assert_eq!(gateway.get("/both/1", &token).await.status(), 401);
        foreign.say(&token, &active(&foreign, &[]));
        gateway.clock.advance(Duration::from_secs(5));
        assert_eq!(gateway.get("/both/1", &token).await.status(), 200);
    }
    assert_eq!(foreign.asked(), 4);
    assert_eq!(gateway.get("/other/1", "opaque").await.status(), 401);
    assert_eq!(
        foreign.asked(),
        4,
        "nobody is asked where nobody is accepted"
    );
}
