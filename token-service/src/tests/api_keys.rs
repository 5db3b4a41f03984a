//! API keys: who makes them, what they are worth, and when they end.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::body::Body;
use http::{Method, Request, header};
use serde_json::{Value, json};
use service_kit::digest;

use super::dpop::{Holder, with_proof};
use super::harness::{Answer, BILLING, ISSUER, ORDERS, World, config, verified};
use crate::TokenServiceConfig;

/// Alice at `web` and the client `svc` may make them; `native` has a login for its own purposes.
fn keys_are_on(edit: impl Fn(String) -> String) -> TokenServiceConfig {
    config(|text| {
        let text = text
            .replace(
                "offline_access orders:read",
                "offline_access api_keys orders:read",
            )
            .replace(
                "scope: orders:read orders:write,\n      attributes",
                "scope: api_keys orders:read orders:write,\n      attributes",
            );
        edit(format!("{text}api_keys: {{ per_subject: 3 }}\n"))
    })
}

async fn world() -> World {
    World::with(keys_are_on(|text| text)).await
}

async fn call(
    world: &World,
    method: Method,
    path: &str,
    token: &str,
    body: Option<Value>,
) -> Answer {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::AUTHORIZATION, format!("Bearer {token}"))
        .header(header::CONTENT_TYPE, "application/json");
    let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
    world.send(request.body(body).unwrap()).await
}

async fn make(world: &World, token: &str, body: Value) -> Answer {
    call(world, Method::POST, "/api-keys", token, Some(body)).await
}

/// A key that must be made: its id and itself.
async fn made(world: &World, token: &str, body: Value) -> (String, String) {
    let answer = make(world, token, body).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    let json = answer.json();
    let text = |name: &str| json[name].as_str().unwrap().to_owned();
    (text("id"), text("api_key"))
}

async fn list(world: &World, token: &str) -> Vec<Value> {
    let answer = call(world, Method::GET, "/api-keys", token, None).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()["api_keys"].as_array().unwrap().clone()
}

async fn end(world: &World, token: &str, id: &str) -> u16 {
    let path = format!("/api-keys/{id}");
    let answer = call(world, Method::DELETE, &path, token, None).await;
    answer.status.as_u16()
}

/// Alice's access token.
async fn alice(world: &World, scope: &str) -> String {
    let tokens = world.tokens(scope).await;
    tokens["access_token"].as_str().unwrap().to_owned()
}

async fn svc(world: &World) -> String {
    let form = [("grant_type", "client_credentials")];
    let answer = world.token("svc", &form).await;
    answer.json()["access_token"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_key_stands_for_its_maker_with_the_scope_that_it_was_given() {
    let world = world().await;
    let token = alice(&world, "openid api_keys orders:read orders:write").await;
    let answer = make(
        &world,
        &token,
        json!({ "name": "nightly", "scope": "orders:read", "expires_in": 3600 }),
    )
    .await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    let told = answer.json();
    assert_eq!(
        (&told["name"], &told["scope"], &told["resource"]),
        (&json!("nightly"), &json!("orders:read"), &json!([ORDERS]))
    );
    let id = told["id"].as_str().unwrap();
    assert!(answer.location().ends_with(&format!("/api-keys/{id}")));
    let key = told["api_key"].as_str().unwrap();
    assert!(key.starts_with("cg_ak_"), "{key}");

    let facts = world.introspect("gw_orders", key).await.json();
    assert_eq!(
        (&facts["active"], &facts["username"], &facts["scope"]),
        (&json!(true), &json!("alice"), &json!("orders:read"))
    );
    // It does not tell of the login that it was made in.
    assert!(facts.get("auth_time").is_none(), "{facts}");
    let swap =
        super::introspect::ask(&world, "gw_orders", "application/jwt", &[("token", key)]).await;
    let claims = verified(&world, &swap.body, "at+jwt", ORDERS).await;
    assert_eq!(claims["sub"], "alice");
    // The decision point hears what was shown.
    let asked = world.decisions.asked.lock().unwrap();
    let last = asked.last().unwrap();
    assert_eq!(last.context["api_key"], id);
    assert_eq!(last.subject.properties["api_key"], id);
}

#[tokio::test]
async fn a_key_outlives_token_and_login_and_ends_when_its_time_is_over() {
    let world = world().await;
    let token = alice(&world, "openid api_keys orders:read").await;
    let (_, key) = made(&world, &token, json!({ "name": "k", "expires_in": 7200 })).await;
    world.post_as("web", "/revoke", &[("token", &token)]).await;
    assert!(!world.is_active(&token).await);
    world.advance(7199);
    assert!(world.is_active(&key).await);
    world.advance(1);
    assert!(!world.is_active(&key).await);
    // Nothing that has expired is listed, or counts.
    let token = alice(&world, "openid api_keys orders:read").await;
    assert!(list(&world, &token).await.is_empty());
    for _ in 0..3 {
        made(&world, &token, json!({ "name": "k" })).await;
    }
}

#[tokio::test]
async fn whoever_made_a_key_sees_it_without_the_key_and_ends_it_at_once() {
    let world = world().await;
    let token = alice(&world, "openid api_keys orders:read").await;
    let (id, key) = made(&world, &token, json!({ "name": "one" })).await;
    let (other, _) = made(&world, &token, json!({ "name": "two" })).await;
    let listed = list(&world, &token).await;
    let names: BTreeSet<_> = listed
        .iter()
        .map(|key| key["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, BTreeSet::from(["one", "two"]));
    assert!(!json!(listed).to_string().contains("cg_ak_"));

    let before = world.store_tail().await;
    assert!(world.is_active(&key).await);
    assert_eq!(end(&world, &token, &id).await, 204);
    assert!(!world.is_active(&key).await);
    // Gateways hear of it, which may have it in their caches.
    let events = world.events(&before).await;
    assert_eq!(events.len(), 1, "{events:?}");
    let listed = list(&world, &token).await;
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0]["id"], other);
    assert_eq!(end(&world, &token, &id).await, 404);
}

#[tokio::test]
async fn nobody_sees_or_ends_the_keys_of_others() {
    let world = world().await;
    let alice = alice(&world, "openid api_keys orders:read").await;
    let (id, key) = made(&world, &alice, json!({ "name": "hers" })).await;
    let svc = svc(&world).await;
    assert!(list(&world, &svc).await.is_empty());
    assert_eq!(end(&world, &svc, &id).await, 404);
    assert!(world.is_active(&key).await);
    let (of_svc, key) = made(&world, &svc, json!({ "name": "its" })).await;
    assert_eq!(
        world.introspect("gw_orders", &key).await.json()["sub"],
        "svc"
    );
    assert_eq!(end(&world, &alice, &of_svc).await, 404);
}

#[tokio::test]
async fn a_key_has_no_more_than_the_token_that_makes_it() {
    let world = world().await;
    let token = alice(&world, "openid api_keys orders:read").await;
    for (body, code) in [
        (
            json!({ "name": "k", "scope": "orders:write" }),
            "invalid_scope",
        ),
        (json!({ "name": "k", "scope": "api_keys" }), "invalid_scope"),
        (
            json!({ "name": "k", "scope": "openid orders:read" }),
            "invalid_scope",
        ),
        (json!({ "name": "k", "scope": "" }), "invalid_scope"),
        (
            json!({ "name": "k", "scope": ["orders:read"] }),
            "invalid_request",
        ),
        (
            json!({ "name": "k", "resource": BILLING }),
            "invalid_target",
        ),
        (
            json!({ "name": "k", "resource": ["urn:none"] }),
            "invalid_target",
        ),
        (json!({ "name": "k", "resource": [1] }), "invalid_request"),
        (json!({ "name": "k", "expires_in": 0 }), "invalid_request"),
        (
            json!({ "name": "k", "expires_in": 366 * 86_400 }),
            "invalid_request",
        ),
        (json!({ "name": "k", "expires_in": "1" }), "invalid_request"),
        (json!({ "name": "k", "sub": "bob" }), "invalid_request"),
        (json!({ "name": "" }), "invalid_request"),
        (json!({ "name": "a\nb" }), "invalid_request"),
        (json!({}), "invalid_request"),
    ] {
        make(&world, &token, body).await.assert_error(400, code);
    }
    assert!(list(&world, &token).await.is_empty());
    world.decisions.deny("orders:read");
    make(&world, &token, json!({ "name": "k" }))
        .await
        .assert_error(400, "invalid_scope");
}

#[tokio::test]
async fn keys_are_made_with_the_scope_for_it_and_never_with_a_key() {
    let world = world().await;
    let token = alice(&world, "openid api_keys orders:read").await;
    let (_, key) = made(&world, &token, json!({ "name": "k" })).await;
    let without = alice(&world, "openid orders:read").await;
    for (token, status, word) in [
        (&*without, 403, "insufficient_scope"),
        (&*key, 401, "invalid_token"),
        ("cg_at_nothing", 401, "invalid_token"),
    ] {
        let refused = make(&world, token, json!({ "name": "k" })).await;
        assert_eq!(refused.status.as_u16(), status, "{}", refused.body);
        let challenge = refused.header(header::WWW_AUTHENTICATE);
        assert!(challenge.contains(word), "{challenge}");
    }
    // Nor does anything else of the service take one.
    let told = call(&world, Method::GET, "/userinfo", &key, None).await;
    assert_eq!(told.status, 401);
}

#[tokio::test]
async fn there_are_as_many_as_may_be_whoever_asks_at_once() {
    let world = world().await;
    let token = alice(&world, "openid api_keys orders:read").await;
    let all = (0..8).map(|_| make(&world, &token, json!({ "name": "k" })));
    let answers = futures_util::future::join_all(all).await;
    let good = answers.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(good, 3);
    assert_eq!(list(&world, &token).await.len(), 3);
}

#[tokio::test]
async fn who_is_logged_out_while_a_key_is_made_has_made_none() {
    let world = world().await;
    let token = alice(&world, "openid api_keys orders:read").await;
    let hold = world.decisions.hold.lock().await;
    let making = make(&world, &token, json!({ "name": "k" }));
    let revoking = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let done = world.post_as("web", "/revoke", &[("token", &token)]).await;
        assert_eq!(done.status, 200);
        drop(hold);
    };
    let (answer, ()) = tokio::join!(making, revoking);
    assert_eq!(answer.status, 401, "{}", answer.body);
    assert!(
        answer
            .header(header::WWW_AUTHENTICATE)
            .contains("invalid_token")
    );
    let token = alice(&world, "openid api_keys orders:read").await;
    assert_eq!(list(&world, &token).await.len(), 0);
}

#[tokio::test]
async fn a_key_is_dead_without_its_client_its_user_or_the_section() {
    let world = world().await;
    let token = alice(&world, "openid api_keys orders:read").await;
    let (_, key) = made(&world, &token, json!({ "name": "k" })).await;
    for (from, to) in [
        ("api_keys: { per_subject: 3 }\n", ""),
        ("name: Alice Archer", "disabled: true, name: Alice Archer"),
        ("id: web, name", "id: web, disabled: true, name"),
    ] {
        let changed = keys_are_on(|text| {
            assert!(text.contains(from));
            text.replace(from, to)
        });
        let restarted = world.restarted(changed).await;
        assert!(!restarted.is_active(&key).await, "{to}");
    }
    let off = keys_are_on(|text| text.replace("api_keys: { per_subject: 3 }\n", ""));
    let off = world.restarted(off).await;
    assert_eq!(make(&off, &token, json!({ "name": "k" })).await.status, 404);
    assert!(world.is_active(&key).await);
}

#[tokio::test]
async fn its_client_revokes_a_key_and_no_other_does() {
    let world = world().await;
    let token = alice(&world, "openid api_keys orders:read").await;
    let (_, key) = made(&world, &token, json!({ "name": "k" })).await;
    world.post_as("other", "/revoke", &[("token", &key)]).await;
    assert!(world.is_active(&key).await);
    let done = world.post_as("web", "/revoke", &[("token", &key)]).await;
    assert_eq!(done.status, 200);
    assert!(!world.is_active(&key).await);
    assert!(list(&world, &token).await.is_empty());
}

#[tokio::test]
async fn without_the_store_no_key_is_made_and_none_is_good() {
    let world = world().await;
    let token = alice(&world, "openid api_keys orders:read").await;
    let (_, key) = made(&world, &token, json!({ "name": "k" })).await;
    world.store.set_down(true);
    assert_eq!(
        make(&world, &token, json!({ "name": "k" })).await.status,
        503
    );
    assert_eq!(world.introspect("gw_orders", &key).await.status, 503);
    world.store.set_down(false);
    world.store.set_read_only(true);
    assert_eq!(
        make(&world, &token, json!({ "name": "k" })).await.status,
        503
    );
    world.store.set_read_only(false);
    assert_eq!(list(&world, &token).await.len(), 1);
}

#[tokio::test]
async fn a_client_whose_tokens_are_bound_has_no_keys_that_are_not() {
    let bound = |text: String| {
        text.replace(
            "tier: gold }",
            "tier: gold }, dpop_bound_access_tokens: true",
        )
    };
    let (world, holder) = (World::with(keys_are_on(bound)).await, Holder::new());
    let form = [("grant_type", "client_credentials")];
    let answer = super::dpop::ask(&world, "svc", &form, &holder.named("1")).await;
    let token = answer.json()["access_token"].as_str().unwrap().to_owned();
    let at = |scheme: &str, proof: Option<&str>| {
        let request = Request::post("/api-keys")
            .header(header::AUTHORIZATION, format!("{scheme} {token}"))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(json!({ "name": "k" }).to_string()))
            .unwrap();
        with_proof(request, proof.as_slice())
    };
    assert_eq!(world.send(at("Bearer", None)).await.status, 401);
    let proof = holder.proof(&[
        ("jti", json!("2")),
        ("htu", json!(format!("{ISSUER}/api-keys"))),
        ("ath", json!(digest::sha256_base64url(token.as_bytes()))),
    ]);
    let refused = world.send(at("DPoP", Some(&proof))).await;
    refused.assert_error(400, "unauthorized_client");
}

#[tokio::test]
async fn whoever_acts_for_somebody_makes_no_key_and_what_a_key_became_tells_of_it() {
    let clients = format!(
        "\n  - {{ id: agent, secret_hash: '{}', grant_types: [token_exchange], scope: api_keys orders:read,\n      \
         exchange: {{ audiences: ['{ORDERS}'], subject_clients: [web], subject_resources: ['{ORDERS}'] }} }}\nusers:",
        crate::secret_hash("agent-secret"),
    );
    let edit = |text: String| text.replace("\nusers:", &clients);
    let world = World::with(keys_are_on(edit)).await;
    let token = alice(&world, "openid api_keys orders:read").await;
    let (id, key) = made(&world, &token, json!({ "name": "k" })).await;
    let exchanged = async |token: &str| {
        let form = [
            (
                "grant_type",
                "urn:ietf:params:oauth:grant-type:token-exchange",
            ),
            ("subject_token", token),
            (
                "subject_token_type",
                "urn:ietf:params:oauth:token-type:access_token",
            ),
        ];
        world.token("agent", &form).await
    };
    let theirs = exchanged(&token).await.json();
    let theirs = theirs["access_token"].as_str().unwrap();
    make(&world, theirs, json!({ "name": "k" })).await;
    assert_eq!(list(&world, &token).await.len(), 1);
    // The key itself is nobody's to exchange; the JWT that it became is.
    exchanged(&key).await.assert_error(400, "invalid_request");
    let jwt =
        super::introspect::ask(&world, "gw_orders", "application/jwt", &[("token", &key)]).await;
    let theirs = exchanged(&jwt.body).await.json();
    assert!(
        world
            .is_active(theirs["access_token"].as_str().unwrap())
            .await,
        "{theirs}"
    );
    let asked = world
        .decisions
        .asked
        .lock()
        .unwrap()
        .last()
        .unwrap()
        .clone();
    assert_eq!(asked.context["api_key"], id);
    assert_eq!(asked.context["actor"], "agent");
    assert_eq!(end(&world, &token, &id).await, 204);
    assert!(
        !world
            .is_active(theirs["access_token"].as_str().unwrap())
            .await
    );
}
