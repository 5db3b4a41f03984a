//! JWTs of an issuer that a route accepts: a good one, which must pass, and many that are nearly one.

use aws_lc_rs::hmac;
use serde_json::{Value, json};

use super::super::case::{Case, Class, Expect};
use super::super::issuer::{StubIssuer, encode, header, unsigned};
use super::super::target::Target;

pub(super) fn cases(all: &[Target], issuer: &StubIssuer, stranger: &StubIssuer) -> Vec<Case> {
    let mut cases = Vec::new();
    for target in all {
        let Some(url) = &target.jwt_issuer else {
            continue;
        };
        let claims = issuer.claims(url, &target.scope, target.acr.as_deref());
        let request = |token: &str| {
            let fields = format!("Authorization: Bearer {token}\r\n");
            target.anonymous().request(&fields)
        };
        let name = |what: &str| format!("{} {}: {what}", target.method, target.template);
        let good = issuer.sign(&header().to_string(), &claims.to_string());
        let passes = Expect::passes(target);
        let control = Case::new(Class::Bearer, target, name("a JWT"), request(&good), passes);
        cases.push(control.taking_token_away());
        for (what, token) in forged(issuer, stranger, &claims, &good) {
            let expect = Expect::Status(&[400, 401]);
            cases.push(Case::new(
                Class::Bearer,
                target,
                name(&what),
                request(&token),
                expect,
            ));
        }
    }
    cases
}

/// What each is, and the token.
fn forged(
    issuer: &StubIssuer,
    stranger: &StubIssuer,
    claims: &Value,
    good: &str,
) -> Vec<(String, String)> {
    let (header, text) = (header(), claims.to_string());
    let changed = |mut value: Value, name: &str, to: Value| {
        match (&mut value, to) {
            (Value::Object(members), Value::Null) => drop(members.remove(name)),
            (value, to) => value[name] = to,
        }
        value.to_string()
    };
    let mut tokens = Vec::new();
    for (name, to) in [
        ("iss", json!("https://cg-stranger.test")),
        ("iss", Value::Null),
        ("aud", json!("https://cg-stranger.test")),
        ("aud", Value::Null),
        ("exp", json!(1)),
        ("exp", Value::Null),
        ("exp", json!(u64::MAX)),
        ("nbf", json!(u64::from(u32::MAX))),
        ("iat", json!(u64::from(u32::MAX))),
        ("iat", Value::Null),
        ("sub", json!({})),
        ("client_id", Value::Null),
        ("cnf", json!({ "jkt": "cg" })),
        ("cnf", json!({ "x5t#S256": "cg" })),
        ("cnf", json!({ "jwk": {} })),
        ("scope", json!(1)),
    ] {
        let what = format!("a JWT with `{name}`: {to}");
        let claims = changed(claims.clone(), name, to);
        tokens.push((what, issuer.sign(&header.to_string(), &claims)));
    }
    for (name, to) in [
        ("alg", json!("RS256")),
        ("alg", json!("ES384")),
        ("typ", json!("JWT")),
        ("typ", json!("dpop+jwt")),
        ("typ", Value::Null),
        ("kid", json!("other")),
        ("kid", json!("../cg")),
        ("crit", json!(["exp"])),
        ("b64", json!(false)),
    ] {
        let what = format!("a JWT with `{name}`: {to} in its header");
        let header = changed(header.clone(), name, to);
        tokens.push((what, issuer.sign(&header, &text)));
    }
    for (name, to) in [
        ("alg", json!("ES256")),
        ("jwk", stranger.jwk()),
        ("jku", json!("http://127.0.0.1:9/cg")),
        ("x5u", json!("http://127.0.0.1:9/cg")),
    ] {
        let what = format!("a stranger's JWT with `{name}` in its header");
        let header = changed(header.clone(), name, to);
        tokens.push((what, stranger.sign(&header, &text)));
    }
    tokens.extend(misspelt(issuer, (&header, &text), good));
    tokens
}

/// Without a signature, with one that anybody can make, or readable in two ways.
fn misspelt(
    issuer: &StubIssuer,
    (header, claims): (&Value, &str),
    good: &str,
) -> Vec<(String, String)> {
    let by = |algorithm: &str| {
        let header = json!({ "typ": "at+jwt", "alg": algorithm, "kid": "cg" });
        unsigned(&header.to_string(), claims)
    };
    let key = hmac::Key::new(hmac::HMAC_SHA256, issuer.jwk().to_string().as_bytes());
    let tag = encode(hmac::sign(&key, by("HS256").as_bytes()));
    let twice = |text: &str, member: &str| text.replacen('{', &format!("{{{member},"), 1);
    let header = header.to_string();
    let (signed, _) = good.rsplit_once('.').unwrap_or_default();
    [
        ("without a signature", format!("{}.", by("none"))),
        (
            "without a signature, and said so loudly",
            format!("{}.", by("NONE")),
        ),
        ("whose signature was cut off", format!("{signed}.")),
        (
            "with another signature",
            format!("{signed}.{}", encode([1; 64])),
        ),
        (
            "with a signature of nothing but zeros",
            format!("{signed}.{}", encode([0; 64])),
        ),
        (
            "by the public key as a secret",
            format!("{}.{tag}", by("HS256")),
        ),
        (
            "with two subjects",
            issuer.sign(&header, &twice(claims, r#""sub":"root""#)),
        ),
        (
            "with two algorithms",
            issuer.sign(&twice(&header, r#""alg":"none""#), claims),
        ),
        (
            "with a byte order mark",
            issuer.sign(&header, &format!("\u{feff}{claims}")),
        ),
        ("with padding", format!("{good}=")),
        (
            "of five parts",
            format!("{good}.{}.{}", encode("x"), encode("y")),
        ),
    ]
    .map(|(what, token)| (format!("a JWT {what}"), token))
    .into()
}
