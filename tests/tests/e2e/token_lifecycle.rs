//! Refresh rotation, replay of refresh tokens and codes, seen at the gateway.

use std::time::Duration;

use e2e::Site;
use e2e::http::{get, post_form};
use e2e::site::{Topology, eventually};
use e2e::tokens::{self, text};
use serde_json::Value;

async fn refresh(site: &Site, refresh_token: &str) -> (u16, Value) {
    let answer = post_form(
        &site.token_service_url("/token"),
        None,
        &[
            ("grant_type", "refresh_token"),
            ("refresh_token", refresh_token),
            ("client_id", "cli"),
        ],
    )
    .await;
    (answer.status, answer.json())
}

async fn is_refused(site: &Site, token: &str) -> bool {
    get(&site.gateway_url("/records/1001"), Some(token))
        .await
        .status
        == 401
}

async fn rotation_and_replay(topology: Topology) {
    let site = Site::start(topology);
    let first = tokens::log_in(&site, "alice").await;
    let url = site.gateway_url("/records/1001");
    assert_eq!(
        get(&url, Some(&text(&first, "access_token"))).await.status,
        200
    );

    let (status, second) = refresh(&site, &text(&first, "refresh_token")).await;
    assert_eq!(status, 200, "{second}");
    assert_ne!(
        text(&first, "refresh_token"),
        text(&second, "refresh_token")
    );
    let access = text(&second, "access_token");
    assert_eq!(get(&url, Some(&access)).await.status, 200);

    // The rotated token again, after its successor has been used: somebody has a copy, so the whole
    // family ends.
    let (status, third) = refresh(&site, &text(&second, "refresh_token")).await;
    assert_eq!(status, 200, "{third}");
    let (status, replayed) = refresh(&site, &text(&first, "refresh_token")).await;
    assert_eq!(
        (status, replayed["error"].as_str()),
        (400, Some("invalid_grant"))
    );
    eventually(
        "the family is refused at the gateway",
        Duration::from_secs(5),
        || is_refused(&site, &access),
    )
    .await;
    let (status, _) = refresh(&site, &text(&third, "refresh_token")).await;
    assert_eq!(status, 400, "the last one died with its family");
}

#[tokio::test]
async fn a_replayed_refresh_token_ends_its_family_in_one_process() {
    rotation_and_replay(Topology::AllInOne).await;
}

#[tokio::test]
async fn a_replayed_refresh_token_ends_its_family_over_redis() {
    rotation_and_replay(Topology::Split).await;
}

async fn code_replay(topology: Topology) {
    let site = Site::start(topology);
    let mut client = tokens::client(&site).await;
    let password = service_kit::Secret::new("alice-demo-password");
    let granted = client
        .authorize(&tokens::cli(), "alice", &password, tokens::SCOPE)
        .await
        .expect("authorized");
    let redeemed = client
        .redeem(&tokens::cli(), &granted)
        .await
        .expect("redeemed");
    let access = text(&redeemed, "access_token");
    let url = site.gateway_url("/records/1001");
    assert_eq!(get(&url, Some(&access)).await.status, 200);

    let again = client
        .redeem(&tokens::cli(), &granted)
        .await
        .unwrap_err()
        .to_string();
    assert!(again.contains("invalid_grant"), "{again}");
    eventually(
        "tokens of a replayed code are refused",
        Duration::from_secs(5),
        || is_refused(&site, &access),
    )
    .await;
}

#[tokio::test]
async fn a_replayed_code_ends_its_tokens_in_one_process() {
    code_replay(Topology::AllInOne).await;
}

#[tokio::test]
async fn a_replayed_code_ends_its_tokens_over_redis() {
    code_replay(Topology::Split).await;
}
