//! What is purged is asked for again, by every gateway, and nothing else is.

use std::sync::Arc;

use gateway_pep::PurgeRequest;
use serde_json::json;
use service_kit::Secret;
use store::{MemoryStore, Store};
use tokio::sync::Semaphore;

use crate::fixture::{Fixture, Setup, eventually};

async fn two() -> (Fixture, Fixture) {
    let events: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let setup = async || Setup {
        gateway: "{ workers: 2, access_log: 'off' }".into(),
        events: events.clone(),
        ..Setup::new().await
    };
    (setup().await.start().await, setup().await.start().await)
}

async fn fill(fixture: &Fixture) {
    // Two workers, of which each remembers for itself.
    for _ in 0..20 {
        for path in ["/records/1", "/admin/x"] {
            for token in ["at_alice", "at_bob"] {
                fixture.get(path, token).await;
            }
        }
    }
}

/// How many are asked about after a purge: tokens, and decisions about alice and bob, on either route.
async fn asked_after(request: PurgeRequest, least: (usize, usize)) {
    let (one, other) = two().await;
    for fixture in [&one, &other] {
        fill(fixture).await;
    }
    let heard = |fixture: &Fixture| fixture.metric("pep_events_total");
    let before = (heard(&one), heard(&other));
    one.gateway.caches().purge(request).await.unwrap();
    eventually("both have heard it", || {
        heard(&one) > before.0 && heard(&other) > before.1
    })
    .await;
    for fixture in [&one, &other] {
        let before = (fixture.tokens.count(), fixture.pdp.count());
        fill(fixture).await;
        let asked = (
            fixture.tokens.count() - before.0,
            fixture.pdp.count() - before.1,
        );
        let most = (least.0 * 2, least.1 * 2);
        assert!(
            asked.0 >= least.0 && asked.1 >= least.1 && asked.0 <= most.0 && asked.1 <= most.1,
            "{asked:?} {least:?}"
        );
    }
}

#[tokio::test]
async fn a_subject_is_asked_about_again_and_nobody_else() {
    asked_after(PurgeRequest::Subject("alice".into()), (1, 2)).await;
}

#[tokio::test]
async fn a_client_is_asked_about_again_with_all_its_subjects() {
    asked_after(PurgeRequest::Client("web".into()), (2, 4)).await;
}

#[tokio::test]
async fn a_route_is_asked_about_again_and_no_token() {
    asked_after(PurgeRequest::Route("/records/{id}".into()), (0, 2)).await;
}

#[tokio::test]
async fn a_token_is_asked_about_again_and_is_written_nowhere() {
    asked_after(PurgeRequest::Token(Secret::new("at_alice")), (1, 0)).await;
    let (one, _) = two().await;
    let tail = one.events.tail(crate::fixture::LOG).await.unwrap();
    let token = PurgeRequest::Token(Secret::new("at_alice"));
    assert!(!format!("{token:?}").contains("at_alice"));
    one.gateway.caches().purge(token).await.unwrap();
    let wait = std::time::Duration::ZERO;
    let page = one
        .events
        .follow(crate::fixture::LOG, &tail, wait)
        .await
        .unwrap();
    let text = format!("{page:?}");
    assert!(
        text.contains("cache_purged") && !text.contains("at_alice"),
        "{text}"
    );
}

#[tokio::test]
async fn everything_is_asked_about_again_and_the_state_says_what_there_was() {
    asked_after(PurgeRequest::Everything(true), (2, 4)).await;
    let fixture = Fixture::start().await;
    for _ in 0..3 {
        fixture.get("/records/1", "at_alice").await;
    }
    let caches = fixture.gateway.caches();
    eventually("the entries are counted", || {
        caches.state().decisions.entries == 1
    })
    .await;
    let state = serde_json::to_value(caches.state()).unwrap();
    assert_eq!(
        state["decisions"],
        json!({ "entries": 1, "capacity": 100_000, "l1": 2, "l2": 0, "remote": 1, "stale": 0 })
    );
    assert_eq!(state["tokens"]["l1"], 2);
    for wrong in [
        PurgeRequest::Route("/nowhere".into()),
        PurgeRequest::Everything(false),
    ] {
        assert!(caches.purge(wrong).await.is_err());
    }
}

#[test]
fn a_request_names_one_thing() {
    for good in [
        json!({ "subject": "alice" }),
        json!({ "client": "web" }),
        json!({ "token": "at_alice" }),
        json!({ "route": "/records/{id}" }),
        json!({ "everything": true }),
    ] {
        assert!(serde_json::from_value::<PurgeRequest>(good).is_ok());
    }
    for wrong in [
        json!({}),
        json!("everything"),
        json!({ "subject": "a", "client": "b" }),
        json!({ "policy": "x" }),
        json!({ "token": 1 }),
    ] {
        assert!(
            serde_json::from_value::<PurgeRequest>(wrong.clone()).is_err(),
            "{wrong}"
        );
    }
}

#[tokio::test]
async fn who_asks_after_a_purge_gets_no_answer_from_before_it() {
    let fixture = Fixture::start().await;
    let gate = Arc::new(Semaphore::new(0));
    *fixture.tokens.gate.lock().unwrap() = Some(gate.clone());
    let first = fixture.get("/records/1", "at_alice");
    let second = async {
        eventually("the first is being asked about", || {
            fixture.tokens.count() == 1
        })
        .await;
        let heard = || fixture.metric("pep_events_total");
        let before = heard();
        let purge = PurgeRequest::Subject("alice".into());
        fixture.gateway.caches().purge(purge).await.unwrap();
        eventually("the purge was heard", || heard() > before).await;
        let answer = fixture.get("/records/1", "at_alice");
        let release = async {
            eventually("the second is asked about anew", || {
                fixture.tokens.count() == 2
            })
            .await;
            gate.add_permits(10);
        };
        tokio::join!(answer, release).0
    };
    let (first, second) = tokio::join!(first, second);
    assert_eq!((first.status(), second.status()), (200, 200));
    assert!(
        fixture.tokens.count() >= 2,
        "the second was asked about anew"
    );
}
