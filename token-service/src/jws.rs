//! JSON Web Signatures in the compact form, written by hand around a prepared key.

use aws_lc_rs::digest::{SHA256, SHA512, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use crate::config::SigningAlgorithm;
use crate::error::Trouble;
use crate::keys::SigningKey;

/// Claims of a token, ordered by name.
pub(crate) type Claims = Map<String, Value>;

/// The `typ` of a header: it keeps one kind of token from being taken for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Typ {
    /// RFC 9068
    AccessToken,
    /// OpenID Connect
    IdToken,
    /// RFC 9701
    Introspection,
    /// OpenID Connect Back-Channel Logout
    Logout,
    /// RFC 8417
    SecurityEvent,
    /// draft-ietf-oauth-transaction-tokens
    Transaction,
}

impl Typ {
    fn as_str(self) -> &'static str {
        match self {
            Self::AccessToken => "at+jwt",
            Self::IdToken => "JWT",
            Self::Logout => "logout+jwt",
            Self::SecurityEvent => "secevent+jwt",
            Self::Transaction => "txntoken+jwt",
            Self::Introspection => "token-introspection+jwt",
        }
    }
}

/// Signs claims.
pub(crate) fn sign(key: &SigningKey, typ: Typ, claims: &Claims) -> Result<String, Trouble> {
    // A thumbprint and two fixed words: nothing in it needs JSON escapes.
    let header = format!(
        r#"{{"alg":"{}","kid":"{}","typ":"{}"}}"#,
        key.algorithm().as_str(),
        key.kid(),
        typ.as_str()
    );
    let payload = serde_json::to_vec(claims).map_err(|error| Trouble::Record {
        message: error.to_string(),
    })?;
    let mut text = String::with_capacity((header.len() + payload.len()) * 4 / 3 + 96);
    URL_SAFE_NO_PAD.encode_string(header, &mut text);
    text.push('.');
    URL_SAFE_NO_PAD.encode_string(payload, &mut text);
    let signature = key.sign(text.as_bytes())?;
    text.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut text);
    Ok(text)
}

/// `at_hash` (OpenID Connect Core 3.1.3.6): the left half of the token's hash, by the hash of the
/// algorithm that the ID token is signed with.
pub(crate) fn at_hash(algorithm: SigningAlgorithm, access_token: &str) -> String {
    let by = match algorithm {
        SigningAlgorithm::Es256 | SigningAlgorithm::Rs256 | SigningAlgorithm::Ps256 => &SHA256,
        // Ed25519 is made with it (RFC 8032 section 5.1).
        SigningAlgorithm::EdDsa => &SHA512,
    };
    let digest = digest(by, access_token.as_bytes());
    let (half, _) = digest.as_ref().split_at(digest.as_ref().len() / 2);
    URL_SAFE_NO_PAD.encode(half)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_of_a_token_is_the_one_that_others_compute() {
        // OpenID Connect Core, appendix A.
        let token = "jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y";
        for algorithm in [SigningAlgorithm::Es256, SigningAlgorithm::Rs256] {
            assert_eq!(at_hash(algorithm, token), "77QmUPtjPfzWtF2AnpK9RQ");
        }
        let long = at_hash(SigningAlgorithm::EdDsa, token);
        assert_eq!(long.len(), 43, "half of 64 bytes");
    }
}
