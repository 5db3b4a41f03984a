//! What needs no credential is not endless: counted for each public client and address, for a while.

use std::net::Ipv6Addr;
use std::time::Duration;

use axum::body::Body;
use http::{Request, header};

use super::dpop::{Holder, with_proof};
use super::harness::{
    Answer, Browser, CHALLENGE, World, as_client, authorize_uri, config, from, posted, query,
};

/// Two of each in a minute; `native` has no secret and `web` has one.
async fn world() -> World {
    World::with(config(|text| {
        let limits =
            "limits: { device_authorizations: 2, pushed_requests: 2, proofs: 2 }\nclients:";
        text.replacen("clients:", limits, 1).replace(
            "grant_types: [authorization_code, refresh_token]",
            "grant_types: [authorization_code, refresh_token, device_code]",
        )
    }))
    .await
}

fn native(path: &str, form: &[(&str, &str)]) -> Request<Body> {
    let form: Vec<_> = form
        .iter()
        .copied()
        .chain([("client_id", "native")])
        .collect();
    posted(path, &form)
}

const HERE: [u8; 4] = [192, 0, 2, 1];
const THERE: [u8; 4] = [192, 0, 2, 2];

const PUSHED: [(&str, &str); 5] = [
    ("response_type", "code"),
    ("redirect_uri", "http://127.0.0.1/cb"),
    ("scope", "orders:read"),
    ("code_challenge", CHALLENGE),
    ("code_challenge_method", "S256"),
];

fn assert_limited(answer: &Answer) {
    answer.assert_error(429, "temporarily_unavailable");
    assert_eq!(answer.header(header::RETRY_AFTER), "60");
}

#[tokio::test]
async fn a_public_client_gets_so_many_codes_and_names_from_one_address() {
    let world = world().await;
    let forms: [(&str, &[(&str, &str)]); 2] = [
        ("/device_authorization", &[("scope", "orders:read")]),
        ("/par", &PUSHED),
    ];
    for (path, form) in forms {
        for _ in 0..2 {
            let answer = world.send(from(HERE, native(path, form))).await;
            assert!(answer.status.is_success(), "{}", answer.body);
        }
        assert_limited(&world.send(from(HERE, native(path, form))).await);
        // Neither somebody elsewhere nor a client that has shown who it is pays for it.
        let elsewhere = world.send(from(THERE, native(path, form))).await;
        assert!(elsewhere.status.is_success(), "{}", elsewhere.body);
        for _ in 0..3 {
            let own = form.iter().map(|(name, value)| match *name {
                "redirect_uri" => (*name, super::harness::CALLBACK),
                _ => (*name, *value),
            });
            let answer = world.send(from(HERE, as_client("web", path, &own.collect::<Vec<_>>())));
            let answer = answer.await;
            assert!(answer.status.is_success(), "{}", answer.body);
        }
    }
}

#[tokio::test]
async fn addresses_of_one_network_are_one() {
    let world = world().await;
    let ask = |network: u16, host: u16| {
        let address = Ipv6Addr::new(0x2001, 0xdb8, 0, network, host, 0, 0, 1);
        from(address, native("/par", &PUSHED))
    };
    for host in [1, 2] {
        assert_eq!(world.send(ask(1, host)).await.status, 201);
    }
    assert_limited(&world.send(ask(1, 3)).await);
    assert_eq!(world.send(ask(2, 1)).await.status, 201);
    // An IPv4 address is itself, however it is written.
    for _ in 0..2 {
        assert_eq!(
            world.send(from(HERE, native("/par", &PUSHED))).await.status,
            201
        );
    }
    let mapped = Ipv6Addr::from_bits(0xffff_c000_0201);
    assert_limited(&world.send(from(mapped, native("/par", &PUSHED))).await);
}

#[tokio::test]
async fn proofs_of_a_public_client_are_counted_whatever_they_are_worth() {
    let (world, holder) = (world().await, Holder::new());
    let form = [("grant_type", "refresh_token"), ("refresh_token", "x")];
    let with = |proof: &str| with_proof(native("/token", &form), &[proof]);
    for proof in ["x".to_owned(), holder.named("1")] {
        let answer = world.send(from(HERE, with(&proof))).await;
        assert_eq!(answer.status, 400, "{}", answer.body);
    }
    assert_limited(&world.send(from(HERE, with(&holder.named("2")))).await);
    // Nothing was kept of it: elsewhere the same proof is the first.
    let elsewhere = world.send(from(THERE, with(&holder.named("2")))).await;
    elsewhere.assert_error(400, "invalid_grant");
    // Without a proof nothing is written, and nothing counted.
    let plain = world.send(from(HERE, native("/token", &form))).await;
    plain.assert_error(400, "invalid_grant");
    for jti in ["3", "4", "5"] {
        let itself = as_client("svc", "/token", &[("grant_type", "client_credentials")]);
        let itself = from(HERE, with_proof(itself, &[&holder.named(jti)]));
        assert_eq!(world.send(itself).await.status, 200);
    }
}

#[tokio::test]
async fn pages_for_browsers_are_counted_whoever_the_client_is() {
    let world = World::with(config(|text| {
        text.replacen("clients:", "limits: { pages: 2 }\nclients:", 1)
    }))
    .await;
    let ask =
        |address: [u8; 4], uri: &str| from(address, Request::get(uri).body(Body::empty()).unwrap());
    let uri = authorize_uri(&[]);
    for uri in [uri.as_str(), "/device"] {
        assert_eq!(world.send(ask(HERE, uri)).await.status, 200, "{uri}");
    }
    let refused = world.send(ask(HERE, &uri)).await;
    let sent = query(refused.location());
    assert_eq!(sent["error"], "temporarily_unavailable");
    let refused = world.send(ask(HERE, "/device")).await;
    assert_eq!(refused.status, 429);
    assert_eq!(refused.header(header::RETRY_AFTER), "60");
    assert_eq!(world.send(ask(THERE, &uri)).await.status, 200);
    // Where nothing has to be kept, nothing is counted.
    let world = World::with(config(|text| {
        text.replacen("clients:", "limits: { pages: 2 }\nclients:", 1)
    }))
    .await;
    let mut browser = Browser::default();
    browser.walk(&world, &uri, "alice").await;
    for _ in 0..5 {
        let answer = browser.get(&world, &uri).await;
        assert!(query(answer.location()).contains_key("code"));
    }
}

/// The window is the store's, which goes by the machine's clock: one of a second is waited for.
#[tokio::test]
async fn a_limit_is_over_when_its_window_is() {
    let world = World::with(config(|text| {
        let limits = "limits: { window_secs: 1, pushed_requests: 1 }\nclients:";
        text.replacen("clients:", limits, 1)
    }))
    .await;
    let ask = || world.send(from(HERE, native("/par", &PUSHED)));
    assert_eq!(ask().await.status, 201);
    let mut limited = 0;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while ask().await.status == 429 {
        limited += 1;
        assert!(tokio::time::Instant::now() < deadline, "for ever");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(limited > 0);
}
