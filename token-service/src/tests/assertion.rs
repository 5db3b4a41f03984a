//! `private_key_jwt` (RFC 7523): an assertion proves who calls, once, and to nobody else.

use std::sync::Arc;

use serde_json::{Value, json};

use super::harness::{Answer, ISSUER, World, config, posted};
use super::signer::{Signer, changed};
use super::timing::{TURNS, assert_alike, took};

const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// What the clock of every test says, in seconds.
const NOW: u64 = 1_800_000_000;

/// What such clients do with a key.
trait Assertions {
    fn jwks(&self) -> Value;
    fn assertion(&self, changes: &[(&str, Value)]) -> String;
}

impl Assertions for Signer {
    fn jwks(&self) -> Value {
        let mut jwk = self.jwk();
        jwk["kid"] = json!("k");
        json!({ "keys": [jwk] })
    }

    /// An assertion in order, but for what is changed; `null` takes a claim away.
    fn assertion(&self, changes: &[(&str, Value)]) -> String {
        let claims = json!({
            "iss": "signer", "sub": "signer", "aud": ISSUER, "jti": "j-1",
            "iat": NOW, "exp": NOW + 60,
        });
        let header = json!({ "alg": "ES256", "kid": "k" });
        self.sign(&header, &changed(claims, changes))
    }
}

async fn world(signer: &Signer) -> World {
    let jwks = signer.jwks();
    World::with(config(|text| {
        let client = format!(
            "clients:\n  - {{ id: signer, jwks: {jwks}, grant_types: [client_credentials], scope: orders:read }}"
        );
        let server = format!(
            "resource_servers:\n  - {{ id: signer, jwks: {jwks}, resources: ['https://api.example/orders'] }}"
        );
        text.replacen("clients:", &client, 1)
            .replacen("resource_servers:", &server, 1)
    }))
    .await
}

async fn post(world: &World, path: &str, form: &[(&str, &str)]) -> Answer {
    world.send(posted(path, form)).await
}

async fn token(world: &World, assertion: &str, more: &[(&str, &str)]) -> Answer {
    let form = [
        ("grant_type", "client_credentials"),
        ("client_assertion_type", JWT_BEARER),
        ("client_assertion", assertion),
    ];
    let form: Vec<_> = form.into_iter().chain(more.iter().copied()).collect();
    post(world, "/token", &form).await
}

#[tokio::test]
async fn an_assertion_proves_its_client_once_at_every_endpoint() {
    let signer = Signer::new();
    let world = world(&signer).await;
    let answer = token(&world, &signer.assertion(&[]), &[]).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    token(&world, &signer.assertion(&[]), &[])
        .await
        .assert_error(401, "invalid_client");
    let opaque = answer.json()["access_token"].as_str().unwrap().to_owned();

    let named = [("client_id", "signer")];
    let again = signer.assertion(&[("jti", json!("j-2"))]);
    assert_eq!(token(&world, &again, &named).await.status, 200);
    let assertion = |jti: &str| signer.assertion(&[("jti", json!(jti))]);
    for (path, jti, active) in [("/introspect", "j-3", true), ("/revoke", "j-4", false)] {
        let assertion = assertion(jti);
        let form = [
            ("token", opaque.as_str()),
            ("client_assertion_type", JWT_BEARER),
            ("client_assertion", &assertion),
        ];
        let answer = post(&world, path, &form).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        if path == "/introspect" {
            assert_eq!(answer.json()["active"], true);
            assert_eq!(answer.json()["client_id"], "signer");
        }
        assert_eq!(world.is_active(&opaque).await, active, "{path}");
        let used = post(&world, path, &form).await;
        used.assert_error(401, "invalid_client");
    }
}

#[tokio::test]
async fn claims_that_are_not_exactly_for_us_now_prove_nothing() {
    let signer = Signer::new();
    let world = world(&signer).await;
    for changes in [
        &[("iss", json!("other"))][..],
        &[("sub", json!("web"))],
        &[("iss", json!("web")), ("sub", json!("web"))],
        &[("iss", json!("nobody")), ("sub", json!("nobody"))],
        &[("iss", Value::Null)],
        &[("sub", Value::Null)],
        &[("aud", Value::Null)],
        &[("aud", json!([ISSUER]))],
        &[("aud", json!([ISSUER, "https://evil.example"]))],
        &[("aud", json!("https://as.example/token"))],
        &[("aud", json!("https://as.example/"))],
        &[("exp", Value::Null)],
        &[("exp", json!(NOW))],
        &[("exp", json!(NOW + 311))],
        &[("exp", json!((NOW + 60).to_string()))],
        &[("exp", json!(-1))],
        &[("iat", json!(NOW + 11))],
        &[("nbf", json!(NOW + 61))],
        &[("iat", json!("yesterday"))],
        &[("jti", Value::Null)],
        &[("jti", json!(""))],
        &[("jti", json!(7))],
        &[("jti", json!("j".repeat(256)))],
    ] {
        let answer = token(&world, &signer.assertion(changes), &[]).await;
        answer.assert_error(401, "invalid_client");
    }
}

#[tokio::test]
async fn what_the_clients_key_did_not_sign_proves_nothing() {
    let (signer, stranger) = (Signer::new(), Signer::new());
    let world = world(&signer).await;
    let claims =
        json!({ "iss": "signer", "sub": "signer", "aud": ISSUER, "jti": "j", "exp": NOW + 60 });
    let mut odd: Vec<String> = [
        json!({ "alg": "none" }),
        json!({ "alg": "HS256", "kid": "k" }),
        json!({ "alg": "RS256", "kid": "k" }),
        json!({ "alg": "ES256", "kid": "other" }),
        json!({ "alg": "ES256", "kid": "k", "crit": ["exp"] }),
        json!({ "alg": "ES256", "kid": "k", "typ": "at+jwt" }),
        json!({ "alg": "ES256", "kid": "k", "typ": "dpop+jwt" }),
        json!({ "alg": "ES256", "jwk": stranger.jwks()["keys"][0] }),
    ]
    .iter()
    .map(|header| {
        let by = if header["jwk"].is_null() {
            &signer
        } else {
            &stranger
        };
        by.sign(header, &claims)
    })
    .collect();
    let good = signer.sign(&json!({ "alg": "ES256", "kid": "k" }), &claims);
    odd.push(stranger.assertion(&[]));
    odd.push(good.replace('.', ".."));
    odd.push(format!("{good}="));
    odd.push(good.rsplit_once('.').unwrap().0.to_owned() + ".");
    odd.push("x".into());
    for assertion in &odd {
        let answer = token(&world, assertion, &[]).await;
        answer.assert_error(401, "invalid_client");
    }
    // None of all these has used it up.
    assert_eq!(token(&world, &good, &[]).await.status, 200);
}

#[tokio::test]
async fn an_assertion_stands_alone_and_for_one_client() {
    let signer = Signer::new();
    let world = world(&signer).await;
    let assertion = signer.assertion(&[]);
    for (more, status, error) in [
        (
            &[("client_secret", "web-secret")][..],
            400,
            "invalid_request",
        ),
        (&[("client_id", "svc")], 401, "invalid_client"),
    ] {
        let answer = token(&world, &assertion, more).await;
        answer.assert_error(status, error);
    }
    let form = [
        ("grant_type", "client_credentials"),
        ("client_assertion_type", JWT_BEARER),
        ("client_assertion", assertion.as_str()),
    ];
    let both = world.token("svc", &form).await;
    both.assert_error(400, "invalid_request");
    for form in [
        &form[..2],
        &[form[0], form[2]],
        &[
            form[0],
            (
                "client_assertion_type",
                "urn:ietf:params:oauth:client-assertion-type:saml2-bearer",
            ),
            form[2],
        ],
    ] {
        post(&world, "/token", form)
            .await
            .assert_error(401, "invalid_client");
    }
    // A client with keys has no secret, and a client with a secret no keys.
    let secret = [
        ("client_id", "signer"),
        ("client_secret", "web-secret"),
        form[0],
    ];
    post(&world, "/token", &secret)
        .await
        .assert_error(401, "invalid_client");
    post(&world, "/token", &[("client_id", "signer"), form[0]])
        .await
        .assert_error(401, "invalid_client");
    world.store.set_read_only(true);
    token(&world, &assertion, &[])
        .await
        .assert_error(503, "temporarily_unavailable");
    world.store.set_read_only(false);
    assert_eq!(token(&world, &assertion, &[]).await.status, 200);
}

#[tokio::test]
async fn a_used_assertion_is_remembered_for_as_long_as_it_would_hold() {
    let signer = Signer::new();
    let world = world(&signer).await;
    let assertion = signer.assertion(&[("exp", json!(NOW + 300))]);
    assert_eq!(token(&world, &assertion, &[]).await.status, 200);
    for _ in 0..6 {
        token(&world, &assertion, &[])
            .await
            .assert_error(401, "invalid_client");
        world.advance(60);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_fifty_uses_of_one_assertion_one_wins() {
    let signer = Signer::new();
    let world = Arc::new(world(&signer).await);
    let assertion = signer.assertion(&[]);
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let (world, assertion) = (world.clone(), assertion.clone());
        tasks.spawn(async move { token(&world, &assertion, &[]).await });
    }
    let answers = tasks.join_all().await;
    let (won, lost): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
    assert_eq!(won.len(), 1);
    for answer in lost {
        answer.assert_error(401, "invalid_client");
    }
}

#[tokio::test]
async fn a_client_that_is_not_there_takes_as_long_as_a_signature_that_is_wrong() {
    let (signer, stranger) = (Signer::new(), Signer::new());
    let world = world(&signer).await;
    let of_nobody = [("iss", json!("nobody")), ("sub", json!("nobody"))];
    let wrong = stranger.assertion(&[]);
    let unknown = stranger.assertion(&of_nobody);
    let mut each = [Vec::new(), Vec::new()];
    for _ in 0..TURNS {
        for (each, assertion) in each.iter_mut().zip([&wrong, &unknown]) {
            each.push(took(token(&world, assertion, &[]), 401).await);
        }
    }
    assert_alike("a client and nobody", each, 1.3);
}
