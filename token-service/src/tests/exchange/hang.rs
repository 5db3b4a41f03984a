//! What is exchanged hangs on what it was exchanged from.

use std::sync::Arc;

use oauth::{Introspection, OpaqueToken, ResourceId};
use serde_json::Value;

use super::super::harness::{BILLING, ORDERS, World, code_form, refresh_form};
use super::{
    ACCESS_TOKEN, access, access_at, bad_token, exchange, exchanged, facts, jwt, services, text,
    world,
};

/// The whole chain of one subject token: exchanged once, twice, and once more by JWT.
async fn family(world: &World, subject: &str) -> [String; 3] {
    let first = exchanged(world, "orders", subject, &[]).await;
    let second = exchanged(world, "billing", &first, &[("resource", ORDERS)]).await;
    let cut = jwt(world, "gw_billing", &first).await;
    let third = exchanged(world, "billing", &cut, &[("resource", ORDERS)]).await;
    [first, second, third]
}

async fn live(world: &World, family: &[String; 3]) -> [bool; 3] {
    let mut live = [false; 3];
    for ((token, server), live) in family
        .iter()
        .zip(["gw_billing", "gw_orders", "gw_orders"])
        .zip(&mut live)
    {
        *live = facts(world, server, token).await["active"] == Value::Bool(true);
    }
    live
}

#[tokio::test]
async fn revoking_the_subject_by_any_way_kills_all_of_it() {
    for way in ["grant", "token", "replayed code", "middle"] {
        let world = world().await;
        let code = world
            .code("web", "orders:read billing:read offline_access")
            .await;
        let tokens = world.redeem("web", &code).await.json();
        let subject = text(&tokens, "access_token");
        let family = family(&world, &subject).await;
        let cut = jwt(&world, "gw_orders", &subject).await;
        let made = jwt(&world, "gw_billing", &family[0]).await;
        assert_eq!(live(&world, &family).await, [true; 3]);
        let refresh = text(&tokens, "refresh_token");
        let answer = match way {
            "grant" => {
                world
                    .post_as("web", "/revoke", &[("token", &refresh)])
                    .await
            }
            "token" => {
                world
                    .post_as("web", "/revoke", &[("token", &subject)])
                    .await
            }
            "replayed code" => world.token("web", &code_form(&code)).await,
            _ => {
                world
                    .post_as("orders", "/revoke", &[("token", &family[0])])
                    .await
            }
        };
        assert!(answer.status == 200 || way == "replayed code", "{answer:?}");
        assert_eq!(live(&world, &family).await, [false; 3], "{way}");
        // Nothing of it can be exchanged again, in whatever form.
        for (who, token) in [("billing", &made), ("billing", &family[0])] {
            bad_token(&exchange(&world, who, token, &[("resource", ORDERS)]).await);
        }
        if way == "middle" {
            assert_eq!(exchange(&world, "orders", &cut, &[]).await.status, 200);
        } else {
            bad_token(&exchange(&world, "orders", &cut, &[]).await);
            bad_token(&exchange(&world, "orders", &subject, &[]).await);
            let mut next = world.token("web", &refresh_form(&refresh)).await;
            if way == "token" {
                // The grant goes on, without what came of the revoked token.
                let token = text(&next.json(), "access_token");
                next = exchange(&world, "orders", &token, &[]).await;
                assert_eq!(next.status, 200);
                assert_eq!(live(&world, &family).await, [false; 3]);
            } else {
                next.assert_error(400, "invalid_grant");
            }
        }
    }
}

#[tokio::test]
async fn gateways_are_told_what_a_token_hangs_on() {
    let world = world().await;
    let tokens = world
        .tokens("orders:read billing:read offline_access")
        .await;
    let subject = text(&tokens, "access_token");
    let [first, second, _] = family(&world, &subject).await;
    let local = world.service.introspector("local").unwrap();
    let orders = ResourceId::new(ORDERS);
    let ask = async |token: &str| {
        local
            .introspect(&OpaqueToken::parse(token).unwrap(), &orders)
            .await
            .unwrap()
    };
    let (Introspection::Active(of_subject), Introspection::Active(of_second)) =
        (ask(&subject).await, ask(&second).await)
    else {
        panic!("inactive")
    };
    assert!(of_subject.origins.is_empty());
    let jti = facts(&world, "gw_billing", &first).await["jti"].clone();
    let names: Vec<_> = of_second
        .origins
        .iter()
        .map(|origin| origin.token_ref.as_str())
        .collect();
    assert_eq!(
        names,
        [of_subject.token_ref.as_str(), jti.as_str().unwrap()]
    );
    let act = of_second.facts.act.as_ref().unwrap();
    assert_eq!((act.sub.as_str(), act.count()), ("billing", 2));

    // The event that voids the subject's answers names what is in the others' origins.
    let start = world.store_tail().await;
    let refresh = text(&tokens, "refresh_token");
    world
        .post_as("web", "/revoke", &[("token", &refresh)])
        .await;
    let events = world.events(&start).await;
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["grant"], of_second.origins[0].grant);
    assert_eq!(ask(&second).await, Introspection::Inactive);
}

/// What is left of a family, and of a token with which bob acts for alice at the desk, where the
/// service goes on with another configuration.
async fn left(changes: &[(&str, &str, [bool; 3], bool)]) {
    let world = world().await;
    let subject = access(&world, "orders:read billing:read").await;
    let family = family(&world, &subject).await;
    let (acted, _) = acted(&world, &subject).await;
    for (from, to, expected, is_acted) in changes {
        let next = services(|text| {
            assert!(text.contains(from), "{from}");
            text.replace(from, to)
        });
        let next = world.restarted(next).await;
        assert_eq!(live(&next, &family).await, *expected, "{to}");
        let told = facts(&next, "gw_orders", &acted).await;
        assert_eq!(told["active"], *is_acted, "{to}");
    }
    assert_eq!(live(&world, &family).await, [true; 3]);
}

/// A token with which bob acts, and bob's own.
async fn acted(world: &World, subject: &str) -> (String, String) {
    let actor = access_at(world, "desk", "bob", &[]).await;
    let more = [
        ("resource", ORDERS),
        ("actor_token", actor.as_str()),
        ("actor_token_type", ACCESS_TOKEN),
    ];
    (exchanged(world, "desk", subject, &more).await, actor)
}

#[tokio::test]
async fn whoever_is_gone_takes_what_was_exchanged_along() {
    let (all, none) = ([true; 3], [false; 3]);
    left(&[
        (
            "username: alice,",
            "username: alice, disabled: true,",
            none,
            false,
        ),
        ("{ id: web,", "{ id: web, disabled: true,", none, false),
        (
            "username: bob,",
            "username: bob, disabled: true,",
            all,
            false,
        ),
        (
            "{ id: billing, ",
            "{ id: billing, disabled: true, ",
            [true, false, false],
            true,
        ),
        (
            "{ id: orders, ",
            "{ id: orders, disabled: true, ",
            none,
            true,
        ),
        ("{ id: desk, ", "{ id: desk, disabled: true, ", all, false),
    ])
    .await;
}

#[tokio::test]
async fn what_may_not_be_exchanged_any_more_is_dead() {
    let first = [true, false, false];
    let elsewhere = (
        format!("audiences: ['{BILLING}']"),
        format!("audiences: ['{ORDERS}']"),
    );
    left(&[
        (
            "[web, billing], subject",
            "[billing], subject",
            [false; 3],
            true,
        ),
        (
            "subject_clients: [orders]",
            "subject_clients: [web]",
            first,
            true,
        ),
        (
            "username: alice,",
            "username: alice, may_act: [u-2, orders],",
            first,
            true,
        ),
        (
            "username: alice,",
            "username: alice, may_act: [orders, billing],",
            [true; 3],
            false,
        ),
        (
            "[web, billing], subject",
            "[web, billing], jwts: true, subject",
            [true; 3],
            true,
        ),
        (&elsewhere.0, &elsewhere.1, [false, true, true], true),
    ])
    .await;
}

#[tokio::test]
async fn of_a_disabled_user_or_client_nothing_is_exchanged() {
    let world = world().await;
    let subject = access(&world, "orders:read billing:read").await;
    let cut = jwt(&world, "gw_orders", &subject).await;
    for name in ["username: alice,", "{ id: web,"] {
        let disabled = format!("{name} disabled: true,");
        let next = services(|text| text.replace(name, &disabled));
        let next = world.restarted(next).await;
        bad_token(&exchange(&next, "orders", &subject, &[]).await);
        bad_token(&exchange(&next, "orders", &cut, &[]).await);
    }
    assert_eq!(exchange(&world, "orders", &cut, &[]).await.status, 200);
}

#[tokio::test]
async fn an_actors_revoked_token_ends_what_it_was_used_for() {
    let world = world().await;
    let subject = access(&world, "orders:read billing:read").await;
    let (acted, actor) = acted(&world, &subject).await;
    assert!(world.is_active(&acted).await);
    let answer = world.post_as("desk", "/revoke", &[("token", &actor)]).await;
    assert_eq!(answer.status, 200);
    assert!(!world.is_active(&acted).await);
    assert!(world.is_active(&subject).await);
}

#[tokio::test]
async fn what_is_revoked_while_it_is_exchanged_is_not_exchanged() {
    for what in ["grant", "token", "actor"] {
        let world = Arc::new(world().await);
        let tokens = world
            .tokens("orders:read billing:read offline_access")
            .await;
        let subject = text(&tokens, "access_token");
        let actor = access_at(&world, "desk", "bob", &[]).await;
        world.decisions.asked.lock().unwrap().clear();
        let hold = world.decisions.hold.lock().await;
        let mut exchanging = tokio::task::JoinSet::new();
        exchanging.spawn({
            let (world, subject, actor) = (world.clone(), subject.clone(), actor.clone());
            async move {
                let more = [
                    ("resource", ORDERS),
                    ("actor_token", actor.as_str()),
                    ("actor_token_type", ACCESS_TOKEN),
                ];
                exchange(&world, "desk", &subject, &more).await
            }
        });
        while world.decisions.asked.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        let refresh = text(&tokens, "refresh_token");
        let (who, revoked) = match what {
            "grant" => ("web", &refresh),
            "token" => ("web", &subject),
            _ => ("desk", &actor),
        };
        let answer = world.post_as(who, "/revoke", &[("token", revoked)]).await;
        assert_eq!(answer.status, 200);
        drop(hold);
        bad_token(&exchanging.join_next().await.unwrap().unwrap());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_fifty_exchanges_and_one_revocation_nothing_is_left() {
    let world = Arc::new(world().await);
    let tokens = world
        .tokens("orders:read billing:read offline_access")
        .await;
    let (subject, refresh) = (
        text(&tokens, "access_token"),
        text(&tokens, "refresh_token"),
    );
    let mut tasks = tokio::task::JoinSet::new();
    for at in 0..50 {
        let (world, subject, refresh) = (world.clone(), subject.clone(), refresh.clone());
        tasks.spawn(async move {
            if at == 25 {
                return world
                    .post_as("web", "/revoke", &[("token", &refresh)])
                    .await;
            }
            exchange(&world, "orders", &subject, &[]).await
        });
    }
    for answer in tasks.join_all().await {
        if answer.status == 200 && !answer.body.is_empty() {
            let token = text(&answer.json(), "access_token");
            assert_eq!(facts(&world, "gw_billing", &token).await["active"], false);
        } else if !answer.body.is_empty() {
            bad_token(&answer);
        }
    }
}

#[tokio::test]
async fn many_exchange_the_same_token_at_once() {
    let world = Arc::new(world().await);
    let subject = access(&world, "orders:read billing:read").await;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let (world, subject) = (world.clone(), subject.clone());
        tasks.spawn(async move { exchange(&world, "orders", &subject, &[]).await });
    }
    for answer in tasks.join_all().await {
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
}

#[tokio::test]
async fn not_knowing_is_not_an_exchange() {
    let world = world().await;
    let subject = access(&world, "orders:read billing:read").await;
    world.decisions.set_down(true);
    let answer = exchange(&world, "orders", &subject, &[]).await;
    answer.assert_error(503, "temporarily_unavailable");
    world.decisions.set_down(false);
    world.store.set_read_only(true);
    let answer = exchange(&world, "orders", &subject, &[]).await;
    answer.assert_error(503, "temporarily_unavailable");
    world.store.set_down(true);
    let answer = exchange(&world, "orders", &subject, &[]).await;
    answer.assert_error(503, "temporarily_unavailable");
    world.store.set_down(false);
    world.store.set_read_only(false);
    assert_eq!(exchange(&world, "orders", &subject, &[]).await.status, 200);
}
