//! The JWT bearer grant (RFC 7523 section 2.1): an issuer's word for a user, once, for us alone.

mod hostile;

use axum::body::Body;
use futures_util::future::join_all;
use http::{Request, header};
use serde_json::{Value, json};

use super::harness::{Answer, ISSUER, World, as_client, config, encode};
use super::signer::{Signer, base64, changed};

const GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
/// What the clock of every test says at first, in seconds.
const NOW: u64 = 1_800_000_000;
const IDP: &str = "https://idp.example";

/// The issuer's keys, and the configuration that trusts it.
async fn world(issuer: &Signer, more: &str) -> World {
    let mut jwk = issuer.jwk();
    jwk["kid"] = json!("k");
    World::with(config(|text| {
        let trusted = format!(
            "assertion_issuers:\n  - {{ issuer: '{IDP}', jwks: {{ keys: [{jwk}] }}, clients: [svc], \
             scope: orders:read orders:write openid offline_access {more} }}\n"
        );
        let text = text.replacen(
            "grant_types: [client_credentials], scope: ",
            "grant_types: [client_credentials, jwt_bearer], scope: openid offline_access ",
            1,
        );
        format!("{text}\n{trusted}")
    }))
    .await
}

fn claims(changes: &[(&str, Value)]) -> Value {
    let claims = json!({
        "iss": IDP, "sub": "alice", "aud": ISSUER, "jti": "a-1", "iat": NOW, "exp": NOW + 60,
    });
    changed(claims, changes)
}

fn assertion(issuer: &Signer, changes: &[(&str, Value)]) -> String {
    issuer.sign(&json!({ "alg": "ES256", "kid": "k" }), &claims(changes))
}

async fn redeem(world: &World, who: &str, assertion: &str, more: &[(&str, &str)]) -> Answer {
    let form = [("grant_type", GRANT), ("assertion", assertion)];
    let form: Vec<_> = form.into_iter().chain(more.iter().copied()).collect();
    world.send(as_client(who, "/token", &form)).await
}

#[tokio::test]
async fn an_issuers_word_gets_a_token_of_the_user_and_no_more_than_it_is_good_for() {
    let issuer = Signer::new();
    let world = world(&issuer, "").await;
    let answer = redeem(&world, "svc", &assertion(&issuer, &[]), &[]).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let answer = answer.json();
    assert_eq!(answer["token_type"], "Bearer");
    assert_eq!(answer["scope"], "orders:read orders:write");
    for absent in ["refresh_token", "id_token"] {
        assert!(answer.get(absent).is_none(), "{absent}");
    }
    let token = answer["access_token"].as_str().unwrap();
    let told = world.introspect("gw_orders", token).await.json();
    assert_eq!(
        (&told["sub"], &told["client_id"]),
        (&json!("alice"), &json!("svc"))
    );
    assert!(told.get("auth_time").is_none(), "nobody saw her log in");

    world.decisions.deny("orders:write");
    let second = assertion(&issuer, &[("jti", json!("a-2"))]);
    let answer = redeem(&world, "svc", &second, &[]).await.json();
    assert_eq!(answer["scope"], "orders:read", "policy is asked");
    let asked = world.decisions.asked.lock().unwrap().clone();
    assert!(
        asked
            .iter()
            .any(|question| question.context["grant_type"] == GRANT)
    );
    let third = assertion(&issuer, &[("jti", json!("a-3"))]);
    redeem(
        &world,
        "svc",
        &third,
        &[("scope", "orders:write billing:read")],
    )
    .await
    .assert_error(400, "invalid_scope");
    world.decisions.set_down(true);
    let fourth = assertion(&issuer, &[("jti", json!("a-4"))]);
    assert_eq!(redeem(&world, "svc", &fourth, &[]).await.status, 503);
    world.decisions.set_down(false);
    // Not lost by an outage, nor by a scope that is not granted.
    assert_eq!(redeem(&world, "svc", &fourth, &[]).await.status, 200);
    assert_eq!(redeem(&world, "svc", &third, &[]).await.status, 200);
}

/// Assertions whose headers are not in order, or whose signatures do not hold.
fn badly_signed(issuer: &Signer) -> Vec<(&'static str, String)> {
    let (stranger, claims) = (Signer::new(), claims(&[]));
    let headed = |header: Value| issuer.sign(&header, &claims);
    let typed = |typ: &str| headed(json!({ "alg": "ES256", "kid": "k", "typ": typ }));
    let unsigned = format!(
        "{}.{}.",
        base64(json!({ "alg": "none" }).to_string()),
        base64(claims.to_string())
    );
    let embedded = json!({ "alg": "ES256", "kid": "k", "jwk": stranger.jwk() });
    let plain = json!({ "alg": "ES256", "kid": "k" });
    vec![
        ("another key", stranger.sign(&plain, &claims)),
        ("a key that it brings", stranger.sign(&embedded, &claims)),
        ("unsigned", unsigned),
        (
            "another algorithm",
            headed(json!({ "alg": "HS256", "kid": "k" })),
        ),
        (
            "an unknown key",
            headed(json!({ "alg": "ES256", "kid": "../k" })),
        ),
        (
            "critical",
            headed(json!({ "alg": "ES256", "kid": "k", "crit": ["x"] })),
        ),
        ("a proof", typed("dpop+jwt")),
        ("an access token", typed("at+jwt")),
        ("a logout token", typed("logout+jwt")),
        ("a client's", typed("client-authentication+jwt")),
        ("no JWT", "x".into()),
    ]
}

/// Assertions that say what they must not.
fn badly_claimed(issuer: &Signer) -> Vec<(&'static str, String)> {
    [
        ("another issuer", "iss", json!("https://other.example")),
        ("no issuer", "iss", Value::Null),
        ("several audiences", "aud", json!([ISSUER])),
        ("the endpoint", "aud", json!(format!("{ISSUER}/token"))),
        ("nobody's", "sub", json!("nobody")),
        ("a client as the subject", "sub", json!("svc")),
        ("no subject", "sub", Value::Null),
        ("past", "exp", json!(NOW)),
        ("too long", "exp", json!(NOW + 311)),
        ("no end", "exp", Value::Null),
        ("an end as text", "exp", json!("1800000060")),
        ("an end beyond numbers", "exp", json!(1e300)),
        ("issued ahead", "iat", json!(NOW + 11)),
        ("not yet", "nbf", json!(NOW + 11)),
        ("no id", "jti", Value::Null),
        ("a long id", "jti", json!("x".repeat(256))),
        ("an id that is none", "jti", json!(1)),
        ("too large", "x", json!("x".repeat(9000))),
    ]
    .map(|(what, name, value)| (what, assertion(issuer, &[(name, value)])))
    .into()
}

#[tokio::test]
async fn an_assertion_that_is_not_in_order_is_one_refusal() {
    let issuer = Signer::new();
    let world = world(&issuer, "").await;
    let bad = [badly_signed(&issuer), badly_claimed(&issuer)].concat();
    for (what, text) in &bad {
        let answer = redeem(&world, "svc", text, &[]).await;
        assert_eq!(answer.status, 400, "{what}: {}", answer.body);
        assert_eq!(answer.json()["error"], "invalid_grant", "{what}");
        assert!(answer.body.contains("the assertion is not valid"), "{what}");
    }
}

#[tokio::test]
async fn an_assertion_is_good_once_for_its_client_and_for_nothing_else() {
    let issuer = Signer::new();
    let world = world(&issuer, "").await;
    let signed = |jti: &str| assertion(&issuer, &[("jti", json!(jti))]);
    let twice = signed("twice");
    assert_eq!(redeem(&world, "svc", &twice, &[]).await.status, 200);
    redeem(&world, "svc", &twice, &[])
        .await
        .assert_error(400, "invalid_grant");
    redeem(&world, "other", &signed("o"), &[])
        .await
        .assert_error(400, "unauthorized_client");
    let missing = world
        .send(as_client("svc", "/token", &[("grant_type", GRANT)]))
        .await;
    missing.assert_error(400, "invalid_request");
    // Signed for a grant, it is nobody's credential.
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", IDP),
        (
            "client_assertion_type",
            "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        ),
        ("client_assertion", &signed("c")),
    ];
    let request = Request::post("/token")
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Body::from(encode(&form)))
        .unwrap();
    world
        .send(request)
        .await
        .assert_error(401, "invalid_client");
}

#[tokio::test]
async fn of_fifty_uses_of_one_assertion_one_wins() {
    let issuer = Signer::new();
    let world = world(&issuer, "").await;
    let text = assertion(&issuer, &[]);
    let all = (0..50).map(|_| redeem(&world, "svc", &text, &[]));
    let answers = join_all(all).await;
    let won = answers.iter().filter(|answer| answer.status == 200);
    assert_eq!(won.count(), 1);
    let lost = answers.iter().filter(|answer| answer.status != 200);
    for answer in lost {
        answer.assert_error(400, "invalid_grant");
    }
}

#[tokio::test]
async fn a_subject_is_read_as_configured_and_is_one_person() {
    let issuer = Signer::new();
    for (subject, good, bad) in [
        ("sub", "u-2", "bob"),
        ("username", "BOB", "u-2"),
        ("email", "Alice@Example.com", "alice"),
    ] {
        let world = world(&issuer, &format!(", subject: {subject}")).await;
        let by =
            |sub: &str, jti: &str| assertion(&issuer, &[("sub", json!(sub)), ("jti", json!(jti))]);
        let answer = redeem(&world, "svc", &by(good, "1"), &[]).await;
        assert_eq!(answer.status, 200, "{subject}: {}", answer.body);
        redeem(&world, "svc", &by(bad, "2"), &[])
            .await
            .assert_error(400, "invalid_grant");
    }
}

#[tokio::test]
async fn its_tokens_die_with_their_user_and_can_be_bound() {
    let issuer = Signer::new();
    let world = world(&issuer, "").await;
    let holder = super::dpop::Holder::new();
    let form = [
        ("grant_type", GRANT),
        ("assertion", &assertion(&issuer, &[])),
    ];
    let answer = super::dpop::ask(&world, "svc", &form, &holder.named("p")).await;
    assert_eq!(answer.json()["token_type"], "DPoP", "{}", answer.body);
    let token = answer.json()["access_token"].as_str().unwrap().to_owned();
    let told = world.introspect("gw_orders", &token).await.json();
    assert!(told["cnf"]["jkt"].is_string());
    let disabled =
        config(|text| text.replacen("username: alice,", "username: alice, disabled: true,", 1));
    world
        .service
        .reload(&disabled, std::path::Path::new("."))
        .await
        .unwrap();
    assert!(!world.is_active(&token).await);
}

#[test]
fn what_cannot_be_trusted_is_refused_at_start() {
    let jwk = Signer::new().jwk();
    let text = format!(
        "
issuer: {ISSUER}
secret: 0123456789abcdef0123456789abcdef
clients:
  - {{ id: svc, secret_hash: '{}', grant_types: [client_credentials], scope: a }}
assertion_issuers:
  - {{ issuer: svc, jwks: {{ keys: [{jwk}] }}, clients: [svc], scope: a }}
  - {{ issuer: '{ISSUER}', jwks: {{ keys: [] }}, clients: [], scope: a }}
",
        crate::secret_hash("x")
    );
    let config = service_kit::config::parse(&text, &service_kit::Variables::default()).unwrap();
    let issues = crate::TokenService::check(&config, std::path::Path::new("."));
    let told: Vec<_> = issues.iter().map(ToString::to_string).collect();
    for expected in [
        "assertion_issuers[0].issuer`: must not be empty, this service itself, or the id of a client",
        "assertion_issuers[0].clients`: `svc` is no client with `jwt_bearer`",
        "assertion_issuers[1].issuer`: must not be",
        "assertion_issuers[1].clients`: must name at least one",
        "assertion_issuers[1].jwks`",
    ] {
        assert!(
            told.iter().any(|issue| issue.contains(expected)),
            "{expected}: {told:?}"
        );
    }
}
