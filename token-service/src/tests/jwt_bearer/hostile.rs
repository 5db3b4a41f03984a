//! Assertions by those who try: other keys, other algorithms, other readings, tokens of other kinds.

use aws_lc_rs::hmac;
use serde_json::{Value, json};

use super::super::harness::ISSUER;
use super::super::signer::{Signer, base64};
use super::{IDP, NOW, assertion, claims, redeem, world};

type Forged = Vec<(&'static str, String)>;

/// A MAC by what everybody knows of the issuer: its public key.
fn by_the_public_key(issuer: &Signer) -> Forged {
    let header = base64(json!({ "alg": "HS256", "kid": "k" }).to_string());
    let signed = format!("{header}.{}", base64(claims(&[]).to_string()));
    let mut jwk = issuer.jwk();
    let bare = jwk.to_string();
    jwk["kid"] = json!("k");
    [bare, jwk.to_string()]
        .map(|secret| {
            let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
            let mac = hmac::sign(&key, signed.as_bytes());
            ("a MAC", format!("{signed}.{}", base64(mac.as_ref())))
        })
        .into()
}

/// Headers that say whose key to take, by somebody who has another.
fn by_a_stranger() -> Forged {
    let (stranger, claims) = (Signer::new(), claims(&[]));
    let jwk = stranger.jwk();
    [
        ("a key", "jwk", jwk.clone()),
        ("keys elsewhere", "jku", json!("https://evil.example/jwks")),
        (
            "a chain elsewhere",
            "x5u",
            json!("https://evil.example/x5c"),
        ),
        ("a chain", "x5c", json!([base64("certificate")])),
        ("a path", "kid", json!("../../etc/passwd")),
        ("a query", "kid", json!("' OR 1=1--")),
        ("a number", "kid", json!(1)),
        ("nothing", "kid", json!("")),
        ("a long name", "kid", json!("k".repeat(6 << 10))),
        ("a list of algorithms", "alg", json!(["ES256"])),
        ("another case", "alg", json!("NONE")),
    ]
    .map(|(what, name, value)| {
        let mut header = json!({ "alg": "ES256", "kid": "k" });
        header[name] = value;
        (what, stranger.sign(&header, &claims))
    })
    .into()
}

/// Signed by the issuer itself, and readable in two ways or in none.
fn of_two_readings(issuer: &Signer) -> Forged {
    let (plain, said) = (r#"{"alg":"ES256","kid":"k"}"#, claims(&[]).to_string());
    let twice = |member: &str| said.replacen('{', &format!("{{{member},"), 1);
    let with = |what, claims: &str| (what, issuer.sign_texts(plain, claims));
    let good = issuer.sign_texts(plain, &said);
    let nested = issuer.sign_texts(r#"{"alg":"ES256","kid":"k","cty":"JWT"}"#, &good);
    let two_algorithms = r#"{"alg":"none","alg":"ES256","kid":"k"}"#;
    vec![
        with("two subjects", &twice(r#""sub":"u-2""#)),
        with("two ends", &twice(r#""exp":1800000010"#)),
        with("two in one", &twice(r#""x":{"a":1,"a":2}"#)),
        with("a list", "[]"),
        with("nothing", ""),
        with("more behind", &format!("{said} {{}}")),
        with(
            "too deep",
            &twice(&format!(r#""x":{}{}"#, "[".repeat(500), "]".repeat(500))),
        ),
        ("two algorithms", issuer.sign_texts(two_algorithms, &said)),
        ("one in another", nested),
        ("padded", format!("{good}=")),
        ("a space", format!(" {good}")),
        ("five parts", format!("{good}.e30.e30")),
    ]
}

/// Numbers and audiences that are none.
fn of_odd_values(issuer: &Signer) -> Forged {
    [
        ("a negative end", "exp", json!(-1)),
        ("a broken end", "exp", json!(1_800_000_030.5)),
        ("the last end", "exp", json!(u64::MAX)),
        ("a true end", "exp", json!(true)),
        ("a list as end", "exp", json!([NOW + 60])),
        ("a time as text", "iat", json!("1800000000")),
        ("a negative time", "nbf", json!(-1)),
        ("no audience", "aud", Value::Null),
        ("an empty list", "aud", json!([])),
        (
            "two audiences",
            "aud",
            json!([ISSUER, "https://evil.example"]),
        ),
        ("an object", "aud", json!({ "0": ISSUER })),
        ("a slash more", "aud", json!(format!("{ISSUER}/"))),
        ("another case", "aud", json!(ISSUER.to_uppercase())),
        ("a list of issuers", "iss", json!([IDP])),
        ("a slash more", "iss", json!(format!("{IDP}/"))),
        ("no subject", "sub", json!("")),
        ("a list of subjects", "sub", json!(["alice"])),
        ("an empty id", "jti", json!("")),
    ]
    .map(|(what, name, value)| (what, assertion(issuer, &[(name, value)])))
    .into()
}

#[tokio::test]
async fn no_forgery_and_no_second_reading_is_an_assertion() {
    let issuer = Signer::new();
    let world = world(&issuer, "").await;
    let all = [
        by_the_public_key(&issuer),
        by_a_stranger(),
        of_two_readings(&issuer),
        of_odd_values(&issuer),
    ]
    .concat();
    for (what, text) in all {
        let answer = redeem(&world, "svc", &text, &[]).await;
        assert_eq!(answer.status, 400, "{what}: {}", answer.body);
        assert_eq!(answer.json()["error"], "invalid_grant", "{what}");
    }
    // Beyond numbers: what a reader of JSON may take for the greatest there is.
    let huge = claims(&[]).to_string().replace("1800000060", "1e400");
    let text = issuer.sign_texts(r#"{"alg":"ES256","kid":"k"}"#, &huge);
    let answer = redeem(&world, "svc", &text, &[]).await;
    answer.assert_error(400, "invalid_grant");
    // None of them has used the id that all of them had.
    let answer = redeem(&world, "svc", &assertion(&issuer, &[]), &[]).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
}

#[tokio::test]
async fn a_megabyte_is_not_read() {
    let issuer = Signer::new();
    let world = world(&issuer, "").await;
    let text = assertion(&issuer, &[("x", json!("x".repeat(1 << 20)))]);
    let answer = redeem(&world, "svc", &text, &[]).await;
    assert_eq!(answer.status, 413, "{}", answer.body);
}

#[tokio::test]
async fn what_this_service_has_signed_is_no_assertion() {
    let issuer = Signer::new();
    let world = world(&issuer, "").await;
    let tokens = world.tokens("openid orders:read").await;
    let token = tokens["access_token"].as_str().unwrap();
    let local = world.service.introspector("local").unwrap();
    let opaque = oauth::OpaqueToken::parse(token).unwrap();
    let resource = oauth::ResourceId::new(super::super::harness::ORDERS);
    let told = local.introspect(&opaque, &resource).await.unwrap();
    let oauth::Introspection::Active(told) = told else {
        panic!("{told:?}")
    };
    for text in [
        tokens["id_token"].as_str().unwrap(),
        told.jwt.reveal(),
        token,
    ] {
        let answer = redeem(&world, "svc", text, &[]).await;
        answer.assert_error(400, "invalid_grant");
    }
}
