//! The one access token or API key of a request, and how it came. Unparsed: whether it is one at
//! all, whoever knows it has to say.

use http::header::{self, HeaderMap, HeaderName};

use crate::pipeline::presented::Scheme;
use crate::pipeline::refusal::Refusal;

/// What a request brings to be known by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Credential<'r> {
    pub(crate) scheme: Scheme,
    pub(crate) token: &'r [u8],
}

impl<'r> Credential<'r> {
    /// `takes_proofs`: the scheme `DPoP` is known here. `api_key`: the header of API keys, where there is one.
    pub(crate) fn of(
        headers: &'r HeaderMap,
        takes_proofs: bool,
        api_key: Option<&HeaderName>,
    ) -> Result<Self, Refusal> {
        match api_key.filter(|name| headers.contains_key(*name)) {
            Some(name) => Self::of_key(headers, name),
            None => Self::of_authorization(headers, takes_proofs),
        }
    }

    fn of_key(headers: &'r HeaderMap, name: &HeaderName) -> Result<Self, Refusal> {
        let mut fields = headers.get_all(name).iter();
        match (fields.next(), fields.next()) {
            (Some(key), None) if !headers.contains_key(header::AUTHORIZATION) => Ok(Self {
                scheme: Scheme::ApiKey,
                token: well_formed(key.as_bytes())?,
            }),
            _ => Err(Refusal::TwoCredentials),
        }
    }

    fn of_authorization(headers: &'r HeaderMap, takes_proofs: bool) -> Result<Self, Refusal> {
        let mut fields = headers.get_all(header::AUTHORIZATION).iter();
        let Some(field) = fields.next() else {
            return Err(Refusal::NoCredentials);
        };
        if fields.next().is_some() {
            return Err(Refusal::TwoCredentials);
        }
        Self::read(field.as_bytes(), takes_proofs)
    }

    /// The value of `Authorization`.
    pub(super) fn read(field: &'r [u8], takes_proofs: bool) -> Result<Self, Refusal> {
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
        let token = well_formed(token.trim_ascii())?;
        Ok(Self { scheme, token })
    }
}

/// `b64token`, or `token68`: the same characters.
fn well_formed(token: &[u8]) -> Result<&[u8], Refusal> {
    let fits = |byte: u8| {
        let is_sign = matches!(byte, b'-'..=b'/' | b'_' | b'~' | b'+' | b'=');
        byte.is_ascii_alphanumeric() | is_sign
    };
    // To the end in any case: several bytes are looked at together then.
    let others = token
        .iter()
        .fold(0, |others, byte| others | u8::from(!fits(*byte)));
    if token.is_empty() || others != 0 {
        return Err(Refusal::MalformedToken);
    }
    Ok(token)
}

/// A second credential beside the header, in whatever spelling (RFC 6750 section 2).
pub(crate) fn has_token_in_query(query: Option<&str>) -> bool {
    query.is_some_and(|query| {
        query.split('&').any(|pair| {
            let name = pair.split('=').next().unwrap_or_default();
            percent_encoding::percent_decode_str(name).eq("access_token".bytes())
        })
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[track_caller]
    fn check(fields: &[&'static str], expected: Result<(Scheme, &str), &str>) {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(header::AUTHORIZATION, HeaderValue::from_static(field));
        }
        let actual = Credential::of(&headers, true, None).map(|credential| {
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
        let refused = Credential::of(&headers, false, None).unwrap_err();
        assert_eq!(refused.reason(), "no_credentials");
    }

    #[test]
    fn a_key_comes_alone_in_its_header_where_there_is_one() {
        let name = HeaderName::from_static("x-api-key");
        let of = |fields: &[(&'static str, &'static str)], name| {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                headers.append(*name, HeaderValue::from_static(value));
            }
            let credential = Credential::of(&headers, true, name);
            let credential = credential.map(|it| (it.scheme, it.token.to_vec()));
            credential.map_err(|refusal| refusal.reason())
        };
        let key = ("x-api-key", "abc");
        let bearer = ("authorization", "Bearer def");
        for (fields, expected) in [
            (&[key][..], Ok((Scheme::ApiKey, b"abc".to_vec()))),
            (&[bearer], Ok((Scheme::Bearer, b"def".to_vec()))),
            (&[key, bearer], Err("two_credentials")),
            (&[key, key], Err("two_credentials")),
            (&[key, ("authorization", "")], Err("two_credentials")),
            (&[("x-api-key", "")], Err("malformed_token")),
            (&[("x-api-key", "a b")], Err("malformed_token")),
            (&[("x-api-key", "Bearer abc")], Err("malformed_token")),
            (&[], Err("no_credentials")),
        ] {
            assert_eq!(of(fields, Some(&name)), expected, "{fields:?}");
        }
        assert_eq!(of(&[key], None), Err("no_credentials"));
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
