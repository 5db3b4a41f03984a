//! Sessions as they are kept: for how long, where, and what of them can be read.

use std::time::Duration;

use serde_json::json;

use super::browser::Browser;
use super::{Site, assert_refused};

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
        for secret in [session, "at_alice", "rt-0", "alice", "s1", "eyJ"] {
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
