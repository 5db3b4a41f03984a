//! What comes after a body: fields that may come there, and none that is read as if it had come before.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::{HOP_BY_HOP, Reserved, folded, is_credential_or_framing, is_well_known};

/// Of `TE`: whoever says it takes what comes after a body.
pub(crate) const TRAILERS: &str = "trailers";

/// What cannot come after a body, beside what is for one hop, reserved or frequent.
static NO_TRAILERS: [HeaderName; 17] = [
    header::AGE,
    header::DATE,
    header::EXPECT,
    header::EXPIRES,
    header::IF_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_RANGE,
    header::IF_UNMODIFIED_SINCE,
    header::LOCATION,
    header::MAX_FORWARDS,
    header::RANGE,
    header::RETRY_AFTER,
    header::SET_COOKIE,
    header::VARY,
    header::WARNING,
    header::WWW_AUTHENTICATE,
    header::STRICT_TRANSPORT_SECURITY,
];

impl Reserved {
    /// Leaves of what comes after a body what may come there (RFC 9110 section 6.5.1): nothing that frames, addresses
    /// or answers a message or says who sends it, nothing that is reserved, and nothing that was `said` by us before it.
    pub(crate) fn scrub_trailers<'n>(
        &self,
        trailers: &mut HeaderMap,
        said: impl Iterator<Item = &'n HeaderName>,
    ) {
        let said: Vec<_> = said.map(|name| folded(name.as_str())).collect();
        let is_said = |name: &HeaderName| said.contains(&folded(name.as_str()));
        let removed: Vec<HeaderName> = trailers
            .keys()
            .filter(|name| !self.may_trail(name) || is_said(name))
            .cloned()
            .collect();
        for name in removed {
            trailers.remove(name);
        }
    }

    fn may_trail(&self, name: &HeaderName) -> bool {
        let is_elsewhere = HOP_BY_HOP.contains(name)
            || is_well_known(name)
            || NO_TRAILERS.contains(name)
            || name.as_str().starts_with("content-")
            || is_credential_or_framing(name.as_str());
        !is_elsewhere && !self.covers(name.as_str())
    }

    /// What `Trailer` announces of that. None: nothing.
    pub(crate) fn announced(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let names = headers.get_all(header::TRAILER).iter();
        let names = names.filter_map(|value| value.to_str().ok());
        let names = names.flat_map(|value| value.split(','));
        let names = names.filter_map(|name| HeaderName::from_bytes(name.trim().as_bytes()).ok());
        let names: Vec<_> = names.filter(|name| self.may_trail(name)).collect();
        if names.is_empty() {
            return None;
        }
        let names: Vec<&str> = names.iter().map(HeaderName::as_str).collect();
        HeaderValue::try_from(names.join(", ")).ok()
    }
}

/// Whether there is a field that frames or addresses a message, and cannot come after it.
pub(crate) fn is_no_trailer(trailers: &HeaderMap) -> bool {
    let forbidden = [
        header::CONTENT_LENGTH,
        header::TRANSFER_ENCODING,
        header::HOST,
        header::AUTHORIZATION,
    ];
    forbidden.iter().any(|name| trailers.contains_key(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_after_a_body_is_neither_reserved_nor_what_belongs_before_it() {
        let reserved = Reserved::new(&["X-Tenant".into()]);
        let mut trailers = HeaderMap::new();
        for name in [
            "grpc-status",
            "x-checksum",
            "x-tenant",
            "x_tenant",
            "x-auth-subject",
            "x-forwarded-for",
            "authorization",
            "content-length",
            "content-encoding",
            "transfer-encoding",
            "te",
            "host",
            "set-cookie",
            "cookie",
            "www-authenticate",
        ] {
            trailers.insert(name, HeaderValue::from_static("1"));
        }
        let said = HeaderName::from_static("x-said");
        trailers.insert("x_said", HeaderValue::from_static("1"));
        reserved.scrub_trailers(&mut trailers, [&said].into_iter());
        let names: Vec<_> = trailers.keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["grpc-status", "x-checksum"]);
        let mut headers = HeaderMap::new();
        let said = HeaderValue::from_static("X-Checksum, Host ,x-tenant, a b");
        headers.append(header::TRAILER, said);
        headers.append(header::TRAILER, HeaderValue::from_static("grpc-status"));
        assert_eq!(
            reserved.announced(&headers).unwrap(),
            "x-checksum, grpc-status"
        );
        assert_eq!(reserved.announced(&HeaderMap::new()), None);
    }
}
