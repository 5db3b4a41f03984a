//! A proof is good once, wherever and however often it is sent at once.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::future::join_all;
use serde_json::json;
use service_kit::{ManualClock, UnixTime};
use store::{MemoryStore, Store};

use super::{GATEWAY, NOW, URL, assert_refused, carol, gateway, one_of_several};
use crate::cut_store::CutStore;
use crate::fixture::Setup;
use crate::holder::Holder;

#[tokio::test]
async fn of_fifty_at_once_at_two_gateways_one_passes() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let clock = ManualClock::at(UnixTime::from_secs(NOW));
    let one = one_of_several(&store, &clock).await;
    let two = one_of_several(&store, &clock).await;
    let holder = Holder::known_to(&[&one, &two]);
    let proof = holder.proof(URL, NOW, &[]);
    let sent = (0..50).map(|n| carol(if n % 2 == 0 { &one } else { &two }, &proof));
    let answers = join_all(sent).await;
    let passed = answers.iter().filter(|answer| answer.status() == 200);
    assert_eq!(passed.count(), 1);
    for lost in answers.iter().filter(|answer| answer.status() != 200) {
        assert_refused(lost, "invalid_dpop_proof");
    }
    let seen = one.upstream.seen().len() + two.upstream.seen().len();
    assert_eq!(seen, 1);
}

#[tokio::test]
async fn a_used_proof_is_refused_until_it_is_too_old_for_every_clock() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let at = |now| ManualClock::at(UnixTime::from_secs(now));
    let one = one_of_several(&store, &at(NOW)).await;
    // Its clock is behind, so that by it the proof is good for longer.
    let slow = one_of_several(&store, &at(NOW - 50)).await;
    let holder = Holder::known_to(&[&one, &slow]);
    let old = holder.proof(URL, NOW - 60, &[]);
    assert_eq!(carol(&one, &old).await.status(), 200, "in its last second");
    tokio::time::sleep(std::time::Duration::from_millis(1200)).await;
    assert_refused(&carol(&slow, &old).await, "invalid_dpop_proof");
    let entries = store.scan("gateway-proof:", None, 9).await.unwrap().entries;
    assert_eq!(entries.len(), 1);
    let kept = format!("{entries:?}");
    assert!(!kept.contains("at_carol") && kept.len() < 200, "{kept}");
}

#[tokio::test]
async fn a_proof_of_the_future_is_good_once_for_as_long_as_it_is_good() {
    let (gateway, clock) = gateway(GATEWAY).await;
    let holder = Holder::known_to(&[&gateway]);
    let proof = holder.proof(URL, NOW + 60, &[]);
    assert_eq!(carol(&gateway, &proof).await.status(), 200);
    for _ in 0..5 {
        clock.advance(std::time::Duration::from_secs(30));
        assert_refused(&carol(&gateway, &proof).await, "invalid_dpop_proof");
    }
}

#[tokio::test]
async fn the_name_of_a_proof_is_its_keys_own() {
    let (gateway, _) = gateway(GATEWAY).await;
    let (holder, other) = (Holder::known_to(&[&gateway]), Holder::new());
    gateway
        .tokens
        .issue_bound("dave", 4_000_000_000, Some(other.confirmation()));
    let named = json!("the same");
    // Who has another key can use up nothing of carol's, with her token or their own.
    let stolen = other.proof(URL, NOW, &[("jti", named.clone())]);
    assert_refused(&carol(&gateway, &stolen).await, "invalid_token");
    let own = json!(service_kit::digest::sha256_base64url(b"at_dave"));
    let own = other.proof(URL, NOW, &[("jti", named.clone()), ("ath", own)]);
    let request = super::request("/records/1", "DPoP", "at_dave", &[&own]);
    assert_eq!(gateway.raw(&request).await.status(), 200);
    let good = holder.proof(URL, NOW, &[("jti", named)]);
    assert_eq!(carol(&gateway, &good).await.status(), 200);
}

#[tokio::test]
async fn a_store_that_cannot_say_whether_a_proof_was_used_lets_nobody_pass() {
    let cut = Arc::new(CutStore::default());
    let setup = Setup {
        gateway: GATEWAY.replacen("workers", "timeouts: { ask_ms: 200 }, workers", 1),
        proofs: cut.clone(),
        clock: ManualClock::at(UnixTime::from_secs(NOW)),
        ..Setup::new().await
    };
    let gateway = setup.start().await;
    let holder = Holder::known_to(&[&gateway]);
    for fault in [&cut.fails, &cut.hangs] {
        fault.store(true, Ordering::SeqCst);
        let refused = carol(&gateway, &holder.proof(URL, NOW, &[])).await;
        assert_eq!(refused.status(), 503, "{refused:?}");
        assert_eq!(refused.header("retry-after"), Some("1"));
        fault.store(false, Ordering::SeqCst);
    }
    assert!(gateway.upstream.seen().is_empty());
    // Others need no such memory.
    cut.fails.store(true, Ordering::SeqCst);
    assert_eq!(gateway.get("/records/1", "at_alice").await.status(), 200);
    cut.fails.store(false, Ordering::SeqCst);
    let good = holder.proof(URL, NOW, &[]);
    assert_eq!(carol(&gateway, &good).await.status(), 200);
}
