//! An issuer of JWTs for the time of an attack: it takes the place of each that the file's routes accept,
//! with a key that nobody else has.

use anyhow::anyhow;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gateway_pep::{Config, GatewayConfig, IssuerConfig, JwtIssuerConfig};
use serde_json::{Value, json};

/// Signs whatever an attack wants.
#[derive(Debug)]
pub(super) struct StubIssuer {
    key: EcdsaKeyPair,
    now: u64,
}

/// For whom its tokens are.
const AUDIENCE: &str = "https://attacked.test";

impl StubIssuer {
    pub(super) fn new(now: u64) -> anyhow::Result<Self> {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)
            .map_err(|_| anyhow!("cannot make a key"))?;
        Ok(Self { key, now })
    }

    /// Takes the place of the file's issuers of JWTs. Whatever others give out, the stand-in of the
    /// token service does.
    pub(super) fn take_over(&self, config: &mut Config) {
        let gateway = &mut config.gateway;
        for issuer in gateway.issuers.values_mut() {
            if let IssuerConfig::Jwt(jwt) = issuer {
                **jwt = JwtIssuerConfig {
                    jwks: Some(json!({ "keys": [self.jwk()] })),
                    audiences: vec![AUDIENCE.to_owned()],
                    ..JwtIssuerConfig::new(jwt.issuer.clone())
                };
            }
        }
        let is_jwt = |issuer: &IssuerConfig| matches!(issuer, IssuerConfig::Jwt(_));
        gateway.issuers.retain(|_, issuer| is_jwt(issuer));
        let defaults = std::mem::replace(
            &mut gateway.default_issuers,
            GatewayConfig::default().default_issuers,
        );
        for route in config.routes.iter_mut().filter(|route| !route.public) {
            let mut names = route.issuers.take().unwrap_or_else(|| defaults.clone());
            names.retain(|name| gateway.issuers.contains_key(name));
            names.extend(gateway.default_issuers.iter().cloned());
            route.issuers = Some(names);
        }
    }

    /// Of a token that passes, where the route wants no more.
    pub(super) fn claims(&self, issuer: &str, scope: &str, acr: Option<&str>) -> Value {
        let now = self.now;
        json!({
            "iss": issuer, "aud": AUDIENCE, "sub": "good", "client_id": "cedargate-attack",
            "iat": now, "exp": now + 3600, "jti": "1", "scope": scope, "acr": acr.unwrap_or("cg"),
            "auth_time": now,
        })
    }

    /// Any text as header and claims.
    pub(super) fn sign(&self, header: &str, claims: &str) -> String {
        let text = unsigned(header, claims);
        let signature = self.key.sign(&SystemRandom::new(), text.as_bytes());
        match signature {
            Ok(signature) => format!("{text}.{}", encode(signature)),
            // Then it is no good token, which the control says.
            Err(_) => text,
        }
    }

    pub(super) fn jwk(&self) -> Value {
        let point = self.key.public_key().as_ref().get(1..).unwrap_or_default();
        let (x, y) = point.split_at(point.len() / 2);
        json!({ "kty": "EC", "crv": "P-256", "kid": "cg", "x": encode(x), "y": encode(y) })
    }
}

/// Of a token that passes.
pub(super) fn header() -> Value {
    json!({ "typ": "at+jwt", "alg": "ES256", "kid": "cg" })
}

/// The two parts that are signed.
pub(super) fn unsigned(header: &str, claims: &str) -> String {
    format!("{}.{}", encode(header), encode(claims))
}

pub(super) fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
