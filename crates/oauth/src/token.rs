//! The opaque token as clients hold it, and the name of the resource that it is swapped for.

use std::fmt;

use zeroize::Zeroizing;

/// An access token as it stands after `Bearer `. Its text never reaches a log: `Debug` prints
/// an ellipsis, and there is no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct OpaqueToken(Zeroizing<String>);

/// The protected resource (RFC 8707) that a token is swapped for: the `aud` of the JWT.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ResourceId(String);

/// Why a text cannot be a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenSyntaxError {
    #[error("the token is empty")]
    Empty,
    #[error("the token is longer than {MAX_TOKEN} characters")]
    TooLong,
    #[error("the token has a character outside `[A-Za-z0-9_-]`")]
    Alphabet,
}

/// Longer texts are refused before anything looks at them.
const MAX_TOKEN: usize = 512;

impl OpaqueToken {
    /// Accepts only the alphabet of our tokens. A JWT (it has dots) is not an opaque token.
    pub fn parse(text: &str) -> Result<Self, TokenSyntaxError> {
        if text.is_empty() {
            return Err(TokenSyntaxError::Empty);
        }
        if text.len() > MAX_TOKEN {
            return Err(TokenSyntaxError::TooLong);
        }
        if !text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
        {
            return Err(TokenSyntaxError::Alphabet);
        }
        Ok(Self(Zeroizing::new(text.to_owned())))
    }

    /// The secret itself: for hashing and for the wire, never for a log.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for OpaqueToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("OpaqueToken(…)")
    }
}

impl ResourceId {
    pub fn new(id: impl Into<String>) -> Self {
        Self(id.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ResourceId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_alphabet_is_a_token_and_debug_hides_it() {
        assert!(OpaqueToken::parse("at_abc-DEF_123").is_ok());
        for text in [
            "",
            "a.b.c",
            "a b",
            "x&client_id=y",
            "tøken",
            &"a".repeat(513),
        ] {
            assert!(OpaqueToken::parse(text).is_err(), "{text:.20}");
        }
        assert_eq!(
            format!("{:?}", OpaqueToken::parse("secret").unwrap()),
            "OpaqueToken(…)"
        );
    }
}
