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

/// Starts a gateway, sends it requests, and says what is in its log then.
async fn logged(lines: &str, more: &str, requests: &[String]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("access.log");
    let gateway = format!(
        "{{ workers: 1, access_log: {{ file: '{}' }}, access_log_lines: {lines}, {more} }}",
        file.display()
    );
    let setup = Setup {
        gateway,
        ..Setup::new().await
    };
    let fixture = setup.start().await;
    for request in requests {
        fixture
            .raw(&format!("{request}Connection: close\r\n\r\n"))
            .await;
    }
    assert!(fixture.gateway.finish(PATIENCE).await);
    std::fs::read_to_string(&file).unwrap()
}

fn request(line: &str, fields: &[&str]) -> String {
    let head = format!("{line} HTTP/1.1\r\nHost: gw.test\r\n");
    fields
        .iter()
        .fold(head, |head, field| head + field + "\r\n")
}

#[tokio::test]
async fn a_combined_line_is_what_others_read() {
    let asked = [
        request(
            "GET /records/1?page=2&q=s3cret",
            &[
                "Authorization: Bearer at_alice",
                "Referer: https://u:s3cret@site.test/a?code=s3cret",
                "User-Agent: curl/8 \"x\" \\",
            ],
        ),
        request("GET /records/1", &[]),
        request("GET /a/../b?s3cret", &["User-Agent: \t\u{e9}"]),
        request("M\"x /records/1", &[]),
    ];
    let text = logged("{ format: combined, query: [page] }", "", &asked).await;
    let lines: Vec<&str> = text.lines().collect();
    let [first, second, third, ..] = &lines[..] else {
        panic!("{text}");
    };
    let (head, tail) = first.split_once(" [").unwrap();
    let (time, tail) = tail.split_once("] ").unwrap();
    assert_eq!(head, "127.0.0.1 - alice");
    let parts: Vec<_> = time.split(['/', ' ']).map(str::len).collect();
    assert_eq!(
        (parts, time.ends_with(" +0000")),
        (vec![2, 3, 13, 5], true),
        "{time}"
    );
    assert_eq!(
        tail,
        r#""GET /records/1?page=2&q=*** HTTP/1.1" 200 41 "https://site.test/a" "curl/8 \x22x\x22 \x5C""#
    );
    assert!(second.starts_with("127.0.0.1 - - ["), "{second}");
    assert!(
        second.contains(r#""GET /records/1 HTTP/1.1" 401 "#),
        "{second}"
    );
    assert!(second.ends_with(r#" "-" "-""#), "{second}");
    // It was not understood: its own words are not believed.
    assert!(third.contains(r#"] "-" 400 "#), "{third}");
    assert!(!text.contains("s3cret") && text.is_ascii(), "{text}");
    for line in lines {
        assert_eq!(line.matches('"').count(), 6, "{line}");
    }
}

#[tokio::test]
async fn what_is_named_is_logged_and_the_rest_is_masked() {
    let asked = [
        request(
            "GET /records/s3cret?page=2&q=s3cret&b",
            &[
                "Authorization: Bearer at_alice",
                "Referer: https://site.test/a?code=s3cret",
                "X-Tenant: t\"1",
            ],
        ),
        request("GET /public/a/s3cret", &[]),
    ];
    let lines = "{ query: [page], headers: [Referer, X-Tenant, X-None], masked_path_parameters: [id, rest], \
                 client_address: network }";
    let text = logged(lines, "", &asked).await;
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let first = &lines[0];
    assert_eq!(first["path"], "/records/***");
    assert_eq!(first["query"], "page=2&q=***&***");
    assert_eq!(
        first["headers"],
        json!({ "referer": "https://site.test/a", "x-tenant": "t\"1" })
    );
    assert_eq!(first["client_ip"], "127.0.0.0");
    assert_eq!(lines[1]["path"], "/public/***");
    assert!(lines[1].get("headers").is_none() && lines[1].get("query").is_none());
    assert!(!text.contains("s3cret"), "{text}");
}

/// Requests with a credential, in every place for one and in some that are none.
fn places(credential: &str) -> Vec<String> {
    vec![
        request(
            "GET /records/1",
            &[&format!("Authorization: Bearer {credential}")],
        ),
        request(
            "GET /records/1",
            &[
                &format!("Authorization: DPoP {credential}"),
                &format!("DPoP: {credential}"),
            ],
        ),
        request(
            "GET /records/1",
            &[&format!("Authorization: Basic {credential}")],
        ),
        request("GET /records/1", &[&format!("Authorization: {credential}")]),
        request(
            "GET /records/1",
            &[&format!("Proxy-Authorization: Bearer {credential}")],
        ),
        request("GET /records/1", &[&format!("X-API-Key: {credential}")]),
        request(
            "GET /public/1",
            &[&format!("Cookie: session={credential}; {credential}")],
        ),
        request(
            "GET /public/1",
            &[&format!(
                "Referer: https://u:{credential}@site.test/?access_token={credential}"
            )],
        ),
        request(
            &format!("GET /records/1?access_token={credential}&page=1"),
            &[],
        ),
        request(&format!("GET /records/1?{credential}"), &[]),
        request(
            &format!("GET /public/1?api_key={credential}#{credential}"),
            &[],
        ),
        request(&format!("GET http://u:{credential}@gw.test/public/1"), &[]),
        request(&format!("GET /records/{credential}"), &[]),
        request(&format!("GET /public/a/{credential}/b"), &[]),
    ]
}

#[tokio::test]
async fn no_credential_of_any_kind_in_any_place_is_logged() {
    let jwt = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJTM0NSRVQifQ.U0VDUkVU";
    let asked: Vec<String> = ["at_alice", "at_S3CRET", "ak_S3CRET", jwt, "dTpTM0NSRVQ="]
        .iter()
        .flat_map(|credential| places(credential))
        .collect();
    for format in ["json, headers: [Referer]", "combined"] {
        let lines =
            format!("{{ format: {format}, query: [page], masked_path_parameters: [id, rest] }}");
        let text = logged(&lines, "api_key_header: X-API-Key", &asked).await;
        assert_eq!(text.lines().count(), asked.len(), "{text}");
        for secret in ["at_alice", "S3CRET", "eyJ", "dTpTM0NSRVQ", "U0VDUkVU"] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
    }
}
