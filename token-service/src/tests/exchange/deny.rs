//! Who may exchange what for what: nothing that is not configured.

use super::super::harness::{BILLING, ORDERS, World};
use super::{
    ACCESS_TOKEN, JWT, access, access_at, bad_token, exchange, exchanged, form, jwt, services,
    text, world,
};

#[tokio::test]
async fn nothing_is_exchanged_by_a_client_that_is_not_configured_for_it() {
    let world = world().await;
    let subject = access(&world, "orders:read billing:read").await;
    for who in ["web", "svc", "other"] {
        let answer = exchange(&world, who, &subject, &[("resource", ORDERS)]).await;
        answer.assert_error(400, "unauthorized_client");
    }
    let mut public = form(&subject, &[("resource", ORDERS)]);
    public.push(("client_id", "native"));
    let request = http::Request::post("/token")
        .header(
            http::header::CONTENT_TYPE,
            "application/x-www-form-urlencoded",
        )
        .body(axum::body::Body::from(super::super::harness::encode(
            &public,
        )));
    let answer = world.send(request.unwrap()).await;
    answer.assert_error(400, "unauthorized_client");
    let answer = exchange(&world, "nobody", &subject, &[]).await;
    answer.assert_error(401, "invalid_client");
}

#[tokio::test]
async fn targets_that_are_not_configured_are_refused() {
    let world = world().await;
    let subject = access(&world, "orders:read billing:read").await;
    for target in [
        vec![("resource", ORDERS)],
        vec![("audience", ORDERS)],
        vec![("audience", "gw_orders")],
        vec![("audience", "gw_both")],
        vec![("audience", "web")],
        vec![("resource", BILLING), ("resource", ORDERS)],
        vec![("resource", BILLING), ("audience", "nowhere")],
        vec![("resource", "https://evil.example/")],
    ] {
        let answer = exchange(&world, "orders", &subject, &target).await;
        answer.assert_error(400, "invalid_target");
    }
    // Who may have several has to say which.
    let own = access_at(&world, "desk", "alice", &[]).await;
    exchange(&world, "desk", &own, &[])
        .await
        .assert_error(400, "invalid_target");
    assert_eq!(exchange(&world, "orders", &subject, &[]).await.status, 200);
}

#[tokio::test]
async fn only_tokens_that_were_meant_for_the_client_are_taken() {
    let world = world().await;
    // Of a client that is not named.
    let foreign = access_at(&world, "desk", "alice", &[]).await;
    bad_token(&exchange(&world, "orders", &foreign, &[]).await);
    // Made out to somebody else.
    let elsewhere = access_at(&world, "web", "alice", &[("resource", BILLING)]).await;
    bad_token(&exchange(&world, "orders", &elsewhere, &[]).await);
    let subject = access(&world, "orders:read billing:read").await;
    let cut = jwt(&world, "gw_billing", &subject).await;
    bad_token(&exchange(&world, "orders", &cut, &[("subject_token_type", JWT)]).await);
    // One's own need not be for oneself, but must be named, too.
    assert_eq!(
        exchange(&world, "desk", &foreign, &[("resource", BILLING)])
            .await
            .status,
        200
    );
    let own = exchanged(&world, "orders", &subject, &[]).await;
    bad_token(&exchange(&world, "orders", &own, &[]).await);
}

#[tokio::test]
async fn tokens_of_other_kinds_are_one_refusal() {
    let world = world().await;
    let tokens = world.tokens("openid orders:read").await;
    let subject = text(&tokens, "access_token");
    let refresh = text(&tokens, "refresh_token");
    let id_token = text(&tokens, "id_token");
    let cut = jwt(&world, "gw_orders", &subject).await;
    let mut signed = super::as_client("gw_orders", "/introspect", &[("token", &subject)]);
    let accept = "application/token-introspection+jwt".parse().unwrap();
    signed.headers_mut().insert(http::header::ACCEPT, accept);
    let signed = world.send(signed).await.body;
    let stranger = super::world().await;
    let strange = access(&stranger, "orders:read").await;
    let strange_cut = jwt(&stranger, "gw_orders", &strange).await;
    let code = world.code("web", "orders:read").await;
    let (head, tail) = cut.split_at(cut.len() - 8);
    let forged = format!("{head}{}", tail.chars().rev().collect::<String>());
    let (_, unsigned) = cut.split_once('.').unwrap();
    let (claims, _) = unsigned.split_once('.').unwrap();
    let none = format!("eyJhbGciOiJub25lIiwidHlwIjoiYXQrand0In0.{claims}.");
    for (token, kind) in [
        (refresh.as_str(), ACCESS_TOKEN),
        (&id_token, ACCESS_TOKEN),
        (&id_token, JWT),
        (&signed, JWT),
        (&subject, JWT),
        (&code, ACCESS_TOKEN),
        (&strange, ACCESS_TOKEN),
        (&strange_cut, ACCESS_TOKEN),
        (&strange_cut, JWT),
        (&forged, JWT),
        (&none, JWT),
        ("..", JWT),
        ("x", ACCESS_TOKEN),
    ] {
        bad_token(&exchange(&world, "orders", token, &[("subject_token_type", kind)]).await);
    }
    // And what is good is still good.
    assert_eq!(exchange(&world, "orders", &subject, &[]).await.status, 200);
    assert_eq!(exchange(&world, "orders", &cut, &[]).await.status, 200);
}

#[tokio::test]
async fn unsupported_types_and_missing_parameters_are_refused() {
    let world = world().await;
    let subject = access(&world, "orders:read billing:read").await;
    for kind in ["refresh_token", "id_token", "saml2", "saml1"] {
        let kind = format!("urn:ietf:params:oauth:token-type:{kind}");
        let answer = exchange(&world, "orders", &subject, &[("subject_token_type", &kind)]).await;
        answer.assert_error(400, "invalid_request");
        let answer = exchange(
            &world,
            "orders",
            &subject,
            &[("requested_token_type", &kind)],
        )
        .await;
        answer.assert_error(400, "invalid_request");
    }
    let nothing = [
        ("grant_type", super::GRANT),
        ("subject_token_type", ACCESS_TOKEN),
    ];
    world
        .token("orders", &nothing)
        .await
        .assert_error(400, "invalid_request");
    let untyped = [nothing[0], ("subject_token", subject.as_str())];
    world
        .token("orders", &untyped)
        .await
        .assert_error(400, "invalid_request");
}

#[tokio::test]
async fn may_act_names_the_only_ones_who_may() {
    let subject_form = [("resource", ORDERS)];
    for (edit, orders, desk) in [
        (
            ("username: alice,", "username: alice, may_act: [orders],"),
            true,
            false,
        ),
        (
            ("username: alice,", "username: alice, may_act: [],"),
            false,
            false,
        ),
        (("{ id: web,", "{ id: web, may_act: [desk],"), false, true),
        (
            ("username: bob,", "username: bob, may_act: [],"),
            true,
            true,
        ),
        (
            ("username: alice,", "username: alice, may_act: [u-2],"),
            false,
            false,
        ),
    ] {
        let world = World::with(services(|text| text.replace(edit.0, edit.1))).await;
        let subject = access(&world, "orders:read billing:read").await;
        let answer = exchange(&world, "orders", &subject, &[]).await;
        assert_eq!(answer.status == 200, orders, "{edit:?} {}", answer.body);
        if !orders {
            bad_token(&answer);
        }
        // Impersonation asks for as much.
        let answer = exchange(&world, "desk", &subject, &subject_form).await;
        assert_eq!(answer.status == 200, desk, "{edit:?} {}", answer.body);
        // With an actor token, its subject is the one who acts.
        let actor = access_at(&world, "desk", "bob", &[]).await;
        let more = [
            ("resource", ORDERS),
            ("actor_token", actor.as_str()),
            ("actor_token_type", ACCESS_TOKEN),
        ];
        let answer = exchange(&world, "desk", &subject, &more).await;
        let bob = edit.1.contains("u-2") || edit.1.contains("bob");
        assert_eq!(answer.status == 200, bob, "{edit:?} {}", answer.body);
    }
}

#[tokio::test]
async fn the_metadata_names_the_grant() {
    let world = world().await;
    let metadata = world.get("/.well-known/openid-configuration").await.json();
    let grants = metadata["grant_types_supported"].as_array().unwrap();
    assert!(grants.contains(&super::GRANT.into()), "{grants:?}");
}
