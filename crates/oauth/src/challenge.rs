//! `WWW-Authenticate: Bearer …` (RFC 6750 section 3) and `DPoP …` (RFC 9449 section 7.1).

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
    /// 401 (RFC 9470 section 3)
    InsufficientUserAuthentication,
}

/// A challenge. Without credentials in the request there is no error code (section 3.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BearerChallenge<'a> {
    pub realm: &'a str,
    pub error: Option<(BearerError, &'a str)>,
    pub scope: Option<&'a Scope>,
    /// Which login would do.
    pub step_up: Option<StepUp<'a>>,
    /// Where the resource says who gives out tokens (RFC 9728 section 5.1): a URL.
    pub resource_metadata: Option<&'a str>,
}

/// What a login must be for the request (RFC 9470 section 3).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StepUp<'a> {
    /// Separated by spaces.
    pub acr_values: Option<&'a str>,
    pub max_age_secs: Option<u64>,
}

/// `WWW-Authenticate: DPoP …` (RFC 9449 section 7.1).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DpopChallenge<'a> {
    pub realm: &'a str,
    /// A code and what it means; none where nothing was shown.
    pub error: Option<(&'a str, &'a str)>,
    pub scope: Option<&'a Scope>,
    pub step_up: Option<StepUp<'a>>,
    pub resource_metadata: Option<&'a str>,
}

impl fmt::Display for DpopChallenge<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let algorithms = dpop_algorithms().join(" ");
        write!(
            formatter,
            "DPoP realm=\"{}\", algs=\"{algorithms}\"",
            Quoted(self.realm)
        )?;
        error(formatter, self.error)?;
        wanted(formatter, self.scope, self.step_up, self.resource_metadata)
    }
}

impl BearerError {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidToken => "invalid_token",
            Self::InsufficientScope => "insufficient_scope",
            Self::InsufficientUserAuthentication => "insufficient_user_authentication",
        }
    }

    /// The status that goes with the code.
    pub fn status(self) -> http::StatusCode {
        match self {
            Self::InvalidRequest => http::StatusCode::BAD_REQUEST,
            Self::InvalidToken | Self::InsufficientUserAuthentication => {
                http::StatusCode::UNAUTHORIZED
            }
            Self::InsufficientScope => http::StatusCode::FORBIDDEN,
        }
    }
}

impl fmt::Display for BearerChallenge<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Bearer realm=\"{}\"", Quoted(self.realm))?;
        error(
            formatter,
            self.error.map(|(code, text)| (code.as_str(), text)),
        )?;
        wanted(formatter, self.scope, self.step_up, self.resource_metadata)
    }
}

fn error(formatter: &mut fmt::Formatter<'_>, error: Option<(&str, &str)>) -> fmt::Result {
    let Some((code, description)) = error else {
        return Ok(());
    };
    write!(
        formatter,
        ", error=\"{}\", error_description=\"{}\"",
        Quoted(code),
        Quoted(description)
    )
}

/// What would do, in either scheme.
fn wanted(
    formatter: &mut fmt::Formatter<'_>,
    scope: Option<&Scope>,
    step_up: Option<StepUp<'_>>,
    resource_metadata: Option<&str>,
) -> fmt::Result {
    if let Some(scope) = scope {
        write!(formatter, ", scope=\"{scope}\"")?;
    }
    let step_up = step_up.unwrap_or_default();
    if let Some(acr_values) = step_up.acr_values {
        write!(formatter, ", acr_values=\"{}\"", Quoted(acr_values))?;
    }
    if let Some(max_age) = step_up.max_age_secs {
        write!(formatter, ", max_age=\"{max_age}\"")?;
    }
    if let Some(url) = resource_metadata {
        write!(formatter, ", resource_metadata=\"{}\"", Quoted(url))?;
    }
    Ok(())
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
    fn a_challenge_for_a_proof_says_with_which_algorithms() {
        let scope = Scope::parse("read").unwrap();
        let challenge = DpopChallenge {
            realm: "r",
            error: Some(("use_dpop_nonce", "repeat it")),
            scope: Some(&scope),
            resource_metadata: Some("https://a/m"),
            ..DpopChallenge::default()
        };
        assert_eq!(
            challenge.to_string(),
            r#"DPoP realm="r", algs="ES256 ES384 EdDSA RS256 PS256", error="use_dpop_nonce", error_description="repeat it", scope="read", resource_metadata="https://a/m""#
        );
    }

    #[test]
    fn a_challenge_cannot_be_broken_out_of() {
        let challenge = BearerChallenge {
            realm: "a\"b\r\nX: y",
            error: Some((BearerError::InvalidToken, "expired")),
            scope: None,
            step_up: None,
            resource_metadata: None,
        };
        assert_eq!(
            challenge.to_string(),
            r#"Bearer realm="a b  X: y", error="invalid_token", error_description="expired""#
        );
    }
}
