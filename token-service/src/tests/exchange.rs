//! Token exchange: what is issued for which token to whom, and what it hangs on.

mod bound;
mod chain;
mod configured;
mod deny;
mod hang;
mod transaction;

use serde_json::{Value, json};

use super::harness::{
    Answer, BILLING, Browser, CALLBACK, ISSUER, ORDERS, VERIFIER, World, as_client, authorize_uri,
    config, query, verified,
};
use crate::{TokenServiceConfig, secret_hash};

const GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

/// Services that exchange: `orders` and `billing` go on to each other, `desk` serves people who act
/// for customers.
fn services(edit: impl Fn(String) -> String) -> TokenServiceConfig {
    let hash = secret_hash;
    let clients = format!(
        r"
  - {{ id: orders, secret_hash: '{orders}', grant_types: [token_exchange], scope: openid orders:read billing:read,
      exchange: {{ audiences: ['{BILLING}'], subject_clients: [web, billing], subject_resources: ['{ORDERS}'] }} }}
  - {{ id: billing, secret_hash: '{billing}', grant_types: [token_exchange], scope: orders:read billing:read,
      exchange: {{ audiences: ['{ORDERS}', '{BILLING}'], subject_clients: [orders], subject_resources: ['{BILLING}'] }} }}
  - {{ id: desk, secret_hash: '{desk}', grant_types: [authorization_code, client_credentials, token_exchange],
      redirect_uris: ['{CALLBACK}'], scope: openid orders:read billing:read, exchange: {{ audiences: ['{ORDERS}', '{BILLING}'],
      any_subject_client: true, subject_resources: ['{ORDERS}'], without_actor_token: impersonation, jwts: true,
      beyond_jwt_scope: true }} }}
users:",
        orders = hash("orders-secret"),
        billing = hash("billing-secret"),
        desk = hash("desk-secret"),
    );
    config(|text| {
        // A token may go from one to the other and back only with scope that both know.
        let text = text.replace(
            "scope: billing:read, jwt",
            "scope: orders:read billing:read, jwt",
        );
        edit(text.replace("\nusers:", &clients))
    })
}

async fn world() -> World {
    World::with(services(|text| text)).await
}

fn form<'a>(token: &'a str, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut form = vec![("grant_type", GRANT), ("subject_token", token)];
    if !more.iter().any(|(name, _)| *name == "subject_token_type") {
        form.push(("subject_token_type", ACCESS_TOKEN));
    }
    form.extend(more);
    form
}

async fn exchange(world: &World, who: &str, token: &str, more: &[(&str, &str)]) -> Answer {
    world.token(who, &form(token, more)).await
}

/// The token of an exchange that must succeed.
async fn exchanged(world: &World, who: &str, token: &str, more: &[(&str, &str)]) -> String {
    let answer = exchange(world, who, token, more).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    text(&answer.json(), "access_token")
}

fn text(json: &Value, name: &str) -> String {
    json[name]
        .as_str()
        .unwrap_or_else(|| panic!("{json}"))
        .to_owned()
}

async fn access(world: &World, scope: &str) -> String {
    text(&world.tokens(scope).await, "access_token")
}

/// An access token of a person at any client whose callback is the usual one.
async fn access_at(world: &World, client: &str, user: &str, changes: &[(&str, &str)]) -> String {
    let mut params = vec![
        ("client_id", client),
        ("scope", "openid orders:read billing:read"),
    ];
    params.extend(changes);
    let target = Browser::default()
        .walk(world, &authorize_uri(&params), user)
        .await;
    let code = query(&target)["code"].clone();
    let form = [
        ("grant_type", "authorization_code"),
        ("code", code.as_str()),
        ("code_verifier", VERIFIER),
        ("redirect_uri", CALLBACK),
    ];
    let answer = world.token(client, &form).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    text(&answer.json(), "access_token")
}

/// The JWT that a resource server gets for a token.
async fn jwt(world: &World, server: &str, token: &str) -> String {
    let mut request = as_client(server, "/introspect", &[("token", token)]);
    let accept = "application/jwt".parse().unwrap();
    request.headers_mut().insert(http::header::ACCEPT, accept);
    let answer = world.send(request).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.body
}

async fn facts(world: &World, server: &str, token: &str) -> Value {
    world.introspect(server, token).await.json()
}

#[track_caller]
fn bad_token(answer: &Answer) {
    answer.assert_error(400, "invalid_request");
    let text = "the subject or actor token is not valid, or not for this client";
    assert_eq!(answer.json()["error_description"], text);
}

#[tokio::test]
async fn a_service_goes_on_for_the_subject_and_is_named() {
    let world = world().await;
    let subject = access(&world, "openid orders:read billing:read").await;
    world.decisions.asked.lock().unwrap().clear();
    let answer = exchange(&world, "orders", &subject, &[("scope", "billing:read")]).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.header(http::header::CACHE_CONTROL), "no-store");
    let body = answer.json();
    let token = text(&body, "access_token");
    assert!(token.starts_with("cg_at_"));
    assert_eq!(
        body,
        json!({
            "access_token": token, "issued_token_type": ACCESS_TOKEN, "token_type": "Bearer",
            "expires_in": 900, "scope": "billing:read",
        })
    );
    // Whoever decides knows who acts.
    let asked = world.decisions.asked.lock().unwrap().clone();
    let [question] = asked.as_slice() else {
        panic!("{asked:?}")
    };
    assert_eq!(question.subject.id, "alice");
    assert_eq!(question.subject.properties["actor"], "orders");
    let context = json!({
        "client_id": "orders", "grant_type": GRANT, "moment": "issue", "actor": "orders",
        "resource": BILLING,
    });
    assert_eq!(Value::Object(question.context.clone()), context);
}

#[tokio::test]
async fn introspection_and_jwts_say_who_acts() {
    let world = world().await;
    let subject = access(&world, "openid orders:read billing:read").await;
    let token = exchanged(&world, "orders", &subject, &[("scope", "billing:read")]).await;
    let act = json!({ "sub": "orders", "client_id": "orders" });
    let told = facts(&world, "gw_billing", &token).await;
    assert_eq!(
        (&told["sub"], &told["client_id"]),
        (&json!("alice"), &json!("orders"))
    );
    assert_eq!(
        (&told["act"], &told["scope"]),
        (&act, &json!("billing:read"))
    );
    let cut = jwt(&world, "gw_billing", &token).await;
    let claims = verified(&world, &cut, "at+jwt", BILLING).await;
    assert_eq!(
        (&claims["act"], &claims["client_id"]),
        (&act, &json!("orders"))
    );
    assert_eq!(
        (&claims["sub"], &claims["iss"]),
        (&json!("alice"), &json!(ISSUER))
    );
    // For that resource alone, and not for userinfo.
    assert_eq!(
        facts(&world, "gw_orders", &token).await,
        json!({ "active": false })
    );
    let request = http::Request::get("/userinfo")
        .header(http::header::AUTHORIZATION, format!("Bearer {token}"))
        .body(axum::body::Body::empty());
    assert_eq!(world.send(request.unwrap()).await.status, 401);
    // Whoever nobody acts for is told without.
    assert!(
        facts(&world, "gw_orders", &subject)
            .await
            .get("act")
            .is_none()
    );
}

#[tokio::test]
async fn targets_are_resources_and_names_of_resource_servers() {
    let world = world().await;
    let subject = access(&world, "orders:read billing:read").await;
    let exchanged = exchanged(&world, "orders", &subject, &[]).await;
    // Both kinds together, and repeated.
    for target in [
        vec![("resource", ORDERS), ("resource", BILLING)],
        vec![("audience", "gw_both")],
        vec![
            ("audience", ORDERS),
            ("resource", BILLING),
            ("audience", "gw_orders"),
        ],
    ] {
        let answer = exchange(&world, "billing", &exchanged, &target).await;
        assert_eq!(answer.status, 200, "{target:?} {}", answer.body);
        let token = text(&answer.json(), "access_token");
        for server in ["gw_orders", "gw_billing"] {
            assert_eq!(facts(&world, server, &token).await["active"], true);
        }
    }
    let answer = exchange(&world, "billing", &exchanged, &[("audience", "gw_orders")]).await;
    let token = text(&answer.json(), "access_token");
    assert_eq!(facts(&world, "gw_orders", &token).await["active"], true);
    assert_eq!(facts(&world, "gw_billing", &token).await["active"], false);
}

#[tokio::test]
async fn a_phantom_jwt_is_exchanged_for_what_it_says() {
    let world = world().await;
    let subject = access(&world, "openid orders:read billing:read").await;
    let cut = jwt(&world, "gw_orders", &subject).await;
    for kind in [JWT, ACCESS_TOKEN] {
        let answer = exchange(&world, "orders", &cut, &[("subject_token_type", kind)]).await;
        let body = answer.json();
        // It lives no longer than the JWT, and has no more scope.
        assert_eq!(
            (&body["expires_in"], &body["scope"]),
            (&json!(120), &json!("orders:read"))
        );
        let token = text(&body, "access_token");
        assert_eq!(
            facts(&world, "gw_billing", &token).await["act"]["sub"],
            "orders"
        );
        let more = [("subject_token_type", kind), ("scope", "billing:read")];
        let answer = exchange(&world, "orders", &cut, &more).await;
        answer.assert_error(400, "invalid_scope");
    }
    // Unless the client may have what the token has.
    let more = [("resource", BILLING), ("scope", "billing:read")];
    let answer = exchange(&world, "desk", &cut, &more).await.json();
    assert_eq!(
        (&answer["scope"], &answer["expires_in"]),
        (&json!("billing:read"), &json!(120))
    );
    world.advance(119);
    assert_eq!(
        exchange(&world, "orders", &cut, &[]).await.json()["expires_in"],
        1
    );
    world.advance(1);
    bad_token(&exchange(&world, "orders", &cut, &[]).await);
}

#[tokio::test]
async fn a_jwt_is_given_where_that_is_allowed() {
    let world = world().await;
    let subject = access(&world, "openid orders:read billing:read").await;
    let wish = [("requested_token_type", JWT), ("resource", BILLING)];
    let answer = exchange(&world, "desk", &subject, &wish).await;
    let body = answer.json();
    let token = text(&body, "access_token");
    assert_eq!(body["issued_token_type"], JWT);
    assert_eq!(body["token_type"], "Bearer");
    assert_eq!(body["expires_in"], 30);
    let claims = verified(&world, &token, "at+jwt", BILLING).await;
    assert_eq!(claims["scope"], body["scope"]);
    assert_eq!(
        (&claims["sub"], &claims["client_id"]),
        (&json!("alice"), &json!("desk"))
    );
    // One resource, and only for clients that may.
    let both = [wish[0], wish[1], ("resource", ORDERS)];
    let answer = exchange(&world, "desk", &subject, &both).await;
    answer.assert_error(400, "invalid_target");
    let answer = exchange(&world, "orders", &subject, &wish).await;
    answer.assert_error(400, "invalid_request");
    // What is denied at the swap is not given here either, and the JWT is exchanged like any other.
    let more = [("subject_token_type", JWT), ("audience", BILLING)];
    bad_token(&exchange(&world, "billing", &token, &more).await);
    world.decisions.deny("orders:read");
    world.decisions.deny("billing:read");
    let answer = exchange(&world, "desk", &subject, &wish).await;
    answer.assert_error(400, "invalid_scope");
}

#[tokio::test]
async fn neither_scope_nor_lifetime_grows() {
    let world = world().await;
    let subject = access(&world, "openid orders:read").await;
    let answer = exchange(&world, "orders", &subject, &[("scope", "billing:read")]).await;
    answer.assert_error(400, "invalid_scope");
    let answer = exchange(
        &world,
        "orders",
        &subject,
        &[("scope", "orders:read orders:write")],
    )
    .await;
    answer.assert_error(400, "invalid_scope");
    // Nothing of a person's identity goes along, whoever may have it.
    let answer = exchange(
        &world,
        "orders",
        &subject,
        &[("scope", "openid orders:read")],
    )
    .await;
    assert_eq!(answer.json()["scope"], "orders:read");
    assert!(
        answer.json().get("id_token").is_none() && answer.json().get("refresh_token").is_none()
    );
    let answer = exchange(&world, "orders", &subject, &[("scope", "openid")]).await;
    answer.assert_error(400, "invalid_scope");
    // No more than the client itself may have.
    let wide = access(&world, "orders:read orders:write").await;
    assert_eq!(
        exchange(&world, "orders", &wide, &[]).await.json()["scope"],
        "orders:read"
    );

    world.advance(890);
    let answer = exchange(&world, "orders", &subject, &[]).await.json();
    assert_eq!(answer["expires_in"], 10);
    let token = text(&answer, "access_token");
    assert_eq!(
        facts(&world, "gw_billing", &token).await["exp"],
        1_800_000_900
    );
    world.advance(10);
    assert_eq!(facts(&world, "gw_billing", &token).await["active"], false);
    bad_token(&exchange(&world, "orders", &subject, &[]).await);
    // What policies do not permit is not issued; an obligation is not a permit.
    let subject = access(&world, "orders:read").await;
    world.decisions.oblige("orders:read");
    let answer = exchange(&world, "orders", &subject, &[]).await;
    answer.assert_error(400, "invalid_scope");
}
