//! Rotation: no gap, no race, nothing readable at rest.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use service_kit::UnixTime;
use store::{MemoryStore, Store};

use super::{JWKS_MAX_AGE, KEY, KeyPlan, Keys};
use crate::config::SigningAlgorithm::{self, EdDsa, Es256, Ps256, Rs256};
use crate::jws::{self, Claims, Typ};
use crate::secrets::Secrets;

fn plan(algorithms: &[SigningAlgorithm]) -> KeyPlan {
    KeyPlan {
        algorithms: algorithms.iter().copied().collect(),
        rotate: Duration::from_hours(24),
        publish_ahead: Duration::from_mins(15),
        longest_token: Duration::from_mins(12),
    }
}

fn secrets() -> Secrets {
    Secrets::derive(&[3; 32]).unwrap()
}

fn kids(keys: &Keys) -> Vec<String> {
    let jwks = keys.jwks();
    let kids = jwks["keys"].as_array().unwrap().iter();
    kids.map(|key| key["kid"].as_str().unwrap().to_owned())
        .collect()
}

async fn open(store: &Arc<MemoryStore>, now: UnixTime) -> Keys {
    let plan = plan(&[Es256]);
    Keys::open(store.clone(), &secrets(), plan, now)
        .await
        .unwrap()
}

#[tokio::test]
async fn a_key_is_published_before_it_signs_and_stays_until_its_tokens_died() {
    let store = Arc::new(MemoryStore::new());
    let start = UnixTime::from_secs(1_800_000_000);
    let keys = open(&store, start).await;
    let mut published_since: Vec<(String, UnixTime)> = Vec::new();
    let mut last_signed: Vec<(String, UnixTime)> = Vec::new();
    // A week in steps of a minute, as the background task takes them.
    for minute in 0..7 * 24 * 60 {
        let now = start.plus(Duration::from_mins(minute));
        keys.turn(&secrets(), now).await.unwrap();
        let kids = kids(&keys);
        assert!(kids.len() <= 3);
        for kid in &kids {
            if !published_since.iter().any(|(known, _)| known == kid) {
                published_since.push((kid.clone(), now));
            }
        }
        let signing = keys.current(Es256, now).unwrap().kid().to_owned();
        let (_, since) = published_since
            .iter()
            .find(|(kid, _)| *kid == signing)
            .unwrap();
        let is_first = published_since[0].0 == signing;
        assert!(is_first || now.since(*since) >= JWKS_MAX_AGE * 2);
        last_signed.retain(|(kid, _)| *kid != signing);
        last_signed.push((signing, now));
        for (kid, at) in &last_signed {
            let is_alive = now.since(*at) < plan(&[Es256]).longest_token;
            assert!(
                !is_alive || kids.contains(kid),
                "a live token cannot be verified"
            );
        }
    }
    assert!(published_since.len() >= 7, "{}", published_since.len());
    assert!(kids(&keys).len() <= 2);
}

#[tokio::test]
async fn a_service_that_slept_through_a_rotation_still_publishes_first() {
    let store = Arc::new(MemoryStore::new());
    let start = UnixTime::from_secs(1_800_000_000);
    let before = open(&store, start).await;
    let late = start.plus(Duration::from_hours(24 * 30));
    let keys = open(&store, late).await;
    let old = before.current(Es256, start).unwrap().kid().to_owned();
    assert_eq!(keys.current(Es256, late).unwrap().kid(), old);
    assert_eq!(kids(&keys).len(), 2);
    let due = late.plus(plan(&[Es256]).publish_ahead);
    assert_ne!(keys.current(Es256, due).unwrap().kid(), old);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn replicas_that_start_at_once_agree_on_one_key() {
    let store = Arc::new(MemoryStore::new());
    let now = UnixTime::from_secs(1_800_000_000);
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let store = store.clone();
        tasks.spawn(async move { kids(&open(&store, now).await) });
    }
    let all = tasks.join_all().await;
    assert_eq!(all[0].len(), 1);
    assert!(all.iter().all(|kids| *kids == all[0]));
}

#[tokio::test]
async fn keys_are_sealed_and_a_changed_record_is_not_used() {
    let store = Arc::new(MemoryStore::new());
    let now = UnixTime::from_secs(1_800_000_000);
    let keys = open(&store, now).await;
    let key = keys.current(Es256, now).unwrap();
    let signature = key.sign(b"message").unwrap();
    let jwk = key.jwk();
    let mut point = vec![4];
    for name in ["x", "y"] {
        point.extend(URL_SAFE_NO_PAD.decode(jwk[name].as_str().unwrap()).unwrap());
    }
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
        .verify(b"message", signature.as_ref())
        .unwrap();

    let other = Secrets::derive(&[4; 32]).unwrap();
    assert!(
        Keys::open(store.clone(), &other, plan(&[Es256]), now)
            .await
            .is_err()
    );
    let bytes = store.get(KEY).await.unwrap().unwrap();
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    let at = text.find("sealed\":\"").unwrap() + 40;
    let mut changed = text.clone().into_bytes();
    changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
    store.put(KEY, changed.into(), None).await.unwrap();
    assert!(
        Keys::open(store, &secrets(), plan(&[Es256]), now)
            .await
            .is_err()
    );
}

#[tokio::test]
async fn every_algorithm_has_keys_of_its_own_that_verify_what_they_sign() {
    let store = Arc::new(MemoryStore::new());
    let now = UnixTime::from_secs(1_800_000_000);
    let all = plan(&SigningAlgorithm::ALL);
    let keys = Keys::open(store.clone(), &secrets(), all, now)
        .await
        .unwrap();
    assert_eq!(kids(&keys).len(), 4);
    let published = jose::KeySet::parse(keys.jwks().to_string().as_bytes()).unwrap();
    let accepted = jose::Accepted {
        types: &["jwt"],
        untyped: false,
    };
    for algorithm in SigningAlgorithm::ALL {
        let key = keys.current(algorithm, now).unwrap();
        let claims = Claims::from_iter([("n".to_owned(), algorithm.as_str().into())]);
        let token = jws::sign(&key, Typ::IdToken, &claims).unwrap();
        let read = jose::Unverified::read(&token, accepted).unwrap();
        assert_eq!(read.verify(&published).unwrap(), claims);
        let jwk = key.jwk().as_object().unwrap();
        for private in ["d", "p", "q", "dp", "dq", "qi"] {
            assert!(!jwk.contains_key(private));
        }
    }
    // Another process opens the same ones.
    let again = Keys::open(store, &secrets(), plan(&SigningAlgorithm::ALL), now)
        .await
        .unwrap();
    assert_eq!(again.jwks(), keys.jwks());
}

#[tokio::test]
async fn an_algorithm_that_is_wanted_later_gets_its_key_and_turns_by_itself() {
    let store = Arc::new(MemoryStore::new());
    let start = UnixTime::from_secs(1_800_000_000);
    let keys = open(&store, start).await;
    let first = keys.current(Es256, start).unwrap().kid().to_owned();
    assert!(keys.current(EdDsa, start).is_err());
    let later = start.plus(Duration::from_hours(12));
    keys.follow(plan(&[Es256, EdDsa]), &secrets(), later)
        .await
        .unwrap();
    let edwards = keys.current(EdDsa, later).unwrap().kid().to_owned();
    assert_eq!(keys.current(Es256, later).unwrap().kid(), first);
    // The older one is due first.
    let due = start.plus(Duration::from_hours(24));
    keys.turn(&secrets(), due).await.unwrap();
    let due = due.plus(Duration::from_mins(15));
    assert_ne!(keys.current(Es256, due).unwrap().kid(), first);
    assert_eq!(keys.current(EdDsa, due).unwrap().kid(), edwards);
    for algorithm in [Rs256, Ps256] {
        assert!(keys.current(algorithm, due).is_err());
    }
}

#[tokio::test]
async fn a_key_is_published_before_anything_is_signed_by_its_algorithm() {
    let store = Arc::new(MemoryStore::new());
    let start = UnixTime::from_secs(1_800_000_000);
    let keys = open(&store, start).await;
    assert_eq!(kids(&keys).len(), 1);
    // What a running service does in its first minutes.
    for minute in 1..4 {
        let now = start.plus(Duration::from_mins(minute));
        keys.turn_all(&secrets(), now).await.unwrap();
    }
    let published = kids(&keys);
    assert_eq!(published.len(), SigningAlgorithm::ALL.len());
    // Wanted later, also by a service that is started anew.
    let later = start.plus(Duration::from_hours(1));
    keys.follow(plan(&[Es256, EdDsa]), &secrets(), later)
        .await
        .unwrap();
    let restarted = Keys::open(store, &secrets(), plan(&[Rs256]), later)
        .await
        .unwrap();
    for (keys, algorithm) in [(&keys, EdDsa), (&restarted, Rs256)] {
        let kid = keys.current(algorithm, later).unwrap().kid().to_owned();
        assert!(published.contains(&kid));
    }
    // They turn as the others do, and leave nothing behind.
    for day in 1..4 {
        for minute in 0..30 {
            let now = start.plus(Duration::from_hours(24 * day) + Duration::from_mins(minute));
            keys.turn_all(&secrets(), now).await.unwrap();
        }
    }
    assert!(kids(&keys).iter().all(|kid| !published.contains(kid)));
    assert_eq!(kids(&keys).len(), SigningAlgorithm::ALL.len());
}

/// On one thread: what is made on it would hold up everybody.
#[tokio::test]
async fn others_are_answered_while_a_key_is_made() {
    let store = Arc::new(MemoryStore::new());
    let start = UnixTime::from_secs(1_800_000_000);
    let secrets = secrets();
    let making = Keys::open(store, &secrets, plan(&[Rs256, Ps256]), start);
    tokio::pin!(making);
    let mut turns = 0;
    let keys = loop {
        tokio::select! {
            biased;
            keys = &mut making => break keys.unwrap(),
            () = tokio::task::yield_now() => turns += 1,
        }
    };
    assert_eq!(kids(&keys).len(), 2);
    // Two keys made in place would let nobody in between.
    assert!(turns > 2, "{turns}");
}

#[tokio::test]
async fn the_ring_of_before_is_taken_over_and_left_alone() {
    let store = Arc::new(MemoryStore::new());
    let start = UnixTime::from_secs(1_800_000_000);
    let old = open(&store, start).await;
    let first = old.current(Es256, start).unwrap().kid().to_owned();
    // As a process of before would have left it.
    let bytes = store.take(KEY).await.unwrap().unwrap();
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    let before = text.replace(r#""algorithm":"ES256","#, "");
    assert_ne!(before, text);
    store
        .put(super::KEY_BEFORE, before.clone().into(), None)
        .await
        .unwrap();

    let both = plan(&[Es256, EdDsa]);
    let keys = Keys::open(store.clone(), &secrets(), both, start)
        .await
        .unwrap();
    assert_eq!(keys.current(Es256, start).unwrap().kid(), first);
    assert_eq!(kids(&keys).len(), 2);
    let left = store.get(super::KEY_BEFORE).await.unwrap().unwrap();
    assert_eq!(left, before.into_bytes());
}
