//! Lists of which the caller may see a part.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use crate::fixture::{Answer, Fixture, Setup, get};

async fn filtering(more: &Value) -> Fixture {
    let setup = Setup::new().await;
    let mut obligations = vec![json!({ "id": "f", "type": "filter", "properties": {
        "array": "/items", "type": "Item", "id": "/id", "action": "see" } })];
    obligations.extend(more.as_array().cloned().unwrap_or_default());
    setup.pdp.oblige(json!(obligations));
    setup.start().await
}

fn list(answer: &Answer) -> Value {
    assert_eq!(answer.status(), 200, "{answer:?}");
    serde_json::from_str(answer.body()).unwrap()
}

#[tokio::test]
async fn elements_that_are_not_permitted_never_leave_from_memory_neither() {
    let fixture = filtering(&json!([])).await;
    for _ in 0..2 {
        let answer = fixture.get("/records/list", "at_alice").await;
        assert_eq!(
            answer.body(),
            r#"{"total":4,"items":[{"id":"1","ssn":"s1"},{"id":3,"ssn":"s3"}]}"#
        );
        assert_eq!(answer.header("etag"), None);
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    }
    // The request's own question, and one for each element that says what it is: once.
    assert_eq!(fixture.pdp.count(), 4);
    assert_eq!(fixture.pdp.batches.load(Ordering::SeqCst), 1);
    let asked = fixture.pdp.last();
    assert_eq!(asked.action.name, "see");
    assert_eq!(
        (asked.resource.kind.as_str(), asked.resource.id.as_str()),
        ("Item", "3")
    );
    assert_eq!(asked.subject.id, "alice");
    assert_eq!(asked.context["path"], "/records/list");
    // Another caller is another question.
    fixture.get("/records/list", "at_bob").await;
    assert_eq!(fixture.pdp.count(), 8);
    // And what is voided is asked again.
    fixture
        .announce_and_wait(json!({ "kind": "policy_changed", "version": "2", "epoch": 2 }))
        .await;
    fixture.pdp.denies.store(true, Ordering::SeqCst);
    assert_eq!(fixture.get("/records/list", "at_alice").await.status(), 403);
}

#[tokio::test]
async fn what_an_element_is_permitted_on_is_kept_in_the_element_or_it_is_not_there() {
    let mask = json!([{ "id": "m", "type": "mask", "properties": { "fields": ["/ssn"] } }]);
    let fixture = filtering(&json!([])).await;
    *fixture.pdp.item_obligations.lock().unwrap() = serde_json::from_value(mask).unwrap();
    let answer = fixture.get("/records/list", "at_alice").await;
    assert_eq!(
        list(&answer)["items"],
        json!([{ "id": "1", "ssn": "***" }, { "id": 3, "ssn": "***" }])
    );
    for other in ["log", "sms"] {
        let fixture = filtering(&json!([])).await;
        let other = json!([{ "id": "o", "type": other }]);
        *fixture.pdp.item_obligations.lock().unwrap() = serde_json::from_value(other).unwrap();
        let answer = fixture.get("/records/list", "at_alice").await;
        assert_eq!(list(&answer)["items"], json!([]));
    }
}

#[tokio::test]
async fn a_count_is_masked_where_the_policy_says_so() {
    let mask = json!([{ "id": "m", "type": "mask", "properties": { "fields": ["/total"] } }]);
    let fixture = filtering(&mask).await;
    let answer = fixture.get("/records/list", "at_alice").await;
    assert_eq!(list(&answer)["total"], "***");
    assert_eq!(list(&answer)["items"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn what_cannot_be_filtered_is_withheld() {
    let fixture = filtering(&json!([])).await;
    for path in ["long-list", "no-list", "twice", "text", "broken-json", "1"] {
        let answer = fixture.get(&format!("/records/{path}"), "at_alice").await;
        assert_eq!(answer.status(), 502, "{path} {answer:?}");
        assert!(!answer.0.contains("ssn\":"), "{answer:?}");
    }
    assert_eq!(fixture.pdp.batches.load(Ordering::SeqCst), 0);
    // What says that something went wrong has no list.
    let missing = fixture.get("/records/missing", "at_alice").await;
    assert_eq!(missing.status(), 404);
    assert_eq!(list_of_nothing(&missing)["error"], true);
    // Nobody can say who may see the elements.
    fixture.pdp.down.store(true, Ordering::SeqCst);
    let answer = fixture.get("/records/list", "at_alice").await;
    assert_eq!(answer.status(), 503, "{answer:?}");
}

fn list_of_nothing(answer: &Answer) -> Value {
    serde_json::from_str(answer.body()).unwrap()
}

#[tokio::test]
async fn a_tunnel_has_no_elements() {
    let fixture = filtering(&json!([])).await;
    let upgrade = get("/ws", "at_alice").replace(
        "Connection: close",
        "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    );
    assert_eq!(fixture.raw(&upgrade).await.status(), 403);
}
