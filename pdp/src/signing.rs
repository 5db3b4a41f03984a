//! A private key that the PDP signs with what others are to believe of it, and nothing else: no token is made
//! here.

use std::fmt;
use std::path::Path;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use service_kit::{ConfigIssue, digest, pem};

/// A private key.
pub(crate) enum SigningKey {
    Es256(EcdsaKeyPair),
    EdDsa(Ed25519KeyPair),
}

impl SigningKey {
    /// From a PEM file; `key` is what configuration calls it.
    pub(crate) fn read(key: &str, path: &Path) -> Result<Self, ConfigIssue> {
        let der = pem::pkcs8(key, path)?;
        if let Ok(pair) = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &der) {
            return Ok(Self::Es256(pair));
        }
        Ed25519KeyPair::from_pkcs8(&der)
            .map(Self::EdDsa)
            .map_err(|_| {
                ConfigIssue::new(format!(
                    "`{key}`: the key in `{}` is neither of P-256 nor of Ed25519",
                    path.display()
                ))
                .hint(
                    "`openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out FILE` \
                     makes one",
                )
            })
    }

    /// A JSON Web Signature in the compact form. `kind` tells it from all others (RFC 8725 section 3.11).
    pub(crate) fn sign(&self, kind: &str, claims: &Value) -> Option<String> {
        let algorithm = match self {
            Self::Es256(_) => "ES256",
            Self::EdDsa(_) => "EdDSA",
        };
        let header = json!({ "alg": algorithm, "kid": self.kid(), "typ": kind });
        let encode = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
        let text = format!("{}.{}", encode(&header), encode(claims));
        let message = text.as_bytes();
        let signature = match self {
            Self::Es256(pair) => pair.sign(&SystemRandom::new(), message).ok()?,
            Self::EdDsa(pair) => pair.sign(message),
        };
        Some(format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    /// RFC 7638: the hash of the required members, in this order, without spaces.
    fn kid(&self) -> String {
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let members = match self {
            Self::Es256(pair) => {
                // Uncompressed point: 0x04, x, y.
                let point = pair.public_key().as_ref().get(1..).unwrap_or_default();
                let (x, y) = point.split_at(point.len() / 2);
                let (x, y) = (encode(x), encode(y));
                format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#)
            }
            Self::EdDsa(pair) => {
                let x = encode(pair.public_key().as_ref());
                format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#)
            }
        };
        digest::sha256_base64url(members.as_bytes())
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("SigningKey").finish_non_exhaustive()
    }
}
