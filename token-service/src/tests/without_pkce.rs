//! OpenID Connect clients that know no PKCE, where the configuration says so: their credential and the nonce
//! must do; and a challenge that is sent counts.

use super::harness::{Browser, VERIFIER, World, authorize_uri, code_form, config, query};

async fn world() -> World {
    World::with(config(|text| {
        text.replacen("{ id: web,", "{ id: web, require_pkce: false,", 1)
    }))
    .await
}

/// A code, by a request with these parameters in the place of the challenge.
async fn code(world: &World, challenge: &[(&str, &str)]) -> String {
    let without = [("code_challenge", ""), ("code_challenge_method", "")];
    let uri = authorize_uri(&[&without, challenge].concat());
    query(&Browser::default().walk(world, &uri, "alice").await)["code"].clone()
}

#[tokio::test]
async fn a_code_without_a_challenge_is_bought_without_a_verifier() {
    let world = world().await;
    let bought = code(&world, &[]).await;
    let form = code_form(&bought);
    let form: Vec<_> = form
        .into_iter()
        .filter(|(name, _)| *name != "code_verifier")
        .collect();
    world
        .token("other", &form)
        .await
        .assert_error(400, "invalid_grant");
    let tokens = world.token("web", &form).await;
    assert_eq!(tokens.status, 200, "{}", tokens.body);
    // Whoever has taken the challenge out of a request on its way has gained nothing.
    let code = code(&world, &[]).await;
    world
        .redeem("web", &code)
        .await
        .assert_error(400, "invalid_grant");
    world
        .token("web", &[form[0], ("code", &code), form[2]])
        .await
        .assert_error(400, "invalid_grant");
}

#[tokio::test]
async fn a_challenge_that_is_sent_counts_and_half_a_one_is_refused() {
    let world = world().await;
    let challenge = super::harness::CHALLENGE;
    let whole = [
        ("code_challenge", challenge),
        ("code_challenge_method", "S256"),
    ];
    let bought = code(&world, &whole).await;
    let form = code_form(&bought);
    let without: Vec<_> = form
        .into_iter()
        .filter(|(name, _)| *name != "code_verifier")
        .collect();
    world
        .token("web", &without)
        .await
        .assert_error(400, "invalid_grant");
    assert_eq!(
        form.iter()
            .find(|(name, _)| *name == "code_verifier")
            .unwrap()
            .1,
        VERIFIER
    );
    assert_eq!(world.token("web", &form).await.status, 200);
    for (name, value) in [
        ("code_challenge_method", "plain"),
        ("code_challenge", challenge),
        ("code_challenge_method", "S256"),
    ] {
        let nothing = [("code_challenge", ""), ("code_challenge_method", "")];
        let uri = authorize_uri(&[&nothing[..], &[(name, value)]].concat());
        let answer = Browser::default().get(&world, &uri).await;
        assert_eq!(
            query(answer.location())["error"],
            "invalid_request",
            "{name}={value}"
        );
    }
    // Others must send one.
    let uri = authorize_uri(&[
        ("client_id", "other"),
        ("code_challenge", ""),
        ("code_challenge_method", ""),
    ]);
    let answer = Browser::default().get(&world, &uri).await;
    assert_eq!(query(answer.location())["error"], "invalid_request");
}
