//! `grant_type=refresh_token`: rotation, theft, and answers that are lost on their way.

use serde_json::Value;

use super::harness::{Answer, World, config, refresh_form};

/// The token of an answer.
fn token<'a>(answer: &'a Value, name: &str) -> &'a str {
    answer[name].as_str().unwrap()
}

#[tokio::test]
async fn refresh_tokens_rotate_and_a_reused_one_kills_the_family() {
    let world = World::new().await;
    let first = world
        .tokens("openid offline_access orders:read orders:write")
        .await;
    let rt1 = first["refresh_token"].as_str().unwrap();
    let second = world.token("web", &refresh_form(rt1)).await.json();
    let rt2 = second["refresh_token"].as_str().unwrap();
    assert_ne!(rt1, rt2);
    assert!(second["id_token"].is_string());
    assert!(
        world
            .is_active(second["access_token"].as_str().unwrap())
            .await
    );

    world.advance(10);
    world
        .token("web", &refresh_form(rt1))
        .await
        .assert_error(400, "invalid_grant");
    world
        .token("web", &refresh_form(rt2))
        .await
        .assert_error(400, "invalid_grant");
    for tokens in [&first, &second] {
        assert!(
            !world
                .is_active(tokens["access_token"].as_str().unwrap())
                .await
        );
    }
}

#[tokio::test]
async fn a_refresh_token_is_bound_to_its_client_and_scope_can_only_shrink() {
    let world = World::new().await;
    let tokens = world.tokens("orders:read orders:write").await;
    let rt = tokens["refresh_token"].as_str().unwrap();
    world
        .token("other", &refresh_form(rt))
        .await
        .assert_error(400, "invalid_grant");
    let more = [
        ("grant_type", "refresh_token"),
        ("refresh_token", rt),
        ("scope", "billing:read"),
    ];
    world
        .token("web", &more)
        .await
        .assert_error(400, "invalid_scope");
    let less = [
        ("grant_type", "refresh_token"),
        ("refresh_token", rt),
        ("scope", "orders:read"),
    ];
    let answer = world.token("web", &less).await.json();
    assert_eq!(answer["scope"], "orders:read");
    // The grant itself keeps what was approved.
    let rt = answer["refresh_token"].as_str().unwrap();
    let again = world.token("web", &refresh_form(rt)).await.json();
    assert_eq!(again["scope"], "orders:read orders:write");
}

#[tokio::test]
async fn refresh_tokens_end_when_idle_and_at_the_end_of_their_grant() {
    let day = 24 * 3600;
    let world = World::new().await;
    let idle = world.tokens("orders:read").await;
    world.advance(14 * day);
    let rt = idle["refresh_token"].as_str().unwrap();
    world
        .token("web", &refresh_form(rt))
        .await
        .assert_error(400, "invalid_grant");

    let mut rt = world.tokens("orders:read").await["refresh_token"]
        .as_str()
        .unwrap()
        .to_owned();
    for _ in 0..2 {
        world.advance(13 * day);
        let next = world.token("web", &refresh_form(&rt)).await.json();
        next["refresh_token"].as_str().unwrap().clone_into(&mut rt);
    }
    world.advance(4 * day);
    world
        .token("web", &refresh_form(&rt))
        .await
        .assert_error(400, "invalid_grant");
}

#[tokio::test]
async fn a_lost_answer_is_given_again_to_the_same_request() {
    let world = World::new().await;
    let first = world.tokens("openid offline_access orders:read").await;
    let form = refresh_form(token(&first, "refresh_token"));
    let lost = world.token("web", &form).await.json();
    world.advance(9);
    let again = world.token("web", &form).await.json();
    for name in ["access_token", "refresh_token", "scope", "token_type"] {
        assert_eq!(again[name], lost[name], "{name}");
    }
    assert_eq!(
        again["expires_in"],
        lost["expires_in"].as_u64().unwrap() - 9
    );
    assert!(again["id_token"].is_string());
    assert!(world.is_active(token(&again, "access_token")).await);
    // What came of it goes on as if nothing had been.
    let next = world
        .token("web", &refresh_form(token(&again, "refresh_token")))
        .await;
    assert_eq!(next.status, 200, "{}", next.body);
    // Now it is certain that the answer has arrived: whoever repeats the request has a copy.
    world
        .token("web", &form)
        .await
        .assert_error(400, "invalid_grant");
    for tokens in [&lost, &next.json()] {
        assert!(!world.is_active(token(tokens, "access_token")).await);
    }
}

/// A refresh, and what a request with the same token gets after it.
async fn after_a_refresh(world: &World, secs: u64, change: &[(&str, &str)]) -> (Answer, Value) {
    let first = world.tokens("orders:read orders:write").await;
    let form = refresh_form(token(&first, "refresh_token"));
    let second = world.token("web", &form).await.json();
    world.advance(secs);
    let form: Vec<_> = form.into_iter().chain(change.iter().copied()).collect();
    (world.token("web", &form).await, second)
}

#[tokio::test]
async fn what_is_no_repetition_is_a_copy_and_ends_the_family() {
    let world = World::new().await;
    let changes: [(u64, &[(&str, &str)]); 4] = [
        (10, &[]),
        (1, &[("scope", "orders:read")]),
        (1, &[("resource", super::harness::ORDERS)]),
        (1, &[("scope", "orders:read orders:write")]),
    ];
    for (secs, change) in changes {
        let (answer, second) = after_a_refresh(&world, secs, change).await;
        answer.assert_error(400, "invalid_grant");
        assert!(
            !world.is_active(token(&second, "access_token")).await,
            "{change:?}"
        );
    }
    let never = World::with(config(|text| {
        format!("ttl: {{ refresh_retry_secs: 0 }}\n{text}")
    }))
    .await;
    let (answer, second) = after_a_refresh(&never, 0, &[]).await;
    answer.assert_error(400, "invalid_grant");
    assert!(!never.is_active(token(&second, "access_token")).await);
}

#[tokio::test]
async fn nothing_is_given_again_that_has_been_taken_back() {
    let world = World::new().await;
    let first = world.tokens("orders:read").await;
    let form = refresh_form(token(&first, "refresh_token"));
    let second = world.token("web", &form).await.json();
    let revoked = [("token", token(&second, "refresh_token"))];
    assert_eq!(world.post_as("web", "/revoke", &revoked).await.status, 200);
    world
        .token("web", &form)
        .await
        .assert_error(400, "invalid_grant");
    // Another client learns nothing, and ends nothing.
    let first = world.tokens("orders:read").await;
    let form = refresh_form(token(&first, "refresh_token"));
    let second = world.token("web", &form).await.json();
    world
        .token("other", &form)
        .await
        .assert_error(400, "invalid_grant");
    assert!(world.is_active(token(&second, "access_token")).await);
}
