//! Any JWT, as it is, signed or changed after that: nobody is vouched for but by a token that the issuer's
//! key has signed, of this kind, for here and now.
#![no_main]

use std::cell::LazyCell;

use fuzz::{Signer, Way, token_of};
use gateway_pep::JwtIssuerConfig;
use gateway_pep::fuzzing::JwtIssuer;
use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value, json};
use tokio::runtime::Runtime;

const ISSUER: &str = "https://i.test";
const AUDIENCE: &str = "https://a.test";
const NOW: u64 = 1_700_000_000;
const LEEWAY: f64 = 5.0;

struct Stage {
    runtime: Runtime,
    known: Signer,
    stranger: Signer,
    issuer: JwtIssuer,
}

thread_local! {
    static STAGE: LazyCell<Stage> = LazyCell::new(Stage::new);
}

impl Stage {
    fn new() -> Self {
        let (known, stranger) = (Signer::new(1), Signer::new(2));
        let config = JwtIssuerConfig {
            jwks: Some(json!({ "keys": [known.jwk()] })),
            audiences: vec![AUDIENCE.to_owned()],
            leeway_secs: LEEWAY as u64,
            ..JwtIssuerConfig::new(ISSUER)
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build();
        let stage = Self {
            runtime: runtime.expect("a runtime"),
            known,
            stranger,
            issuer: JwtIssuer::new(config).expect("an issuer"),
        };
        let claims = json!({
            "iss": ISSUER, "aud": AUDIENCE, "sub": "a", "client_id": "c", "iat": NOW, "exp": NOW + 60, "jti": "1",
        });
        let header = r#"{"typ":"at+jwt","alg":"EdDSA"}"#;
        let good = stage.known.sign(header, &claims.to_string());
        assert!(stage.subject(&good).is_some(), "what is good passes");
        stage
    }

    fn subject(&self, token: &str) -> Option<String> {
        self.runtime
            .block_on(self.issuer.subject(token, AUDIENCE, NOW))
    }
}

fuzz_target!(|input: &str| {
    STAGE.with(|stage| {
        let Some((way, token)) = token_of(input, &stage.known, &stage.stranger) else {
            return;
        };
        let subject = stage.subject(&token);
        assert_eq!(subject, stage.subject(&token));
        let Some(subject) = subject else {
            return;
        };
        assert!(matches!(way, Way::AsItIs | Way::Signed), "{way:?}");
        let (header, claims) = stage.known.opened(&token).expect("a signature that holds");
        check_header(&header);
        check_claims(&claims, &subject);
        assert_eq!(jose::claimed_issuer(&token).as_deref(), Some(ISSUER));
    });
});

fn check_header(header: &Map<String, Value>) {
    assert!(header["alg"] == "EdDSA" || header["alg"] == "Ed25519");
    assert!(!header.contains_key("crit"));
    let kind = header["typ"].as_str().expect("a type").to_ascii_lowercase();
    assert!(kind == "at+jwt" || kind == "application/at+jwt");
}

fn check_claims(claims: &Map<String, Value>, subject: &str) {
    assert_eq!(claims["iss"], ISSUER);
    let is_for_us = match &claims["aud"] {
        Value::Array(all) => all.iter().any(|one| one == AUDIENCE),
        one => one == AUDIENCE,
    };
    assert!(is_for_us);
    let time = |name: &str| claims.get(name).and_then(Value::as_f64);
    let now = NOW as f64;
    let (exp, iat) = (time("exp").expect("exp"), time("iat").expect("iat"));
    assert!(exp + LEEWAY > now && iat <= now + LEEWAY + 1.0);
    assert!(time("nbf").is_none_or(|begins| begins <= now + LEEWAY + 1.0));
    // A token of no user is its client's.
    let name = claims.get("sub").unwrap_or(&claims["client_id"]);
    let name = name.as_str().expect("a subject");
    assert!(!name.is_empty() && subject.ends_with(name), "{subject}");
}
