//! What is remembered, and when it is not.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::json;
use service_kit::{ManualClock, UnixTime};
use tokio::sync::Semaphore;

use crate::cut_store::CutStore;
use crate::fixture::{Fixture, Setup, eventually, get, raw};

#[tokio::test]
async fn the_second_request_asks_nobody() {
    let fixture = Fixture::start().await;
    for _ in 0..3 {
        assert_eq!(fixture.get("/records/1", "at_alice").await.status(), 200);
    }
    assert_eq!((fixture.tokens.count(), fixture.pdp.count()), (1, 1));
    // Another record, another caller, another method: other questions.
    fixture.get("/records/2", "at_alice").await;
    fixture.get("/records/1", "at_bob").await;
    fixture
        .raw(&get("/records/1", "at_alice").replacen("GET", "HEAD", 1))
        .await;
    assert_eq!((fixture.tokens.count(), fixture.pdp.count()), (2, 4));
}

#[tokio::test]
async fn what_a_decision_point_in_this_process_has_changed_is_asked_again() {
    let (decided_anew, changes) = tokio::sync::watch::channel(0);
    let setup = Setup {
        changes: Some(changes),
        ..Setup::new().await
    };
    let fixture = setup.start().await;
    let heard = fixture.metric("pep_events_total");
    for _ in 0..2 {
        assert_eq!(fixture.get("/records/1", "at_alice").await.status(), 200);
    }
    assert_eq!((fixture.tokens.count(), fixture.pdp.count()), (1, 1));
    fixture.pdp.denies.store(true, Ordering::SeqCst);
    decided_anew.send_modify(|count| *count += 1);
    let denied = async || fixture.get("/records/1", "at_alice").await.status() == 403;
    let mut asked = 0;
    while !denied().await {
        asked += 1;
        assert!(asked < 500, "what was decided is remembered");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(denied().await);
    // No event has told of it, and what tokens are worth holds.
    assert_eq!((fixture.tokens.count(), fixture.pdp.count()), (1, 2));
    assert!((fixture.metric("pep_events_total") - heard).abs() < 0.1);
}

/// An answer that can depend on these members of the context.
fn vary(context: &[&str]) -> serde_json::Value {
    json!({ "vary": { "subject": ["roles"], "action": [], "resource": [], "context": context } })
}

#[tokio::test]
async fn what_an_answer_does_not_depend_on_asks_nobody_again() {
    let fixture = Fixture::start().await;
    *fixture.pdp.cache.lock().unwrap() = vary(&[]);
    for method in ["GET", "GET", "HEAD"] {
        let request = get("/ws", "at_alice").replacen("GET", method, 1);
        assert_eq!(fixture.raw(&request).await.status(), 200);
        let elsewhere = request.replacen("Host: ", "Host: other.", 1);
        assert_ne!(request, elsewhere);
        assert_eq!(fixture.raw(&elsewhere).await.status(), 200);
    }
    assert_eq!(fixture.pdp.count(), 1);
    // Another caller, and another resource, are other questions.
    fixture.get("/ws", "at_bob").await;
    assert_eq!(fixture.pdp.count(), 2);
    fixture.get("/records/1", "at_alice").await;
    fixture.get("/records/1?q=2", "at_alice").await;
    assert_eq!(fixture.pdp.count(), 3);
    fixture.get("/records/2", "at_alice").await;
    fixture.get("/records/2", "at_bob").await;
    assert_eq!(fixture.pdp.count(), 5);
    fixture.get("/todos/1", "at_alice").await;
    fixture.get("/todos/2", "at_alice").await;
    assert_eq!(
        fixture.pdp.count(),
        7,
        "properties are made of the whole request"
    );
}

#[tokio::test]
async fn what_an_answer_depends_on_is_asked_again() {
    for (said, asked) in [
        (vary(&["method"]), 2),
        (vary(&["host"]), 2),
        (vary(&["method", "host"]), 4),
        (vary(&["path", "client_ip", "scheme", "unheard of"]), 1),
        // What is not understood is not remembered, and what says nothing is not narrowed.
        (json!({ "vary": { "context": [] } }), 8),
        (json!({ "max_age": 0 }), 8),
        (json!({}), 4),
        (json!(null), 4),
    ] {
        let fixture = Fixture::start().await;
        *fixture.pdp.cache.lock().unwrap() = said.clone();
        for _ in 0..2 {
            for method in ["GET", "HEAD"] {
                let request = get("/ws", "at_alice").replacen("GET", method, 1);
                fixture.raw(&request).await;
                let elsewhere = request.replacen("Host: ", "Host: other.", 1);
                fixture.raw(&elsewhere).await;
            }
        }
        assert_eq!(fixture.pdp.count(), asked, "{said}");
    }
}

#[tokio::test]
async fn an_answer_that_depends_on_more_than_the_last_is_not_shared() {
    let fixture = Fixture::start().await;
    *fixture.pdp.cache.lock().unwrap() = vary(&[]);
    fixture.get("/ws", "at_alice").await;
    fixture.get("/ws", "at_alice").await;
    assert_eq!(fixture.pdp.count(), 1);
    // The policies change, and with them what matters.
    let event = json!({ "kind": "policy_changed", "version": "2", "epoch": 2 });
    fixture.announce_and_wait(event).await;
    *fixture.pdp.cache.lock().unwrap() = vary(&["method"]);
    fixture.get("/ws", "at_alice").await;
    // Another answer that depends on less does not widen what the first was good for.
    *fixture.pdp.cache.lock().unwrap() = vary(&[]);
    fixture.get("/ws", "at_bob").await;
    fixture.pdp.denies.store(true, Ordering::SeqCst);
    let head = get("/ws", "at_alice").replacen("GET", "HEAD", 1);
    assert_eq!(fixture.raw(&head).await.status(), 403, "not GET's permit");
}

#[tokio::test]
async fn only_the_same_question_waits_for_the_same_answer() {
    let fixture = Fixture::start().await;
    *fixture.pdp.cache.lock().unwrap() = vary(&[]);
    fixture.get("/ws", "at_alice").await;
    let event = json!({ "kind": "policy_changed", "version": "2", "epoch": 2 });
    fixture.announce_and_wait(event).await;
    *fixture.pdp.delay.lock().unwrap() = Duration::from_millis(200);
    // The answer that is on its way may depend on what those before it did not depend on.
    let head = get("/ws", "at_alice").replacen("GET", "HEAD", 1);
    tokio::join!(fixture.get("/ws", "at_alice"), fixture.raw(&head));
    assert_eq!(fixture.pdp.count(), 3);
}

#[tokio::test]
async fn a_revoked_token_is_refused_at_once_and_others_are_not() {
    let fixture = Fixture::start().await;
    for (event, name) in [
        (
            json!({ "kind": "token_revoked", "token_ref": "ref_alice" }),
            "alice",
        ),
        (json!({ "kind": "grant_revoked", "grant": "g_bob" }), "bob"),
    ] {
        let token = format!("at_{name}");
        assert_eq!(fixture.get("/records/1", &token).await.status(), 200);
        fixture.tokens.forget(&token);
        assert_eq!(
            fixture.get("/records/1", &token).await.status(),
            200,
            "still remembered"
        );
        fixture.announce_and_wait(event).await;
        assert_eq!(fixture.get("/records/1", &token).await.status(), 401);
    }
    assert_eq!(fixture.tokens.count(), 4);
}

#[tokio::test]
async fn a_policy_change_voids_decisions_and_what_tokens_were_swapped_for() {
    let fixture = Fixture::start().await;
    assert_eq!(fixture.get("/records/1", "at_alice").await.status(), 200);
    fixture.pdp.denies.store(true, Ordering::SeqCst);
    assert_eq!(
        fixture.get("/records/1", "at_alice").await.status(),
        200,
        "still remembered"
    );
    let event = json!({ "kind": "policy_changed", "version": "2", "epoch": 2 });
    fixture.announce_and_wait(event).await;
    assert_eq!(fixture.get("/records/1", "at_alice").await.status(), 403);
    assert_eq!((fixture.tokens.count(), fixture.pdp.count()), (2, 2));
    // Nothing of hers is permitted any more.
    fixture.tokens.forget("at_alice");
    let event = json!({ "kind": "policy_changed", "version": "3", "epoch": 3 });
    fixture.announce_and_wait(event).await;
    assert_eq!(fixture.get("/records/1", "at_alice").await.status(), 401);
}

#[tokio::test]
async fn a_swap_from_before_a_policy_change_is_not_remembered_after_it() {
    let fixture = Fixture::start().await;
    let gate = Arc::new(Semaphore::new(0));
    *fixture.tokens.gate.lock().unwrap() = Some(gate.clone());
    let request = get("/records/1", "at_alice");
    let (addr, waiting) = (fixture.addr, request.clone());
    let waiting = tokio::task::spawn(async move { raw(addr, &waiting).await });
    eventually("it is being asked", || fixture.tokens.count() == 1).await;
    let event = json!({ "kind": "policy_changed", "version": "2", "epoch": 2 });
    fixture.announce_and_wait(event).await;
    // Another request makes the worker look at its news before the old answer arrives.
    fixture
        .raw("GET /public/ok HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .await;
    *fixture.tokens.gate.lock().unwrap() = None;
    gate.add_permits(1);
    assert_eq!(waiting.await.unwrap().status(), 200, "it was asked before");
    fixture.tokens.forget("at_alice");
    assert_eq!(fixture.raw(&request).await.status(), 401, "asked again");
}

#[tokio::test]
async fn an_event_that_nobody_knows_voids_everything() {
    let fixture = Fixture::start().await;
    fixture.get("/records/1", "at_alice").await;
    fixture
        .announce_and_wait(json!({ "kind": "something_new" }))
        .await;
    fixture.get("/records/1", "at_alice").await;
    assert_eq!((fixture.tokens.count(), fixture.pdp.count()), (2, 2));
}

#[tokio::test]
async fn an_answer_from_before_a_revocation_is_not_used_after_it() {
    let fixture = Fixture::start().await;
    let gate = Arc::new(Semaphore::new(0));
    *fixture.tokens.gate.lock().unwrap() = Some(gate.clone());
    let request = get("/records/1", "at_alice");
    let (addr, waiting) = (fixture.addr, request.clone());
    let waiting = tokio::task::spawn(async move { raw(addr, &waiting).await });
    eventually("it is being asked", || fixture.tokens.count() == 1).await;
    fixture.tokens.forget("at_alice");
    let event = json!({ "kind": "token_revoked", "token_ref": "ref_alice" });
    fixture.announce_and_wait(event).await;
    // Another request makes the worker look at its news before the old answer arrives.
    fixture
        .raw("GET /public/ok HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .await;
    *fixture.tokens.gate.lock().unwrap() = None;
    gate.add_permits(1);
    assert_eq!(waiting.await.unwrap().status(), 401);
    assert_eq!(fixture.raw(&request).await.status(), 401, "nor remembered");
}

#[tokio::test]
async fn many_waiters_are_one_question() {
    let fixture = Fixture::start().await;
    *fixture.pdp.delay.lock().unwrap() = Duration::from_millis(200);
    let requests = (0..20).map(|_| fixture.get("/records/1", "at_alice"));
    let answers = futures_util::future::join_all(requests).await;
    assert!(answers.iter().all(|answer| answer.status() == 200));
    assert_eq!((fixture.tokens.count(), fixture.pdp.count()), (1, 1));
}

#[tokio::test]
async fn a_token_is_not_used_past_its_end_nor_past_the_limit() {
    let clock = ManualClock::at(UnixTime::from_secs(1_000_000));
    let setup = Setup {
        clock: clock.clone(),
        ..Setup::new().await
    };
    setup.tokens.issue("carol", 1_000_010);
    let fixture = setup.start().await;
    assert_eq!(fixture.get("/records/1", "at_carol").await.status(), 200);
    clock.advance(Duration::from_secs(9));
    assert_eq!(fixture.get("/records/1", "at_carol").await.status(), 200);
    assert_eq!(fixture.tokens.count(), 1);
    clock.advance(Duration::from_secs(1));
    assert_eq!(fixture.get("/records/1", "at_carol").await.status(), 401);
    assert_eq!(fixture.get("/records/1", "at_alice").await.status(), 200);
    clock.advance(Duration::from_mins(6));
    let before = (fixture.tokens.count(), fixture.pdp.count());
    assert_eq!(fixture.get("/records/1", "at_alice").await.status(), 200);
    assert_eq!(
        (fixture.tokens.count(), fixture.pdp.count()),
        (before.0 + 1, before.1 + 1)
    );
}

#[tokio::test]
async fn when_nobody_can_be_asked_only_what_is_known_passes() {
    let fixture = Fixture::start().await;
    assert_eq!(fixture.get("/records/1", "at_alice").await.status(), 200);
    fixture.tokens.down.store(true, Ordering::SeqCst);
    fixture.pdp.down.store(true, Ordering::SeqCst);
    assert_eq!(fixture.get("/records/1", "at_alice").await.status(), 200);
    for (path, token) in [("/records/1", "at_bob"), ("/records/2", "at_alice")] {
        let answer = fixture.get(path, token).await;
        assert_eq!(answer.status(), 503);
        assert_eq!(answer.header("retry-after"), Some("1"));
    }
}

#[tokio::test]
async fn a_stale_decision_serves_only_where_the_route_says_so_and_is_marked() {
    let clock = ManualClock::at(UnixTime::from_secs(1_000_000));
    let setup = Setup {
        clock: clock.clone(),
        ..Setup::new().await
    };
    let fixture = setup.start().await;
    for path in ["/records/1", "/stale/1"] {
        assert_eq!(fixture.get(path, "at_alice").await.status(), 200);
    }
    fixture.pdp.down.store(true, Ordering::SeqCst);
    clock.advance(Duration::from_secs(59));
    assert_eq!(
        fixture.get("/records/1", "at_alice").await.status(),
        200,
        "not yet expired"
    );
    clock.advance(Duration::from_secs(1));
    assert_eq!(fixture.get("/records/1", "at_alice").await.status(), 503);
    assert_eq!(fixture.get("/stale/1", "at_alice").await.status(), 200);
    assert!(
        fixture
            .metrics
            .render()
            .contains("decision=\"permit\",http_route=\"/stale/{id}\",source=\"stale\"} 1")
    );
    clock.advance(Duration::from_secs(1));
    assert_eq!(
        fixture.get("/stale/1", "at_alice").await.status(),
        503,
        "too old"
    );
}

#[tokio::test]
async fn a_stale_decision_is_not_stretched_beyond_what_it_says_of_itself() {
    let clock = ManualClock::at(UnixTime::from_secs(1_000_000));
    let setup = Setup {
        clock: clock.clone(),
        ..Setup::new().await
    };
    let fixture = setup.start().await;
    *fixture.pdp.cache.lock().unwrap() = json!({ "max_age": 30 });
    assert_eq!(fixture.get("/stale/1", "at_alice").await.status(), 200);
    fixture.pdp.down.store(true, Ordering::SeqCst);
    clock.advance(Duration::from_secs(29));
    assert_eq!(fixture.get("/stale/1", "at_alice").await.status(), 200);
    clock.advance(Duration::from_secs(2));
    // The route would take it for a minute.
    assert_eq!(fixture.get("/stale/1", "at_alice").await.status(), 503);
}

#[tokio::test]
async fn keys_do_not_come_and_go_with_what_each_answer_depends_on() {
    let fixture = Fixture::start().await;
    let ask = async |path: &str, depends_on: &[&str]| {
        *fixture.pdp.cache.lock().unwrap() = vary(depends_on);
        fixture.raw(&get(path, "at_alice")).await;
    };
    // Two answers of one route, one of which depends on the method, too.
    ask("/records/1", &[]).await;
    ask("/records/2", &["method"]).await;
    let asked = fixture.pdp.count();
    ask("/records/2", &["method"]).await;
    ask("/records/1", &[]).await;
    let again = fixture.pdp.count();
    for _ in 0..3 {
        ask("/records/1", &[]).await;
        ask("/records/2", &["method"]).await;
    }
    assert_eq!(
        fixture.pdp.count(),
        again,
        "every answer is remembered by now"
    );
    assert!(again - asked <= 2, "{asked} {again}");
}

#[tokio::test]
async fn caches_are_bypassed_when_the_event_log_is_not_heard_and_nothing_was_missed_after() {
    let cut = Arc::new(CutStore::default());
    let setup = Setup {
        events: cut.clone(),
        gateway: "{ workers: 1, access_log: 'off', cache: { max_event_lag_ms: 800 } }".into(),
        ..Setup::new().await
    };
    let fixture = setup.start().await;
    fixture.get("/records/1", "at_alice").await;
    cut.is_mute.store(true, Ordering::SeqCst);
    fixture.get("/records/1", "at_alice").await;
    assert_eq!(fixture.tokens.count(), 1, "within the bound");
    tokio::time::sleep(Duration::from_millis(1500)).await;
    fixture.tokens.forget("at_alice");
    fixture
        .announce(json!({ "kind": "token_revoked", "token_ref": "ref_alice" }))
        .await;
    assert_eq!(
        fixture.get("/records/1", "at_alice").await.status(),
        401,
        "asked"
    );
    fixture.tokens.down.store(true, Ordering::SeqCst);
    assert_eq!(fixture.get("/records/1", "at_bob").await.status(), 503);
    let stale = service_kit::Status::Stale {
        reason: "the event log is not heard; caches are bypassed".into(),
    };
    assert_eq!(fixture.health.parts()["events"], stale);
    cut.is_mute.store(false, Ordering::SeqCst);
    eventually("it is heard again", || {
        fixture.metric("pep_events_total") > 0.0
    })
    .await;
    assert_ne!(fixture.get("/records/1", "at_alice").await.status(), 200);
}
