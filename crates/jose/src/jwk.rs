//! The keys of an issuer: a JSON Web Key Set (RFC 7517), prepared for verifying.
//!
//! A key verifies the algorithms that its type and curve allow, and no other: what a token says
//! about its algorithm only picks among these. Symmetric keys are never taken.

use std::sync::LazyLock;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey,
    RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, RsaParameters, RsaPublicKeyComponents,
    VerificationAlgorithm,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use strict_json::{Properties, parse_object};

use crate::{Fault, sha256_base64url};

/// A signature algorithm that is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    Es256,
    Es384,
    EdDsa,
    Rs256,
    Ps256,
}

/// Keys as they were read at one time.
#[derive(Debug, Default)]
pub struct KeySet {
    keys: Vec<Key>,
}

#[derive(Debug)]
struct Key {
    kid: Option<String>,
    algorithm: Algorithm,
    prepared: ParsedPublicKey,
}

/// More keys than this are not an issuer's.
const MOST: usize = 100;

impl Algorithm {
    pub const ALL: [Self; 5] = [
        Self::Es256,
        Self::Es384,
        Self::EdDsa,
        Self::Rs256,
        Self::Ps256,
    ];

    /// `Ed25519` is what `EdDSA` means here, where no other curve is known (RFC 9864).
    pub fn from_name(name: &str) -> Option<Self> {
        if name == "Ed25519" {
            return Some(Self::EdDsa);
        }
        Self::ALL.into_iter().find(|own| own.name() == name)
    }

    /// The word of the IANA registry.
    pub fn name(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::EdDsa => "EdDSA",
            Self::Rs256 => "RS256",
            Self::Ps256 => "PS256",
        }
    }
}

/// A key for each algorithm, whose other halves nobody has.
static NOBODY: LazyLock<KeySet> = LazyLock::new(|| {
    KeySet::parse(include_bytes!("nobody.json")).unwrap_or(KeySet { keys: Vec::new() })
});

impl KeySet {
    pub(crate) fn nobody() -> &'static Self {
        &NOBODY
    }

    /// Keys of other kinds or for other uses are passed over (RFC 7517 section 5); a set in which
    /// nothing is left is an error.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        let set = parse_object(text).map_err(|error| format!("not a key set: {error}"))?;
        let Some(Value::Array(items)) = set.get("keys") else {
            return Err("not a key set: there is no array `keys`".into());
        };
        if items.len() > MOST {
            return Err(format!("there are more than {MOST} keys"));
        }
        let keys: Vec<_> = items
            .iter()
            .filter_map(Value::as_object)
            .flat_map(prepare)
            .collect();
        if keys.is_empty() {
            return Err("there is no key for ES256, ES384, EdDSA, RS256 or PS256 in it".into());
        }
        Ok(Self { keys })
    }

    /// The key of one token, which brings it along.
    pub(crate) fn of_one(jwk: &Properties) -> Self {
        Self { keys: prepare(jwk) }
    }

    /// The one key that a token can be meant to be verified with.
    pub fn find(&self, algorithm: Algorithm, kid: Option<&str>) -> Result<&ParsedPublicKey, Fault> {
        let of_name = || {
            self.keys
                .iter()
                .filter(|key| kid.is_none() || key.kid.as_deref() == kid)
        };
        if of_name().next().is_none() {
            return Err(Fault::UnknownKey);
        }
        let mut fitting = of_name().filter(|key| key.algorithm == algorithm);
        match (fitting.next(), fitting.next()) {
            (Some(key), None) => Ok(&key.prepared),
            (None, _) => Err(Fault::OtherKey),
            (Some(_), Some(_)) => Err(Fault::NoKeyNamed),
        }
    }
}

/// Members of private and of symmetric keys (RFC 7518 section 6).
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// The thumbprint of a key that is taken (RFC 7638): the SHA-256 of what makes it the key that it is,
/// as 43 characters.
pub fn thumbprint(jwk: &Properties) -> Option<String> {
    let members: &[&str] = match jwk.get("kty")?.as_str()? {
        "EC" => &["crv", "kty", "x", "y"],
        "OKP" => &["crv", "kty", "x"],
        "RSA" => &["e", "kty", "n"],
        _ => return None,
    };
    let mut text = String::from("{");
    for name in members {
        let value = jwk.get(*name)?.as_str()?;
        // What a prepared key is made of is base64url and has nothing to escape.
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if !value.bytes().all(is_plain) {
            return None;
        }
        if text.len() > 1 {
            text.push(',');
        }
        text.extend(["\"", name, "\":\"", value, "\""]);
    }
    text.push('}');
    Some(sha256_base64url(text.as_bytes()))
}

/// A key once for each algorithm that it verifies; nothing where it cannot be used.
fn prepare(jwk: &Properties) -> Vec<Key> {
    let text = |name: &str| jwk.get(name).and_then(Value::as_str);
    let for_signatures = jwk.get("use").is_none_or(|usage| usage == "sig");
    let for_verifying = jwk.get("key_ops").is_none_or(|operations| {
        operations
            .as_array()
            .is_some_and(|operations| operations.iter().any(|operation| operation == "verify"))
    });
    // A private key that was handed out is nobody's any more.
    let is_private = PRIVATE.iter().any(|name| jwk.contains_key(*name));
    if !for_signatures || !for_verifying || is_private {
        return Vec::new();
    }
    let candidates: &[Algorithm] = match (text("kty"), text("crv")) {
        (Some("EC"), Some("P-256")) => &[Algorithm::Es256],
        (Some("EC"), Some("P-384")) => &[Algorithm::Es384],
        (Some("OKP"), Some("Ed25519")) => &[Algorithm::EdDsa],
        (Some("RSA"), None) => &[Algorithm::Rs256, Algorithm::Ps256],
        _ => &[],
    };
    candidates
        .iter()
        .filter(|algorithm| {
            jwk.get("alg").is_none_or(|stated| {
                stated.as_str().and_then(Algorithm::from_name) == Some(**algorithm)
            })
        })
        .filter_map(|algorithm| {
            Some(Key {
                kid: text("kid").map(str::to_owned),
                algorithm: *algorithm,
                prepared: public_key(*algorithm, jwk)?,
            })
        })
        .collect()
}

fn public_key(algorithm: Algorithm, jwk: &Properties) -> Option<ParsedPublicKey> {
    let bytes = |name: &str| URL_SAFE_NO_PAD.decode(jwk.get(name)?.as_str()?).ok();
    let of_length = |name: &str, length| bytes(name).filter(|bytes| bytes.len() == length);
    let point = |algorithm: &'static dyn VerificationAlgorithm, length| {
        // SEC 1: an uncompressed point.
        let mut point = vec![4];
        point.extend(of_length("x", length)?);
        point.extend(of_length("y", length)?);
        ParsedPublicKey::new(algorithm, point).ok()
    };
    match algorithm {
        Algorithm::Es256 => point(&ECDSA_P256_SHA256_FIXED, 32),
        Algorithm::Es384 => point(&ECDSA_P384_SHA384_FIXED, 48),
        Algorithm::EdDsa => ParsedPublicKey::new(&ED25519, of_length("x", 32)?).ok(),
        Algorithm::Rs256 => rsa(&RSA_PKCS1_2048_8192_SHA256, bytes("n")?, bytes("e")?),
        Algorithm::Ps256 => rsa(&RSA_PSS_2048_8192_SHA256, bytes("n")?, bytes("e")?),
    }
}

fn rsa(parameters: &'static RsaParameters, n: Vec<u8>, e: Vec<u8>) -> Option<ParsedPublicKey> {
    // The library looks at the size when it verifies; here, a small key is never taken at all.
    let unused = n.first()?.leading_zeros() as usize;
    let bits = (n.len() * 8).checked_sub(unused)?;
    if !(2048..=8192).contains(&bits) {
        return None;
    }
    RsaPublicKeyComponents { n, e }
        .to_parsed_public_key(parameters)
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_may_say_the_curve_or_the_family() {
        for (stated, is_taken) in [("Ed25519", true), ("EdDSA", true), ("Ed448", false)] {
            let set = format!(
                r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","alg":"{stated}","x":"MPjNG3dq42d7FraLfEWzSOHApm8gf7BI_Rx3QI49ZIk"}}]}}"#
            );
            let found = KeySet::parse(set.as_bytes());
            assert_eq!(found.is_ok(), is_taken, "{stated}");
        }
    }

    #[test]
    fn nobody_has_a_key_for_each_algorithm() {
        for algorithm in Algorithm::ALL {
            assert!(KeySet::nobody().find(algorithm, None).is_ok());
            assert_eq!(Algorithm::from_name(algorithm.name()), Some(algorithm));
        }
    }
}
