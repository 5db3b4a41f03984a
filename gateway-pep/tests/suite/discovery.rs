//! What clients find that look for who gives out tokens (RFC 9728), and for which login a route wants
//! (RFC 9470).

use std::sync::Arc;

use serde_json::{Value, json};
use service_kit::{ManualClock, UnixTime};

use crate::fixture::{Answer, Fixture, Setup, get};

const AT: u64 = 1_000_000;
const METADATA: &str = "/.well-known/oauth-protected-resource";

async fn announcing() -> (Fixture, Arc<ManualClock>) {
    let clock = ManualClock::at(UnixTime::from_secs(AT));
    let fixture = Setup {
        gateway: "{ workers: 1, access_log: 'off', authorization_servers: ['https://as.example'] }"
            .into(),
        clock: clock.clone(),
        ..Setup::new().await
    };
    (fixture.start().await, clock)
}

fn challenge(answer: &Answer) -> &str {
    answer.header("www-authenticate").unwrap_or_default()
}

fn request(method: &str, path: &str, host: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
}

#[tokio::test]
async fn a_client_is_led_from_the_challenge_to_the_metadata() {
    let (fixture, _) = announcing().await;
    let url = format!("resource_metadata=\"https://a{METADATA}\"");
    let nothing = fixture.raw(&request("GET", "/records/1", "gw.test")).await;
    assert_eq!(nothing.status(), 401);
    assert_eq!(
        challenge(&nothing),
        format!("Bearer realm=\"cedargate\", {url}"),
        "no error where no credentials came"
    );
    let bad = fixture.get("/records/1", "at_nobody").await;
    assert!(challenge(&bad).contains("error=\"invalid_token\""));
    assert!(challenge(&bad).ends_with(&url), "{}", challenge(&bad));
    let scope = fixture.get("/scoped", "at_alice").await;
    assert_eq!(scope.status(), 403);
    assert!(challenge(&scope).contains("scope=\"read write\""));
    assert!(challenge(&scope).ends_with(&url));

    // Whatever the gateway is called by: it has but one such resource.
    for host in ["a", "gw.test", "evil.example"] {
        let found = fixture.raw(&request("GET", METADATA, host)).await;
        assert_eq!(found.status(), 200, "{host}");
        assert_eq!(found.header("content-type"), Some("application/json"));
        assert_eq!(found.header("access-control-allow-origin"), Some("*"));
        assert!(found.header("cache-control").unwrap().contains("max-age="));
        let document: Value = serde_json::from_str(found.body()).unwrap();
        assert_eq!(
            document,
            json!({
                "resource": "https://a",
                "authorization_servers": ["https://as.example"],
                "scopes_supported": ["read", "write"],
                "bearer_methods_supported": ["header"],
            })
        );
    }
    let preflight = fixture.raw(&request("OPTIONS", METADATA, "a")).await;
    assert_eq!(preflight.status(), 204);
    assert_eq!(preflight.header("access-control-allow-headers"), Some("*"));
    let posted = fixture.raw(&request("POST", METADATA, "a")).await;
    assert_eq!(posted.status(), 405);
    assert_eq!(posted.header("allow"), Some("GET, HEAD, OPTIONS"));
    for path in ["/other", "/", "x", "/..%2fa"] {
        let unknown = request("GET", &format!("{METADATA}{path}"), "a");
        let answer = fixture.raw(&unknown).await;
        assert!([400, 404].contains(&answer.status()), "{path}");
    }
    assert_eq!(fixture.tokens.count(), 2, "nobody is asked for it");
}

#[tokio::test]
async fn nothing_is_announced_that_was_not_configured() {
    let fixture = Fixture::start().await;
    assert_eq!(
        fixture.raw(&request("GET", METADATA, "a")).await.status(),
        404
    );
    let nothing = fixture.raw(&request("GET", "/records/1", "gw.test")).await;
    assert_eq!(challenge(&nothing), "Bearer realm=\"cedargate\"");
}

#[tokio::test]
async fn a_route_that_wants_a_login_says_which_and_a_remembered_one_grows_old() {
    let (fixture, clock) = announcing().await;
    let wanted = "error=\"insufficient_user_authentication\", \
                  error_description=\"another or a newer login is needed\", \
                  acr_values=\"phr phrh\", max_age=\"60\"";
    // Nothing is known of the login; it is of another kind; it is too old.
    for login in [
        (None, None),
        (Some("pwd"), Some(AT)),
        (Some("phr"), None),
        (None, Some(AT)),
        (Some("phr"), Some(AT - 61)),
        (Some("phr "), Some(AT)),
    ] {
        fixture.tokens.log_in("carol", login.0, login.1);
        let answer = fixture.get("/pay", "at_carol").await;
        assert_eq!(answer.status(), 401, "{login:?}");
        assert!(
            challenge(&answer).contains(wanted),
            "{}",
            challenge(&answer)
        );
        fixture
            .announce_and_wait(json!({ "kind": "registry_changed" }))
            .await;
    }
    assert_eq!(fixture.pdp.count(), 0, "policy is asked about good logins");
    fixture.tokens.log_in("carol", Some("phrh"), Some(AT - 60));
    assert_eq!(fixture.get("/pay", "at_carol").await.status(), 200);
    let asked = (fixture.tokens.count(), fixture.pdp.count());
    assert_eq!(fixture.get("/pay", "at_carol").await.status(), 200);
    clock.advance(std::time::Duration::from_secs(1));
    let old = fixture.raw(&get("/pay", "at_carol")).await;
    assert_eq!(old.status(), 401);
    assert!(challenge(&old).contains(wanted));
    assert_eq!(
        (fixture.tokens.count(), fixture.pdp.count()),
        asked,
        "both answers were remembered"
    );
    // Elsewhere it is as good as ever.
    assert_eq!(fixture.get("/records/1", "at_carol").await.status(), 200);
}
