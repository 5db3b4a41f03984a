//! Access tokens end, and sessions go on: new ones are got once, whoever wants them.

use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;

use super::browser::set_cookies;
use super::{Site, assert_refused};
use crate::fixture::eventually;

#[tokio::test]
async fn a_token_is_renewed_before_it_ends_and_nobody_waits() {
    let site = Site::start().await;
    let mut browser = site.logged_in().await;
    assert_eq!(browser.fetch("GET /app/1").await.status(), 200);
    site.clock.advance(Duration::from_secs(530));
    site.one.tokens.issue("new", 4_000_000_000);
    site.provider.give(&[("access_token", json!("at_new"))]);
    assert_eq!(
        site.provider.refreshed.load(Ordering::SeqCst),
        0,
        "it is too early"
    );
    site.clock.advance(Duration::from_secs(15));
    site.provider.slowness.store(300, Ordering::SeqCst);
    // In the last minute: the old one still serves.
    let begun = tokio::time::Instant::now();
    assert_eq!(browser.fetch("GET /app/1").await.status(), 200);
    assert!(begun.elapsed() < Duration::from_millis(250));
    assert_eq!(site.one.pdp.last().subject.id, "alice");
    let renewed = || site.one.metric("pep_logins_total") >= 3.0;
    eventually("the tokens are renewed", renewed).await;
    assert_eq!(browser.fetch("GET /app/1").await.status(), 200);
    assert_eq!(site.one.pdp.last().subject.id, "new");
    let form = site.provider.form.lock().unwrap().clone();
    assert_eq!(
        (&*form["grant_type"], &*form["refresh_token"]),
        ("refresh_token", "rt-0")
    );
}

#[tokio::test]
async fn fifty_requests_at_two_gateways_are_one_renewal() {
    let site = Site::start().await;
    let two = site.second().await;
    let browser = site.logged_in().await;
    for gateway in [&site.one, &two] {
        gateway.tokens.issue("new", 4_000_000_000);
        assert_eq!(browser.at(gateway).fetch("GET /app/1").await.status(), 200);
    }
    site.clock.advance(Duration::from_secs(601));
    site.provider.give(&[("access_token", json!("at_new"))]);
    site.provider.slowness.store(200, Ordering::SeqCst);
    let sent = (0..50).map(|n| {
        let mut browser = browser.at(if n % 2 == 0 { &site.one } else { &two });
        async move { browser.fetch("GET /app/1").await.status() }
    });
    let statuses = join_all(sent).await;
    assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
    assert_eq!(site.provider.refreshed.load(Ordering::SeqCst), 1);
    assert_eq!(two.pdp.last().subject.id, "new");
    // The next round uses the new refresh token.
    site.clock.advance(Duration::from_secs(601));
    assert_eq!(browser.at(&two).fetch("GET /app/1").await.status(), 200);
    assert_eq!(site.provider.form.lock().unwrap()["refresh_token"], "rt-1");
}

#[tokio::test]
async fn a_refused_renewal_ends_the_session() {
    let site = Site::start().await;
    let two = site.second().await;
    let browser = site.logged_in().await;
    assert_eq!(browser.at(&two).fetch("GET /app/1").await.status(), 200);
    site.provider.refuses.store(true, Ordering::SeqCst);
    site.clock.advance(Duration::from_secs(601));
    let answer = browser.at(&site.one).fetch("GET /app/1").await;
    assert_refused(&answer, 401, "session_ended");
    let answer = browser.at(&two).get("/app/1?x").await;
    assert_eq!(answer.status(), 303, "{}", answer.0);
    let set = set_cookies(&answer);
    assert!(
        set.iter()
            .any(|it| it.starts_with("__Host-cedargate-web=; "))
    );
    assert_eq!(site.provider.refreshed.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn new_tokens_of_somebody_else_end_the_session() {
    let site = Site::start().await;
    let browser = site.logged_in().await;
    site.provider.lie(&[("sub", json!("mallory"))]);
    site.clock.advance(Duration::from_secs(601));
    let answer = browser.at(&site.one).fetch("GET /app/1").await;
    assert_refused(&answer, 401, "session_ended");
}

#[tokio::test]
async fn without_a_refresh_token_a_session_ends_with_its_token() {
    let site = Site::start().await;
    site.provider.give(&[("refresh_token", json!(null))]);
    let mut browser = site.logged_in().await;
    site.clock.advance(Duration::from_secs(599));
    assert_eq!(browser.fetch("GET /app/1").await.status(), 200);
    site.clock.advance(Duration::from_secs(1));
    assert_refused(&browser.fetch("GET /app/1").await, 401, "session_ended");
    assert_eq!(site.provider.refreshed.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_provider_that_does_not_answer_ends_nothing() {
    let site = Site::start().await;
    let mut browser = site.logged_in().await;
    assert_eq!(browser.fetch("GET /app/1").await.status(), 200);
    site.clock.advance(Duration::from_secs(560));
    site.provider.is_down.store(true, Ordering::SeqCst);
    assert_eq!(
        browser.fetch("GET /app/1").await.status(),
        200,
        "the old one serves"
    );
    let tried = || site.one.metric("pep_logins_total") >= 3.0;
    eventually("a renewal has failed", tried).await;
    site.clock.advance(Duration::from_mins(1));
    let answer = browser.fetch("GET /app/1").await;
    assert_refused(&answer, 503, "issuer_unavailable");
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(
        browser.get("/app/1").await.status(),
        503,
        "and not to log in"
    );
    site.provider.is_down.store(false, Ordering::SeqCst);
    site.clock.advance(Duration::from_secs(4));
    assert_eq!(browser.fetch("GET /app/1").await.status(), 200);
}

#[tokio::test]
async fn a_gateway_that_died_while_it_renewed_holds_up_nobody_for_long() {
    let site = Site::start().await;
    let mut browser = site.logged_in().await;
    site.provider.slowness.store(60_000, Ordering::SeqCst);
    site.clock.advance(Duration::from_secs(560));
    assert_eq!(browser.fetch("GET /app/1").await.status(), 200);
    // Once it has asked, the provider keeps it waiting.
    tokio::time::sleep(Duration::from_millis(200)).await;
    site.provider.slowness.store(0, Ordering::SeqCst);
    let two = site.second().await;
    site.clock.advance(Duration::from_mins(1));
    let answer = browser.at(&two).fetch("GET /app/1").await;
    assert_eq!(answer.status(), 200, "{}", answer.0);
}

#[tokio::test]
async fn a_token_that_was_revoked_is_renewed_once_and_then_the_session_ends() {
    let site = Site::start().await;
    let mut browser = site.logged_in().await;
    assert_eq!(browser.fetch("GET /app/1").await.status(), 200);
    site.one.tokens.forget("at_alice");
    let revoked = json!({"kind": "token_revoked", "token_ref": "ref_alice"});
    site.one.announce_and_wait(revoked).await;
    // Just after the login, nothing else would come of another.
    assert_refused(&browser.get("/app/1").await, 401, "invalid_token");
    site.clock.advance(Duration::from_secs(40));
    site.one.tokens.issue("new", 4_000_000_000);
    site.provider.give(&[("access_token", json!("at_new"))]);
    assert_eq!(browser.fetch("GET /app/1").await.status(), 200);
    assert_eq!(site.one.pdp.last().subject.id, "new");
    site.one.tokens.forget("at_new");
    let revoked = json!({"kind": "token_revoked", "token_ref": "ref_new"});
    site.one.announce_and_wait(revoked).await;
    site.clock.advance(Duration::from_secs(40));
    site.provider.refuses.store(true, Ordering::SeqCst);
    assert_eq!(browser.get("/app/1").await.status(), 303, "to log in again");
}
