//! What a record says, and what it must not.

use serde_json::{Value, json};
use service_kit::line_sink::LineTarget;

use crate::fixture::{Fixture, ask};

#[tokio::test]
async fn every_decision_is_one_masked_line() {
    let mut fixture = Fixture::new();
    fixture.config.decision_log = LineTarget::File("data/decisions.jsonl".into());
    fixture.config.decision_log_mask = vec!["name".into(), "zip".into()];
    let pdp = fixture.open();
    let question = json!({
        "subject": { "type": "user", "id": "ben", "properties": { "name": "s3cret", "age": 4, "address": { "city": "x", "zip": "s3cret" } } },
        "action": { "name": "GET /docs/{id}" },
        "resource": { "type": "urn:x:doc", "id": "d1" },
        "context": { "list": [{ "zip": "s3cret" }] },
    });
    let answer = ask(&pdp, &question).await.unwrap();
    let refused = json!({ "subject": { "type": "x", "id": "1" }, "action": { "name": "fly" }, "resource": { "type": "y", "id": "2" } });
    ask(&pdp, &refused).await.unwrap();
    drop(pdp);
    let text = std::fs::read_to_string(fixture.folder.path().join("data/decisions.jsonl")).unwrap();
    assert!(!text.contains("s3cret"), "{text}");
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0]["id"], json!(answer.context.id));
    assert_eq!(lines[0]["time"], "2023-11-14T22:13:20.000Z");
    assert_eq!(lines[0]["decision"], true);
    assert_eq!(lines[0]["policies"], json!(["owner-reads"]));
    assert_eq!(lines[0]["caller"], "in process");
    assert_eq!(lines[0]["snapshot"]["epoch"], 1);
    assert!(lines[0]["duration_us"].is_u64());
    assert_eq!(
        lines[0]["subject"],
        json!({ "type": "user", "id": "ben", "properties": { "name": "[masked]", "age": 4, "address": { "city": "x", "zip": "[masked]" } } })
    );
    assert_eq!(lines[1]["error"]["status"], 404);
}
