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

#[tokio::test]
async fn permits_are_sampled_and_denies_never() {
    let mut fixture = Fixture::new();
    fixture.config.decision_log = LineTarget::File("decisions.jsonl".into());
    fixture.config.decision_log_sample_permits = 0.25;
    let pdp = fixture.open();
    for n in 0..800 {
        let doc = if n % 2 == 0 { "d1" } else { "none" };
        let question = json!({ "subject": { "type": "user", "id": "ben" },
            "action": { "name": "GET /docs/{id}" }, "resource": { "type": "urn:x:doc", "id": doc } });
        ask(&pdp, &question).await.unwrap();
    }
    drop(pdp);
    let text = std::fs::read_to_string(fixture.folder.path().join("decisions.jsonl")).unwrap();
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let (permits, denies): (Vec<_>, Vec<_>) =
        lines.iter().partition(|line| line["decision"] == true);
    assert_eq!(denies.len(), 400);
    assert!((50..150).contains(&permits.len()), "{}", permits.len());
    assert!(lines.iter().all(|line| line["sample"] == 0.25));
    let metrics = fixture.metrics.render();
    let left_out = format!("pdp_decision_log_left_out_total {}", 400 - permits.len());
    assert!(metrics.contains(&left_out), "{metrics}");
}

#[test]
fn a_log_that_cannot_be_is_refused_at_start() {
    for change in [
        |config: &mut crate::PdpConfig| config.decision_log_sample_permits = 1.5,
        |config: &mut crate::PdpConfig| config.decision_log_sample_permits = f64::NAN,
        |config: &mut crate::PdpConfig| config.decision_log_mask = vec!["a..b".into()],
    ] {
        let mut fixture = Fixture::new();
        change(&mut fixture.config);
        let error = fixture.try_open().unwrap_err().to_string();
        assert!(error.contains("pdp.decision_log_"), "{error}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn nobody_else_may_read_who_did_what() {
    use std::os::unix::fs::PermissionsExt as _;
    let mut fixture = Fixture::new();
    fixture.config.decision_log = LineTarget::File("decisions.jsonl".into());
    let _pdp = fixture.open();
    let file = std::fs::metadata(fixture.folder.path().join("decisions.jsonl")).unwrap();
    assert_eq!(file.permissions().mode() & 0o777, 0o600);
}
