//! The sealed second level, between gateways that share a store.

use std::sync::Arc;

use bytes::Bytes;
use oauth::Confirmation;
use serde_json::json;
use store::{MemoryStore, Store};

use crate::fixture::{Fixture, Setup};

const SHARED: &str = "{ workers: 1, access_log: 'off', cache: { clock_skew_secs: 0, secret: 0123456789abcdef0123456789abcdef } }";

/// A gateway on a shared store, with services of its own.
async fn gateway(store: &Arc<dyn Store>, settings: &str) -> Fixture {
    let setup = Setup {
        gateway: settings.into(),
        events: store.clone(),
        shared: Some(store.clone()),
        ..Setup::new().await
    };
    setup.start().await
}

async fn entries(store: &Arc<dyn Store>) -> Vec<(String, Bytes)> {
    let mut all = Vec::new();
    for area in ["gateway-token:", "gateway-decision:"] {
        all.extend(store.scan(area, None, 100).await.unwrap().entries);
    }
    all
}

/// Sharing goes on after the answer.
async fn wait_for_entries(store: &Arc<dyn Store>, count: usize) {
    for _ in 0..500 {
        if entries(store).await.len() >= count {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    panic!("nothing was shared");
}

#[tokio::test]
async fn a_token_that_is_bound_to_a_key_is_no_bearer_token_wherever_it_is_remembered() {
    for confirmation in [
        Confirmation::DpopKey("thumbprint".into()),
        Confirmation::Certificate("thumbprint".into()),
    ] {
        is_no_bearer_token(&confirmation).await;
    }
}

async fn is_no_bearer_token(confirmation: &Confirmation) {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let (one, two) = (gateway(&store, SHARED).await, gateway(&store, SHARED).await);
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    let bound = Some(confirmation.clone());
    one.tokens.issue_bound("carol", 4_000_000_000, bound);
    // Asked, remembered here, remembered in the store.
    for (gateway, asked) in [(&one, 1), (&one, 1), (&two, 0)] {
        let refused = gateway.get("/records/1", "at_carol").await;
        assert_eq!(refused.status(), 401, "{refused:?}");
        let challenge = refused.header("www-authenticate").unwrap();
        assert!(challenge.contains("error=\"invalid_token\""), "{challenge}");
        assert_eq!(gateway.tokens.count(), asked);
        for _ in 0..500 {
            if !store
                .scan("gateway-token:", None, 9)
                .await
                .unwrap()
                .entries
                .is_empty()
            {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }
    let dpop = "GET /records/1 HTTP/1.1\r\nHost: gw.test\r\nAuthorization: DPoP at_carol\r\nConnection: close\r\n\r\n";
    assert_eq!(one.raw(dpop).await.status(), 401);
    assert!(one.upstream.seen().is_empty() && two.upstream.seen().is_empty());
}

#[tokio::test]
async fn what_one_gateway_asked_another_knows_and_a_third_that_came_later_does_not_trust() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let (one, two) = (gateway(&store, SHARED).await, gateway(&store, SHARED).await);
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    assert_eq!(one.get("/records/1", "at_alice").await.status(), 200);
    wait_for_entries(&store, 2).await;
    assert_eq!(two.get("/records/1", "at_alice").await.status(), 200);
    assert_eq!((two.tokens.count(), two.pdp.count()), (0, 0));
    assert_eq!(
        two.upstream.last().headers["authorization"],
        "Bearer jwt.alice.signature"
    );
    // It was not listening when the entries were made: a revocation may have passed unheard.
    let three = gateway(&store, SHARED).await;
    assert_eq!(three.get("/records/1", "at_alice").await.status(), 200);
    assert_eq!((three.tokens.count(), three.pdp.count()), (1, 1));
}

#[tokio::test]
async fn what_is_shared_tells_nothing_and_cannot_be_forged_or_moved() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let one = gateway(&store, SHARED).await;
    let two = gateway(&store, SHARED).await;
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    one.get("/records/1", "at_alice").await;
    one.get("/records/1", "at_bob").await;
    wait_for_entries(&store, 4).await;
    let all = entries(&store).await;
    for (key, value) in &all {
        let text = format!("{key} {}", String::from_utf8_lossy(value));
        for secret in ["at_alice", "alice", "jwt.", "permit", "Record"] {
            assert!(!text.contains(secret), "{text}");
        }
    }
    // Alice's entry under Bob's name, and a bit changed in every other.
    let tokens: Vec<_> = all
        .iter()
        .filter(|(key, _)| key.starts_with("gateway-token"))
        .collect();
    store
        .put(&tokens[0].0, tokens[1].1.clone(), None)
        .await
        .unwrap();
    store
        .put(&tokens[1].0, tokens[0].1.clone(), None)
        .await
        .unwrap();
    for (key, value) in all
        .iter()
        .filter(|(key, _)| key.starts_with("gateway-decision"))
    {
        let mut changed = value.to_vec();
        changed[20] ^= 1;
        store.put(key, changed.into(), None).await.unwrap();
    }
    for name in ["alice", "bob"] {
        assert_eq!(
            two.get("/records/1", &format!("at_{name}")).await.status(),
            200
        );
        let jwt = format!("Bearer jwt.{name}.signature");
        assert_eq!(two.upstream.last().headers["authorization"], jwt.as_str());
    }
    assert_eq!((two.tokens.count(), two.pdp.count()), (2, 2));
}

#[tokio::test]
async fn revocations_and_policy_changes_void_what_is_shared() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let (one, two) = (gateway(&store, SHARED).await, gateway(&store, SHARED).await);
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    one.get("/records/1", "at_alice").await;
    one.get("/records/1", "at_bob").await;
    wait_for_entries(&store, 4).await;
    two.tokens.forget("at_alice");
    two.announce_and_wait(json!({ "kind": "grant_revoked", "grant": "g_alice" }))
        .await;
    two.announce_and_wait(json!({ "kind": "policy_changed", "version": "2", "epoch": 2 }))
        .await;
    assert_eq!(two.get("/records/1", "at_alice").await.status(), 401);
    assert_eq!(two.get("/records/1", "at_bob").await.status(), 200);
    assert_eq!(
        (two.tokens.count(), two.pdp.count()),
        (2, 1),
        "what both tokens are swapped for is decided by policy, and was asked again"
    );
}

#[tokio::test]
async fn without_a_secret_nothing_is_shared() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let one = gateway(&store, "{ workers: 1, access_log: 'off' }").await;
    one.get("/records/1", "at_alice").await;
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    assert!(entries(&store).await.is_empty());
}
