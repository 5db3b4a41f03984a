//! What a person at the pages can do, what somebody who lures or guesses cannot.

use http::header;
use store::Store as _;

use super::{
    answer, assert_page, assert_unknown, begin, decide, devices, enter, logged_in, poll, world,
};
use crate::tests::harness::{Browser, World, authorize_uri};

const SESSION: &str = "__Host-cedargate_session";

#[tokio::test]
async fn a_person_may_refuse() {
    let world = world().await;
    let device = begin(&world, "orders:read").await;
    let done = decide(&world, "alice", &device.user_code, "deny").await;
    assert!(done.body.contains("Nothing was allowed"), "{}", done.body);
    for _ in 0..2 {
        poll(&world, "tv", &device)
            .await
            .assert_error(400, "access_denied");
    }
    let mut browser = logged_in(&world, "alice").await;
    assert_unknown(&enter(&mut browser, &world, &device.user_code).await);
}

#[tokio::test]
async fn codes_are_forgiving_to_type_and_reveal_nothing() {
    let world = world().await;
    let device = begin(&world, "orders:read").await;
    let mut browser = logged_in(&world, "alice").await;
    let typed = device.user_code.to_lowercase().replace('-', " ");
    let page = enter(&mut browser, &world, &typed).await;
    assert!(page.body.contains("value=\"approve\""), "{}", page.body);
    let never = enter(&mut browser, &world, "BBBB-BBBB").await;
    let nonsense = enter(&mut browser, &world, "<b>\"no").await;
    assert_unknown(&never);
    assert_eq!(never.body, nonsense.body);
    // What is in a link comes back only where it can be a code.
    let link = browser
        .get(&world, "/device?user_code=%22%3E%3Cscript%3E")
        .await;
    assert_page(&link, 200);
    assert!(!link.body.contains("script"));
    let twice = browser.get(&world, "/device?user_code=a&user_code=b").await;
    assert_page(&twice, 400);
}

#[tokio::test]
async fn guessing_is_limited_for_a_person_wherever_they_are_and_for_a_code() {
    let world = world().await;
    let device = begin(&world, "orders:read").await;
    let mut browsers = [
        logged_in(&world, "alice").await,
        logged_in(&world, "alice").await,
    ];
    for count in 0..10 {
        let guess = format!("BBBB-BBB{}", ["B", "C"][count % 2]);
        assert_unknown(&enter(&mut browsers[count % 2], &world, &guess).await);
    }
    // Now even the right one has to wait, and a malformed one is an attempt, too.
    for (browser, code) in browsers.iter_mut().zip([device.user_code.as_str(), "x"]) {
        let limited = enter(browser, &world, code).await;
        assert_page(&limited, 429);
        assert_eq!(limited.header(header::RETRY_AFTER), "300");
    }
    // Somebody else is not affected, until one code has been tried too often.
    let mut bob = logged_in(&world, "bob").await;
    for _ in 0..9 {
        let page = enter(&mut bob, &world, &device.user_code).await;
        assert!(page.body.contains("value=\"approve\""), "{}", page.body);
    }
    let limited = enter(&mut bob, &world, &device.user_code).await;
    assert_page(&limited, 429);
}

#[tokio::test]
async fn nobody_is_asked_about_codes_who_is_not_logged_in() {
    let world = world().await;
    let device = begin(&world, "orders:read").await;
    let mut stranger = Browser::default();
    for code in [device.user_code.as_str(), "BBBB-BBBB"] {
        let form = [("csrf", "x"), ("user_code", code)];
        let answer = stranger.post(&world, "/device", &form).await;
        assert_eq!(answer.status, 303, "{}", answer.body);
        assert_eq!(answer.location(), format!("/device?user_code={code}"));
        let form = [("csrf", "x"), ("user_code", code), ("decision", "approve")];
        let answer = stranger.post(&world, "/device/confirm", &form).await;
        assert_page(&answer, 400);
    }
    // The login page is used up by the login, in one browser, and leads nowhere else.
    let login = stranger.get(&world, "/device").await;
    let thief = Browser::default().log_in(&world, &login, "alice").await;
    assert_eq!((thief.status.as_u16(), thief.location()), (400, ""));
    assert_eq!(stranger.log_in(&world, &login, "alice").await.status, 303);
    assert_eq!(stranger.log_in(&world, &login, "alice").await.status, 400);
    let interaction = login.field("interaction");
    let consent = format!("/consent?interaction={interaction}");
    assert_eq!(stranger.get(&world, &consent).await.status, 400);
}

#[tokio::test]
async fn an_answer_counts_only_from_the_page_and_the_login_that_it_was_shown_to() {
    let world = world().await;
    let device = begin(&world, "orders:read").await;
    let other = begin(&world, "orders:read orders:write").await;
    let mut alice = logged_in(&world, "alice").await;
    let page = enter(&mut alice, &world, &device.user_code).await;
    let more = enter(&mut alice, &world, &other.user_code).await;
    let form = alice.get(&world, "/device").await;

    let (shown, csrf) = (page.field("user_code"), page.field("csrf"));
    let (form_csrf, more_csrf) = (form.field("csrf"), more.field("csrf"));
    for (code, scope, csrf, decision) in [
        // Another request's code or scope, or more scope, under this page's value.
        (
            other.user_code.as_str(),
            "orders:read",
            csrf.as_str(),
            "approve",
        ),
        (&shown, "orders:read orders:write", &csrf, "approve"),
        (&shown, "", &csrf, "approve"),
        // No value, and those of other forms.
        (&shown, "orders:read", "", "approve"),
        (&shown, "orders:read", &form_csrf, "approve"),
        (&shown, "orders:read", &more_csrf, "deny"),
        // No decision.
        (&shown, "orders:read", &csrf, ""),
        (&shown, "orders:read", &csrf, "yes"),
    ] {
        let form = [
            ("user_code", code),
            ("scope", scope),
            ("csrf", csrf),
            ("decision", decision),
        ];
        let answer = alice.post(&world, "/device/confirm", &form).await;
        assert_page(&answer, 400);
        assert!(answer.body.contains("invalid_request"), "{}", answer.body);
    }
    // Somebody else's browser, and the same one after somebody else has logged in.
    let mut bob = logged_in(&world, "bob").await;
    assert_page(&answer(&mut bob, &world, &page, "approve").await, 400);
    let mut shared = alice.clone();
    let login = shared
        .get(&world, &authorize_uri(&[("prompt", "login")]))
        .await;
    shared.log_in(&world, &login, "bob").await;
    assert_ne!(shared.cookies[SESSION], alice.cookies[SESSION]);
    // A login replaces the one before: the page that it saw is nobody's any more.
    for browser in [&mut shared, &mut alice] {
        assert_page(&answer(browser, &world, &page, "approve").await, 400);
    }
    for device in [&device, &other] {
        poll(&world, "tv", device)
            .await
            .assert_error(400, "authorization_pending");
    }
    // The form of the first page is bound to the login, too.
    let form = [("csrf", form_csrf.as_str()), ("user_code", shown.as_str())];
    let answer = bob.post(&world, "/device", &form).await;
    assert_page(&answer, 400);
    assert!(!answer.body.contains("value=\"approve\""));
}

#[tokio::test]
async fn approval_for_a_device_is_asked_for_each_time_and_is_no_consent_for_codes() {
    let text = |text: String| {
        let both = "grant_types: [device_code, authorization_code], redirect_uris: ['https://tv.example/cb']";
        text.replacen("grant_types: [device_code, refresh_token]", both, 1)
            .replacen("consent: skip", "consent: ask", 1)
    };
    let world = World::with(devices(text)).await;
    let mut alice = logged_in(&world, "alice").await;
    for _ in 0..2 {
        let device = begin(&world, "orders:read").await;
        let page = enter(&mut alice, &world, &device.user_code).await;
        answer(&mut alice, &world, &page, "approve").await;
        assert_eq!(poll(&world, "tv", &device).await.status, 200);
    }
    let code = [
        ("client_id", "tv"),
        ("redirect_uri", "https://tv.example/cb"),
        ("scope", "orders:read"),
    ];
    let page = alice.get(&world, &authorize_uri(&code)).await;
    assert_eq!(page.status, 200, "{}", page.location());
    assert!(page.body.contains("value=\"approve\""));
}

#[tokio::test]
async fn neither_code_is_at_rest() {
    let world = world().await;
    let device = begin(&world, "orders:read").await;
    let mut browser = Browser::default();
    let link = format!("/device?user_code={}", device.user_code);
    let login = browser.get(&world, &link).await;
    browser.log_in(&world, &login, "alice").await;
    enter(&mut browser, &world, &device.user_code).await;
    let page = world.store.scan("", None, 1000).await.unwrap();
    let letters = device.user_code.replace('-', "");
    assert!(page.entries.iter().any(|(key, _)| key.starts_with("uc:")));
    for (key, value) in page.entries {
        let text = format!("{key}{}", String::from_utf8_lossy(&value));
        for secret in [&device.device_code, &device.user_code, &letters] {
            assert!(!text.contains(secret.as_str()), "{key}");
        }
    }
    // And once somebody has answered, the short one is not even there as a hash.
    decide(&world, "alice", &device.user_code, "deny").await;
    let page = world.store.scan("uc:", None, 1000).await.unwrap();
    assert!(page.entries.is_empty());
}
