//! Whoever has a key, and makes DPoP proofs (RFC 9449) with it.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use oauth::Confirmation;
use serde_json::{Value, json};
use service_kit::digest::sha256_base64url;
use service_kit::random;

use crate::fixture::Fixture;

/// A key on P-256.
pub(crate) struct Holder(EcdsaKeyPair);

pub(crate) fn base64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl Holder {
    pub(crate) fn new() -> Self {
        Self(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    /// With the token `at_carol`, which is bound to the key, at each of these gateways.
    pub(crate) fn known_to(gateways: &[&Fixture]) -> Self {
        let holder = Self::new();
        for gateway in gateways {
            let tokens = &gateway.tokens;
            tokens.issue_bound("carol", 4_000_000_000, Some(holder.confirmation()));
        }
        holder
    }

    pub(crate) fn jwk(&self) -> Value {
        let (x, y) = self.0.public_key().as_ref()[1..].split_at(32);
        json!({ "kty": "EC", "crv": "P-256", "x": base64(x), "y": base64(y) })
    }

    pub(crate) fn confirmation(&self) -> Confirmation {
        let jwk = self.jwk();
        let text = format!(
            r#"{{"crv":"P-256","kty":"EC","x":{},"y":{}}}"#,
            jwk["x"], jwk["y"]
        );
        Confirmation::DpopKey(sha256_base64url(text.as_bytes()))
    }

    pub(crate) fn header(&self) -> Value {
        json!({ "typ": "dpop+jwt", "alg": "ES256", "jwk": self.jwk() })
    }

    /// A JWS, whatever its header says.
    pub(crate) fn sign(&self, header: &str, claims: &str) -> String {
        let text = format!("{}.{}", base64(header), base64(claims));
        let signature = self.0.sign(&SystemRandom::new(), text.as_bytes()).unwrap();
        format!("{text}.{}", base64(signature))
    }

    /// A new proof of `GET {url}` with `at_carol`, with some claims changed; `null` takes one away.
    pub(crate) fn proof(&self, url: &str, at: u64, changes: &[(&str, Value)]) -> String {
        let claims = changed(claims(url, "at_carol", at), changes);
        self.sign(&self.header().to_string(), &claims.to_string())
    }
}

pub(crate) fn claims(url: &str, token: &str, at: u64) -> Value {
    json!({
        "jti": random::id().unwrap(),
        "htm": "GET",
        "htu": url,
        "iat": at,
        "ath": sha256_base64url(token.as_bytes()),
    })
}

pub(crate) fn changed(mut claims: Value, changes: &[(&str, Value)]) -> Value {
    for (name, value) in changes {
        claims[*name] = value.clone();
    }
    let members = claims.as_object_mut().unwrap();
    members.retain(|_, value| !value.is_null());
    claims
}
