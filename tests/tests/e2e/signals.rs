//! A receiver of security events outside: it hears of a logout, whatever dies on the way.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use e2e::Site;
use e2e::http::get;
use e2e::process::own_address;
use e2e::site::{Topology, eventually};
use e2e::tokens::{self, text};
use serde_json::Value;

const REVOKED: &str = "https://schemas.openid.net/secevent/caep/event-type/session-revoked";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_logout_reaches_a_receiver_that_was_down_while_the_service_was_killed_on_redb() {
    told_in_the_end(Topology::AllInOne).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_logout_reaches_a_receiver_that_was_down_while_the_service_and_redis_were_killed() {
    told_in_the_end(Topology::Split).await;
}

async fn told_in_the_end(topology: Topology) {
    let address = SocketAddr::from((own_address(), 9100));
    let configure = |text: String| {
        let receiver = format!(
            "  event_receivers:\n    - {{ id: siem, audience: siem, endpoint: 'http://{address}/', secret: hush }}\n"
        );
        text.replacen(
            "  resource_servers:\n",
            &format!("{receiver}  resource_servers:\n"),
            1,
        )
    };
    let mut site = match topology {
        Topology::AllInOne => Site::all_in_one_with(configure),
        Topology::Split => Site::split_with(configure),
    };
    let tokens = tokens::log_in(&site, "alice").await;
    let hint = text(&tokens, "id_token");
    let url = site.token_service_url(&format!("/logout?id_token_hint={hint}"));
    assert_eq!(get(&url, None).await.status, 200);
    kill_and_restart(&mut site);

    let receiver = Receiver::start(address).await;
    let is_told = || async { receiver.about_alice() >= 1 };
    // What was killed while it sent is sent again when its lease is over.
    eventually("the receiver is told", Duration::from_secs(60), is_told).await;
    let jwks = get(&site.token_service_url("/jwks.json"), None).await.body;
    let came = receiver.came.lock().expect("lock").clone();
    for token in &came {
        verify(&jwks, token, &site.token_service_url(""));
    }
    // Each was answered with an error first.
    let ids: BTreeSet<_> = came
        .iter()
        .map(|token| claims(token)["jti"].to_string())
        .collect();
    assert_eq!(
        ids.len(),
        2,
        "the greeting and the logout, told again under their names"
    );
    assert!(came.len() >= 4, "{}", came.len());
}

fn kill_and_restart(site: &mut Site) {
    let Some(token_service) = &mut site.token_service else {
        site.pdp.kill();
        site.pdp = site.restart("all-in-one");
        return;
    };
    token_service.kill();
    let redis = site.redis.as_mut().expect("redis");
    redis.kill();
    redis.restart();
    site.token_service = Some(site.restart("token-service"));
}

/// Takes a token when it is told for the second time.
#[derive(Debug, Clone, Default)]
struct Receiver {
    came: Arc<Mutex<Vec<String>>>,
}

impl Receiver {
    async fn start(address: SocketAddr) -> Self {
        let receiver = Self::default();
        let router = Router::new()
            .route("/", post(take))
            .with_state(receiver.clone());
        let socket = tokio::net::TcpListener::bind(address).await.expect("binds");
        tokio::spawn(async move { axum::serve(socket, router).await });
        receiver
    }

    /// How many tokens about alice were taken.
    fn about_alice(&self) -> usize {
        let came = self.came.lock().expect("lock");
        let about = came.iter().filter(|token| {
            let claims = claims(token);
            claims["sub_id"]["sub"] == "alice" && claims["events"].get(REVOKED).is_some()
        });
        about.count().saturating_sub(1)
    }
}

async fn take(
    State(receiver): State<Receiver>,
    headers: axum::http::HeaderMap,
    token: String,
) -> StatusCode {
    assert_eq!(headers["authorization"], "Bearer hush");
    let mut came = receiver.came.lock().expect("lock");
    let is_known = came.contains(&token)
        || came
            .iter()
            .any(|it| claims(it)["jti"] == claims(&token)["jti"]);
    came.push(token);
    if is_known {
        StatusCode::ACCEPTED
    } else {
        StatusCode::INTERNAL_SERVER_ERROR
    }
}

/// Without looking at the signature.
fn claims(token: &str) -> Value {
    let claims = jsonwebtoken::dangerous::insecure_decode::<Value>(token);
    claims.expect("a JWT").claims
}

fn verify(jwks: &str, token: &str, issuer: &str) {
    let jwks: jsonwebtoken::jwk::JwkSet = serde_json::from_str(jwks).expect("JWKS");
    let header = jsonwebtoken::decode_header(token).expect("a header");
    assert_eq!(header.typ.as_deref(), Some("secevent+jwt"));
    let jwk = jwks
        .find(header.kid.as_deref().expect("kid"))
        .expect("a key");
    let key = jsonwebtoken::DecodingKey::from_jwk(jwk).expect("a key");
    let mut validation = jsonwebtoken::Validation::new(header.alg);
    validation.set_audience(&["siem"]);
    validation.set_issuer(&[issuer]);
    validation.set_required_spec_claims(&["iss", "aud"]);
    jsonwebtoken::decode::<Value>(token, &key, &validation).expect("verifies");
}
