//! Where nonces are wanted, a proof repeats what a gateway has said a moment ago.

use std::time::Duration;

use serde_json::json;

use super::{NOW, URL, assert_refused, carol, gateway, gateway_with};
use crate::fixture::Answer;
use crate::holder::Holder;

const WANTING: &str =
    "dpop: { require_nonce: true, nonce_secret: 0123456789abcdef0123456789abcdef }";

fn nonce(answer: &Answer) -> String {
    answer.header("dpop-nonce").unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_proof_repeats_the_nonce_that_the_refusal_has_said() {
    let (gateway, clock) = gateway(&gateway_with(WANTING)).await;
    let holder = Holder::known_to(&[&gateway]);
    let with = |nonce: &str, at: u64| holder.proof(URL, at, &[("nonce", json!(nonce))]);
    let first = carol(&gateway, &holder.proof(URL, NOW, &[])).await;
    assert_refused(&first, "use_dpop_nonce");
    let said = nonce(&first);
    let good = carol(&gateway, &with(&said, NOW)).await;
    assert_eq!(good.status(), 200, "{good:?}");
    assert_eq!(nonce(&good), said, "the next one is said with the answer");
    for wrong in ["", "made up", said.split_at(1).1] {
        assert_refused(&carol(&gateway, &with(wrong, NOW)).await, "use_dpop_nonce");
    }
    clock.advance(Duration::from_mins(5));
    let old = carol(&gateway, &with(&said, NOW + 300)).await;
    assert_refused(&old, "use_dpop_nonce");
    assert_ne!(nonce(&old), said);
    let good = carol(&gateway, &with(&nonce(&old), NOW + 300)).await;
    assert_eq!(good.status(), 200);
    // Who sends no proof is told nothing of them.
    assert_eq!(nonce(&gateway.get("/records/1", "at_alice").await), "");
}

#[tokio::test]
async fn every_gateway_with_the_same_secret_knows_the_nonces_of_the_others() {
    let (one, _) = gateway(&gateway_with(WANTING)).await;
    let (two, _) = gateway(&gateway_with(WANTING)).await;
    let (other, _) = gateway(&gateway_with(&WANTING.replace("0123", "3210"))).await;
    let holder = Holder::known_to(&[&one, &two, &other]);
    let said = nonce(&carol(&one, &holder.proof(URL, NOW, &[])).await);
    let with = || holder.proof(URL, NOW, &[("nonce", json!(said))]);
    assert_eq!(carol(&two, &with()).await.status(), 200);
    assert_refused(&carol(&other, &with()).await, "use_dpop_nonce");
}

#[tokio::test]
async fn whoever_is_told_a_nonce_has_not_used_the_proof_up() {
    let (gateway, _) = gateway(&gateway_with(WANTING)).await;
    let holder = Holder::known_to(&[&gateway]);
    let jti = json!("one");
    let bare = holder.proof(URL, NOW, &[("jti", jti.clone())]);
    let said = nonce(&carol(&gateway, &bare).await);
    let again = holder.proof(URL, NOW, &[("jti", jti), ("nonce", json!(said))]);
    assert_eq!(carol(&gateway, &again).await.status(), 200);
}
