//! Browsers and logins that do not go together any more: one that has had several logins, and one that was
//! not there when its login ended.

use http::StatusCode;

use super::super::harness::{Browser, authorize_uri, query, refresh_form};
use super::{AFTER, Told, is_logged_out, logged_in, logout_uri, text, world};

#[tokio::test]
async fn who_logs_in_again_in_the_same_browser_logs_out_of_it_all() {
    let world = world("").await;
    let (mut browser, first) = logged_in(&world, "openid orders:read").await;
    let uri = authorize_uri(&[("prompt", "login"), ("scope", "openid orders:read")]);
    let page = browser.get(&world, &uri).await;
    let target = browser
        .log_in(&world, &page, "alice")
        .await
        .location()
        .to_owned();
    let second = world.redeem("web", &query(&target)["code"]).await.json();
    for tokens in [&first, &second] {
        assert!(world.is_active(text(tokens, "access_token")).await);
    }
    // By the token of the first login, too.
    let uri = logout_uri(&[("id_token_hint", text(&first, "id_token"))]);
    assert!(
        browser
            .get(&world, &uri)
            .await
            .body
            .contains("You are signed out")
    );
    for tokens in [&first, &second] {
        assert!(!world.is_active(text(tokens, "access_token")).await);
    }
}

#[tokio::test]
async fn another_person_in_the_same_browser_ends_the_login_before() {
    let world = world("").await;
    let (mut browser, first) = logged_in(&world, "openid orders:read").await;
    let uri = authorize_uri(&[("prompt", "login"), ("scope", "openid orders:read")]);
    let page = browser.get(&world, &uri).await;
    browser.log_in(&world, &page, "bob").await;
    assert!(!world.is_active(text(&first, "access_token")).await);
}

#[tokio::test]
async fn a_login_that_the_browser_has_forgotten_ends_by_its_id_token() {
    let (told, address) = Told::listen(StatusCode::OK).await;
    let world = world(&format!("backchannel_logout_uri: 'http://{address}/bye',")).await;
    let (mut browser, tokens) = logged_in(&world, "openid orders:read").await;
    world.advance(8 * 3600 + 1);
    let refreshed = world
        .token("web", &refresh_form(text(&tokens, "refresh_token")))
        .await
        .json();
    assert!(world.is_active(text(&refreshed, "access_token")).await);
    let hint = text(&refreshed, "id_token");
    let uri = logout_uri(&[("id_token_hint", hint), ("post_logout_redirect_uri", AFTER)]);
    assert_eq!(browser.get(&world, &uri).await.location(), AFTER);
    assert!(!world.is_active(text(&refreshed, "access_token")).await);
    assert_eq!(told.count(1).await, 1);
}

#[tokio::test]
async fn a_login_that_was_ended_without_its_browser_leads_to_nothing_as_long_as_it_would_have_lasted()
 {
    let world = world("").await;
    let (mut browser, tokens) = logged_in(&world, "openid orders:read").await;
    let uri = logout_uri(&[("id_token_hint", text(&tokens, "id_token"))]);
    Browser::default().get(&world, &uri).await;
    for later in [0, 3700, 3 * 3600] {
        world.advance(later);
        assert!(is_logged_out(&mut browser, &world).await);
        let device = browser.clone().get(&world, "/device").await;
        let page = if device.status == 303 {
            browser.clone().get(&world, device.location()).await
        } else {
            device
        };
        assert!(page.body.contains("name=\"password\""), "{}", page.body);
    }
}
