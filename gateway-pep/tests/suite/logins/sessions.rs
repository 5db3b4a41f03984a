//! Sessions as they are kept: for how long, where, and what of them can be read.

use std::time::Duration;

use serde_json::json;

use gateway_pep::ExplainRequest;

use super::browser::Browser;
use super::provider::SID;
use super::{Site, assert_refused};
use crate::forward_auth::DIALECTS;

#[tokio::test]
async fn a_session_ends_when_it_lies_idle_or_is_too_old() {
    let site = Site::start_with(", idle_secs: 1600, lifetime_secs: 8000").await;
    site.provider.give(&[("expires_in", json!(90_000))]);
    let mut browser = site.logged_in().await;
    for _ in 0..5 {
        site.clock.advance(Duration::from_secs(1390));
        assert_eq!(browser.fetch("GET /app/1").await.status(), 200);
        // Its use is noted behind the request's back.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    site.clock.advance(Duration::from_secs(1050));
    assert_refused(&browser.fetch("GET /app/1").await, 401, "session_ended");
    let mut idle = site.logged_in().await;
    site.clock.advance(Duration::from_secs(1599));
    assert_eq!(idle.fetch("GET /app/1").await.status(), 200);
    tokio::time::sleep(Duration::from_millis(50)).await;
    site.clock.advance(Duration::from_secs(1600));
    assert_refused(&idle.fetch("GET /app/1").await, 401, "session_ended");
}

#[tokio::test]
async fn every_login_has_a_session_of_its_own_and_the_one_before_ends() {
    let site = Site::start().await;
    let two = site.second().await;
    // Whoever plants a cookie has planted nothing.
    let fixed = "A".repeat(43);
    let mut browser = Browser::new(&site.one);
    browser
        .cookies
        .insert("__Host-cedargate-web".into(), fixed.clone());
    assert_eq!(browser.log_in(&site.provider, "/app/1").await.status(), 303);
    let first = browser.clone();
    assert_ne!(first.session(), Some(&fixed));
    let sent = browser.get("/.cedargate/web/login").await;
    let back = site.provider.approve(&super::browser::location(&sent));
    assert_eq!(browser.get(&back).await.status(), 303);
    assert_ne!(browser.session(), first.session());
    assert_eq!(browser.fetch("GET /app/1").await.status(), 200);
    let answer = first.at(&two).fetch("GET /app/1").await;
    assert_refused(&answer, 401, "session_ended");
}

#[tokio::test]
async fn a_session_counts_for_its_login_and_its_origin_alone() {
    let site = Site::start().await;
    let browser = site.logged_in().await;
    let session = browser.session().unwrap().clone();
    let mut other = Browser::new(&site.one);
    other
        .cookies
        .insert("__Host-cedargate-other".into(), session.clone());
    assert_refused(&other.fetch("GET /other/1").await, 401, "session_ended");
    let mut elsewhere = browser.clone();
    elsewhere.host = "b.test".into();
    let fields = "Sec-Fetch-Mode: cors\r\n";
    let answer = elsewhere.send("GET /app/1", fields, "").await;
    assert_refused(&answer, 401, "session_ended");
    let short = session.chars().skip(1).collect::<String>();
    for wrong in ["", "x", &short, &format!("{session}x"), "%00", "a b"] {
        let mut wrong_one = Browser::new(&site.one);
        wrong_one
            .cookies
            .insert("__Host-cedargate-web".into(), wrong.into());
        let answer = wrong_one.fetch("GET /app/1").await;
        assert_refused(&answer, 401, "session_ended");
    }
}

#[tokio::test]
async fn whoever_reads_the_store_learns_nothing_and_whoever_writes_to_it_is_nobody() {
    let site = Site::start().await;
    let browser = site.logged_in().await;
    let session = browser.session().unwrap();
    let entries = site
        .store
        .scan("gateway-", None, 100)
        .await
        .unwrap()
        .entries;
    assert_eq!(
        entries.len(),
        2,
        "the session, and the state that was used: {entries:?}"
    );
    for (name, value) in &entries {
        let text = format!("{name} {}", String::from_utf8_lossy(value));
        for secret in [session, "at_alice", "rt-0", "alice", SID, "eyJ"] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
    }
    // Moved to another name, it opens nothing.
    let mut other = site.logged_in().await;
    let fresh = site
        .store
        .scan("gateway-session:", None, 100)
        .await
        .unwrap()
        .entries;
    let (own, value) = entries
        .iter()
        .find(|(name, _)| name.starts_with("gateway-session:"))
        .unwrap();
    let (moved, _) = fresh.iter().find(|(name, _)| name != own).unwrap();
    site.store.put(moved, value.clone(), None).await.unwrap();
    let two = site.second().await;
    other.addr = two.addr;
    assert_refused(&other.fetch("GET /app/1").await, 401, "session_ended");
}

#[tokio::test]
async fn it_can_be_explained_where_a_browser_would_go() {
    let site = Site::start().await;
    let explain = async |path: &str, headers: serde_json::Value| {
        let url = format!("https://app.test{path}");
        let asked = json!({ "method": "GET", "url": url, "headers": headers });
        let asked: ExplainRequest = serde_json::from_value(asked).unwrap();
        let found = site.one.gateway.explainer().explain(asked).await.unwrap();
        (found.to_string(), serde_json::to_value(&found).unwrap())
    };
    let (text, found) = explain("/app/1", json!({ "sec-fetch-mode": "navigate" })).await;
    assert!(text.contains("login web"), "{text}");
    assert_eq!(found["route"]["login"], "web");
    assert_eq!(found["outcome"]["reason"], "login");
    assert_eq!(found["outcome"]["status"], 303);
    assert!(!format!("{text}{found}").contains("state="), "{text}");
    let (_, found) = explain("/app/1", json!({})).await;
    assert_eq!(found["outcome"]["reason"], "no_credentials");
    let (text, _) = explain("/.cedargate/web/callback", json!({})).await;
    assert!(text.contains("answers this itself"), "{text}");
    let (_, found) = explain("/.cedargate/x", json!({})).await;
    assert_eq!(found["outcome"]["status"], 404);
    assert!((site.one.metric("pep_logins_total") - 0.0).abs() < 0.1);
    let browser = site.logged_in().await;
    let cookie = format!("__Host-cedargate-web={}", browser.session().unwrap());
    let (text, found) = explain("/app/1", json!({ "cookie": cookie })).await;
    assert_eq!(found["outcome"]["is_forwarded"], true, "{text}");
    assert_eq!(found["caller"]["subject"]["id"], "alice");
    assert!(!format!("{text}{found}").contains(browser.session().unwrap()));
}

#[tokio::test]
async fn the_log_and_the_counts_say_what_has_happened_and_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("access.jsonl");
    let site = Site::start_logging(&file).await;
    let mut browser = site.logged_in().await;
    let session = browser.session().unwrap().clone();
    assert_eq!(browser.fetch("GET /app/1").await.status(), 200);
    assert_eq!(browser.fetch("GET /records/1").await.status(), 401);
    browser.cookies.clear();
    browser
        .get("/.cedargate/web/callback?state=st4te&code=g0odc0de")
        .await;
    let metrics = site.one.metrics.render();
    for (outcome, count) in [
        ("begun", 1),
        ("completed", 1),
        ("refused", 1),
        ("renewed", 0),
    ] {
        let line = format!("pep_logins_total{{login=\"web\",outcome=\"{outcome}\"}} {count}");
        assert!(metrics.contains(&line), "{line}");
    }
    let text = || std::fs::read_to_string(&file).unwrap_or_default();
    crate::fixture::eventually("five lines", || text().lines().count() >= 5).await;
    let text = text();
    let lines: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let of = |name: &str| -> Vec<_> { lines.iter().map(|line| line[name].clone()).collect() };
    let none = json!(null);
    assert_eq!(of("error")[..2], [json!("login"), none.clone()]);
    assert_eq!(of("login")[..3], [none.clone(), json!("web"), json!("web")]);
    assert_eq!(lines[2]["subject"], "alice");
    assert_eq!(lines[4]["error"], "login_unknown");
    for secret in [&*session, "st4te", "g0odc0de", "at_alice", "rt-0", "state"] {
        assert!(!text.contains(secret), "{secret}: {text}");
    }
}

#[tokio::test]
async fn behind_another_proxy_a_session_is_not_looked_at() {
    let site = Site::start_asked().await;
    let mut browser = Browser::new(&site.one);
    browser.host = "gw.test".into();
    assert_eq!(browser.log_in(&site.provider, "/app/1").await.status(), 303);
    assert_eq!(browser.get("/app/1").await.status(), 200);
    let session = browser.session().unwrap();
    let cookie = format!("Cookie: a=1; __Host-cedargate-web={session}\r\n");
    let page = format!("{cookie}Sec-Fetch-Mode: navigate\r\nAccept: text/html\r\n");
    for dialect in DIALECTS {
        let answer = dialect.ask(&site.one, "GET", "/app/1", &page).await;
        assert_refused(&answer, 401, "no_credentials");
        assert_eq!(answer.header("location"), None, "{dialect:?}");
        let bearer = format!("{cookie}Authorization: Bearer at_bob\r\n");
        let answer = dialect.ask(&site.one, "GET", "/app/1", &bearer).await;
        assert_eq!(answer.status(), 200, "{dialect:?}");
        for path in ["/.cedargate/web/callback", "/.cedargate/x"] {
            let answer = dialect.ask(&site.one, "GET", path, &bearer).await;
            assert_eq!(answer.status(), dialect.status(404), "{dialect:?}");
        }
    }
}
