//! JWTs that are given again: the same for the same, and never one that says what is not so any more.

use http::header;
use serde_json::{Value, json};

use super::harness::{Answer, ORDERS, World, as_client, config, verified};

async fn asked(world: &World, server: &str, token: &str) -> Answer {
    let mut request = as_client(server, "/introspect", &[("token", token)]);
    let accept = "application/jwt".parse().unwrap();
    request.headers_mut().insert(header::ACCEPT, accept);
    world.send(request).await
}

async fn jwt(world: &World, token: &str) -> String {
    let answer = asked(world, "gw_orders", token).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.body
}

async fn access(world: &World, scope: &str) -> String {
    let tokens = world.tokens(scope).await;
    tokens["access_token"].as_str().unwrap().to_owned()
}

async fn claims(world: &World, jwt: &str) -> Value {
    verified(world, jwt, "at+jwt", ORDERS).await
}

async fn reload(world: &World, edit: impl Fn(String) -> String) {
    let base = std::path::Path::new(".");
    world.service.reload(&config(edit), base).await.unwrap();
}

#[tokio::test]
async fn who_asks_again_gets_the_same_jwt_while_it_has_half_of_its_time() {
    let world = World::new().await;
    let token = access(&world, "orders:read billing:read").await;
    let first = jwt(&world, &token).await;
    assert_eq!(jwt(&world, &token).await, first);
    let other = asked(&world, "gw_billing", &token).await.body;
    assert_ne!(other, first, "for another resource");
    let others = access(&world, "orders:read billing:read").await;
    assert_ne!(jwt(&world, &others).await, first, "of another token");
    world.advance(60);
    let again = asked(&world, "gw_orders", &token).await;
    assert_eq!(again.body, first);
    // Who keeps it is told how long it still is good.
    assert_eq!(again.header(header::CACHE_CONTROL), "private, max-age=60");
    world.advance(1);
    let second = jwt(&world, &token).await;
    assert_ne!(second, first);
    let (before, after) = (claims(&world, &first).await, claims(&world, &second).await);
    assert_ne!(before["jti"], after["jti"]);
    assert_eq!(after["exp"], 1_800_000_061 + 120);
    // And another process has its own.
    let replica = world.restarted(config(|text| text)).await;
    assert_ne!(jwt(&replica, &token).await, second);
}

#[tokio::test]
async fn what_has_been_taken_away_is_not_given_again() {
    let world = World::new().await;
    let replica = world.restarted(config(|text| text)).await;
    for what in ["access_token", "refresh_token"] {
        let tokens = world.tokens("openid orders:read offline_access").await;
        let token = tokens["access_token"].as_str().unwrap();
        let gone = tokens[what].as_str().unwrap();
        for one in [&world, &replica] {
            assert_eq!(jwt(one, token).await, jwt(one, token).await);
        }
        world.post_as("web", "/revoke", &[("token", gone)]).await;
        for one in [&world, &replica] {
            assert_eq!(asked(one, "gw_orders", token).await.status, 204, "{what}");
        }
    }
    let token = access(&world, "orders:read").await;
    jwt(&world, &token).await;
    world.store.set_down(true);
    assert_eq!(asked(&world, "gw_orders", &token).await.status, 503);
    world.store.set_down(false);
    world.decisions.set_down(true);
    assert_eq!(asked(&world, "gw_orders", &token).await.status, 503);
    world.decisions.set_down(false);
    jwt(&world, &token).await;
    world.advance(900);
    assert_eq!(asked(&world, "gw_orders", &token).await.status, 204);
}

#[tokio::test]
async fn policy_is_asked_each_time_and_what_it_takes_is_in_no_jwt_that_is_given() {
    let world = World::with(config(|text| {
        let claims = "claims: [roles, email]";
        text.replacen(claims, &format!("{claims}, claims_by_policy: true"), 1)
    }))
    .await;
    let token = access(&world, "orders:read orders:write").await;
    let first = jwt(&world, &token).await;
    assert_eq!(claims(&world, &first).await["email"], "alice@example.com");
    world.decisions.asked.lock().unwrap().clear();
    assert_eq!(jwt(&world, &token).await, first);
    let asked_of = world.decisions.asked.lock().unwrap().len();
    assert_eq!(asked_of, 4, "two scopes and two claims");
    world.decisions.deny("email");
    let second = claims(&world, &jwt(&world, &token).await).await;
    assert!(second.get("email").is_none(), "{second}");
    world.decisions.deny("orders:write");
    let third = claims(&world, &jwt(&world, &token).await).await;
    assert_eq!(third["scope"], "orders:read");
    world.decisions.deny("orders:read");
    assert_eq!(asked(&world, "gw_orders", &token).await.status, 204);
}

#[tokio::test]
async fn another_configuration_or_key_makes_another_jwt() {
    let world = World::new().await;
    let token = access(&world, "orders:read orders:write").await;
    let first = jwt(&world, &token).await;
    reload(&world, |text| text).await;
    assert_eq!(jwt(&world, &token).await, first, "nothing is different");

    reload(&world, |text| {
        text.replacen("roles: [customer]", "roles: []", 1)
    })
    .await;
    let told = claims(&world, &jwt(&world, &token).await).await;
    assert_eq!(told["roles"], json!([]));
    let shorter = |text: String| {
        let claims = "claims: [roles, email]";
        text.replacen(claims, &format!("{claims}, jwt_ttl_secs: 20"), 1)
    };
    reload(&world, shorter).await;
    let told = claims(&world, &jwt(&world, &token).await).await;
    assert_eq!(told["exp"], 1_800_000_020);
    let other_alg = |text: String| {
        let claims = "claims: [roles, email]";
        text.replacen(claims, &format!("{claims}, jwt_alg: RS256"), 1)
    };
    reload(&world, other_alg).await;
    let by_rsa = jwt(&world, &token).await;
    let header = jsonwebtoken::decode_header(&by_rsa).unwrap();
    assert_eq!(header.alg, jsonwebtoken::Algorithm::RS256);
    assert_eq!(jwt(&world, &token).await, by_rsa);
    let narrower = |text: String| {
        text.replacen(
            "orders:read orders:write billing:read }",
            "orders:read }",
            1,
        )
    };
    reload(&world, narrower).await;
    let told = claims(&world, &jwt(&world, &token).await).await;
    assert_eq!(told["scope"], "orders:read");
}

#[tokio::test]
async fn a_key_that_does_not_sign_any_more_has_signed_nothing_that_is_given() {
    // A token that lives longer than a key signs, and a JWT that would be given again.
    let world = World::with(config(|text| {
        let keys = "keys: { rotate_secs: 1200, publish_ahead_secs: 600 }";
        let ttl = "ttl: { access_token_secs: 3000, jwt_secs: 300 }";
        format!("{text}\n{keys}\n{ttl}\n")
    }))
    .await;
    let token = access(&world, "orders:read").await;
    world.advance(600);
    world.service.reload_keys().await;
    world.advance(590);
    let before = jwt(&world, &token).await;
    assert_eq!(jwt(&world, &token).await, before);
    world.advance(20);
    let after = jwt(&world, &token).await;
    let kid = |jwt: &str| jsonwebtoken::decode_header(jwt).unwrap().kid;
    assert_ne!(kid(&before), kid(&after));
    claims(&world, &after).await;
}
