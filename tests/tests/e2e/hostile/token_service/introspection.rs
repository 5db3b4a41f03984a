//! Cases about introspection, which is the swap, and about revocation.

use e2e::http::{Answer, get, post_form};
use e2e::tokens::{self, text};
use serde_json::{Value, json};

use super::{Attacks, BILLING, GATEWAY, MACHINE, RECORDS, WEB, authorization, part, payload};
use crate::hostile::browser::Browser;

const SIGNED: &str = "application/token-introspection+jwt";

pub(super) async fn introspection(attacks: &mut Attacks) {
    let grant = tokens::log_in(&attacks.site, "alice").await;
    let access = text(&grant, "access_token");
    let inactive = |answer: &Answer| answer.body.trim() == r#"{"active":false}"#;

    let answer = attacks.introspect(None, &[("token", &access)]).await;
    attacks.hold("PT-01", &answer);
    assert!(!answer.body.contains("active") && !answer.header("www-authenticate").is_empty());

    let answer = attacks
        .introspect(None, &[("token", &access), ("client_id", "cli")])
        .await;
    attacks.hold("PT-07", &answer);

    let answer = attacks
        .introspect(Some(GATEWAY), &[("token", "x"), ("token", &access)])
        .await;
    attacks.hold("PT-11", &answer);

    for length in 1..access.len() {
        let answer = attacks
            .introspect(Some(GATEWAY), &[("token", &access[..length])])
            .await;
        assert!(inactive(&answer), "a truncated token: {}", answer.body);
    }
    attacks.expectation("PT-09");

    let answer = attacks
        .introspect(Some(GATEWAY), &[("token", "unknown")])
        .await;
    attacks.hold("PT-17", &answer);
    assert!(inactive(&answer) && answer.header("cache-control").contains("no-store"));

    for hint in ["refresh_token", "bogus"] {
        let form = [("token", access.as_str()), ("token_type_hint", hint)];
        let answer = attacks.introspect(Some(GATEWAY), &form).await;
        attacks.hold("PT-27", &answer);
        assert_eq!(answer.json()["active"], json!(true));
    }
    // A JWT from outside is not swapped, and nobody is asked about it.
    let jwt = text(&grant, "id_token");
    let answer = get(&attacks.site.gateway_url("/records/1001"), Some(&jwt)).await;
    assert_eq!(answer.status, 401);
    assert!(answer.header("www-authenticate").contains("invalid_token"));
    attacks.expectation("PT-21");
}

/// Who asks, how, and about what.
pub(super) async fn callers(attacks: &mut Attacks) {
    let access = tokens::access_token(&attacks.site, "alice").await;
    let inactive = r#"{"active":false}"#;

    let answer = attacks
        .introspect_as(BILLING, "application/json", &access)
        .await;
    attacks.hold("PT-03", &answer);
    assert_eq!(answer.body, inactive);
    assert_eq!(answer.header("cache-control"), "no-store");
    let answer = attacks.introspect_as(BILLING, SIGNED, &access).await;
    attacks.hold("PT-05", &answer);
    let told = payload(&answer.body)["token_introspection"].clone();
    assert_eq!(told, json!({ "active": false }));

    for accept in [
        "*/*",
        "application/json;q=1, application/jwt;q=0",
        "text/html",
    ] {
        let answer = attacks.introspect_as(GATEWAY, accept, &access).await;
        attacks.hold("PT-15", &answer);
        assert_eq!(
            answer.header("content-type"),
            "application/json",
            "{accept}"
        );
    }

    // Each is the other's stranger.
    let answer = attacks
        .introspect(Some(MACHINE), &[("token", &access)])
        .await;
    attacks.hold("AD-03", &answer);
    let form = [("grant_type", "client_credentials")];
    attacks.hold("AD-03", &attacks.token(Some(GATEWAY), &form).await);

    one_audience(attacks).await;
    other_kinds(attacks).await;
}

/// A token that is good at two resources, as one of them is told of it.
async fn one_audience(attacks: &mut Attacks) {
    let access = tokens::access_token(&attacks.site, "ada").await;
    for server in [GATEWAY, BILLING] {
        let told = attacks
            .introspect(Some(server), &[("token", &access)])
            .await;
        assert_eq!(told.json()["active"], json!(true), "{}", server.0);
    }
    let jwt = attacks
        .introspect_as(GATEWAY, "application/jwt", &access)
        .await;
    attacks.hold("PT-19", &jwt);
    let jwks = get(&attacks.url("/jwks.json"), None).await;
    let keys: jsonwebtoken::jwk::JwkSet = serde_json::from_value(jwks.json()).expect("keys");
    let head = jsonwebtoken::decode_header(&jwt.body).expect("a header");
    assert_eq!(head.typ.as_deref(), Some("at+jwt"));
    let key = keys.find(&head.kid.expect("a kid")).expect("a known key");
    let mut wanted = jsonwebtoken::Validation::new(head.alg);
    wanted.set_audience(&[RECORDS]);
    wanted.set_issuer(&[attacks.url("")]);
    let key = jsonwebtoken::DecodingKey::from_jwk(key).expect("a key");
    let claims = jsonwebtoken::decode::<Value>(&jwt.body, &key, &wanted);
    let claims = claims.expect("a JWT that holds").claims;
    assert_eq!(claims["aud"], RECORDS);
    for claim in ["sub", "client_id", "iat", "jti"] {
        assert!(!claims[claim].is_null(), "no {claim} in {claims}");
    }
    let told = attacks
        .introspect(Some(GATEWAY), &[("token", &access)])
        .await
        .json();
    assert_eq!(claims["scope"], told["scope"]);
    assert!(claims["exp"].as_u64() <= told["exp"].as_u64(), "{claims}");
}

/// What looks like a token, is secret like a token, and is none.
async fn other_kinds(attacks: &mut Attacks) {
    let grant = tokens::log_in(&attacks.site, "alice").await;
    let access = text(&grant, "access_token");
    let jwt = attacks
        .introspect_as(GATEWAY, "application/jwt", &access)
        .await
        .body;
    assert_eq!(part(&jwt, 0)["typ"], "at+jwt");
    let device = attacks.url("/device_authorization");
    let device = post_form(&device, None, &[("client_id", "cli")])
        .await
        .json();
    let mut browser = Browser::default();
    let (url, end) = authorization::request(attacks);
    let arrived = browser.walk(&url, "alice", &end).await;
    let code = authorization::parameter(&arrived, "code").expect("a code");
    let pushed = authorization::push(attacks, Some(WEB), &url).await;
    let mut others = browser.secrets();
    others.extend([
        text(&grant, "refresh_token"),
        text(&grant, "id_token"),
        jwt,
        text(&device, "device_code"),
        text(&device, "user_code"),
        code,
        text(&pushed.json(), "request_uri"),
    ]);
    assert!(others.len() > 7, "no cookie is among them");
    for other in others {
        for accept in ["application/jwt", "application/json"] {
            let answer = attacks.introspect_as(GATEWAY, accept, &other).await;
            attacks.hold("PT-13", &answer);
            let said = ["", r#"{"active":false}"#];
            assert!(said.contains(&&*answer.body), "{other}: {}", answer.body);
        }
    }
}

pub(super) async fn revocation(attacks: &mut Attacks) {
    let access = tokens::access_token(&attacks.site, "alice").await;
    let revoke = attacks.site.token_service_url("/revoke");
    let answer = post_form(&revoke, Some(MACHINE), &[("token", &access)]).await;
    attacks.hold("RV-03", &answer);
    assert!(
        attacks.is_active(&access).await,
        "another client's revocation counted"
    );
    let answer = post_form(&revoke, Some(MACHINE), &[("token", "garbage")]).await;
    attacks.hold("RV-05", &answer);
    assert!(answer.body.is_empty());
    tokens::revoke(&attacks.site, &access).await;
    assert!(!attacks.is_active(&access).await);
    attacks.expectation("RV-01");
}
