//! Tokens that are a caller's, and the many that are not.

use aws_lc_rs::hmac;
use serde_json::{Value, json};
use service_kit::UnixTime;

use super::signer::{Signer, encode, jwks};
use super::{INVALID, NOW, billing, claims, identify, jwt_caller, known, open, refused};
use crate::callers::Callers;
use crate::callers::issuers::TOKENS;
use crate::config::JwtCallerConfig;
use jose::{Fault, KeySet, Unverified};

fn opened(signers: &[&Signer]) -> Callers {
    open(signers, vec![jwt_caller("billing", billing())]).unwrap()
}

async fn is_known(callers: &Callers, token: &str) -> bool {
    let found = identify(callers, &[&format!("Bearer {token}")]).await;
    assert!(
        found == known("billing") || found == refused(&[INVALID]),
        "{found:?} {token}"
    );
    found.is_ok()
}

/// What a library that we did not write makes of it.
fn second_opinion(signer: &Signer, token: &str) -> Result<Value, jsonwebtoken::errors::Error> {
    let jwk: jsonwebtoken::jwk::Jwk = serde_json::from_value(signer.jwk.clone()).unwrap();
    let key = jsonwebtoken::DecodingKey::from_jwk(&jwk).unwrap();
    let mut rules = jsonwebtoken::Validation::new(signer.algorithm.parse().unwrap());
    rules.validate_exp = false;
    rules.set_audience(&["https://pdp.example.org"]);
    jsonwebtoken::decode::<Value>(token, &key, &rules).map(|token| token.claims)
}

#[tokio::test]
async fn every_accepted_algorithm_is_verified_with_its_own_key() {
    let signers = [
        Signer::es256("a"),
        Signer::es384("b"),
        Signer::ed25519("c"),
        Signer::rsa("d", "RS256"),
        Signer::rsa("e", "PS256"),
    ];
    let all: Vec<&Signer> = signers.iter().collect();
    let callers = opened(&all);
    for signer in &signers {
        let token = signer.token(&claims());
        assert_eq!(second_opinion(signer, &token).unwrap(), claims());
        assert!(is_known(&callers, &token).await, "{}", signer.algorithm);
        // Each bit of the signature counts.
        let (text, signature) = token.rsplit_once('.').unwrap();
        let mut bytes = signature.as_bytes().to_vec();
        bytes[10] = if bytes[10] == b'A' { b'B' } else { b'A' };
        let damaged = format!("{text}.{}", String::from_utf8(bytes).unwrap());
        assert!(second_opinion(signer, &damaged).is_err());
        assert!(!is_known(&callers, &damaged).await);
        // The curve's own name (RFC 9864) is the same algorithm.
        if signer.algorithm == "EdDSA" {
            let mut header = signer.header();
            header["alg"] = json!("Ed25519");
            let token = signer.signed(&header.to_string(), &claims().to_string());
            assert!(is_known(&callers, &token).await);
        }
        // Every other algorithm over the same key is refused.
        for other in [
            "ES256", "ES384", "EdDSA", "RS256", "PS256", "RS384", "ES512", "none",
        ] {
            if other != signer.algorithm {
                let mut header = signer.header();
                header["alg"] = json!(other);
                let token = signer.signed(&header.to_string(), &claims().to_string());
                assert!(
                    !is_known(&callers, &token).await,
                    "{other} {}",
                    signer.algorithm
                );
            }
        }
    }
}

#[tokio::test]
async fn a_key_cannot_be_taken_for_a_secret_or_brought_along() {
    let signer = Signer::es256("k1");
    let stranger = Signer::es256("k1");
    let callers = opened(&[&signer]);
    let text = |header: &Value| {
        let claims = claims().to_string();
        format!("{}.{}", encode(header.to_string()), encode(claims))
    };
    // HMAC with the public key as secret, and no signature at all.
    let header = json!({ "alg": "HS256", "kid": "k1" });
    for secret in [jwks(&[&signer]), signer.jwk.to_string(), String::new()] {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        let tag = hmac::sign(&key, text(&header).as_bytes());
        assert!(!is_known(&callers, &format!("{}.{}", text(&header), encode(tag))).await);
    }
    for algorithm in ["none", "None", "NONE", ""] {
        let header = json!({ "alg": algorithm, "kid": "k1" });
        assert!(!is_known(&callers, &format!("{}.", text(&header))).await);
        assert!(!is_known(&callers, &format!("{}.AA", text(&header))).await);
    }
    // Keys in the header are not looked at: a stranger's do not help, the issuer's do no harm.
    for (name, value) in [
        ("jwk", stranger.jwk.clone()),
        ("jku", json!("http://127.0.0.1:1/")),
        ("x5u", json!("http://127.0.0.1:1/")),
    ] {
        let mut header = signer.header();
        header[name] = value;
        let token = stranger.signed(&header.to_string(), &claims().to_string());
        assert!(!is_known(&callers, &token).await, "{name}");
        let token = signer.signed(&header.to_string(), &claims().to_string());
        assert!(is_known(&callers, &token).await, "{name}");
    }
    // A `kid` is a name and no path.
    for kid in ["../k1", "k1\u{0}", "K1", "", "file:///dev/null"] {
        let mut header = signer.header();
        header["kid"] = json!(kid);
        let token = signer.signed(&header.to_string(), &claims().to_string());
        assert!(!is_known(&callers, &token).await, "{kid}");
    }
}

#[tokio::test]
async fn what_could_be_read_in_two_ways_or_not_at_all_is_refused() {
    let signer = Signer::es256("k1");
    let callers = opened(&[&signer]);
    let (header, claims) = (signer.header().to_string(), claims().to_string());
    assert!(is_known(&callers, &signer.signed(&header, &claims)).await);
    let headers = [
        r#"{"alg":"ES256","alg":"none","kid":"k1"}"#,
        r#"{"alg":"none","alg":"ES256","kid":"k1"}"#,
        r#"{"alg":"ES256","kid":"k2","kid":"k1"}"#,
        r#"{"alg":"ES256","kid":"k1","crit":["exp"],"exp":1}"#,
        r#"{"alg":"ES256","kid":"k1","crit":[]}"#,
        r#"{"alg":"ES256","kid":"k1","b64":false}"#,
        r#"{"alg":"ES256","kid":7}"#,
        r#"{"alg":["ES256"],"kid":"k1"}"#,
        r#"{"alg":"es256","kid":"k1"}"#,
        r#"{"kid":"k1"}"#,
        r#"{"alg":"ES256","kid":"k1","typ":"id+jwt"}"#,
        r#"{"alg":"ES256","kid":"k1","typ":"logout+jwt"}"#,
        r#"{"alg":"ES256","kid":"k1","typ":null}"#,
        r#"{"alg":"ES256","kid":"k1"} x"#,
        "[]",
        "",
    ];
    for header in headers {
        let token = signer.signed(header, &claims);
        assert!(!is_known(&callers, &token).await, "{header}");
    }
    for typ in ["JWT", "jwt", "at+jwt", "AT+JWT", "application/at+jwt"] {
        let header = format!(r#"{{"alg":"ES256","kid":"k1","typ":"{typ}"}}"#);
        let token = signer.signed(&header, &claims);
        assert!(is_known(&callers, &token).await, "{typ}");
    }
    let twice = claims.replace("\"sub\":", "\"sub\":\"admin\",\"sub\":");
    for claims in [
        twice.as_str(),
        "[]",
        "",
        "null",
        "{",
        &format!("{claims}{claims}"),
    ] {
        let token = signer.signed(&header, claims);
        assert!(!is_known(&callers, &token).await, "{claims}");
    }
}

#[tokio::test]
async fn only_one_spelling_of_a_token_is_the_token() {
    let signer = Signer::es256("k1");
    let callers = opened(&[&signer]);
    let token = signer.token(&claims());
    let (text, signature) = token.rsplit_once('.').unwrap();
    let (header, body) = text.split_once('.').unwrap();
    let long = {
        let mut claims = claims();
        claims["pad"] = json!("x".repeat(9000));
        signer.token(&claims)
    };
    let short = encode(&signer.sign(text.as_bytes())[..63]);
    // The last character of 64 bytes carries four bits that must be zero.
    let mut unused_bits = signature.to_owned();
    let last = unused_bits.pop().unwrap();
    unused_bits.push(char::from(u8::try_from(last).unwrap() + 1));
    for broken in [
        format!("{token}="),
        format!("{token}.x"),
        format!("{text}.{unused_bits}"),
        format!("{text}.{short}"),
        format!("{text}."),
        format!("{header}..{signature}"),
        format!(".{body}.{signature}"),
        format!("{header}.{body}"),
        format!("{header}.{body}.{}", signature.replace(['-', '_'], "+")) + "+",
        format!("{header} .{body}.{signature}"),
        long,
    ] {
        assert!(!is_known(&callers, &broken).await, "{broken}");
    }
    assert!(is_known(&callers, &token).await);
}

#[tokio::test]
async fn claims_must_be_the_callers_and_hold_now() {
    let signer = Signer::es256("k1");
    let callers = opened(&[&signer]);
    for (name, value, holds) in [
        ("iss", json!("https://idp.example.org/"), false),
        ("iss", json!(["https://idp.example.org"]), false),
        ("iss", Value::Null, false),
        ("aud", json!("https://pdp.example.org/"), false),
        ("aud", json!(["x", "https://pdp.example.org"]), true),
        ("aud", json!(["x"]), false),
        ("aud", json!([7, "https://pdp.example.org"]), false),
        ("aud", json!([]), false),
        ("aud", Value::Null, false),
        ("sub", json!("Billing"), false),
        ("sub", json!(["billing"]), false),
        ("sub", Value::Null, false),
        ("exp", json!(NOW - 59), true),
        ("exp", json!(NOW - 60), false),
        ("exp", json!(1_700_000_000.5), true),
        ("exp", json!(-1), false),
        ("exp", json!(1e300), false),
        ("exp", json!((NOW + 300).to_string()), false),
        ("exp", json!(u64::MAX), true),
        ("exp", Value::Null, false),
        ("nbf", json!(NOW + 60), true),
        ("nbf", json!(NOW + 61), false),
        ("nbf", json!("now"), false),
        ("iat", json!(NOW + 60), true),
        ("iat", json!(NOW + 61), false),
        ("iat", json!(true), false),
    ] {
        let mut claims = claims();
        claims[name] = value.clone();
        let token = signer.token(&claims);
        assert_eq!(is_known(&callers, &token).await, holds, "{name} {value}");
    }
    for missing in ["iss", "aud", "sub", "exp"] {
        let mut claims = claims();
        claims.as_object_mut().unwrap().remove(missing);
        assert!(
            !is_known(&callers, &signer.token(&claims)).await,
            "{missing}"
        );
    }
}

#[tokio::test]
async fn client_and_scope_are_matched_where_they_are_configured() {
    let signer = Signer::es256("k1");
    let by = |subject: Option<&str>, client_id: Option<&str>, scope: Option<&str>| {
        let jwt = JwtCallerConfig {
            subject: subject.map(str::to_owned),
            client_id: client_id.map(str::to_owned),
            scope: scope.map(str::to_owned),
            ..billing()
        };
        open(&[&signer], vec![jwt_caller("billing", jwt)]).unwrap()
    };
    let token = |client_id: &str, scope: Value| {
        let mut claims = claims();
        claims["client_id"] = json!(client_id);
        claims["scope"] = scope;
        signer.token(&claims)
    };
    let client = by(None, Some("app"), None);
    assert!(is_known(&client, &token("app", json!("x"))).await);
    assert!(!is_known(&client, &token("app2", json!("x"))).await);
    let scope = by(None, None, Some("pdp:ask"));
    for (granted, holds) in [
        (json!("pdp:ask"), true),
        (json!("openid pdp:ask x"), true),
        (json!("pdp:ask2 xpdp:ask"), false),
        (json!(["pdp:ask"]), false),
        (json!(""), false),
    ] {
        assert_eq!(
            is_known(&scope, &token("app", granted.clone())).await,
            holds,
            "{granted}"
        );
    }
    // All of them together.
    let all = by(Some("billing"), Some("app"), Some("pdp:ask"));
    assert!(is_known(&all, &token("app", json!("pdp:ask"))).await);
    assert!(!is_known(&all, &token("app", json!("x"))).await);
    assert!(!is_known(&all, &token("x", json!("pdp:ask"))).await);
}

#[tokio::test]
async fn a_token_for_two_callers_is_nobodys() {
    let signer = Signer::es256("k1");
    let other = JwtCallerConfig {
        audience: "https://other.example.org".into(),
        ..billing()
    };
    let callers = vec![jwt_caller("billing", billing()), jwt_caller("other", other)];
    let callers = open(&[&signer], callers).unwrap();
    let mut both = claims();
    both["aud"] = json!(["https://pdp.example.org", "https://other.example.org"]);
    assert!(!is_known(&callers, &signer.token(&both)).await);
    assert!(is_known(&callers, &signer.token(&claims())).await);
}

#[tokio::test]
async fn a_remembered_token_expires_all_the_same() {
    let signer = Signer::es256("k1");
    let callers = opened(&[&signer]);
    let mut headers = ::http::HeaderMap::new();
    let bearer = format!("Bearer {}", signer.token(&claims()));
    headers.insert("authorization", bearer.parse().unwrap());
    for (now, holds) in [
        (NOW, true),
        (NOW + 359, true),
        (NOW + 360, false),
        (NOW, true),
    ] {
        let found = callers
            .identify(&headers, None, UnixTime::from_secs(now))
            .await;
        assert_eq!(found.is_ok(), holds, "{now}");
    }
}

#[test]
fn a_token_without_kid_needs_a_key_that_is_alone() {
    let (one, two, rsa) = (
        Signer::es256("1"),
        Signer::es256("2"),
        Signer::rsa("3", "RS256"),
    );
    let token = one.signed(r#"{"alg":"ES256"}"#, &claims().to_string());
    for (signers, fault) in [
        (vec![&one], None),
        (vec![&one, &rsa], None),
        (vec![&one, &two], Some(Fault::NoKeyNamed)),
        (vec![&two], Some(Fault::Signature)),
        (vec![&rsa], Some(Fault::OtherKey)),
    ] {
        let keys = KeySet::parse(jwks(&signers).as_bytes()).unwrap();
        let found = Unverified::read(&token, TOKENS).unwrap().verify(&keys);
        assert_eq!(found.err(), fault);
    }
}

#[test]
fn keys_that_are_small_broken_private_or_for_something_else_are_passed_over() {
    let good = Signer::es256("good");
    let rsa = Signer::rsa("rsa", "RS256");
    let with = |jwk: &Value, name: &str, value: Value| {
        let mut jwk = jwk.clone();
        jwk[name] = value;
        jwk
    };
    let small = encode([vec![0xff_u8; 127], vec![0xfd]].concat());
    for jwk in [
        with(&rsa.jwk, "n", json!(small)),
        with(&rsa.jwk, "n", json!("")),
        with(&rsa.jwk, "e", json!("!")),
        with(&rsa.jwk, "alg", json!("RS512")),
        with(&good.jwk, "alg", json!("HS256")),
        with(&good.jwk, "alg", json!(7)),
        with(&good.jwk, "crv", json!("P-384")),
        with(&good.jwk, "crv", json!("secp256k1")),
        with(&good.jwk, "x", json!(encode([1_u8; 32]))),
        with(&good.jwk, "x", json!(encode([1_u8; 33]))),
        with(&good.jwk, "use", json!("enc")),
        with(&good.jwk, "key_ops", json!(["sign"])),
        with(&good.jwk, "d", json!("AAAA")),
        json!({ "kty": "oct", "k": "c2VjcmV0", "kid": "good", "alg": "HS256" }),
        json!({ "kty": "OKP", "crv": "X25519", "x": encode([9_u8; 32]) }),
        json!("text"),
    ] {
        let alone = json!({ "keys": [jwk] }).to_string();
        assert!(KeySet::parse(alone.as_bytes()).is_err(), "{jwk}");
        let beside = json!({ "keys": [jwk, good.jwk] }).to_string();
        let keys = KeySet::parse(beside.as_bytes()).unwrap();
        let token = good.token(&claims());
        assert!(
            Unverified::read(&token, TOKENS)
                .unwrap()
                .verify(&keys)
                .is_ok(),
            "{jwk}"
        );
    }
    let key = good.jwk.to_string();
    for broken in [
        String::new(),
        "{}".to_owned(),
        "[]".to_owned(),
        r#"{"keys":{}}"#.to_owned(),
        format!(r#"{{"keys":[],"keys":[{key}]}}"#),
        format!(r#"{{"keys":[{}]}}"#, vec![key; 101].join(",")),
    ] {
        assert!(KeySet::parse(broken.as_bytes()).is_err(), "{broken:.80}");
    }
}
