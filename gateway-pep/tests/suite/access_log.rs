//! What is written down about a request, and what is not.

use serde_json::{Value, json};

use crate::fixture::{PATIENCE, Setup};

#[tokio::test]
async fn a_line_tells_what_happened_and_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("access.jsonl");
    let gateway = format!(
        "{{ workers: 1, access_log: {{ file: '{}' }} }}",
        file.display()
    );
    let setup = Setup {
        gateway,
        ..Setup::new().await
    };
    setup
        .pdp
        .oblige(json!([{ "id": "must-log", "type": "log" }]));
    let fixture = setup.start().await;
    for path in [
        "/records/1?secret=s3cret",
        "/records/1",
        "/nowhere%22?token=s3cret",
    ] {
        fixture.get(path, "at_alice").await;
    }
    fixture
        .raw("GET /a/../b?s3cret HTTP/1.1\r\nHost: a\r\n\r\n")
        .await;
    assert!(fixture.gateway.finish(PATIENCE).await);
    let text = std::fs::read_to_string(&file).unwrap();
    for secret in ["at_alice", "jwt.", "s3cret"] {
        assert!(!text.contains(secret), "{text}");
    }
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let [first, second, third, fourth] = &lines[..] else {
        panic!("{text}");
    };
    check_members(first);
    assert_eq!(
        first["request_id"],
        fixture.upstream.seen()[0].headers["x-request-id"]
            .to_str()
            .unwrap()
    );
    assert_eq!(
        (&second["token_source"], &second["decision_source"]),
        (&json!("l1"), &json!("l1"))
    );
    assert_eq!(
        (&third["path"], &third["error"]),
        (&json!("/nowhere%22"), &json!("not_found"))
    );
    assert_eq!(
        (&fourth["error"], &fourth["status"]),
        (&json!("ambiguous"), &json!(400))
    );
    assert!(fourth.get("path").is_none());
}

/// What a line says when all went well.
fn check_members(line: &Value) {
    for (member, expected) in [
        ("method", json!("GET")),
        ("host", json!("gw.test")),
        ("path", json!("/records/1")),
        ("route", json!("/records/{id}")),
        ("status", json!(200)),
        ("subject", json!("alice")),
        ("client_id", json!("web")),
        ("client_ip", json!("127.0.0.1")),
        ("decision", json!("permit")),
        ("decision_id", json!("decision-1")),
        ("decision_source", json!("remote")),
        ("token_source", json!("remote")),
        ("obligations", json!("must-log")),
        ("upstream", json!("a")),
        ("bytes_out", json!(41)),
    ] {
        assert_eq!(line[member], expected, "{member} of {line}");
    }
}
