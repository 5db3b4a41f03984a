//! Explanations: what a request would come to, by the same steps and memories, and without a trace.

use std::sync::atomic::Ordering;

use gateway_pep::{ExplainRequest, Explanation};
use serde_json::{Value, json};

use crate::fixture::{Fixture, Setup, get};

async fn explain(fixture: &Fixture, asked: Value) -> (Explanation, Value) {
    let asked: ExplainRequest = serde_json::from_value(asked).unwrap();
    let found = fixture.gateway.explainer().explain(asked).await.unwrap();
    let json = serde_json::to_value(&found).unwrap();
    (found, json)
}

fn asked(url: &str) -> Value {
    json!({ "method": "GET", "url": url, "token": "at_alice" })
}

#[tokio::test]
async fn metadata_of_resources_are_the_gateways_own() {
    let setup = Setup {
        gateway: "{ workers: 1, access_log: 'off', authorization_servers: ['https://as.example'] }"
            .into(),
        ..Setup::new().await
    };
    let fixture = setup.start().await;
    for (path, is_own) in [
        ("/.well-known/oauth-protected-resource", true),
        ("/.well-known/oauth-protected-resource/nothing", false),
    ] {
        let url = format!("http://gw.test{path}");
        let (text, found) = explain(&fixture, asked(&url)).await;
        let is_answered = text.to_string().contains("answers this itself");
        assert_eq!(is_answered, is_own, "{path} {text}");
        assert_eq!(found["outcome"]["status"].is_null(), is_own, "{found}");
    }
}

#[tokio::test]
async fn every_step_of_a_permit_is_shown_and_what_is_remembered_is_used() {
    let fixture = Fixture::start().await;
    let (text, found) = explain(&fixture, asked("https://GW.test/records/a%20b?x=1")).await;
    assert_eq!(
        found["request"],
        json!({ "method": "GET", "host": "gw.test", "path": "/records/a%20b", "query": "x=1" })
    );
    assert_eq!(found["route"]["match"], "/records/{id}");
    assert_eq!(found["route"]["resource"], "https://a");
    assert_eq!(found["caller"]["subject"]["id"], "alice");
    assert_eq!(found["caller"]["source"], "remote");
    assert_eq!(
        found["question"]["resource"],
        json!({ "type": "Record", "id": "a b" })
    );
    assert_eq!(found["decision"]["decision"], true);
    assert_eq!(found["decision"]["source"], "remote");
    assert_eq!(found["decision_point"]["context"]["id"], "decision-1");
    let to = found["outcome"]["upstream"].as_str().unwrap();
    assert!(to.ends_with("/records/a%20b?x=1"), "{to}");
    let text = text.to_string();
    for part in [
        "GET gw.test/records/a%20b?x=1",
        "alice",
        "permit",
        "forwarded to http://",
    ] {
        assert!(text.contains(part), "{text}");
    }
    assert!(!format!("{text}{found}").contains("at_alice"));
    assert!(!format!("{text}{found}").contains("jwt."));

    let answer = fixture.get("/records/a%20b?x=1", "at_alice").await;
    assert_eq!(answer.status(), 200);
    let (_, again) = explain(&fixture, asked("http://gw.test/records/a%20b?x=1")).await;
    assert_eq!(
        (&again["caller"]["source"], &again["decision"]["source"]),
        (&json!("l1"), &json!("l1"))
    );
}

/// What is asked, the status and the reason of the answer, and the last step that is shown.
fn refusals() -> Vec<(Value, u16, &'static str, &'static str)> {
    let of = |method: &str, token: &str| json!({ "method": method, "url": "https://gw.test/records/1", "token": token });
    let mut nobody = asked("https://gw.test/records/1");
    nobody["token"] = Value::Null;
    let mut two_hosts = asked("https://gw.test/records/1");
    two_hosts["headers"] = json!({ "host": "x" });
    vec![
        (
            asked("https://gw.test/records/forbidden"),
            403,
            "denied",
            "decision",
        ),
        (
            asked("https://gw.test/scoped"),
            403,
            "insufficient_scope",
            "question",
        ),
        (
            asked("https://gw.test/records/1?access_token=x"),
            400,
            "two_credentials",
            "route",
        ),
        (
            asked("https://gw.test/nowhere"),
            404,
            "not_found",
            "request",
        ),
        (
            asked("https://gw.test/records/../x"),
            400,
            "ambiguous",
            "outcome",
        ),
        (
            asked("https://gw.test/records/1#x"),
            400,
            "ambiguous",
            "outcome",
        ),
        (asked("gw.test/records/1"), 400, "ambiguous", "outcome"),
        (nobody, 401, "no_credentials", "route"),
        (of("GET", "x y"), 400, "malformed_token", "route"),
        (of("GET", "at_nobody"), 401, "invalid_token", "route"),
        (
            of("DELETE", "at_alice"),
            405,
            "method_not_allowed",
            "request",
        ),
        (two_hosts, 400, "ambiguous", "outcome"),
    ]
}

#[tokio::test]
async fn a_no_says_how_far_it_came_and_why() {
    let fixture = Fixture::start().await;
    let steps = ["request", "route", "caller", "question", "decision"];
    for (asked, status, reason, last) in refusals() {
        let (text, found) = explain(&fixture, asked.clone()).await;
        assert_eq!(found["outcome"]["status"], status, "{asked}");
        assert_eq!(found["outcome"]["reason"], reason, "{asked}");
        let reached = steps.iter().rev().find(|step| found.get(**step).is_some());
        assert_eq!(*reached.unwrap_or(&"outcome"), last, "{asked} {found}");
        assert!(text.to_string().contains(reason), "{text}");
    }
    assert!(fixture.upstream.seen().is_empty());
}

#[tokio::test]
async fn nothing_is_counted_as_a_request() {
    let fixture = Fixture::start().await;
    fixture.get("/public/x", "at_alice").await;
    let counts = || {
        [
            "http_server_request_duration_seconds_count",
            "pep_decisions_total",
            "http_server_active_requests",
            "pep_rejected_requests_total",
        ]
        .map(|name| fixture.metric(name).to_string())
    };
    let before = counts();
    for url in [
        "https://gw.test/records/1",
        "https://gw.test/nowhere",
        "https://gw.test/public/x",
    ] {
        explain(&fixture, asked(url)).await;
    }
    assert_eq!(counts(), before);
    assert_eq!(fixture.upstream.seen().len(), 1);
}

#[tokio::test]
async fn an_outage_is_explained_and_a_gateway_that_stops_explains_nothing() {
    let fixture = Fixture::start().await;
    fixture.pdp.down.store(true, Ordering::SeqCst);
    let (text, found) = explain(&fixture, asked("https://gw.test/records/1")).await;
    assert_eq!(found["outcome"]["reason"], "decision_point_unavailable");
    assert!(found["decision_point_error"].is_string(), "{found}");
    assert!(text.to_string().contains("503"));
    let explainer = fixture.gateway.explainer();
    assert_eq!(
        fixture.raw(&get("/public/x", "at_alice")).await.status(),
        200
    );
    fixture.gateway.finish(crate::fixture::PATIENCE).await;
    let asked = serde_json::from_value(asked("https://gw.test/records/1")).unwrap();
    assert!(explainer.explain(asked).await.is_err());
}
