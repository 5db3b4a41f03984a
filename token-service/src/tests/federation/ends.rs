//! The end of a login: here and there.

use serde_json::{Value, json};

use super::{START, Scene, query, target};
use crate::tests::harness::{Answer, Browser, authorize_uri, encode};

const LOGS_OUT: &str = "    logout: true\n";

impl Scene {
    async fn is_logged_in(&self, browser: &Browser) -> bool {
        let uri = authorize_uri(&[("prompt", "none")]);
        let answer = browser.clone().get(&self.world, &uri).await;
        query(answer.location()).contains_key("code")
    }

    async fn say(&self, token: &str) -> Answer {
        let form = [("logout_token", token)];
        let uri = "/federation/corp/backchannel_logout";
        Browser::default().post(&self.world, uri, &form).await
    }

    fn logout_token(&self, changes: &[(&str, Value)]) -> String {
        let claims = json!({
            "iss": self.upstream.issuer, "aud": "cedar", "iat": START, "exp": START + 120,
            "jti": format!("j{}", changes.len()), "sid": "up-1", "sub": "u1",
            "events": { "http://schemas.openid.net/event/backchannel-logout": {} },
        });
        let claims = crate::tests::signer::changed(claims, changes);
        self.upstream.sign("logout+jwt", &claims)
    }
}

#[tokio::test]
async fn whoever_logs_out_here_is_sent_to_log_out_there_and_comes_back_to_the_client() {
    let scene = Scene::with(LOGS_OUT).await;
    let mut browser = Browser::default();
    let tokens = scene.tokens(&mut browser).await;
    let hint = tokens["id_token"].as_str().unwrap();
    let uri = format!("/logout?{}", encode(&[("id_token_hint", hint)]));
    let answer = browser.get(&scene.world, &uri).await;
    let to = target(&answer);
    assert!(to.starts_with(&format!("{}/session/end?", scene.upstream.issuer)));
    let asked = query(&to);
    assert_eq!(asked["client_id"], "cedar");
    let back = "https://as.example/federation/corp/logged_out";
    assert_eq!(asked["post_logout_redirect_uri"], back);
    // The provider's own ID token, which no store has in clear text.
    let text = asked["id_token_hint"].split('.').nth(1).unwrap();
    assert!(!text.is_empty() && asked["id_token_hint"] != hint);
    assert!(!scene.is_logged_in(&browser).await);
    assert!(
        !scene
            .world
            .is_active(tokens["access_token"].as_str().unwrap())
            .await
    );
    let answer = browser.get(&scene.world, back).await;
    assert!(
        answer.body.contains("You are signed out"),
        "{}",
        answer.body
    );
}

#[tokio::test]
async fn nobody_is_sent_on_whose_provider_is_not_to_be_told_or_cannot_be() {
    for (more, is_down) in [("", false), (LOGS_OUT, true)] {
        let scene = Scene::with(more).await;
        let mut browser = Browser::default();
        let tokens = scene.tokens(&mut browser).await;
        if is_down {
            tokio::time::pause();
            tokio::time::advance(std::time::Duration::from_hours(2)).await;
            tokio::time::resume();
            scene.upstream.set(|it| {
                let down = (http::StatusCode::BAD_GATEWAY, String::new());
                it.broken.insert("metadata", down);
            });
        }
        let hint = tokens["id_token"].as_str().unwrap();
        let uri = format!("/logout?{}", encode(&[("id_token_hint", hint)]));
        let answer = browser.get(&scene.world, &uri).await;
        assert!(
            answer.body.contains("You are signed out"),
            "{}",
            answer.body
        );
        assert!(!scene.is_logged_in(&browser).await);
    }
}

#[tokio::test]
async fn a_logout_token_ends_the_logins_that_came_from_there_and_what_they_have_led_to() {
    for changes in [
        vec![],
        vec![("sub", json!(null))],
        vec![("sid", json!(null))],
    ] {
        let scene = Scene::new().await;
        let mut browser = Browser::default();
        let tokens = scene.tokens(&mut browser).await;
        // Another login there, of another person.
        scene.upstream.set(|it| {
            it.id_token = vec![("sid", json!("up-2")), ("sub", json!("u2"))];
            it.userinfo = vec![("sub", json!("u2"))];
        });
        let mut other = Browser::default();
        scene.tokens(&mut other).await;
        let answer = scene.say(&scene.logout_token(&changes)).await;
        assert_eq!((answer.status.as_u16(), answer.body.as_str()), (200, ""));
        assert!(!scene.is_logged_in(&browser).await);
        assert!(
            !scene
                .world
                .is_active(tokens["access_token"].as_str().unwrap())
                .await
        );
        assert!(scene.is_logged_in(&other).await);
    }
}

#[tokio::test]
async fn a_logout_token_that_does_not_hold_ends_nothing() {
    let scene = Scene::new().await;
    let mut browser = Browser::default();
    scene.tokens(&mut browser).await;
    let event = "http://schemas.openid.net/event/backchannel-logout";
    for lie in [
        ("iss", json!("https://evil.example")),
        ("aud", json!("another")),
        ("aud", json!(null)),
        ("iat", json!(START - 300)),
        ("iat", json!(START + 61)),
        ("iat", json!(null)),
        ("exp", json!(START)),
        ("exp", json!("never")),
        ("jti", json!(null)),
        ("events", json!(null)),
        ("events", json!({ "other": {} })),
        ("events", json!({ event: true })),
        ("nonce", json!("n")),
    ] {
        let answer = scene
            .say(&scene.logout_token(std::slice::from_ref(&lie)))
            .await;
        answer.assert_error(400, "invalid_request");
    }
    let about_nobody = [("sid", json!(null)), ("sub", json!(null))];
    let mut signed_by_another = scene.logout_token(&[]);
    signed_by_another.truncate(signed_by_another.len() - 4);
    signed_by_another.push_str("AAAA");
    let claims = json!({ "iss": scene.upstream.issuer });
    for token in [
        scene.logout_token(&about_nobody),
        signed_by_another,
        scene.upstream.sign("at+jwt", &claims),
        String::new(),
        "x".into(),
    ] {
        scene.say(&token).await.assert_error(400, "invalid_request");
    }
    assert!(scene.is_logged_in(&browser).await);
    let good = scene.logout_token(&[]);
    assert_eq!(scene.say(&good).await.status, 200);
    // Once.
    scene.say(&good).await.assert_error(400, "invalid_request");
}

#[tokio::test]
async fn a_login_that_the_provider_has_ended_meanwhile_is_none() {
    let scene = Scene::new().await;
    let mut browser = Browser::default();
    let page = scene.page(&mut browser, &[]).await;
    let sent = scene.sent(&mut browser, &page).await;
    let query = scene.upstream.approve(&sent);
    assert_eq!(scene.say(&scene.logout_token(&[])).await.status, 200);
    let answer = scene.back(&mut browser, &query).await;
    assert_eq!(answer.status, 403, "{}", answer.body);
    assert!(!scene.is_logged_in(&browser).await);
    // The next one is another.
    scene.world.advance(1);
    scene.upstream.set(|it| it.now += 1);
    let answer = scene.log_in(&mut browser, &[]).await;
    assert_eq!(answer.status, 303, "{}", answer.body);
}

#[tokio::test]
async fn an_outage_of_the_store_logs_nobody_in_or_out() {
    let scene = Scene::new().await;
    let mut browser = Browser::default();
    let page = scene.page(&mut browser, &[]).await;
    let sent = scene.sent(&mut browser, &page).await;
    let query = scene.upstream.approve(&sent);
    let token = scene.logout_token(&[]);
    scene.world.store.set_read_only(true);
    let answer = scene.back(&mut browser, &query).await;
    assert_eq!(answer.status, 503, "{}", answer.body);
    assert_eq!(scene.say(&token).await.status, 503);
    scene.world.store.set_read_only(false);
    let answer = scene.back(&mut browser, &query).await;
    assert_eq!(answer.status, 303, "{}", answer.body);
}
