//! When something does not answer: nobody passes by not knowing, and nobody is logged out by it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::browser::Browser;
use super::{Site, assert_refused};
use crate::cut_store::CutStore;
use crate::fixture::eventually;

#[tokio::test]
async fn without_the_store_known_sessions_serve_until_it_is_not_heard_for_too_long() {
    let store = Arc::new(CutStore::default());
    let site = Site::start_on(store.clone(), "").await;
    let mut browser = site.logged_in().await;
    assert_eq!(browser.fetch("GET /app/1").await.status(), 200);
    let sent = browser.get("/.cedargate/web/login").await;
    let back = site.provider.approve(&super::browser::location(&sent));
    store.is_dead.store(true, Ordering::SeqCst);
    assert_eq!(
        browser.fetch("GET /app/1").await.status(),
        200,
        "it is remembered"
    );
    let answer = browser.clone().get(&back).await;
    assert_eq!(answer.status(), 503, "{}", answer.0);
    assert!(answer.body().contains("does not answer"));
    let mut unknown = Browser::new(&site.one);
    unknown
        .cookies
        .insert("__Host-cedargate-web".into(), "A".repeat(43));
    let answer = unknown.get("/app/1").await;
    assert_refused(&answer, 503, "session_store_unavailable");
    let own = "Sec-Fetch-Site: same-origin\r\n";
    let answer = browser.send("POST /.cedargate/web/logout", own, "").await;
    assert_refused(&answer, 503, "session_store_unavailable");
    let stale = || {
        !site.one.health.is_ready()
            || site
                .one
                .health
                .parts()
                .values()
                .any(|it| format!("{it:?}").contains("Stale"))
    };
    eventually("the log is not heard", stale).await;
    tokio::time::sleep(Duration::from_millis(3200)).await;
    let answer = browser.fetch("GET /app/1").await;
    assert_refused(&answer, 503, "session_store_unavailable");
    store.is_dead.store(false, Ordering::SeqCst);
    assert_eq!(browser.fetch("GET /app/1").await.status(), 200);
}

#[tokio::test]
async fn a_provider_that_is_away_logs_nobody_in() {
    let site = Site::start().await;
    site.provider.is_down.store(true, Ordering::SeqCst);
    let mut browser = Browser::new(&site.one);
    assert_refused(&browser.get("/app/1").await, 503, "issuer_unavailable");
    assert_refused(&browser.fetch("GET /app/1").await, 401, "no_credentials");
    let bearer = "Authorization: Bearer at_alice\r\n";
    assert_eq!(browser.send("GET /app/1", bearer, "").await.status(), 200);
}
