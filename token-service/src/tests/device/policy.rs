//! Who rules over what a device gets: the decision point, the registry, and what is up.

use http::header;

use super::{
    Device, GRANT, answer, ask, assert_page, assert_unknown, begin, decide, devices, enter,
    logged_in, poll, world,
};
use crate::tests::harness::{BILLING, ORDERS};

#[tokio::test]
async fn tokens_are_for_the_resources_that_the_device_named() {
    let world = world().await;
    let given = ask(&world, "tv", &[("resource", ORDERS)]).await.json();
    let device = Device::of(&given);
    decide(&world, "alice", &device.user_code, "approve").await;
    let form = [
        ("grant_type", GRANT),
        ("device_code", device.device_code.as_str()),
        ("resource", BILLING),
    ];
    let more = world.token("tv", &form).await;
    more.assert_error(400, "invalid_target");
    let tokens = poll(&world, "tv", &device).await.json();
    let access = tokens["access_token"].as_str().unwrap();
    assert!(world.is_active(access).await);
    let answer = world.introspect("gw_billing", access).await;
    assert_eq!(answer.body, r#"{"active":false}"#);
    let asked = world.decisions.asked.lock().unwrap();
    let moments: Vec<_> = asked
        .iter()
        .filter(|question| question.resource.id == "orders:read")
        .map(|question| {
            assert_eq!(question.context["grant_type"], GRANT);
            assert_eq!(question.context["client_id"], "tv");
            assert_eq!(question.context["resource"], ORDERS);
            question.context["moment"].as_str().unwrap()
        })
        .collect();
    assert_eq!(moments, ["consent", "consent", "issue", "swap"]);
}

#[tokio::test]
async fn the_decision_point_rules_over_devices_as_over_codes() {
    let world = world().await;
    // Denied before the page: the person and the device hear it.
    let nothing = begin(&world, "orders:write").await;
    let less = begin(&world, "orders:read orders:write").await;
    let gone = begin(&world, "billing:read").await;
    world.decisions.deny("orders:write");
    let mut alice = logged_in(&world, "alice").await;
    let page = enter(&mut alice, &world, &nothing.user_code).await;
    assert_page(&page, 400);
    assert!(page.body.contains("access_denied"), "{}", page.body);
    poll(&world, "tv", &nothing)
        .await
        .assert_error(400, "access_denied");
    // Denied in part.
    let page = enter(&mut alice, &world, &less.user_code).await;
    assert_eq!(page.field("scope"), "orders:read");
    answer(&mut alice, &world, &page, "approve").await;
    let tokens = poll(&world, "tv", &less).await.json();
    assert_eq!(tokens["scope"], "orders:read");
    // Permitted only after the page: what it did not show was not approved.
    let more = begin(&world, "orders:read orders:write").await;
    let page = enter(&mut alice, &world, &more.user_code).await;
    let later = world.restarted(devices(|text| text)).await;
    answer(&mut alice, &later, &page, "approve").await;
    let tokens = poll(&later, "tv", &more).await.json();
    assert_eq!(tokens["scope"], "orders:read");
    // Denied between page and answer.
    let page = enter(&mut alice, &world, &gone.user_code).await;
    world.decisions.deny("billing:read");
    let denied = answer(&mut alice, &world, &page, "approve").await;
    assert!(denied.body.contains("access_denied"), "{}", denied.body);
    poll(&world, "tv", &gone)
        .await
        .assert_error(400, "access_denied");
    // Denied between answer and poll.
    let late = begin(&world, "orders:read").await;
    decide(&world, "alice", &late.user_code, "approve").await;
    world.decisions.deny("orders:read");
    poll(&world, "tv", &late)
        .await
        .assert_error(400, "access_denied");
}

#[tokio::test]
async fn who_was_disabled_since_approves_nothing_and_gets_nothing() {
    let world = world().await;
    let (first, second) = (
        begin(&world, "orders:read").await,
        begin(&world, "orders:read").await,
    );
    decide(&world, "bob", &first.user_code, "approve").await;
    let mut bob = logged_in(&world, "bob").await;
    let page = enter(&mut bob, &world, &second.user_code).await;
    let no_bob = devices(|text| text.replacen("username: bob", "disabled: true, username: bob", 1));
    let later = world.restarted(no_bob).await;
    poll(&later, "tv", &first)
        .await
        .assert_error(400, "invalid_grant");
    assert_page(&answer(&mut bob, &later, &page, "approve").await, 400);
    poll(&later, "tv", &second)
        .await
        .assert_error(400, "authorization_pending");

    // A client that was disabled, or may not do this any more.
    let mut alice = logged_in(&world, "alice").await;
    let page = enter(&mut alice, &world, &second.user_code).await;
    for (old, new, status, error) in [
        ("id: tv", "disabled: true, id: tv", 401, "invalid_client"),
        (
            "[device_code, refresh_token]",
            "[client_credentials]",
            400,
            "unauthorized_client",
        ),
    ] {
        let later = world
            .restarted(devices(|text| text.replacen(old, new, 1)))
            .await;
        poll(&later, "tv", &first).await.assert_error(status, error);
        assert_unknown(&answer(&mut alice, &later, &page, "approve").await);
        assert_unknown(&enter(&mut alice, &later, &second.user_code).await);
    }
    // And what it may have has shrunk.
    let less = devices(|text| {
        let all = "scope: openid offline_access orders:read orders:write billing:read, consent";
        text.replacen(all, "scope: billing:read, consent", 1)
    });
    let later = world.restarted(less).await;
    decide(&world, "alice", &second.user_code, "approve").await;
    poll(&later, "tv", &second)
        .await
        .assert_error(400, "access_denied");
}

#[tokio::test]
async fn when_something_is_down_nothing_is_granted_and_nothing_is_used_up() {
    let world = world().await;
    let device = begin(&world, "orders:read").await;
    let mut alice = logged_in(&world, "alice").await;
    let page = enter(&mut alice, &world, &device.user_code).await;
    for down in ["store", "decisions"] {
        let set = |is_down| match down {
            "store" => world.store.set_down(is_down),
            _ => world.decisions.set_down(is_down),
        };
        let form = alice.get(&world, "/device").await;
        set(true);
        let (csrf, code) = (form.field("csrf"), device.user_code.as_str());
        let typed = [("csrf", csrf.as_str()), ("user_code", code)];
        for answer in [
            alice.post(&world, "/device", &typed).await,
            answer(&mut alice, &world, &page, "approve").await,
        ] {
            assert_page(&answer, 503);
            assert_eq!(answer.header(header::RETRY_AFTER), "1");
        }
        if down == "store" {
            let refused = [
                ask(&world, "tv", &[]).await,
                poll(&world, "tv", &device).await,
            ];
            for answer in refused {
                answer.assert_error(503, "temporarily_unavailable");
            }
            assert_page(&alice.get(&world, "/device").await, 503);
        }
        set(false);
    }
    answer(&mut alice, &world, &page, "approve").await;
    world.decisions.set_down(true);
    let answer = poll(&world, "tv", &device).await;
    answer.assert_error(503, "temporarily_unavailable");
    world.decisions.set_down(false);
    assert_eq!(poll(&world, "tv", &device).await.status, 200);
}
