//! When something around the service is down: it says so, and grants nothing.

use http::header;
use oauth::{IntrospectionError, OpaqueToken, ResourceId};

use super::harness::{Browser, ORDERS, World, authorize_uri, query, refresh_form};

#[tokio::test]
async fn without_the_store_nothing_is_granted_revoked_or_known() {
    let world = World::new().await;
    let tokens = world.tokens("openid orders:read").await;
    let access = tokens["access_token"].as_str().unwrap();
    let refresh = tokens["refresh_token"].as_str().unwrap();
    world.store.set_down(true);
    let machine = [("grant_type", "client_credentials")];
    for answer in [
        world.introspect("gw_orders", access).await,
        world.post_as("web", "/revoke", &[("token", access)]).await,
        world.token("web", &refresh_form(refresh)).await,
        world.token("svc", &machine).await,
    ] {
        answer.assert_error(503, "temporarily_unavailable");
        assert!(!answer.header(header::RETRY_AFTER).is_empty());
    }
    let page = world.get(&authorize_uri(&[])).await;
    assert_eq!(query(page.location())["error"], "temporarily_unavailable");
    let local = world.service.introspector("local").unwrap();
    let answer = local
        .introspect(
            &OpaqueToken::parse(access).unwrap(),
            &ResourceId::new(ORDERS),
        )
        .await;
    assert!(matches!(answer, Err(IntrospectionError::Unavailable(_))));

    world.store.set_down(false);
    assert!(world.is_active(access).await);
    assert_eq!(world.token("web", &refresh_form(refresh)).await.status, 200);
}

#[tokio::test]
async fn a_revocation_that_could_not_be_written_is_not_acknowledged() {
    let world = World::new().await;
    let tokens = world.tokens("orders:read").await;
    world.store.set_read_only(true);
    for name in ["access_token", "refresh_token"] {
        let token = tokens[name].as_str().unwrap();
        let answer = world.post_as("web", "/revoke", &[("token", token)]).await;
        answer.assert_error(503, "temporarily_unavailable");
        assert!(!answer.header(header::RETRY_AFTER).is_empty());
    }
    // A replay whose revocation cannot be written is an outage, too, and not just a "no".
    let refresh = tokens["refresh_token"].as_str().unwrap();
    world.store.set_read_only(false);
    let next = world.token("web", &refresh_form(refresh)).await.json();
    // Later than the same answer would be given again.
    world.advance(10);
    world.store.set_read_only(true);
    world
        .token("web", &refresh_form(refresh))
        .await
        .assert_error(503, "temporarily_unavailable");
    world.store.set_read_only(false);
    assert!(
        world
            .is_active(next["access_token"].as_str().unwrap())
            .await
    );
    world
        .token("web", &refresh_form(refresh))
        .await
        .assert_error(400, "invalid_grant");
    assert!(
        !world
            .is_active(next["access_token"].as_str().unwrap())
            .await
    );
}

#[tokio::test]
async fn without_the_decision_point_nothing_is_granted_and_nothing_is_used_up() {
    let world = World::new().await;
    let tokens = world.tokens("openid orders:read").await;
    let access = tokens["access_token"].as_str().unwrap();
    let refresh = tokens["refresh_token"].as_str().unwrap();
    let code = world.code("web", "orders:read").await;
    let mut browser = Browser::default();
    let page = browser.get(&world, &authorize_uri(&[])).await;
    world.decisions.set_down(true);
    let machine = [("grant_type", "client_credentials")];
    for answer in [
        world.introspect("gw_orders", access).await,
        world.token("web", &refresh_form(refresh)).await,
        world.redeem("web", &code).await,
        world.token("svc", &machine).await,
    ] {
        answer.assert_error(503, "temporarily_unavailable");
        assert!(!answer.header(header::RETRY_AFTER).is_empty());
    }
    let back = browser.log_in(&world, &page, "alice").await;
    assert_eq!(query(back.location())["error"], "temporarily_unavailable");

    world.decisions.set_down(false);
    assert_eq!(world.redeem("web", &code).await.status, 200);
    assert_eq!(world.token("web", &refresh_form(refresh)).await.status, 200);
}

#[tokio::test]
async fn outcomes_are_counted() {
    let world = World::new().await;
    world
        .token("svc", &[("grant_type", "client_credentials")])
        .await;
    world.token("svc", &[("grant_type", "password")]).await;
    world.introspect("gw_orders", "x").await;
    let text = world.metrics.render();
    for line in [
        r#"token_service_requests_total{endpoint="token",outcome="ok"} 1"#,
        r#"token_service_requests_total{endpoint="token",outcome="unsupported_grant_type"} 1"#,
        r#"token_service_tokens_issued_total{grant_type="client_credentials"} 1"#,
        "token_service_introspection_seconds_count 1",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
}
