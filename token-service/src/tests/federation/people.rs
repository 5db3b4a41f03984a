//! Who somebody is here that has logged in elsewhere, for policies and services, and for how long.

use serde_json::{Value, json};

use super::{START, Scene, provider, query, target};
use crate::tests::harness::{
    Browser, CALLBACK, ORDERS, World, authorize_uri, config, refresh_form, verified,
};

/// What the decision point was told last of the subject.
fn told(world: &World) -> Value {
    let asked = world.decisions.asked.lock().unwrap();
    json!(asked.last().unwrap().subject.properties)
}

async fn swapped(world: &World, token: &str) -> Value {
    let jwt = phantom(world, token).await;
    verified(world, &jwt, "at+jwt", ORDERS).await
}

async fn phantom(world: &World, token: &str) -> String {
    let mut request =
        crate::tests::harness::as_client("gw_orders", "/introspect", &[("token", token)]);
    let accept = http::HeaderValue::from_static("application/jwt");
    request.headers_mut().insert(http::header::ACCEPT, accept);
    let answer = world.send(request).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.body
}

fn text<'a>(tokens: &'a Value, name: &str) -> &'a str {
    tokens[name].as_str().unwrap()
}

#[tokio::test]
async fn claims_of_id_token_and_userinfo_become_what_policies_and_services_are_told() {
    let scene = Scene::new().await;
    let world = &scene.world;
    let page = scene.page(&mut Browser::default(), &[]).await;
    assert!(page.body.contains("Continue with Example &amp; Sons"));
    let tokens = scene.tokens(&mut Browser::default()).await;
    let claims = swapped(world, text(&tokens, "access_token")).await;
    assert_eq!(claims["roles"], json!(["staff"]));
    assert_eq!(claims["email"], "Ann@Example.com");
    let sub = text(&claims, "sub");
    assert!(sub.starts_with("federated:corp:"), "{sub}");
    let subject = told(world);
    assert_eq!(subject["roles"], json!(["staff"]));
    assert_eq!(subject["department"], "sales");
    assert_eq!(subject["identity_provider"], "corp");
    assert_eq!(subject["username"], "ann");
    // Nothing that the provider says of the login is taken over unasked.
    assert_eq!((subject.get("acr"), claims.get("acr")), (None, None));
    let id_token = verified(world, text(&tokens, "id_token"), "JWT", "web").await;
    assert_eq!(id_token["sub"], sub);
    assert_eq!(id_token["auth_time"], START - 5);
    assert_eq!(id_token.get("amr"), None);
    // The same person is the same again, wherever.
    let again = scene.tokens(&mut Browser::default()).await;
    let again = swapped(world, text(&again, "access_token")).await;
    assert_eq!(again["sub"], sub);
}

#[tokio::test]
async fn userinfo_of_ours_and_the_consent_page_know_who_it_is() {
    let scene = Scene::new().await;
    let mut browser = Browser::default();
    let changes = [("scope", "openid profile email orders:read")];
    let answer = scene.log_in(&mut browser, &changes).await;
    let page = browser.get(&scene.world, answer.location()).await;
    assert!(page.body.contains("signed in as <strong>ann</strong>"));
    let code = scene.code(&mut browser, page).await;
    let tokens = scene.world.redeem("web", &code).await.json();
    let request = http::Request::get("/userinfo").header(
        http::header::AUTHORIZATION,
        format!("Bearer {}", text(&tokens, "access_token")),
    );
    let request = request.body(axum::body::Body::empty()).unwrap();
    let claims = scene.world.send(request).await.json();
    assert_eq!(claims["name"], "Ann <Upstream>");
    assert_eq!(claims["preferred_username"], "ann");
}

#[tokio::test]
async fn a_new_login_brings_new_attributes_and_voids_what_is_cached_of_the_old() {
    let scene = Scene::new().await;
    let world = &scene.world;
    let mut browser = Browser::default();
    let tokens = scene.tokens(&mut browser).await;
    let tail = world.store_tail().await;
    scene.log_in(&mut Browser::default(), &[]).await;
    assert_eq!(world.events(&tail).await, Vec::<Value>::new());
    scene
        .upstream
        .set(|it| it.id_token = vec![("groups", json!(["staff", "lead"]))]);
    scene.log_in(&mut Browser::default(), &[]).await;
    assert_eq!(
        world.events(&tail).await,
        [json!({ "kind": "registry_changed" })]
    );
    // Tokens of before, too.
    let claims = swapped(world, text(&tokens, "access_token")).await;
    assert_eq!(claims["roles"], json!(["staff", "lead"]));
}

#[tokio::test]
async fn nobody_is_taken_for_a_local_user_without_a_rule() {
    let scene = Scene::new().await;
    scene.upstream.set(|it| {
        it.id_token = vec![
            ("email", json!("alice@example.com")),
            ("email_verified", json!(true)),
        ];
        it.userinfo = vec![("preferred_username", json!("ALICE"))];
    });
    let tokens = scene.tokens(&mut Browser::default()).await;
    let claims = swapped(&scene.world, text(&tokens, "access_token")).await;
    assert!(text(&claims, "sub").starts_with("federated:corp:"));
    // And not by name either: policies may read it.
    assert_eq!(told(&scene.world)["username"], "ALICE (corp)");
}

#[tokio::test]
async fn a_verified_address_leads_to_the_one_user_who_has_it() {
    let scene = Scene::with("    link: verified_email\n    create: false\n").await;
    for (email, is_verified, is_in) in [
        ("Alice@Example.com", json!(true), true),
        ("alice@example.com", json!(false), false),
        ("alice@example.com", json!(null), false),
        ("nobody@example.com", json!(true), false),
    ] {
        scene.upstream.set(|it| {
            it.id_token = vec![("email", json!(email)), ("email_verified", is_verified)];
        });
        let mut browser = Browser::default();
        let answer = scene.log_in(&mut browser, &[]).await;
        if !is_in {
            assert_eq!(answer.status, 403, "{}", answer.body);
            assert!(answer.body.contains("may not be used here"));
            continue;
        }
        let code = scene.code(&mut browser, answer).await;
        let tokens = scene.world.redeem("web", &code).await.json();
        let claims = swapped(&scene.world, text(&tokens, "access_token")).await;
        // The user as configured, with nothing of the provider's.
        assert_eq!(
            (&claims["sub"], &claims["roles"]),
            (&json!("alice"), &json!(["customer"]))
        );
    }
}

#[tokio::test]
async fn a_username_leads_to_the_user_only_by_the_rule_and_never_to_one_who_is_shut_out() {
    let upstream = super::Upstream::start(START).await;
    let more = "    link: username\n";
    let text = |disabled: &str| {
        let (more, disabled) = (provider("corp", &upstream, more), disabled.to_owned());
        config(move |text| text.replace("sub: u-2,", &format!("sub: u-2, {disabled}")) + &more)
    };
    let world = World::with(text("")).await;
    let scene = Scene {
        world,
        upstream: upstream.clone(),
    };
    scene
        .upstream
        .set(|it| it.userinfo = vec![("preferred_username", json!("Bob"))]);
    let tokens = scene.tokens(&mut Browser::default()).await;
    let claims = swapped(&scene.world, tokens["access_token"].as_str().unwrap()).await;
    assert_eq!(claims["sub"], "u-2");
    let scene = Scene {
        world: scene.world.restarted(text("disabled: true,")).await,
        upstream: upstream.clone(),
    };
    let answer = scene.log_in(&mut Browser::default(), &[]).await;
    assert_eq!(answer.status, 403, "{}", answer.body);
}

#[tokio::test]
async fn who_may_come_in_is_said_by_claims() {
    let scene = Scene::with("    require: { hd: [example.com], groups: [staff, temp] }\n").await;
    for (hd, groups, is_in) in [
        (json!("example.com"), json!(["x", "temp"]), true),
        (json!("example.com"), json!(["x"]), false),
        (json!("evil.com"), json!(["staff"]), false),
        (json!(null), json!(["staff"]), false),
        (json!("example.com"), json!(null), false),
        (json!(["example.com"]), json!("staff"), true),
    ] {
        scene
            .upstream
            .set(|it| it.id_token = vec![("hd", hd), ("groups", groups)]);
        let answer = scene.log_in(&mut Browser::default(), &[]).await;
        let expected = if is_in { 303 } else { 403 };
        assert_eq!(answer.status, expected, "{}", answer.body);
    }
}

#[tokio::test]
async fn whoever_is_blocked_or_whose_provider_is_gone_has_nothing_left() {
    let scene = Scene::new().await;
    let mut browser = Browser::default();
    let tokens = scene.tokens(&mut browser).await;
    let (access, refresh) = (
        text(&tokens, "access_token"),
        text(&tokens, "refresh_token"),
    );
    assert!(scene.world.is_active(access).await);
    let blocked = provider("corp", &scene.upstream, "    blocked: [u1]\n");
    let renamed = provider("other", &scene.upstream, "");
    let mut moved = provider("corp", &scene.upstream, "");
    moved = moved.replace("127.0.0.1", "localhost");
    for more in [blocked, renamed, moved, String::new()] {
        let tail = scene.world.store_tail().await;
        let world = scene.world.restarted(config(|text| text + &more)).await;
        assert!(!world.is_active(access).await, "{more}");
        world
            .token("web", &refresh_form(refresh))
            .await
            .assert_error(400, "invalid_grant");
        let uri = authorize_uri(&[("prompt", "none")]);
        let answer = browser.clone().get(&world, &uri).await;
        assert_eq!(query(answer.location())["error"], "login_required");
        // Gateways hear of it.
        assert!(!world.events(&tail).await.is_empty());
    }
    // What is gone comes back with its provider.
    let same = provider("corp", &scene.upstream, "");
    let world = scene.world.restarted(config(|text| text + &same)).await;
    assert!(world.is_active(access).await);
}

#[tokio::test]
async fn silent_requests_consent_refresh_and_devices_work_as_for_everybody() {
    let scene = Scene::new().await;
    let world = &scene.world;
    let mut browser = Browser::default();
    let tokens = scene.tokens(&mut browser).await;
    let answer = browser
        .get(world, &authorize_uri(&[("prompt", "none")]))
        .await;
    assert!(
        query(answer.location()).contains_key("code"),
        "{}",
        answer.location()
    );
    let refreshed = world
        .token("web", &refresh_form(text(&tokens, "refresh_token")))
        .await;
    assert_eq!(refreshed.status, 200, "{}", refreshed.body);
    // A person who comes with a device's code keeps it on the way.
    let mut browser = Browser::default();
    let page = browser.get(world, "/device?user_code=BCDF-GHJK").await;
    let sent = target(&scene.press(&mut browser, &page, "corp").await);
    let answer = scene
        .back(&mut browser, &scene.upstream.approve(&sent))
        .await;
    assert_eq!(answer.location(), "/device?user_code=BCDF-GHJK");
    let page = browser.get(world, answer.location()).await;
    assert!(
        page.body.contains("signed in as <strong>ann</strong>"),
        "{}",
        page.body
    );
}

#[tokio::test]
async fn what_a_client_wants_of_the_login_is_passed_on_and_held_to() {
    let scene = Scene::with("    trust_acr: true\n    acr: corp\n").await;
    let mut browser = Browser::default();
    scene.log_in(&mut browser, &[]).await;
    let page = |changes| {
        let (scene, mut browser) = (&scene, browser.clone());
        async move { (scene.page(&mut browser, changes).await, browser) }
    };
    for (changes, max_age, prompt) in [
        (
            &[
                ("prompt", "login"),
                ("login_hint", "ann"),
                ("acr_values", "hw mfa"),
            ][..],
            "0",
            "login",
        ),
        (&[("max_age", "0")], "0", "login"),
        (&[("max_age", "3")], "3", ""),
    ] {
        for (seen, expected) in [(Some(START), 303), (Some(START - 15), 403), (None, 403)] {
            scene
                .upstream
                .set(|it| it.id_token = vec![("auth_time", json!(seen))]);
            let (page, mut browser) = page(changes).await;
            let sent = scene.sent(&mut browser, &page).await;
            let asked = query(&sent);
            assert_eq!(asked["max_age"], max_age);
            assert_eq!(asked.get("prompt").map_or("", String::as_str), prompt);
            if changes.len() > 1 {
                assert_eq!(
                    (&*asked["login_hint"], &*asked["acr_values"]),
                    ("ann", "hw mfa")
                );
            }
            let answer = scene
                .back(&mut browser, &scene.upstream.approve(&sent))
                .await;
            assert_eq!(answer.status, expected, "{seen:?} {}", answer.body);
            assert_eq!(expected == 403, answer.body.contains("did not ask again"));
        }
    }
    // What the provider says of the login is believed here.
    scene.upstream.set(|it| it.id_token.clear());
    let tokens = scene.tokens(&mut Browser::default()).await;
    let claims = swapped(&scene.world, text(&tokens, "access_token")).await;
    assert_eq!(
        (&claims["acr"], &claims["amr"]),
        (&json!("mfa"), &json!(["otp"]))
    );
    scene
        .upstream
        .set(|it| it.id_token = vec![("acr", json!(null))]);
    let tokens = scene.tokens(&mut Browser::default()).await;
    let claims = swapped(&scene.world, text(&tokens, "access_token")).await;
    assert_eq!(claims["acr"], "corp");
}

#[tokio::test]
async fn a_login_of_which_nobody_says_when_it_was_is_never_recent() {
    let scene = Scene::new().await;
    scene
        .upstream
        .set(|it| it.id_token = vec![("auth_time", json!(null))]);
    let mut browser = Browser::default();
    scene.tokens(&mut browser).await;
    for (max_age, error) in [("", None), ("3600", Some("login_required"))] {
        let uri = authorize_uri(&[("prompt", "none"), ("max_age", max_age)]);
        let answer = browser.get(&scene.world, &uri).await;
        let answered = query(answer.location());
        assert_eq!(answered.get("error").map(String::as_str), error);
    }
}

#[tokio::test]
async fn attributes_that_would_not_fit_a_token_let_nobody_in() {
    let scene = Scene::new().await;
    let many: Vec<_> = (0..2000).map(|n| format!("group-{n}")).collect();
    scene
        .upstream
        .set(|it| it.id_token = vec![("groups", json!(many))]);
    let answer = scene.log_in(&mut Browser::default(), &[]).await;
    assert_eq!(answer.status, 403, "{}", answer.body);
}

#[tokio::test]
async fn where_there_are_no_users_of_ones_own_only_the_buttons_are_shown() {
    let upstream = super::Upstream::start(START).await;
    let more = provider("corp", &upstream, "");
    let world = World::with(config(|text| {
        let (before, rest) = text.split_once("users:\n").unwrap();
        let (_, after) = rest.split_once("resources:\n").unwrap();
        format!("{before}resources:\n{after}{more}")
    }))
    .await;
    let page = Browser::default().get(&world, &authorize_uri(&[])).await;
    assert!(!page.body.contains("type=\"password\""), "{}", page.body);
    assert!(page.body.contains("action=\"/federation/corp\""));
    let policy = page.header(http::header::CONTENT_SECURITY_POLICY);
    let origin = CALLBACK.strip_suffix("/cb").unwrap();
    assert!(
        policy.ends_with(&format!("form-action 'self' {origin}")),
        "{policy}"
    );
}
