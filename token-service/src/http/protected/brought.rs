//! The access token of a request: in the `Authorization` header, or in the form of a POST (RFC 6750 sections
//! 2.1 and 2.2). Never in a query, which would be in logs.

use http::{HeaderMap, header};
use oauth::BearerError;

use super::challenge::Challenge;
use crate::params::Params;

/// What a request brings.
pub(super) struct Brought<'a> {
    pub(super) token: &'a str,
    /// By the scheme `DPoP`: a proof belongs to it.
    pub(super) is_bound: bool,
}

impl<'a> Brought<'a> {
    pub(super) fn read(
        headers: &'a HeaderMap,
        form: Option<&'a Params>,
    ) -> Result<Self, Challenge> {
        let mut values = headers.get_all(header::AUTHORIZATION).iter();
        let posted = form.and_then(|form| form.get("access_token"));
        let malformed =
            || Challenge::Error(BearerError::InvalidRequest, "one access token is expected");
        let value = match (values.next(), posted) {
            (None, None) => return Err(Challenge::NoToken),
            (None, Some(token)) => {
                return Ok(Self {
                    token,
                    is_bound: false,
                });
            }
            (Some(value), None) => value,
            // RFC 6750 section 2: one way in each request.
            (Some(_), Some(_)) => return Err(malformed()),
        };
        if values.next().is_some() {
            return Err(malformed());
        }
        let (scheme, token) = value
            .to_str()
            .ok()
            .and_then(|value| value.split_once(' '))
            .ok_or_else(malformed)?;
        let is_bound = scheme.eq_ignore_ascii_case("dpop");
        if !is_bound && !scheme.eq_ignore_ascii_case("bearer") {
            return Err(Challenge::NoToken);
        }
        Ok(Self { token, is_bound })
    }
}
