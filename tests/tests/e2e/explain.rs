//! `cedargate explain` against a whole site: who, which policies, and why not.

use std::io::Write as _;
use std::process::{Command, Stdio};

use e2e::Site;
use e2e::http::{client, send};
use e2e::process::cedargate;
use e2e::tokens;

/// What it prints, with a token that it reads.
fn explain(site: &Site, path: &str, token: &str, more: &[&str]) -> String {
    let url = format!("https://api.example{path}");
    let admin = format!("http://{}:9901", site.host);
    let mut child = Command::new(cedargate())
        .args(["explain", "GET", &url, "--as", "-", "--admin", &admin])
        .args(more)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts");
    let stdin = child.stdin.take();
    writeln!(stdin.expect("stdin"), "{token}").expect("written");
    let output = child.wait_with_output().expect("ends");
    assert!(output.status.success());
    String::from_utf8(output.stdout).expect("text")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_explained_step_by_step() {
    let site = Site::all_in_one();
    let alice = tokens::access_token(&site, "alice").await;
    let own = explain(&site, "/records/1001", &alice, &[]);
    for part in [
        "/records/{id}",
        "User alice",
        "view_record on Record 1001",
        "by policy",
        "forwarded to",
    ] {
        assert!(own.contains(part), "{own}");
    }
    assert!(!own.contains(&alice));
    let found: serde_json::Value =
        serde_json::from_str(&explain(&site, "/records/1002", &alice, &["--json"])).expect("JSON");
    assert_eq!(found["decision"]["decision"], false, "{found}");
    assert_eq!(found["outcome"]["status"], 403);
    tokens::revoke(&site, &alice).await;
    let dead = explain(&site, "/records/1001", &alice, &[]);
    assert!(dead.contains("401 invalid_token"), "{dead}");

    // A body that is none is refused in words that repeat nothing of it.
    let url = format!("http://{}:9901/explain", site.host);
    let body =
        format!("{{\"method\":\"GET\",\"url\":\"https://x/\",\"token\":\"{alice}\",\"x\":1}}");
    let post = |kind: &str| {
        client()
            .post(&url)
            .header("content-type", kind)
            .body(body.clone())
    };
    let refused = send(post("application/json")).await;
    assert_eq!(refused.status, 400);
    // Nor does a page of the web get anything.
    assert_eq!(send(post("text/plain")).await.status, 415);
    let page = post("application/json").header("origin", "http://evil.example");
    assert_eq!(send(page).await.status, 403);
    assert!(!refused.body.contains(&alice), "{}", refused.body);
}
