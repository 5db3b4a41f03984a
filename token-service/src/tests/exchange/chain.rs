//! Who is seen to act: delegation, its nesting, impersonation, and actor tokens.

use serde_json::{Value, json};

use super::super::harness::{BILLING, ORDERS, verified};
use super::{
    ACCESS_TOKEN, JWT, access, access_at, bad_token, exchange, exchanged, facts, jwt, text, world,
};

fn acts(mut act: &Value) -> Vec<String> {
    let mut names = Vec::new();
    while !act.is_null() {
        names.push(text(act, "sub"));
        act = &act["act"];
    }
    names
}

#[tokio::test]
async fn whoever_acted_before_stands_inside_and_the_chain_has_an_end() {
    let world = world().await;
    let mut token = access(&world, "orders:read billing:read").await;
    let mut expected: Vec<String> = Vec::new();
    for (who, server, target) in [
        ("orders", "gw_billing", BILLING),
        ("billing", "gw_orders", ORDERS),
        ("orders", "gw_billing", BILLING),
        ("billing", "gw_orders", ORDERS),
        ("orders", "gw_billing", BILLING),
    ] {
        token = exchanged(&world, who, &token, &[("resource", target)]).await;
        expected.insert(0, who.to_owned());
        let told = facts(&world, server, &token).await;
        assert_eq!(acts(&told["act"]), expected);
        assert_eq!(told["sub"], "alice");
        let cut = jwt(&world, server, &token).await;
        let claims = verified(&world, &cut, "at+jwt", target).await;
        assert_eq!(claims["act"], told["act"]);
        assert!(cut.len() < 1500, "{}", cut.len());
    }
    bad_token(&exchange(&world, "billing", &token, &[("resource", ORDERS)]).await);
    assert_eq!(facts(&world, "gw_billing", &token).await["active"], true);
}

#[tokio::test]
async fn impersonation_is_not_told_but_takes_no_actor_away() {
    let world = world().await;
    let subject = access(&world, "orders:read billing:read").await;
    let token = exchanged(&world, "desk", &subject, &[("resource", ORDERS)]).await;
    let told = facts(&world, "gw_orders", &token).await;
    assert_eq!(
        (&told["sub"], &told["client_id"]),
        (&json!("alice"), &json!("desk"))
    );
    assert!(told.get("act").is_none(), "{told}");
    // Of a token with which somebody acts, it stays so.
    let delegated = exchanged(&world, "orders", &subject, &[]).await;
    let back = exchanged(&world, "billing", &delegated, &[("resource", ORDERS)]).await;
    let token = exchanged(&world, "desk", &back, &[("resource", ORDERS)]).await;
    let told = facts(&world, "gw_orders", &token).await;
    assert_eq!(acts(&told["act"]), ["billing", "orders"]);
}

#[tokio::test]
async fn with_an_actor_token_its_subject_acts() {
    let world = world().await;
    let subject = access(&world, "orders:read billing:read").await;
    let actor = access_at(&world, "desk", "bob", &[]).await;
    let with = |token: &'static str| {
        move |kind| {
            [
                ("resource", ORDERS),
                ("actor_token", token),
                ("actor_token_type", kind),
            ]
        }
    };
    let leak = |text: String| -> &'static str { Box::leak(text.into_boxed_str()) };
    let actor_text = leak(actor.clone());
    let token = exchanged(&world, "desk", &subject, &with(actor_text)(ACCESS_TOKEN)).await;
    let told = facts(&world, "gw_orders", &token).await;
    assert_eq!(told["act"], json!({ "sub": "u-2", "client_id": "desk" }));
    assert_eq!(
        (&told["sub"], &told["username"]),
        (&json!("alice"), &json!("alice"))
    );
    // A JWT of it stands for it as well.
    let cut = leak(jwt(&world, "gw_orders", &actor).await);
    let more = with(cut)(JWT);
    let token = exchanged(&world, "desk", &subject, &more).await;
    let told = facts(&world, "gw_orders", &token).await;
    assert_eq!(told["act"]["sub"], "u-2");
    // The life of the shorter.
    assert_eq!(told["exp"], 1_800_000_120);
    // Over one who acted already.
    let delegated = exchanged(&world, "orders", &subject, &[]).await;
    let back = exchanged(&world, "billing", &delegated, &[("resource", ORDERS)]).await;
    let token = exchanged(&world, "desk", &back, &with(actor_text)(ACCESS_TOKEN)).await;
    let told = facts(&world, "gw_orders", &token).await;
    assert_eq!(acts(&told["act"]), ["u-2", "billing", "orders"]);
    // The client itself, as itself.
    let own = world
        .token("desk", &[("grant_type", "client_credentials")])
        .await
        .json();
    let own = leak(text(&own, "access_token"));
    let token = exchanged(&world, "desk", &subject, &with(own)(ACCESS_TOKEN)).await;
    let told = facts(&world, "gw_orders", &token).await;
    assert_eq!(told["act"], json!({ "sub": "desk", "client_id": "desk" }));
}

#[tokio::test]
async fn an_actor_token_that_is_not_the_clients_own_or_not_good_is_refused() {
    let world = world().await;
    let subject = access(&world, "orders:read billing:read").await;
    let delegated = exchanged(&world, "desk", &subject, &[("resource", ORDERS)]).await;
    let foreign = access_at(&world, "web", "bob", &[]).await;
    let acted_for = {
        let actor = access_at(&world, "desk", "bob", &[]).await;
        let more = [
            ("resource", ORDERS),
            ("actor_token", actor.as_str()),
            ("actor_token_type", ACCESS_TOKEN),
        ];
        exchanged(&world, "desk", &subject, &more).await
    };
    for token in [foreign.as_str(), &acted_for, "cg_at_x", "x"] {
        let more = [
            ("resource", ORDERS),
            ("actor_token", token),
            ("actor_token_type", ACCESS_TOKEN),
        ];
        bad_token(&exchange(&world, "desk", &subject, &more).await);
    }
    for more in [
        vec![("actor_token", delegated.as_str())],
        vec![("actor_token_type", ACCESS_TOKEN)],
        vec![
            ("actor_token", delegated.as_str()),
            ("actor_token_type", "urn:x"),
        ],
    ] {
        let mut form = vec![("resource", ORDERS)];
        form.extend(more);
        let answer = exchange(&world, "desk", &subject, &form).await;
        answer.assert_error(400, "invalid_request");
    }
}

#[tokio::test]
async fn a_clients_own_token_keeps_the_clients_facts() {
    let world = super::World::with(super::services(|text| {
        text.replace("subject_clients: [web, billing]", "subject_clients: [svc]")
    }))
    .await;
    let machine = world
        .token("svc", &[("grant_type", "client_credentials")])
        .await
        .json();
    world.decisions.asked.lock().unwrap().clear();
    let token = exchanged(&world, "orders", &text(&machine, "access_token"), &[]).await;
    let told = facts(&world, "gw_billing", &token).await;
    assert_eq!(
        (&told["sub"], &told["act"]["sub"]),
        (&json!("svc"), &json!("orders"))
    );
    for question in world.decisions.asked.lock().unwrap().iter() {
        assert_eq!(
            (question.subject.kind.as_str(), question.subject.id.as_str()),
            ("Client", "svc")
        );
        assert_eq!(question.subject.properties["tier"], "gold");
    }
}
