//! Logins that lead to very many grants: none of them outlives the login because a list was full.

use super::{logged_in, logout_uri, text, world};
use crate::record::{self, Change, SessionGrant, SessionGrants};
use crate::tests::harness::{World, authorize_uri, query, verified};
use service_kit::UnixTime;
use std::time::Duration;

/// As if the login had led to so many more.
async fn fill(world: &World, sid: &str, more: usize) {
    let filled = record::change::<SessionGrants>(&*world.store, sid, |before| {
        let mut after = before.cloned().unwrap();
        after.grants.extend((0..more).map(|n| SessionGrant {
            id: format!("another-{n}"),
            client_id: "other".into(),
            is_offline: false,
            exp: UnixTime::from_secs(2_000_000_000),
        }));
        Some(Change::of(after, Duration::from_hours(1)))
    });
    assert!(filled.await.unwrap().is_some());
}

#[tokio::test]
async fn the_oldest_of_too_many_ends_and_logout_ends_the_rest() {
    let world = world("").await;
    let (mut browser, first) = logged_in(&world, "openid orders:read").await;
    let claims = verified(&world, text(&first, "id_token"), "JWT", "web").await;
    let sid = text(&claims, "sid").to_owned();
    let more = async |browser: &mut crate::tests::harness::Browser| {
        let answer = browser.get(&world, &authorize_uri(&[])).await;
        let code = query(answer.location())["code"].clone();
        world.redeem("web", &code).await.json()
    };
    fill(&world, &sid, 998).await;
    let second = more(&mut browser).await;
    assert!(world.is_active(text(&first, "access_token")).await);
    let third = more(&mut browser).await;
    assert!(!world.is_active(text(&first, "access_token")).await);
    for tokens in [&second, &third] {
        assert!(world.is_active(text(tokens, "access_token")).await);
    }
    let uri = logout_uri(&[("id_token_hint", text(&third, "id_token"))]);
    assert_eq!(browser.get(&world, &uri).await.status, 200);
    for tokens in [&second, &third] {
        assert!(!world.is_active(text(tokens, "access_token")).await);
    }
}
