//! Several issuers: a token counts where its issuer is accepted, and nowhere else, remembered or not.

use serde_json::{Value, json};

use super::{Gateway, ROUTES, at_hand, claims, corp};
use crate::fixture::Answer;
use crate::signer::Signer;

struct Two {
    gateway: Gateway,
    corp: Signer,
    other: Signer,
}

async fn two(more: &str) -> Two {
    // Both call their key the same.
    let (corp, other) = (Signer::new("k1"), Signer::new("k1"));
    let issuers = at_hand(&[&corp], &[&other], "");
    let gateway = Gateway::start_with(&issuers, more, ROUTES).await;
    Two {
        gateway,
        corp,
        other,
    }
}

fn other(changes: &[(&str, Value)]) -> Value {
    claims("https://other.example", changes)
}

fn challenge(answer: &Answer) -> &str {
    answer.header("www-authenticate").unwrap_or_default()
}

#[tokio::test]
async fn a_token_counts_on_the_routes_of_its_issuer_alone_remembered_or_not() {
    let two = two("").await;
    let tokens = [
        ("corp", two.corp.token(&corp(&[]))),
        ("other", two.other.token(&other(&[]))),
        ("service", "at_alice".to_owned()),
    ];
    let routes = [
        ("/both/1", &["corp", "other"][..]),
        ("/corp/1", &["corp"][..]),
        ("/other/1", &["other"][..]),
        ("/mixed/1", &["corp", "service"][..]),
        ("/records/1", &["service"][..]),
    ];
    // Forth and back, so that each was remembered somewhere before it is shown elsewhere.
    for (path, accepted) in routes.iter().chain(routes.iter().rev()) {
        for (name, token) in &tokens {
            let answer = two.gateway.get(path, token).await;
            let expected = if accepted.contains(name) { 200 } else { 401 };
            assert_eq!(answer.status(), expected, "{name} on {path}: {answer:?}");
        }
    }
    assert_eq!(
        two.gateway.fixture.tokens.count(),
        2,
        "only on its own two kinds of route was the token service asked"
    );
}

#[tokio::test]
async fn a_key_of_another_issuer_and_a_claim_to_be_another_are_worth_nothing() {
    let two = two("").await;
    for (path, token) in [
        ("/both/1", two.other.token(&corp(&[]))),
        ("/both/1", two.corp.token(&other(&[]))),
        ("/corp/1", two.other.token(&corp(&[]))),
        (
            "/both/1",
            two.corp.token(&claims("https://third.example", &[])),
        ),
        ("/mixed/1", two.other.token(&other(&[]))),
        ("/both/1", "at_alice".to_owned()),
        ("/corp/1", "a.b.c".to_owned()),
    ] {
        assert_eq!(
            two.gateway.get(path, &token).await.status(),
            401,
            "{path} {token}"
        );
    }
    two.gateway.assert_nothing_passed();
    assert_eq!(
        two.gateway.fixture.tokens.count(),
        0,
        "nobody else was asked"
    );
}

#[tokio::test]
async fn the_same_sub_of_two_issuers_is_never_one_subject() {
    let two = two("").await;
    let pdp = &two.gateway.fixture.pdp;
    let tokens = [two.corp.token(&corp(&[])), two.other.token(&other(&[]))];
    let mut subjects = Vec::new();
    for token in &tokens {
        assert_eq!(two.gateway.get("/both/1", token).await.status(), 200);
        subjects.push(pdp.last().subject);
    }
    assert_eq!(pdp.count(), 2, "the answer for one is none for the other");
    let ids: Vec<_> = subjects.iter().map(|subject| &*subject.id).collect();
    assert_eq!(ids, ["corp:alice", "other:alice"]);
    assert_eq!(two.gateway.get("/mixed/1", "at_alice").await.status(), 200);
    let subject = pdp.last().subject;
    assert_eq!(subject.id, "alice");
    assert!(!subject.properties.contains_key("issuer"));
}

#[tokio::test]
async fn a_subject_of_the_token_service_cannot_be_called_like_another_issuers() {
    let two = two("").await;
    two.gateway
        .fixture
        .tokens
        .issue("corp:alice", 4_000_000_000);
    let answer = two.gateway.get("/mixed/1", "at_corp:alice").await;
    assert_eq!(answer.status(), 400, "no token has a colon");
    // By another name of the token.
    two.gateway
        .fixture
        .tokens
        .rename("at_corp:alice", "at_mallory");
    for path in ["/mixed/1", "/records/1"] {
        assert_eq!(
            two.gateway.get(path, "at_mallory").await.status(),
            401,
            "{path}"
        );
    }
    two.gateway.assert_nothing_passed();
}

#[tokio::test]
async fn clients_that_look_find_the_issuers_of_the_resource() {
    let two = two(", authorization_servers: ['https://as.example']").await;
    let found = two
        .gateway
        .fixture
        .raw("GET /.well-known/oauth-protected-resource HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .await;
    let document: Value = serde_json::from_str(found.body()).unwrap();
    let mut servers: Vec<_> = document["authorization_servers"]
        .as_array()
        .unwrap()
        .clone();
    servers.sort_by_key(ToString::to_string);
    assert_eq!(
        Value::Array(servers),
        json!([
            "https://as.example",
            "https://corp.example",
            "https://other.example"
        ])
    );
    let refused = two.gateway.get("/corp/1", "at_alice").await;
    let metadata = "resource_metadata=\"https://a/.well-known/oauth-protected-resource\"";
    assert!(
        challenge(&refused).contains(metadata),
        "{}",
        challenge(&refused)
    );
}

#[tokio::test]
async fn routes_that_do_not_say_take_the_tokens_of_the_default() {
    let two = two(", default_issuers: [corp]").await;
    let token = two.corp.token(&corp(&[]));
    assert_eq!(two.gateway.get("/records/1", &token).await.status(), 200);
    assert_eq!(
        two.gateway.get("/records/1", "at_alice").await.status(),
        401
    );
    assert_eq!(two.gateway.fixture.tokens.count(), 0);
}

#[tokio::test]
async fn the_access_log_says_whose_token_it_was_and_nothing_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("access.jsonl");
    let two = two(&format!(", access_log: {{ file: '{}' }}", file.display())).await;
    let token = two.corp.token(&corp(&[]));
    two.gateway.get("/corp/1", &token).await;
    let fixture = two.gateway.fixture;
    assert!(fixture.gateway.finish(crate::fixture::PATIENCE).await);
    let text = std::fs::read_to_string(&file).unwrap();
    let line: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert_eq!(line["issuer"], "corp");
    assert_eq!(line["subject"], "corp:alice");
    for part in token.split('.') {
        assert!(!text.contains(part), "{text}");
    }
}
