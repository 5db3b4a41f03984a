//! `id_token_hint` at the authorization endpoint: a client says whom it expects.

use super::harness::{Browser, World, as_client, authorize_uri, code_form, config, query};

/// Somebody who has logged in at `web`, and their ID token.
async fn logged_in(world: &World, user: &str) -> (Browser, String) {
    let mut browser = Browser::default();
    let code = query(&browser.walk(world, &authorize_uri(&[]), user).await)["code"].clone();
    let tokens = world.redeem("web", &code).await.json();
    (browser, tokens["id_token"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn only_the_person_of_the_hint_gets_a_code_for_the_client() {
    let world = World::new().await;
    let (mut alice, of_alice) = logged_in(&world, "alice").await;
    let (mut bob, of_bob) = logged_in(&world, "bob").await;
    // Alive or expired.
    world.advance(3600);
    let quiet = |hint: &str| authorize_uri(&[("prompt", "none"), ("id_token_hint", hint)]);
    for (browser, mine, other) in [
        (&mut alice, &of_alice, &of_bob),
        (&mut bob, &of_bob, &of_alice),
    ] {
        let answer = browser.get(&world, &quiet(mine)).await;
        assert!(query(answer.location()).contains_key("code"));
        let answer = browser.get(&world, &quiet(other)).await;
        assert_eq!(query(answer.location())["error"], "login_required");
    }
    let nobody = Browser::default().get(&world, &quiet(&of_alice)).await;
    assert_eq!(query(nobody.location())["error"], "login_required");

    // With words, the other has to log in; if somebody else does, the client hears of it.
    let uri = authorize_uri(&[("id_token_hint", &of_bob)]);
    let page = alice.get(&world, &uri).await;
    assert!(page.body.contains("name=\"password\""), "{}", page.body);
    let wrong = alice.log_in(&world, &page, "alice").await;
    assert_eq!(query(wrong.location())["error"], "login_required");
    let page = alice.get(&world, &uri).await;
    let right = alice.log_in(&world, &page, "bob").await;
    assert!(query(right.location()).contains_key("code"));
}

#[tokio::test]
async fn a_hint_of_another_client_or_of_nobody_is_refused() {
    let world = World::with(config(|text| {
        text.replacen(
            "redirect_uris: ['https://other",
            "consent: skip, redirect_uris: ['https://other",
            1,
        )
    }))
    .await;
    let (mut browser, hint) = logged_in(&world, "alice").await;
    let mut broken = hint.clone();
    broken.pop();
    for (client, hint) in [("other", hint.as_str()), ("web", &broken), ("web", "x")] {
        let uri = authorize_uri(&[("client_id", client), ("id_token_hint", hint)]);
        let answer = browser.get(&world, &uri).await;
        assert_eq!(
            query(answer.location())["error"],
            "invalid_request",
            "{client}"
        );
    }
    // A client that pushes its request hears of it at once.
    let push = |hint: &str| {
        let uri = authorize_uri(&[("id_token_hint", hint)]);
        let form = query(&format!("https://as.example{uri}"));
        let form: Vec<_> = form.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        as_client("web", "/par", &form)
    };
    world
        .send(push("x"))
        .await
        .assert_error(400, "invalid_request");
    let pushed = world.send(push(&hint)).await;
    assert_eq!(pushed.status, 201, "{}", pushed.body);
    let name = pushed.json()["request_uri"].as_str().unwrap().to_owned();
    let uri = format!(
        "/authorize?{}",
        super::harness::encode(&[("client_id", "web"), ("request_uri", &name)])
    );
    let code = query(browser.get(&world, &uri).await.location())["code"].clone();
    assert_eq!(world.token("web", &code_form(&code)).await.status, 200);
}
