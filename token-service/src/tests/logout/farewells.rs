//! What clients are to be told outlives the process that was to tell them.

use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};
use store::Store as _;

use super::super::harness::{World, config, verified};
use super::{Told, logged_in, logout_uri, text, world};
use crate::TokenServiceConfig;

const BACKCHANNEL: &str = "backchannel_logout_uri";

/// `web` is told at another address.
fn told_at(address: std::net::SocketAddr) -> TokenServiceConfig {
    config(|text| {
        let web = format!("{{ id: web, {BACKCHANNEL}: 'http://{address}/bye',");
        text.replacen("{ id: web,", &web, 1)
    })
}

/// Alice has logged out, and `web` has not listened.
async fn unheard() -> (World, Value) {
    let (deaf, address) = Told::listen(StatusCode::SERVICE_UNAVAILABLE).await;
    let world = world(&format!("{BACKCHANNEL}: 'http://{address}/bye',")).await;
    let (mut browser, tokens) = logged_in(&world, "openid orders:read").await;
    let uri = logout_uri(&[("id_token_hint", text(&tokens, "id_token"))]);
    assert_eq!(browser.get(&world, &uri).await.status, 200);
    assert_eq!(deaf.count(1).await, 1);
    (world, tokens)
}

async fn waiting(world: &World) -> usize {
    let Some(bytes) = world.store.get("farewells:all").await.unwrap() else {
        return 0;
    };
    let list: Value = serde_json::from_slice(&bytes).unwrap();
    list["all"].as_array().unwrap().len()
}

async fn until_nothing_waits(world: &World) {
    for _ in 0..400 {
        if waiting(world).await == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("somebody has not heard");
}

#[tokio::test]
async fn what_a_process_did_not_come_to_is_told_by_those_that_are_left_and_once() {
    let (before, tokens) = unheard().await;
    let (told, address) = Told::listen(StatusCode::OK).await;
    let one = before.restarted(told_at(address)).await;
    let two = before.restarted(told_at(address)).await;
    // Whoever took it on has its time.
    one.service.say_farewells().await;
    assert_eq!(waiting(&one).await, 1);
    assert!(told.bodies.lock().unwrap().is_empty());
    one.advance(121);
    tokio::join!(one.service.say_farewells(), two.service.say_farewells());
    assert_eq!(told.count(1).await, 1);
    until_nothing_waits(&one).await;
    one.advance(3600);
    two.service.say_farewells().await;
    let bodies = told.bodies.lock().unwrap().clone();
    assert_eq!(bodies.len(), 1);
    // A token of now, about the login of then.
    let token = bodies[0].strip_prefix("logout_token=").unwrap();
    let claims = verified(&one, token, "logout+jwt", "web").await;
    let id_token = verified(&one, text(&tokens, "id_token"), "JWT", "web").await;
    assert_eq!(
        (&claims["sub"], &claims["sid"]),
        (&json!("alice"), &id_token["sid"])
    );
    assert!(claims["iat"].as_u64().unwrap() >= id_token["iat"].as_u64().unwrap() + 121);
}

#[tokio::test]
async fn who_does_not_listen_for_a_day_is_given_up() {
    let (world, _) = unheard().await;
    world.advance(24 * 3600);
    let (told, address) = Told::listen(StatusCode::OK).await;
    let late = world.restarted(told_at(address)).await;
    late.service.say_farewells().await;
    assert_eq!(waiting(&late).await, 0);
    assert!(told.bodies.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_client_that_has_heard_is_not_told_again() {
    let (told, address) = Told::listen(StatusCode::OK).await;
    let world = world(&format!("{BACKCHANNEL}: 'http://{address}/bye',")).await;
    let (mut browser, tokens) = logged_in(&world, "openid orders:read").await;
    let uri = logout_uri(&[("id_token_hint", text(&tokens, "id_token"))]);
    assert_eq!(browser.get(&world, &uri).await.status, 200);
    until_nothing_waits(&world).await;
    world.advance(3600);
    world.service.say_farewells().await;
    assert_eq!(told.bodies.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_login_does_not_end_where_nobody_could_be_told_of_it_later() {
    let world = world(&format!("{BACKCHANNEL}: 'http://127.0.0.1:9/bye',")).await;
    let (mut browser, tokens) = logged_in(&world, "openid orders:read").await;
    let uri = logout_uri(&[("id_token_hint", text(&tokens, "id_token"))]);
    world.store.set_read_only(true);
    assert_eq!(browser.get(&world, &uri).await.status, 503);
    assert_eq!(waiting(&world).await, 0);
    world.store.set_read_only(false);
    assert_eq!(browser.get(&world, &uri).await.status, 200);
    assert_eq!(waiting(&world).await, 1);
}
