//! What a provider, or somebody in its place, may send: nobody is logged in by it.

use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};

use super::upstream::{Script, Upstream};
use super::{START, Scene, provider};
use crate::tests::harness::{Answer, Browser, World, config};
use crate::tests::signer::Signer;

/// The login page with words, and no login.
#[track_caller]
fn assert_stopped(answer: &Answer, status: u16, words: &str, browser: &Browser) {
    assert_eq!(answer.status.as_u16(), status, "{}", answer.body);
    assert!(answer.body.contains(words), "{}", answer.body);
    assert!(answer.body.contains("role=\"alert\""), "{}", answer.body);
    assert!(answer.body.contains("action=\"/federation/corp\""));
    assert!(!browser.cookies.keys().any(|name| name.contains("session")));
}

/// For what is known of a provider, so many seconds go by.
async fn later(secs: u64) {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(secs)).await;
    tokio::time::resume();
}

const UNTRUSTED: &str = "cannot be trusted";

#[tokio::test]
async fn an_id_token_that_does_not_hold_lets_nobody_in() {
    let scene = Scene::new().await;
    let lies: [(&str, Value); 12] = [
        ("nonce", json!("another")),
        ("nonce", Value::Null),
        ("iss", json!("https://evil.example")),
        ("aud", json!("another-client")),
        ("aud", json!(["cedar", "another-client"])),
        ("azp", json!("another-client")),
        ("exp", json!(START)),
        ("iat", json!(START + 60)),
        ("auth_time", json!(START + 60)),
        ("at_hash", json!("AAAAAAAAAAAAAAAAAAAAAA")),
        ("sub", json!("")),
        ("sub", Value::Null),
    ];
    for (claim, lie) in lies {
        scene
            .upstream
            .set(|it| it.id_token = vec![(claim, lie.clone())]);
        let mut browser = Browser::default();
        let answer = scene.log_in(&mut browser, &[]).await;
        assert_stopped(&answer, 403, UNTRUSTED, &browser);
    }
    scene.upstream.set(|it| it.id_token.clear());
    let answer = scene.log_in(&mut Browser::default(), &[]).await;
    assert_eq!(answer.status, 303, "{}", answer.body);
}

#[tokio::test]
async fn an_id_token_that_is_not_signed_by_the_provider_lets_nobody_in() {
    let scene = Scene::new().await;
    let by = |change: fn(&mut Script)| scene.upstream.set(change);
    let mut browser = Browser::default();
    scene.log_in(&mut browser, &[]).await;
    for change in [
        (|it: &mut Script| it.alg = "none") as fn(&mut Script),
        // With the algorithm of a shared secret.
        |it| it.alg = "HS256",
        // Another key under the same name: what is known is not asked for again.
        |it| {
            it.alg = "ES256";
            it.signer = Signer::new();
        },
    ] {
        by(change);
        let mut browser = Browser::default();
        let answer = scene.log_in(&mut browser, &[]).await;
        assert_stopped(&answer, 403, UNTRUSTED, &browser);
    }
}

#[tokio::test]
async fn userinfo_of_somebody_else_lets_nobody_in() {
    let scene = Scene::new().await;
    scene
        .upstream
        .set(|it| it.userinfo = vec![("sub", json!("u2"))]);
    let mut browser = Browser::default();
    let answer = scene.log_in(&mut browser, &[]).await;
    assert_stopped(&answer, 403, UNTRUSTED, &browser);
}

#[tokio::test]
async fn the_answer_must_say_whose_it_is_where_the_provider_always_does() {
    let scene = Scene::new().await;
    for change in [
        |query: &str| query.split("&iss=").next().unwrap().to_owned(),
        |query: &str| {
            format!(
                "{}&iss=https%3A%2F%2Fevil.example",
                query.split("&iss=").next().unwrap()
            )
        },
    ] {
        let mut browser = Browser::default();
        let page = scene.page(&mut browser, &[]).await;
        let sent = scene.sent(&mut browser, &page).await;
        let query = scene.upstream.approve(&sent);
        let answer = scene.back(&mut browser, &change(&query)).await;
        assert_stopped(&answer, 403, UNTRUSTED, &browser);
        // The code was not even sent to where it might have been wanted.
        assert_eq!(scene.upstream.asked("token"), 0);
    }
}

#[tokio::test]
async fn a_state_is_good_once_and_in_the_browser_that_was_sent() {
    let scene = Scene::new().await;
    let mut browser = Browser::default();
    let page = scene.page(&mut browser, &[]).await;
    let sent = scene.sent(&mut browser, &page).await;
    let query = scene.upstream.approve(&sent);
    // Somebody's answer in somebody else's browser, with a login of its own under way and without.
    let mut other = Browser::default();
    for known in [false, true] {
        if known {
            let page = scene.page(&mut other, &[]).await;
            scene.sent(&mut other, &page).await;
        }
        let answer = scene.back(&mut other, &query).await;
        assert_eq!(answer.status, 400, "{}", answer.body);
        assert_eq!(scene.upstream.asked("token"), 0);
    }
    // It has used up nothing.
    let answer = scene.back(&mut browser, &query).await;
    assert_eq!(answer.status, 303, "{}", answer.body);
    let again = scene.back(&mut browser, &query).await;
    assert_eq!(again.status, 400, "{}", again.body);
    for made_up in [
        "",
        "code=x",
        "state=x&code=x",
        "state=&code=x",
        "code=x&code=y",
    ] {
        let answer = scene.back(&mut browser, made_up).await;
        assert_eq!(answer.status, 400, "{made_up}");
    }
    assert_eq!(scene.upstream.asked("token"), 1);
}

#[tokio::test]
async fn of_fifty_answers_at_once_one_is_taken() {
    let scene = Scene::new().await;
    let mut browser = Browser::default();
    let page = scene.page(&mut browser, &[]).await;
    let sent = scene.sent(&mut browser, &page).await;
    let query = scene.upstream.approve(&sent);
    let answers = (0..50).map(|_| {
        let (scene, query, mut browser) = (&scene, &query, browser.clone());
        async move { scene.back(&mut browser, query).await.status.as_u16() }
    });
    let answers = futures_util::future::join_all(answers).await;
    assert_eq!(answers.iter().filter(|status| **status == 303).count(), 1);
    assert_eq!(answers.iter().filter(|status| **status == 400).count(), 49);
}

#[tokio::test]
async fn a_login_that_took_too_long_is_over() {
    let scene = Scene::new().await;
    let mut browser = Browser::default();
    let page = scene.page(&mut browser, &[]).await;
    let sent = scene.sent(&mut browser, &page).await;
    let query = scene.upstream.approve(&sent);
    scene.world.advance(900);
    let answer = scene.back(&mut browser, &query).await;
    assert_eq!(answer.status, 400, "{}", answer.body);
}

#[tokio::test]
async fn one_provider_is_not_taken_for_another() {
    let (good, evil) = (Upstream::start(START).await, Upstream::start(START).await);
    let both = provider("corp", &good, "")
        + &provider("evil", &evil, "").replace("\nidentity_providers:\n", "");
    let world = World::with(config(|text| text + &both)).await;
    let scene = Scene {
        world,
        upstream: good,
    };
    let mut browser = Browser::default();
    let page = scene.page(&mut browser, &[]).await;
    let sent = scene.sent(&mut browser, &page).await;
    // The answer of the good one, at the place of the other (RFC 9700 section 4.4).
    let query = scene.upstream.approve(&sent);
    let uri = format!("/federation/evil/callback?{query}");
    let answer = browser.get(&scene.world, &uri).await;
    assert_eq!(answer.status, 400, "{}", answer.body);
    assert_eq!((scene.upstream.asked("token"), evil.asked("token")), (0, 0));
    let answer = browser
        .get(&scene.world, "/federation/nobody/callback")
        .await;
    assert_eq!(answer.status, 400);
}

/// What does not work, how, and what the page says of it.
fn outages() -> Vec<(&'static str, (StatusCode, String), u16, &'static str)> {
    const SILENT: &str = "does not answer";
    let status = |status| (status, String::new());
    let ok = |body: &str| (StatusCode::OK, body.to_owned());
    let long = format!("[{}", " ".repeat(300 << 10));
    let tokens = ok("{\"access_token\":\"x\",\"token_type\":\"Bearer\"}");
    let error = "{\"error\":\"invalid_grant\"}".to_owned();
    let refused = (StatusCode::BAD_REQUEST, error);
    vec![
        ("metadata", status(StatusCode::BAD_GATEWAY), 503, SILENT),
        // Nobody is followed anywhere.
        ("metadata", status(StatusCode::FOUND), 503, SILENT),
        ("metadata", ok("{}"), 503, SILENT),
        ("metadata", ok(&long), 503, SILENT),
        ("token", status(StatusCode::BAD_GATEWAY), 403, UNTRUSTED),
        ("token", status(StatusCode::FOUND), 403, UNTRUSTED),
        ("token", ok(&long), 503, SILENT),
        ("token", tokens, 403, UNTRUSTED),
        ("token", refused, 403, "did not sign you in"),
        ("userinfo", status(StatusCode::UNAUTHORIZED), 403, UNTRUSTED),
    ]
}

#[tokio::test]
async fn a_provider_that_does_not_answer_lets_nobody_in_and_the_page_says_so() {
    for (path, broken, expected, words) in outages() {
        let scene = Scene::new().await;
        scene.upstream.set(|it| {
            it.broken.insert(path, broken);
        });
        let mut browser = Browser::default();
        let page = scene.page(&mut browser, &[]).await;
        let pressed = scene.press(&mut browser, &page, "corp").await;
        let answer = if path == "metadata" {
            pressed
        } else {
            let query = scene.upstream.approve(&super::target(&pressed));
            scene.back(&mut browser, &query).await
        };
        assert_stopped(&answer, expected, words, &browser);
        // The page that is shown works as the first did.
        scene.upstream.set(|it| it.broken.clear());
        later(4).await;
        let sent = scene.sent(&mut browser, &answer).await;
        let query = scene.upstream.approve(&sent);
        let answer = scene.back(&mut browser, &query).await;
        assert_eq!(answer.status, 303, "{path} {}", answer.body);
    }
}

#[tokio::test]
async fn whoever_comes_just_after_a_failure_does_not_wait_for_another() {
    let scene = Scene::new().await;
    scene.upstream.set(|it| {
        let down = (StatusCode::BAD_GATEWAY, String::new());
        it.broken.insert("metadata", down);
    });
    for _ in 0..5 {
        let mut browser = Browser::default();
        let page = scene.page(&mut browser, &[]).await;
        let answer = scene.press(&mut browser, &page, "corp").await;
        assert_stopped(&answer, 503, "does not answer", &browser);
    }
    assert_eq!(scene.upstream.asked("metadata"), 1);
}

#[tokio::test]
async fn what_the_provider_refuses_is_said_on_the_login_page() {
    let scene = Scene::new().await;
    for (error, status, words) in [
        ("access_denied", 403, "did not sign you in"),
        ("temporarily_unavailable", 503, "does not answer"),
        ("invalid_request", 403, UNTRUSTED),
    ] {
        let mut browser = Browser::default();
        let page = scene.page(&mut browser, &[]).await;
        let sent = scene.sent(&mut browser, &page).await;
        let query = scene.upstream.approve(&sent).replace("code=", "x=");
        let query = format!("{query}&error={error}&error_description=%3Cb%3E");
        let answer = scene.back(&mut browser, &query).await;
        assert_stopped(&answer, status, words, &browser);
        assert!(!answer.body.contains("<b>"));
    }
}

#[tokio::test]
async fn endpoints_in_clear_text_on_the_network_are_not_used() {
    for (member, path) in [
        ("token_endpoint", "http://id.example/token"),
        ("jwks_uri", "http://id.example/jwks"),
        ("authorization_endpoint", "http://id.example/auth"),
        ("issuer", "https://other.example"),
    ] {
        let scene = Scene::new().await;
        scene
            .upstream
            .set(|it| it.metadata = vec![(member, json!(path))]);
        let mut browser = Browser::default();
        let page = scene.page(&mut browser, &[]).await;
        let pressed = scene.press(&mut browser, &page, "corp").await;
        let answer = if member == "token_endpoint" {
            let query = scene.upstream.approve(&super::target(&pressed));
            scene.back(&mut browser, &query).await
        } else {
            pressed
        };
        assert_stopped(&answer, 503, "does not answer", &browser);
    }
}

#[tokio::test]
async fn the_button_is_pressed_on_our_page_alone() {
    let scene = Scene::new().await;
    let mut browser = Browser::default();
    let page = scene.page(&mut browser, &[]).await;
    let interaction = page.field("interaction");
    // The token of the form beside it is none of this one.
    let csrf = page.field("csrf");
    for csrf in ["", "x", &csrf] {
        let form = [("interaction", interaction.as_str()), ("csrf", csrf)];
        let answer = browser.post(&scene.world, "/federation/corp", &form).await;
        assert_eq!(answer.status, 400, "{}", answer.body);
    }
    let mut other = Browser::default();
    let answer = scene.press(&mut other, &page, "corp").await;
    assert_eq!(answer.status, 400, "{}", answer.body);
    assert_eq!(scene.upstream.asked("metadata"), 0);
}

#[tokio::test]
async fn keys_that_have_turned_are_asked_for_again_but_not_at_every_word() {
    let scene = Scene::new().await;
    scene.log_in(&mut Browser::default(), &[]).await;
    scene.upstream.set(|it| {
        it.signer = Signer::new();
        it.kid = "k2";
    });
    let mut browser = Browser::default();
    let answer = scene.log_in(&mut browser, &[]).await;
    // Within a minute of the last time: whoever sends made-up keys does not make us ask.
    assert_stopped(&answer, 403, UNTRUSTED, &browser);
    assert_eq!(scene.upstream.asked("metadata"), 1);
    later(61).await;
    let answer = scene.log_in(&mut browser, &[]).await;
    assert_eq!(answer.status, 303, "{}", answer.body);
    assert_eq!(scene.upstream.asked("metadata"), 2);
}
