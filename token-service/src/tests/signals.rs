//! What receivers of security events are told, in which order, and what becomes of it when they do not
//! listen.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::routing::post;
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use serde_json::{Value, json};
use store::Store as _;

use super::harness::{Browser, ISSUER, World, authorize_uri, config, encode, query, verified};
use crate::{TokenService, TokenServiceConfig};

const AUDIENCE: &str = "https://siem.example";
const REVOKED: &str = "https://schemas.openid.net/secevent/caep/event-type/session-revoked";
const VERIFICATION: &str = "https://schemas.openid.net/secevent/ssf/event-type/verification";

/// Somebody who is told: what came, and what is answered.
#[derive(Debug, Clone)]
struct Listener {
    came: Arc<Mutex<Vec<(HeaderMap, String)>>>,
    answer: Arc<Mutex<(StatusCode, &'static str)>>,
    address: SocketAddr,
}

impl Listener {
    async fn start() -> Self {
        let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let listener = Self {
            came: Arc::default(),
            answer: Arc::new(Mutex::new((StatusCode::ACCEPTED, ""))),
            address: socket.local_addr().unwrap(),
        };
        let router = Router::new()
            .route("/events", post(take))
            .with_state(listener.clone());
        #[expect(clippy::disallowed_methods, reason = "ends with the test's runtime")]
        tokio::spawn(async move { axum::serve(socket, router).await.unwrap() });
        listener
    }

    fn answers(&self, status: u16, body: &'static str) {
        *self.answer.lock().unwrap() = (StatusCode::from_u16(status).unwrap(), body);
    }

    /// The tokens that have come, once there are so many.
    async fn tokens(&self, wanted: usize) -> Vec<String> {
        for _ in 0..1000 {
            if self.came.lock().unwrap().len() >= wanted {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let came = self.came.lock().unwrap();
        assert!(came.len() >= wanted, "{} of {wanted} came", came.len());
        came.iter().map(|(_, token)| token.clone()).collect()
    }

    async fn claims(&self, world: &World, wanted: usize) -> Vec<Value> {
        let mut claims = Vec::new();
        for token in self.tokens(wanted).await {
            claims.push(verified(world, &token, "secevent+jwt", AUDIENCE).await);
        }
        claims
    }
}

async fn take(
    State(listener): State<Listener>,
    headers: HeaderMap,
    body: String,
) -> (StatusCode, &'static str) {
    listener.came.lock().unwrap().push((headers, body));
    *listener.answer.lock().unwrap()
}

/// The common configuration, and receivers.
fn told(receivers: &[(&str, &Listener, &str)]) -> TokenServiceConfig {
    let receivers: Vec<_> = receivers
        .iter()
        .map(|(id, listener, more)| {
            let endpoint = format!("http://{}/events", listener.address);
            format!("  - {{ id: {id}, audience: '{AUDIENCE}', endpoint: '{endpoint}' {more} }}\n")
        })
        .collect();
    let receivers = receivers.concat();
    config(|text| format!("event_receivers:\n{receivers}{text}"))
}

/// Logs alice in at `web`, and out again; the `sid`.
async fn come_and_go(world: &World) -> String {
    let mut browser = Browser::default();
    let code = browser.walk(world, &authorize_uri(&[]), "alice").await;
    let tokens = world.redeem("web", &query(&code)["code"]).await.json();
    let hint = tokens["id_token"].as_str().unwrap();
    let sid = verified(world, hint, "JWT", "web").await["sid"].clone();
    let uri = format!("/logout?{}", encode(&[("id_token_hint", hint)]));
    assert_eq!(browser.get(world, &uri).await.status, 200);
    sid.as_str().unwrap().to_owned()
}

fn is_about(claims: &Value, event: &str) -> bool {
    claims["events"].get(event).is_some()
}

/// Moves time until so many have come.
async fn until(world: &World, listener: &Listener, wanted: usize) {
    for _ in 0..100 {
        if listener.came.lock().unwrap().len() >= wanted {
            return;
        }
        world.advance(300);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{wanted} have not come");
}

#[tokio::test]
async fn a_receiver_is_greeted_and_told_of_the_end_of_a_login_by_a_token_that_is_for_nothing_else()
{
    let listener = Listener::start().await;
    let world = World::with(told(&[("siem", &listener, ", secret: s3cret")])).await;
    let greeting = listener.claims(&world, 1).await.remove(0);
    assert!(is_about(&greeting, VERIFICATION), "{greeting}");
    assert_eq!(
        greeting["sub_id"],
        json!({ "format": "opaque", "id": "siem" })
    );
    come_and_go(&world).await;
    let claims = listener.claims(&world, 2).await.remove(1);
    assert_eq!(
        claims["sub_id"],
        json!({ "format": "iss_sub", "iss": ISSUER, "sub": "alice" })
    );
    let at = 1_800_000_000;
    assert_eq!(
        claims["events"],
        json!({ REVOKED: {
            "event_timestamp": at,
            "initiating_entity": "user",
            "reason_admin": { "en": "the login has ended" },
        } })
    );
    assert_eq!(
        (&claims["iss"], &claims["iat"]),
        (&json!(ISSUER), &json!(at))
    );
    assert!(claims["jti"].is_string());
    for absent in ["sub", "exp", "nonce", "sid"] {
        assert!(claims.get(absent).is_none(), "{absent}");
    }
    let (headers, token) = listener.came.lock().unwrap()[1].clone();
    assert_eq!(headers[header::CONTENT_TYPE], "application/secevent+jwt");
    assert_eq!(headers[header::AUTHORIZATION], "Bearer s3cret");
    assert!(!world.is_active(&token).await);
}

#[tokio::test]
async fn a_session_can_be_named_and_clients_can_be_picked() {
    let (session, others) = (Listener::start().await, Listener::start().await);
    let world = World::with(told(&[
        (
            "session",
            &session,
            ", subject: session, jwt_alg: RS256, clients: [web]",
        ),
        ("others", &others, ", clients: [other]"),
    ]))
    .await;
    let sid = come_and_go(&world).await;
    let claims = session.claims(&world, 2).await.remove(1);
    assert_eq!(
        claims["sub_id"],
        json!({
            "format": "complex",
            "user": { "format": "iss_sub", "iss": ISSUER, "sub": "alice" },
            "session": { "format": "opaque", "id": sid },
        })
    );
    // What does not concern it would have come before what does.
    world
        .service
        .reload(
            &without_alice(&[("others", &others, ", clients: [other]")]),
            ".".as_ref(),
        )
        .await
        .unwrap();
    let claims = others.claims(&world, 2).await.remove(1);
    assert_eq!(claims["events"][REVOKED]["initiating_entity"], "admin");
}

fn without_alice(receivers: &[(&str, &Listener, &str)]) -> TokenServiceConfig {
    let mut config = told(receivers);
    config.users.retain(|user| user.username != "alice");
    config
}

#[tokio::test]
async fn a_user_who_is_disabled_is_told_of_once_whichever_replica_sees_it_first() {
    let listener = Listener::start().await;
    let receivers = [("siem", &listener, "")];
    let world = World::with(told(&receivers)).await;
    let replica = world.restarted(told(&receivers)).await;
    listener.tokens(1).await;
    for world in [&world, &replica] {
        let gone = without_alice(&receivers);
        world.service.reload(&gone, ".".as_ref()).await.unwrap();
    }
    // Also not again at the next start.
    let world = world.restarted(without_alice(&receivers)).await;
    let mut bob = told(&receivers);
    bob.users.iter_mut().for_each(|user| user.disabled = true);
    world.service.reload(&bob, ".".as_ref()).await.unwrap();
    let claims = listener.claims(&world, 3).await;
    let subjects: Vec<_> = claims
        .iter()
        .map(|it| it["sub_id"]["sub"].clone())
        .collect();
    assert_eq!(subjects, [json!(null), json!("alice"), json!("u-2")]);
    assert_eq!(
        claims[1]["events"][REVOKED]["reason_admin"]["en"],
        "the user is disabled"
    );
}

#[tokio::test]
async fn who_does_not_listen_is_told_later_in_order_and_holds_nobody_up() {
    let (deaf, good) = (Listener::start().await, Listener::start().await);
    deaf.answers(503, "");
    let world = World::with(told(&[("deaf", &deaf, ""), ("good", &good, "")])).await;
    let mut sids = Vec::new();
    for _ in 0..3 {
        sids.push(come_and_go(&world).await);
    }
    good.tokens(4).await;
    // Answers that say nothing about the token.
    for (status, body) in [
        (401, ""),
        (403, ""),
        (429, ""),
        (404, ""),
        (307, ""),
        (400, "no JSON"),
    ] {
        let before = deaf.came.lock().unwrap().len();
        deaf.answers(status, body);
        until(&world, &deaf, before + 1).await;
    }
    let jti = |claims: &Value| claims["jti"].clone();
    let tried = deaf.claims(&world, 7).await;
    assert!(
        tried.iter().all(|claims| jti(claims) == jti(&tried[0])),
        "the first one alone"
    );
    deaf.answers(202, "");
    let before = deaf.came.lock().unwrap().len();
    until(&world, &deaf, before + 4).await;
    let told_at_last = deaf.claims(&world, before + 4).await;
    let told_at_last: Vec<_> = told_at_last[before..].iter().map(jti).collect();
    let good = good.claims(&world, 4).await;
    let events = |claims: &[Value]| -> Vec<Value> {
        let revoked = claims.iter().filter(|it| is_about(it, REVOKED));
        revoked.map(jti).collect()
    };
    assert_eq!(told_at_last[1..], events(&good)[..], "all of it, in order");
}

#[tokio::test]
async fn a_token_that_is_refused_is_dropped_and_the_next_one_comes() {
    let listener = Listener::start().await;
    listener.answers(400, r#"{"err":"invalid_audience","description":"who?"}"#);
    let world = World::with(told(&[("siem", &listener, "")])).await;
    come_and_go(&world).await;
    let claims = listener.claims(&world, 2).await;
    assert!(is_about(&claims[0], VERIFICATION) && is_about(&claims[1], REVOKED));
    let text = world.metrics.render();
    assert!(
        text.contains(r#"token_service_signals_total{outcome="refused"}"#),
        "{text}"
    );
}

#[tokio::test]
async fn of_two_replicas_one_tells() {
    let listener = Listener::start().await;
    let receivers = [("siem", &listener, "")];
    let first = World::with(told(&receivers)).await;
    let second = first.restarted(told(&receivers)).await;
    for world in [&first, &second, &first, &second] {
        come_and_go(world).await;
    }
    let claims = listener.claims(&first, 5).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(listener.came.lock().unwrap().len(), 5, "{claims:?}");
}

#[tokio::test]
async fn what_nobody_takes_for_a_day_is_given_up_and_what_is_too_much_is_dropped() {
    let listener = Listener::start().await;
    listener.answers(503, "");
    let world = World::with(told(&[("siem", &listener, "")])).await;
    listener.tokens(1).await;
    let lost = |count: usize| format!(r#"token_service_signals_total{{outcome="lost"}} {count}"#);
    let has_lost = async |count| {
        for _ in 0..400 {
            // Every wait for another attempt is over.
            world.advance(3600);
            if world.metrics.render().contains(&lost(count)) {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        false
    };
    assert!(has_lost(1).await, "given up");
    let before = listener.came.lock().unwrap().len();
    come_and_go(&world).await;
    listener.tokens(before + 1).await;
    for _ in 0..=store::DEFAULT_MAX_EVENTS {
        let event = Bytes::from_static(b"{}");
        world.store.append("signals", event).await.unwrap();
    }
    assert!(has_lost(2).await, "dropped");
}

#[tokio::test]
async fn the_end_of_a_login_that_the_store_did_not_take_is_not_told() {
    let listener = Listener::start().await;
    let world = World::with(told(&[("siem", &listener, "")])).await;
    listener.tokens(1).await;
    let tail = world.store.tail("signals").await.unwrap();
    let mut browser = Browser::default();
    let code = browser.walk(&world, &authorize_uri(&[]), "alice").await;
    let tokens = world.redeem("web", &query(&code)["code"]).await.json();
    let hint = tokens["id_token"].as_str().unwrap().to_owned();
    let uri = format!("/logout?{}", encode(&[("id_token_hint", &hint)]));
    world.store.set_read_only(true);
    assert_eq!(browser.get(&world, &uri).await.status, 503);
    world.store.set_read_only(false);
    assert_eq!(world.store.tail("signals").await.unwrap(), tail);
    // The second attempt tells, and a third would end nothing.
    for _ in 0..2 {
        assert_eq!(browser.get(&world, &uri).await.status, 200);
    }
    come_and_go(&world).await;
    let claims = listener.claims(&world, 3).await;
    assert!(is_about(&claims[1], REVOKED) && is_about(&claims[2], REVOKED));
    assert_ne!(claims[1]["jti"], claims[2]["jti"]);
}

#[tokio::test]
async fn the_metadata_says_how_events_are_told() {
    let answer = World::new()
        .await
        .get("/.well-known/ssf-configuration")
        .await;
    assert_eq!(
        answer.json(),
        json!({
            "spec_version": "1_0",
            "issuer": ISSUER,
            "jwks_uri": format!("{ISSUER}/jwks.json"),
            "delivery_methods_supported": ["urn:ietf:rfc:8935"],
            "default_subjects": "ALL",
        })
    );
}

#[test]
fn what_is_wrong_with_a_receiver_is_said_with_its_place() {
    let config = config(|text| {
        format!(
            "event_receivers:
  - {{ id: a, audience: x, endpoint: 'http://siem.example/events' }}
  - {{ id: b, audience: '', endpoint: 'https://siem.example/', clients: [nobody], secret: 'two words' }}
  - {{ id: b, audience: x, endpoint: 'https://siem.example/', secret_file: nowhere }}
{text}"
        )
    });
    let problems = TokenService::check(&config, "/nowhere".as_ref());
    let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
    let text = problems.join("\n");
    for expected in [
        "event_receivers[0].endpoint`: `http://siem.example/events`",
        "event_receivers[1].audience`: is empty",
        "event_receivers[1].clients`: `nobody` is not among `clients`",
        "event_receivers[1].secret`: must be visible ASCII",
        "event_receivers[2].id`: `b` is there twice",
        "event_receivers[2].secret_file`: cannot read",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    assert!(!text.contains("two words"), "{text}");
}
