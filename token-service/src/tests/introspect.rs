//! Introspection and revocation: who may ask, what they get, and the one face of "no".

use axum::body::Body;
use http::{Request, StatusCode, header};
use oauth::{
    Introspection, IntrospectionError, OpaqueToken, ResourceId, SWAP_MEDIA_TYPE, SwapAnswer,
};
use serde_json::{Value, json};

use super::dpop::Holder;
use super::harness::{
    Answer, BILLING, ISSUER, ORDERS, World, as_client, config, encode, refresh_form, verified,
};

const INACTIVE: &str = r#"{"active":false}"#;

/// The answer in another form.
pub(super) async fn ask(world: &World, who: &str, accept: &str, form: &[(&str, &str)]) -> Answer {
    let mut request = as_client(who, "/introspect", form);
    request
        .headers_mut()
        .insert(header::ACCEPT, accept.parse().unwrap());
    world.send(request).await
}

#[tokio::test]
async fn who_looks_at_no_proof_gets_no_jwt_of_a_bound_token() {
    let (world, holder) = (World::new().await, Holder::new());
    let form = [("grant_type", "client_credentials")];
    let answer = super::dpop::ask(&world, "svc", &form, &holder.named("1")).await;
    let token = answer.json()["access_token"].as_str().unwrap().to_owned();
    let form = [("token", token.as_str())];
    let bare = ask(&world, "gw_orders", "application/jwt", &form).await;
    assert_eq!(
        (bare.status, bare.body.as_str()),
        (StatusCode::NO_CONTENT, "")
    );
    // Whoever is told what the token is bound to, can look.
    for media in [SWAP_MEDIA_TYPE, "application/json"] {
        let told = ask(&world, "gw_orders", media, &form).await.json();
        assert_eq!(
            (&told["active"], told["cnf"]["jkt"].is_string()),
            (&json!(true), true),
            "{media}"
        );
    }
}

#[tokio::test]
async fn policy_says_which_claims_a_resource_is_told() {
    let by_policy = "claims: [roles, email], claims_by_policy: true";
    let world = World::with(config(|text| {
        text.replacen("claims: [roles, email]", by_policy, 1)
    }));
    let world = world.await;
    let tokens = world.tokens("openid email orders:read").await;
    let token = tokens["access_token"].as_str().unwrap();
    let claims = async || {
        let jwt = ask(&world, "gw_orders", "application/jwt", &[("token", token)]).await;
        verified(&world, &jwt.body, "at+jwt", ORDERS).await
    };
    let told = claims().await;
    assert_eq!(
        (&told["email"], &told["roles"]),
        (&json!("alice@example.com"), &json!(["customer"]))
    );
    world.decisions.deny("email");
    let told = claims().await;
    assert_eq!(
        (&told["email"], &told["roles"]),
        (&Value::Null, &json!(["customer"]))
    );
    world.decisions.oblige("roles");
    assert_eq!(
        claims().await["roles"],
        Value::Null,
        "a duty that nobody knows is a no"
    );
    // Each swap asks about each, with all that was granted.
    let asked = world.decisions.asked.lock().unwrap();
    let about = asked
        .iter()
        .rev()
        .find(|asked| asked.action.name == "see_claim")
        .unwrap();
    assert_eq!(about.resource.kind, "Claim");
    assert_eq!(about.context["resource"], ORDERS);
    let scope = about.subject.properties["scope"].as_array().unwrap();
    assert!(scope.contains(&json!("email")));
}

#[tokio::test]
async fn the_caller_is_authenticated_before_the_token_is_looked_at() {
    let world = World::new().await;
    let token = world.tokens("orders:read").await["access_token"]
        .as_str()
        .unwrap()
        .to_owned();
    let form = |extra: &[(&str, &str)]| {
        let mut form = vec![("token", token.as_str())];
        form.extend(extra);
        Request::post("/introspect")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Body::from(encode(&form)))
            .unwrap()
    };
    for request in [
        form(&[]),
        form(&[("client_id", "native")]),
        form(&[("client_id", "web"), ("client_secret", "web-secret")]),
        as_client("web", "/introspect", &[("token", &token)]),
        as_client("local", "/introspect", &[("token", &token)]),
        as_client("gw_nobody", "/introspect", &[("token", &token)]),
        as_client(
            "gw_nobody",
            "/introspect",
            &[("token", "x"), ("token", "y")],
        ),
    ] {
        let answer = world.send(request).await;
        answer.assert_error(401, "invalid_client");
        assert!(!answer.header(header::WWW_AUTHENTICATE).is_empty());
    }
    assert_eq!(
        world
            .get(&format!("/introspect?token={token}"))
            .await
            .status,
        405
    );
    let in_query = format!("/introspect?token={token}");
    world
        .post_as("gw_orders", &in_query, &[])
        .await
        .assert_error(400, "invalid_request");
    let twice = [("token", "x"), ("token", token.as_str())];
    world
        .post_as("gw_orders", "/introspect", &twice)
        .await
        .assert_error(400, "invalid_request");
    world
        .post_as("gw_orders", "/introspect", &[])
        .await
        .assert_error(400, "invalid_request");
}

#[tokio::test]
async fn facts_are_cut_to_the_resource_of_the_caller() {
    let world = World::new().await;
    let tokens = world.tokens("openid orders:read billing:read").await;
    let token = tokens["access_token"].as_str().unwrap();
    let orders = world.introspect("gw_orders", token).await;
    assert_eq!(orders.header(header::CACHE_CONTROL), "no-store");
    assert_eq!(orders.header(header::CONTENT_TYPE), "application/json");
    let facts = orders.json();
    let jti = facts["jti"].as_str().unwrap();
    assert!(!token.contains(jti));
    let sid = facts["sid"].clone();
    assert_eq!(
        facts,
        json!({
            "active": true, "scope": "orders:read", "client_id": "web", "token_type": "Bearer",
            "iat": 1_800_000_000, "exp": 1_800_000_900, "sub": "alice", "username": "alice",
            "aud": ORDERS, "iss": ISSUER, "jti": jti, "auth_time": 1_800_000_000, "sid": sid,
        })
    );
    let billing = world.introspect("gw_billing", token).await.json();
    assert_eq!(
        (&billing["aud"], &billing["scope"]),
        (&json!(BILLING), &json!("billing:read"))
    );

    // A caller that fronts several has to say which; one that fronts one may.
    let both = |resource| [("token", token), ("resource", resource)];
    world
        .introspect("gw_both", token)
        .await
        .assert_error(400, "invalid_request");
    let answer = world
        .post_as("gw_both", "/introspect", &both(BILLING))
        .await;
    assert_eq!(answer.json()["aud"], BILLING);
    let answer = world
        .post_as("gw_orders", "/introspect", &both(ORDERS))
        .await;
    assert_eq!(answer.json()["aud"], ORDERS);
    let foreign = world
        .post_as("gw_orders", "/introspect", &both(BILLING))
        .await;
    foreign.assert_error(400, "invalid_target");
}

#[tokio::test]
async fn every_kind_of_no_is_one_answer() {
    let world = World::new().await;
    let first = world.tokens("openid orders:read").await;
    let live = first["access_token"].as_str().unwrap().to_owned();
    let refresh = first["refresh_token"].as_str().unwrap().to_owned();
    let code = world.code("web", "openid orders:read").await;
    let only_billing = world.tokens("billing:read").await["access_token"]
        .as_str()
        .unwrap()
        .to_owned();
    let swapped = ask(&world, "gw_orders", "application/jwt", &[("token", &live)])
        .await
        .body;
    let mut dead = vec![
        "unknown".to_owned(),
        format!("cg_at_{}", "A".repeat(49)),
        refresh,
        code,
        first["id_token"].as_str().unwrap().to_owned(),
        swapped,
        only_billing,
        live.to_uppercase(),
        format!("{live}x"),
        format!("{live}%00"),
    ];
    dead.extend((1..live.len()).map(|length| live.split_at(length).0.to_owned()));
    for token in &dead {
        let answer = world.introspect("gw_orders", token).await;
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (StatusCode::OK, INACTIVE),
            "{token}"
        );
        assert_eq!(answer.header(header::CACHE_CONTROL), "no-store");
        let jwt = ask(&world, "gw_orders", "application/jwt", &[("token", token)]).await;
        assert_eq!(
            (jwt.status, jwt.body.as_str()),
            (StatusCode::NO_CONTENT, ""),
            "{token}"
        );
        let swap = ask(&world, "gw_orders", SWAP_MEDIA_TYPE, &[("token", token)]).await;
        assert_eq!(
            (swap.status, swap.body.as_str()),
            (StatusCode::OK, INACTIVE),
            "{token}"
        );
    }
    assert!(world.is_active(&live).await);
    for hint in ["refresh_token", "bogus"] {
        let form = [("token", live.as_str()), ("token_type_hint", hint)];
        let answer = world.post_as("gw_orders", "/introspect", &form).await;
        assert_eq!(answer.json()["active"], true);
    }
    // What the decision point does not permit any more is not there.
    world.decisions.deny("orders:read");
    assert!(!world.is_active(&live).await);
}

#[tokio::test]
async fn an_expired_token_is_inactive() {
    let world = World::new().await;
    let token = world.tokens("orders:read").await["access_token"]
        .as_str()
        .unwrap()
        .to_owned();
    world.advance(899);
    assert!(world.is_active(&token).await);
    world.advance(1);
    assert!(!world.is_active(&token).await);
}

#[tokio::test]
async fn phantom_token_plugins_get_the_bare_jwt_with_its_length_and_age() {
    let world = World::new().await;
    let tokens = world.tokens("openid orders:read billing:read").await;
    let token = tokens["access_token"].as_str().unwrap();
    // As the nginx module sends it: the header's bytes unescaped, and this Accept.
    let mut request = as_client("gw_orders", "/introspect", &[]);
    request
        .headers_mut()
        .insert(header::ACCEPT, "application/jwt".parse().unwrap());
    *request.body_mut() = Body::from(format!("token={token}"));
    let answer = world.send(request).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header(header::CONTENT_TYPE), "application/jwt");
    assert_eq!(
        answer.header(header::CONTENT_LENGTH),
        answer.body.len().to_string()
    );
    assert_eq!(answer.header(header::CACHE_CONTROL), "private, max-age=60");
    assert_eq!(answer.header(header::VARY), "");
    assert_eq!(answer.header(header::SET_COOKIE), "");
    assert!(answer.body.len() < 3500);
    let claims = verified(&world, &answer.body, "at+jwt", ORDERS).await;
    let jti = claims["jti"].clone();
    assert_eq!(
        claims,
        json!({
            "iss": ISSUER, "sub": "alice", "aud": ORDERS, "client_id": "web", "jti": jti,
            "iat": 1_800_000_000, "exp": 1_800_000_120, "scope": "orders:read",
            "auth_time": 1_800_000_000, "amr": ["pwd"],
            "roles": ["customer"], "email": "alice@example.com",
        })
    );
    // The same token, another resource: another JWT, its life cut to its own.
    let answer = ask(&world, "gw_billing", "application/jwt", &[("token", token)]).await;
    assert_eq!(answer.header(header::CACHE_CONTROL), "private, max-age=30");
    let claims = verified(&world, &answer.body, "at+jwt", BILLING).await;
    assert_eq!(
        (&claims["scope"], &claims["exp"]),
        (&json!("billing:read"), &json!(1_800_000_030))
    );
    assert!(claims.get("roles").is_none());
    // Never longer than the opaque token.
    world.advance(890);
    let answer = ask(&world, "gw_orders", "application/jwt", &[("token", token)]).await;
    assert_eq!(answer.header(header::CACHE_CONTROL), "private, max-age=10");
    let claims = verified(&world, &answer.body, "at+jwt", ORDERS).await;
    assert_eq!(claims["exp"], 1_800_000_900);
}

#[tokio::test]
async fn the_signed_form_is_made_out_to_the_caller() {
    let world = World::new().await;
    let token = world.tokens("orders:read").await["access_token"]
        .as_str()
        .unwrap()
        .to_owned();
    let media = "application/token-introspection+jwt";
    for (token, active) in [(token.as_str(), true), ("x", false)] {
        let answer = ask(&world, "gw_orders", media, &[("token", token)]).await;
        assert_eq!(answer.header(header::CONTENT_TYPE), media);
        let claims = verified(&world, &answer.body, "token-introspection+jwt", "gw_orders").await;
        assert_eq!(claims["token_introspection"]["active"], active);
        assert!(claims.get("sub").is_none() && claims.get("exp").is_none());
    }
}

#[tokio::test]
async fn gateways_get_facts_and_jwt_at_once_over_http_and_in_process() {
    let world = World::new().await;
    let text = world.tokens("openid orders:read").await["access_token"]
        .as_str()
        .unwrap()
        .to_owned();
    let form = [("token", text.as_str()), ("resource", ORDERS)];
    let answer = ask(&world, "gw_orders", SWAP_MEDIA_TYPE, &form).await;
    assert_eq!(answer.header(header::CONTENT_TYPE), SWAP_MEDIA_TYPE);
    let remote: SwapAnswer = serde_json::from_str(&answer.body).unwrap();
    let Introspection::Active(remote) = remote.into_introspection().unwrap() else {
        panic!()
    };

    let local = world.service.introspector("local").unwrap();
    let token = OpaqueToken::parse(&text).unwrap();
    let orders = ResourceId::new(ORDERS);
    let Introspection::Active(local_answer) = local.introspect(&token, &orders).await.unwrap()
    else {
        panic!()
    };
    assert_eq!(remote.facts, local_answer.facts);
    assert_eq!(
        (remote.exp, &remote.token_ref),
        (local_answer.exp, &local_answer.token_ref)
    );
    assert_eq!(remote.grant, local_answer.grant);
    assert_eq!(remote.facts.attributes["roles"], json!(["customer"]));
    assert_eq!(remote.facts.scope.to_string(), "orders:read");
    verified(&world, local_answer.jwt.reveal(), "at+jwt", ORDERS).await;

    let unknown = OpaqueToken::parse("unknown").unwrap();
    assert_eq!(
        local.introspect(&unknown, &orders).await.unwrap(),
        Introspection::Inactive
    );
    let billing = ResourceId::new(BILLING);
    let refused = local.introspect(&token, &billing).await;
    assert!(matches!(refused, Err(IntrospectionError::Rejected { .. })));
    assert!(world.service.introspector("nobody").is_none());
}

#[tokio::test]
async fn a_revocation_is_an_event_and_holds_from_its_answer_on() {
    let world = World::new().await;
    let tokens = world.tokens("orders:read").await;
    let access = tokens["access_token"].as_str().unwrap();
    let refresh = tokens["refresh_token"].as_str().unwrap();
    let token_ref = world.introspect("gw_orders", access).await.json()["jti"].clone();
    let start = world.store_tail().await;

    // Not by another client, and nothing is told.
    for token in [access, refresh, "garbage", "cg_at_x"] {
        let answer = world.post_as("other", "/revoke", &[("token", token)]).await;
        assert_eq!((answer.status, answer.body.as_str()), (StatusCode::OK, ""));
    }
    assert!(world.is_active(access).await);
    assert!(world.events(&start).await.is_empty());
    world
        .post_as("web", "/revoke", &[])
        .await
        .assert_error(400, "invalid_request");
    let stranger = world
        .post_as("gw_orders", "/revoke", &[("token", access)])
        .await;
    stranger.assert_error(401, "invalid_client");

    let answer = world.post_as("web", "/revoke", &[("token", access)]).await;
    assert_eq!((answer.status, answer.body.as_str()), (StatusCode::OK, ""));
    assert!(!world.is_active(access).await);
    let next = world.token("web", &refresh_form(refresh)).await.json();
    let access = next["access_token"].as_str().unwrap();
    assert!(world.is_active(access).await);
    let refresh = next["refresh_token"].as_str().unwrap();
    let form = [("token", refresh), ("token_type_hint", "access_token")];
    assert_eq!(world.post_as("web", "/revoke", &form).await.status, 200);
    assert!(!world.is_active(access).await);
    world
        .token("web", &refresh_form(refresh))
        .await
        .assert_error(400, "invalid_grant");

    let events = world.events(&start).await;
    let kinds: Vec<&Value> = events.iter().map(|event| &event["kind"]).collect();
    assert_eq!(kinds, ["token_revoked", "grant_revoked"]);
    assert_eq!(events[0]["token_ref"], token_ref);
    // Again changes nothing.
    assert_eq!(world.post_as("web", "/revoke", &form).await.status, 200);
    assert_eq!(world.events(&start).await.len(), 2);
}
