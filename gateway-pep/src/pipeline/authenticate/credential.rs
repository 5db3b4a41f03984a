//! The one access token of a request, and the scheme that it came by. Unparsed: whether it is one at
//! all, whoever knows it has to say.

use std::fmt;

use http::HeaderValue;
use http::header::{self, HeaderMap};

use crate::pipeline::canonical::CanonicalRequest;
use crate::pipeline::presented::Scheme;
use crate::pipeline::respond::Refusal;

/// What a request brings to be known by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Credential<'r> {
    pub(super) scheme: Scheme,
    pub(super) token: &'r [u8],
}

impl<'r> Credential<'r> {
    /// `takes_proofs`: the scheme `DPoP` is known here.
    pub(super) fn of(headers: &'r HeaderMap, takes_proofs: bool) -> Result<Self, Refusal> {
        let mut fields = headers.get_all(header::AUTHORIZATION).iter();
        let Some(field) = fields.next() else {
            return Err(Refusal::NoCredentials);
        };
        if fields.next().is_some() {
            return Err(Refusal::TwoCredentials);
        }
        Self::read(field.as_bytes(), takes_proofs)
    }

    fn read(field: &'r [u8], takes_proofs: bool) -> Result<Self, Refusal> {
        let scheme = field
            .iter()
            .position(|byte| *byte == b' ')
            .unwrap_or(field.len());
        let (scheme, token) = field.split_at(scheme);
        let scheme = if scheme.eq_ignore_ascii_case(b"bearer") {
            Scheme::Bearer
        } else if takes_proofs && scheme.eq_ignore_ascii_case(b"dpop") {
            Scheme::Dpop
        } else {
            return Err(Refusal::NoCredentials);
        };
        let token = token.trim_ascii();
        // `b64token`, or `token68`: the same characters.
        let fits = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(byte);
        if token.is_empty() || !token.iter().all(fits) {
            return Err(Refusal::MalformedToken);
        }
        Ok(Self { scheme, token })
    }
}

/// The credential of a request, as it came.
#[derive(Clone)]
pub(crate) struct Shown(HeaderValue);

impl Shown {
    pub(super) fn of(request: &CanonicalRequest) -> Option<Self> {
        let field = request.headers().get(header::AUTHORIZATION);
        field.cloned().map(Self)
    }

    pub(super) fn token(&self) -> Result<&[u8], Refusal> {
        Credential::read(self.0.as_bytes(), true).map(|credential| credential.token)
    }
}

impl fmt::Debug for Shown {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Shown(…)")
    }
}

/// A second credential beside the header, in whatever spelling (RFC 6750 section 2).
pub(super) fn has_token_in_query(query: Option<&str>) -> bool {
    query.is_some_and(|query| {
        query.split('&').any(|pair| {
            let name = pair.split('=').next().unwrap_or_default();
            percent_encoding::percent_decode_str(name).eq("access_token".bytes())
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(fields: &[&'static str], expected: Result<(Scheme, &str), &str>) {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(header::AUTHORIZATION, HeaderValue::from_static(field));
        }
        let actual = Credential::of(&headers, true).map(|credential| {
            let token = std::str::from_utf8(credential.token).unwrap();
            (credential.scheme, token)
        });
        assert_eq!(
            actual.map_err(|refusal| refusal.reason()),
            expected,
            "{fields:?}"
        );
    }

    #[test]
    fn there_is_one_token_by_a_scheme_that_is_known() {
        check(&["Bearer abc"], Ok((Scheme::Bearer, "abc")));
        check(&["bearer  abc"], Ok((Scheme::Bearer, "abc")));
        check(&["BEARER a.b.c"], Ok((Scheme::Bearer, "a.b.c")));
        check(&["DPoP abc"], Ok((Scheme::Dpop, "abc")));
        check(&["dpop abc"], Ok((Scheme::Dpop, "abc")));
        check(&[], Err("no_credentials"));
        check(&["Basic abc"], Err("no_credentials"));
        check(&["Bearerabc"], Err("no_credentials"));
        check(&["DPoPabc"], Err("no_credentials"));
        check(&["Bearer"], Err("malformed_token"));
        check(&["DPoP "], Err("malformed_token"));
        check(&["Bearer a b"], Err("malformed_token"));
        check(&["Bearer a,b"], Err("malformed_token"));
        check(&["DPoP a, Bearer b"], Err("malformed_token"));
        check(&["Bearer\tabc"], Err("no_credentials"));
        check(&["Bearer abc", "Bearer abc"], Err("two_credentials"));
        check(&["DPoP abc", "Bearer abc"], Err("two_credentials"));
    }

    #[test]
    fn proofs_are_a_scheme_where_they_can_be_looked_at() {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, HeaderValue::from_static("DPoP abc"));
        let refused = Credential::of(&headers, false).unwrap_err();
        assert_eq!(refused.reason(), "no_credentials");
    }

    #[test]
    fn a_token_in_the_query_is_seen_in_every_spelling() {
        for query in [
            "access_token=x",
            "a=1&access_token",
            "access%5Ftoken=x",
            "%61ccess_token=",
        ] {
            assert!(has_token_in_query(Some(query)), "{query}");
        }
        assert!(!has_token_in_query(Some("x=access_token&access_tokens=1")));
    }
}
