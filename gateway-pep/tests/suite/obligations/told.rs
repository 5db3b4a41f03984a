//! Conditions on who calls and how often, and what others are told: logins, rates, headers, notifications.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::cut_store::CutStore;
use crate::fixture::{Fixture, PATIENCE, Setup, eventually, get};

async fn obliged(gateway: &str, obligations: Value) -> Fixture {
    let setup = Setup {
        gateway: gateway.into(),
        ..Setup::new().await
    };
    setup.pdp.oblige(obligations);
    setup.start().await
}

const QUIET: &str = "{ workers: 1, access_log: 'off' }";

fn one(kind: &str, properties: &Value) -> Value {
    json!([{ "id": "o", "type": kind, "properties": properties }])
}

#[tokio::test]
async fn a_decision_asks_for_a_login_and_a_remembered_one_lets_it_grow_old() {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let login = json!({ "acr_values": ["phr", "phrh"], "max_age": 60 });
    let fixture = obliged(QUIET, one("step_up", &login)).await;
    for (acr, at, status) in [
        (None, None, 401),
        (Some("pwd"), Some(now), 401),
        (Some("phr"), Some(now - 100), 401),
        (Some("phrh"), Some(now - 5), 200),
    ] {
        fixture.tokens.log_in("alice", acr, at);
        let changed = json!({ "kind": "registry_changed" });
        fixture.announce_and_wait(changed).await;
        for _ in 0..2 {
            let answer = fixture.get("/records/1", "at_alice").await;
            assert_eq!(answer.status(), status, "{acr:?} {at:?}");
            if status == 401 {
                let challenge = answer.header("www-authenticate").unwrap();
                assert!(
                    challenge.contains("error=\"insufficient_user_authentication\"")
                        && challenge.contains("acr_values=\"phr phrh\", max_age=\"60\""),
                    "{challenge}"
                );
            }
        }
    }
    assert_eq!(fixture.upstream.seen().len(), 2);
}

#[tokio::test]
async fn headers_are_added_in_the_place_of_what_was_sent() {
    let headers = json!({
        "request": { "x-team": "blue" },
        "response": { "x-own": "ours", "cache-control": "private" },
    });
    let fixture = obliged(QUIET, one("headers", &headers)).await;
    let request = get("/records/1", "at_alice")
        .replace("Connection:", "X-Team: red\r\nX_Team: red\r\nConnection:");
    for _ in 0..2 {
        let answer = fixture.raw(&request).await;
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.header("x-own"), Some("ours"));
        assert_eq!(answer.header("cache-control"), Some("private"));
        let seen = fixture.upstream.last();
        let teams: Vec<_> = seen.headers.get_all("x-team").iter().collect();
        assert_eq!(teams, ["blue"]);
        assert!(!seen.headers.contains_key("x_team"));
    }
    let reserved = one("headers", &json!({ "request": { "x-user-id": "root" } }));
    fixture.pdp.oblige(reserved);
    assert_eq!(fixture.get("/records/2", "at_alice").await.status(), 403);
}

const RATES: &str = "{ workers: 2, access_log: 'off', rates: {
  gold: { limit: 3, window_secs: 60, shared: SHARED },
  app: { limit: 4, window_secs: 60, per: client, shared: SHARED } } }";

#[tokio::test]
async fn a_rate_counts_by_subject_over_all_workers_and_says_how_much_is_left() {
    for shared in ["true", "false"] {
        let gateway = RATES.replace("SHARED", shared);
        let fixture = obliged(&gateway, one("rate", &json!({ "class": "gold" }))).await;
        for left in [2, 1, 0] {
            let answer = fixture.get("/records/1", "at_alice").await;
            assert_eq!(answer.status(), 200);
            assert_eq!(answer.header("ratelimit-policy"), Some("\"gold\";q=3;w=60"));
            let limit = answer.header("ratelimit").unwrap();
            assert!(
                limit.starts_with(&format!("\"gold\";r={left};t=")),
                "{limit}"
            );
        }
        let no = fixture.get("/records/2", "at_alice").await;
        assert_eq!(no.status(), 429, "{no:?}");
        let retry: u64 = no.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=20).contains(&retry), "{retry}");
        assert!(
            no.header("ratelimit")
                .unwrap()
                .starts_with("\"gold\";r=0;t=")
        );
        assert_eq!(fixture.get("/records/1", "at_bob").await.status(), 200);
        assert_eq!(fixture.upstream.seen().len(), 4);
    }
}

#[tokio::test]
async fn a_rate_may_count_by_client_and_one_that_is_not_configured_is_a_deny() {
    let gateway = RATES.replace("SHARED", "true");
    let both = json!([
        { "id": "1", "type": "rate", "properties": { "class": "gold" } },
        { "id": "2", "type": "rate", "properties": { "class": ["app"] } },
    ]);
    let fixture = obliged(&gateway, both).await;
    for (token, status) in [
        ("alice", 200),
        ("bob", 200),
        ("alice", 200),
        ("bob", 200),
        ("bob", 429),
    ] {
        let answer = fixture.get("/records/1", &format!("at_{token}")).await;
        assert_eq!(answer.status(), status);
        let policy = answer.header("ratelimit-policy").unwrap();
        assert_eq!(policy, "\"gold\";q=3;w=60, \"app\";q=4;w=60");
    }
    fixture.pdp.oblige(one("rate", &json!({ "class": "iron" })));
    assert_eq!(fixture.get("/records/9", "at_alice").await.status(), 403);
}

#[tokio::test]
async fn what_cannot_be_counted_is_not_permitted() {
    let store = Arc::new(CutStore::default());
    let setup = Setup {
        gateway: RATES.replace("SHARED", "true"),
        rates: store.clone(),
        ..Setup::new().await
    };
    setup.pdp.oblige(one("rate", &json!({ "class": "gold" })));
    let fixture = setup.start().await;
    assert_eq!(fixture.get("/records/1", "at_alice").await.status(), 200);
    store.fails.store(true, Ordering::SeqCst);
    let answer = fixture.get("/records/1", "at_alice").await;
    assert_eq!(
        (answer.status(), answer.header("retry-after")),
        (503, Some("1"))
    );
}

#[tokio::test]
async fn others_are_told_of_a_request_and_of_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("told/owner.jsonl");
    let gateway = format!(
        "{{ workers: 1, access_log: 'off', notifications: {{ owner: {{ file: '{}' }}, nobody: 'off' }} }}",
        file.display()
    );
    let fixture = obliged(&gateway, one("notify", &json!({ "to": ["owner"] }))).await;
    for path in [
        "/records/1?secret=s3cret",
        "/records/1",
        "/records/forbidden",
    ] {
        fixture.get(path, "at_alice").await;
    }
    fixture
        .pdp
        .oblige(one("notify", &json!({ "to": ["nobody"] })));
    assert_eq!(fixture.get("/records/2", "at_alice").await.status(), 200);
    // Nobody takes it, and somebody has to.
    fixture.pdp.oblige(one(
        "notify",
        &json!({ "to": ["nobody"], "required": true }),
    ));
    assert_eq!(fixture.get("/records/3", "at_alice").await.status(), 403);
    fixture
        .pdp
        .oblige(one("notify", &json!({ "to": ["stranger"] })));
    assert_eq!(fixture.get("/records/4", "at_alice").await.status(), 403);
    assert!(fixture.gateway.finish(PATIENCE).await);
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(
        !text.contains("s3cret") && !text.contains("at_alice"),
        "{text}"
    );
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2, "remembered decisions tell, too");
    for (name, value) in [
        ("obligation", "o"),
        ("subject", "alice"),
        ("client_id", "web"),
        ("path", "/records/1"),
        ("route", "/records/{id}"),
        ("method", "GET"),
        ("decision_id", "decision-1"),
    ] {
        assert_eq!(lines[1][name], value);
    }
}

#[tokio::test]
async fn what_goes_on_is_counted_and_told_once() {
    let gateway = RATES.replace("SHARED", "false");
    let fixture = obliged(&gateway, one("rate", &json!({ "class": "gold" }))).await;
    *fixture.pdp.cache.lock().unwrap() = json!({ "max_age": 1 });
    let slow = fixture.get("/records/events", "at_alice");
    let asked = eventually("it was asked about again", || fixture.pdp.count() > 1);
    let (answer, ()) = tokio::join!(slow, asked);
    assert!(
        answer
            .header("ratelimit")
            .unwrap()
            .starts_with("\"gold\";r=2;")
    );
    let next = fixture.get("/records/1", "at_alice").await;
    assert!(
        next.header("ratelimit")
            .unwrap()
            .starts_with("\"gold\";r=1;")
    );
}
