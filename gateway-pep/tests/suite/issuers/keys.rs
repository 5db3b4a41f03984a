//! An issuer's keys: found, rotated without a lost request, and not asked for by whoever likes to.

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::json;

use super::foreign::Foreign;
use super::{Gateway, claims, fetched};
use crate::fixture::eventually;
use crate::holder::changed;
use crate::signer::Signer;

async fn gateway(foreign: &Foreign, more: &str) -> Gateway {
    Gateway::start(&fetched(foreign, &Signer::new("o1"), more)).await
}

#[tokio::test]
async fn keys_are_found_by_the_metadata_of_either_standard() {
    let signer = Signer::new("k1");
    for is_oauth_only in [false, true] {
        let foreign = Foreign::start(&[&signer]).await;
        foreign.is_oauth_only.store(is_oauth_only, Ordering::SeqCst);
        let gateway = gateway(&foreign, "").await;
        let token = signer.token(&claims(&foreign.issuer(), &[]));
        assert_eq!(gateway.get("/corp/1", &token).await.status(), 200);
        assert_eq!(foreign.key_reads(), 1);
        let metrics = gateway.fixture.metrics.render();
        let read = "pep_issuer_keys_read_total{issuer=\"corp\",result=\"ok\"} 1";
        assert!(metrics.contains(read), "{metrics}");
    }
}

#[tokio::test]
async fn keys_of_a_file_are_read_again_when_it_changes() {
    let (old, new) = (Signer::new("k1"), Signer::new("k2"));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.json");
    std::fs::write(&file, crate::signer::jwks(&[&old]).to_string()).unwrap();
    let gateway = Gateway::start(&format!(
        "{{ corp: {{ jwt: {{ issuer: 'https://corp.example', jwks_file: '{}' }} }}, \
            other: {{ jwt: {{ issuer: 'https://other.example', jwks: {} }} }} }}",
        file.display(),
        crate::signer::jwks(&[&Signer::new("o1")]),
    ))
    .await;
    let (old, signer) = (old.token(&super::corp(&[])), new.token(&super::corp(&[])));
    assert_eq!(gateway.get("/corp/1", &old).await.status(), 200);
    std::fs::write(&file, crate::signer::jwks(&[&new]).to_string()).unwrap();
    let count = || gateway.fixture.metric("pep_issuer_keys_read_total");
    let before = count();
    eventually("it is read", || count() > before + 1.0).await;
    assert_eq!(gateway.get("/corp/1", &signer).await.status(), 200);
    // Whoever took a key away wants its tokens gone, remembered or not.
    assert_eq!(gateway.get("/corp/1", &old).await.status(), 401);
}

#[tokio::test]
async fn a_new_key_loses_no_request_and_one_that_is_gone_is_not_remembered() {
    let (old, new) = (Signer::new("k1"), Signer::new("k2"));
    let foreign = Foreign::start(&[&old]).await;
    let gateway = gateway(&foreign, ", jwks_rest_secs: 1").await;
    let issuer = foreign.issuer();
    let old_token = old.token(&claims(&issuer, &[]));
    assert_eq!(gateway.get("/corp/1", &old_token).await.status(), 200);
    foreign.publish(&[&new]);
    tokio::time::sleep(Duration::from_millis(1050)).await;
    foreign.slowness.store(100, Ordering::SeqCst);
    // Many at once, with tokens of their own: one reading for all.
    let tokens: Vec<_> = (0..8)
        .map(|n| new.token(&claims(&issuer, &[("jti", json!(n.to_string()))])))
        .collect();
    let gets = tokens.iter().map(|token| gateway.get("/corp/1", token));
    for answer in futures_util::future::join_all(gets).await {
        assert_eq!(answer.status(), 200, "{answer:?}");
    }
    assert_eq!(foreign.key_reads(), 2);
    let gone = gateway.get("/corp/1", &old_token).await;
    assert_eq!(
        gone.status(),
        401,
        "its key is gone, though it was remembered"
    );
}

#[tokio::test]
async fn a_flood_of_unknown_keys_asks_the_issuer_once_and_holds_up_nobody() {
    let signer = Signer::new("k1");
    let foreign = Foreign::start(&[&signer]).await;
    let gateway = gateway(&foreign, ", jwks_rest_secs: 1").await;
    let issuer = foreign.issuer();
    let good = signer.token(&claims(&issuer, &[]));
    assert_eq!(gateway.get("/corp/1", &good).await.status(), 200);
    tokio::time::sleep(Duration::from_millis(1050)).await;
    foreign.slowness.store(300, Ordering::SeqCst);
    let stranger = Signer::new("k9");
    let forged: Vec<_> = (0..40)
        .map(|n| {
            let header = changed(stranger.header(), &[("kid", json!(format!("x{n}")))]);
            stranger.sign(&header.to_string(), &claims(&issuer, &[]).to_string())
        })
        .collect();
    let flood =
        futures_util::future::join_all(forged.iter().map(|token| gateway.get("/corp/1", token)));
    let others = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let begun = tokio::time::Instant::now();
        let fresh = signer.token(&claims(&issuer, &[("jti", json!("2"))]));
        for token in [&good, &fresh] {
            assert_eq!(gateway.get("/corp/1", token).await.status(), 200);
        }
        begun.elapsed()
    };
    let (flood, waited) = tokio::join!(flood, others);
    assert!(flood.iter().all(|answer| answer.status() == 401));
    assert!(waited < Duration::from_millis(200), "{waited:?}");
    for token in &forged {
        assert_eq!(gateway.get("/corp/1", token).await.status(), 401);
    }
    assert!(foreign.key_reads() <= 3, "{}", foreign.key_reads());
}

#[tokio::test]
async fn without_its_issuer_a_known_key_is_good_for_a_while_and_then_nobody_knows() {
    let (signer, new) = (Signer::new("k1"), Signer::new("k2"));
    let foreign = Foreign::start(&[&signer]).await;
    let pace = ", jwks_refresh_secs: 1, jwks_rest_secs: 1, jwks_keep_secs: 3";
    let gateway = gateway(&foreign, pace).await;
    let issuer = foreign.issuer();
    let token = signer.token(&claims(&issuer, &[]));
    assert_eq!(gateway.get("/corp/1", &token).await.status(), 200);
    foreign.is_down.store(true, Ordering::SeqCst);
    let is_stale = || {
        let parts = gateway.fixture.health.parts();
        matches!(
            parts.get("issuer corp"),
            Some(service_kit::Status::Stale { .. })
        )
    };
    eventually("health tells", is_stale).await;
    assert!(gateway.fixture.health.is_ready(), "it still works");
    assert_eq!(gateway.get("/corp/1", &token).await.status(), 200);
    // Whether it has such a key by now, the issuer alone could say.
    let unknown = gateway
        .get("/corp/1", &new.token(&claims(&issuer, &[])))
        .await;
    assert_eq!(unknown.status(), 503, "{unknown:?}");
    tokio::time::sleep(Duration::from_millis(3200)).await;
    let passed = gateway.fixture.upstream.seen().len();
    for token in [
        token.clone(),
        signer.token(&claims(&issuer, &[("jti", json!("2"))])),
    ] {
        let answer = gateway.get("/corp/1", &token).await;
        assert_eq!(answer.status(), 503, "{answer:?}");
        assert!(answer.body().contains("issuer-unavailable"), "{answer:?}");
        assert_eq!(answer.header("retry-after"), Some("1"));
    }
    assert_eq!(gateway.fixture.upstream.seen().len(), passed);
    foreign.is_down.store(false, Ordering::SeqCst);
    eventually("it is back", || !is_stale()).await;
    assert_eq!(gateway.get("/corp/1", &token).await.status(), 200);
}

#[tokio::test]
async fn what_is_no_key_set_or_too_long_leaves_the_last_one_in_force() {
    let signer = Signer::new("k1");
    let foreign = Foreign::start(&[&signer]).await;
    let gateway = gateway(&foreign, ", jwks_refresh_secs: 1, jwks_rest_secs: 1").await;
    let token = signer.token(&claims(&foreign.issuer(), &[]));
    assert_eq!(gateway.get("/corp/1", &token).await.status(), 200);
    let many: Vec<_> = (0..2000).map(|n| Signer::new(&n.to_string())).collect();
    foreign.publish(&many.iter().collect::<Vec<_>>());
    let reads = foreign.key_reads();
    eventually("it is read", || foreign.key_reads() > reads).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(gateway.get("/corp/1", &token).await.status(), 200);
}
