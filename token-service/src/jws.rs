//! JSON Web Signatures in the compact form, written by hand around a prepared key.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

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
}

impl Typ {
    fn as_str(self) -> &'static str {
        match self {
            Self::AccessToken => "at+jwt",
            Self::IdToken => "JWT",
            Self::Logout => "logout+jwt",
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

/// `at_hash` (OpenID Connect Core 3.1.3.6): the left half of the token's SHA-256.
pub(crate) fn at_hash(access_token: &str) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, access_token.as_bytes());
    let half = digest.as_ref().get(..16).unwrap_or_default();
    URL_SAFE_NO_PAD.encode(half)
}
