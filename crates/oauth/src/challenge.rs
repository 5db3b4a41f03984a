//! `WWW-Authenticate: Bearer …` (RFC 6750 section 3).

use std::fmt;

use crate::{Scope, dpop_algorithms};

/// The error codes of RFC 6750 section 3.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BearerError {
    /// 400
    InvalidRequest,
    /// 401
    InvalidToken,
    /// 403
    InsufficientScope,
}

/// A challenge. Without credentials in the request there is no error code (section 3.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BearerChallenge<'a> {
    pub realm: &'a str,
    pub error: Option<(BearerError, &'a str)>,
    pub scope: Option<&'a Scope>,
}

/// `WWW-Authenticate: DPoP …` (RFC 9449 section 7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DpopChallenge<'a> {
    pub realm: &'a str,
    /// A code and what it means; none where nothing was shown.
    pub error: Option<(&'a str, &'a str)>,
}

impl fmt::Display for DpopChallenge<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let algorithms = dpop_algorithms().join(" ");
        write!(
            formatter,
            "DPoP realm=\"{}\", algs=\"{algorithms}\"",
            Quoted(self.realm)
        )?;
        match self.error {
            None => Ok(()),
            Some((error, description)) => write!(
                formatter,
                ", error=\"{}\", error_description=\"{}\"",
                Quoted(error),
                Quoted(description)
            ),
        }
    }
}

impl BearerError {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidToken => "invalid_token",
            Self::InsufficientScope => "insufficient_scope",
        }
    }

    /// The status that goes with the code.
    pub fn status(self) -> http::StatusCode {
        match self {
            Self::InvalidRequest => http::StatusCode::BAD_REQUEST,
            Self::InvalidToken => http::StatusCode::UNAUTHORIZED,
            Self::InsufficientScope => http::StatusCode::FORBIDDEN,
        }
    }
}

impl fmt::Display for BearerChallenge<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Bearer realm=\"{}\"", Quoted(self.realm))?;
        if let Some((error, description)) = self.error {
            write!(
                formatter,
                ", error=\"{}\", error_description=\"{}\"",
                error.as_str(),
                Quoted(description)
            )?;
        }
        if let Some(scope) = self.scope {
            write!(formatter, ", scope=\"{scope}\"")?;
        }
        Ok(())
    }
}

/// Text inside a quoted-string: what the grammar of RFC 6750 forbids becomes a space.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write as _;
        for character in self.0.chars() {
            let allowed = matches!(character, ' '..='~') && character != '"' && character != '\\';
            formatter.write_char(if allowed { character } else { ' ' })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_cannot_be_broken_out_of() {
        let challenge = BearerChallenge {
            realm: "a\"b\r\nX: y",
            error: Some((BearerError::InvalidToken, "expired")),
            scope: None,
        };
        assert_eq!(
            challenge.to_string(),
            r#"Bearer realm="a b  X: y", error="invalid_token", error_description="expired""#
        );
    }
}
