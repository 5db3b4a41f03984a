//! Which header fields cross the gateway: the registry of hop-by-hop and of reserved names.
//!
//! Reserved names carry identity or say how a request reached us. Only the gateway may set them
//! towards an upstream, so whatever a client sent under such a name is removed, on every route.
//! Names are compared with `_` read as `-`: many upstreams cannot tell the two apart.

mod marks;
mod trailers;

use std::borrow::Cow;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

pub(crate) use marks::Marks;
pub(crate) use trailers::{TRAILERS, is_no_trailer};

/// Set by the gateway.
pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
pub(crate) const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(crate) const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
pub(crate) const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// Nonces of proofs are the gateway's to say: no proof gets further.
pub(crate) const DPOP_NONCE: HeaderName = HeaderName::from_static(oauth::DPOP_NONCE);
/// draft-ietf-httpapi-ratelimit-headers.
pub(crate) const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
pub(crate) const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
pub(crate) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
pub(crate) const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Names that a client cannot send through, and prefixes (ending in `-`) of such names.
#[derive(Debug, Clone)]
pub(crate) struct Reserved {
    names: Vec<Box<str>>,
    prefixes: Vec<Box<str>>,
}

/// By which another method, path or handling is meant than what the request line says.
const OVERRIDES: &[&str] = &[
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-middleware-subrequest",
    "x-original-url",
    "x-rewrite-url",
];

const NAMES: &[&str] = &[
    "baggage",
    "client-ip",
    // A credential for this gateway, not for whoever is behind it.
    "dpop",
    "forwarded",
    "http2-settings",
    "proxy",
    "remote-user",
    "true-client-ip",
    "via",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-remote-user",
    "x-request-id",
    "x-role",
    "x-roles",
    "x-subject",
    "x-user",
    "x-username",
];

const PREFIXES: &[&str] = &[
    "cf-",
    "client-cert",
    "proxy-",
    "remote-",
    "ssl-client-",
    "x-amzn-mtls-",
    "x-amzn-oidc-",
    "x-arr-clientcert",
    "x-auth-",
    "x-authenticated-",
    "x-client-cert",
    "x-envoy-",
    "x-forwarded-",
    "x-goog-",
    "x-internal-",
    "x-original-",
    "x-pep-",
    "x-real-",
    "x-remote-",
    "x-ssl-",
    "x-tls-client-",
    "x-user-",
    "x-userinfo",
];

/// RFC 9110 section 7.6.1, and older habits. In the order of [`Marks`].
static HOP_BY_HOP: [HeaderName; 9] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

impl Reserved {
    /// The built-in registry, with the names that the configuration adds.
    pub(crate) fn new(more: &[String]) -> Self {
        let (mut names, mut prefixes): (Vec<_>, Vec<_>) = (
            [NAMES, OVERRIDES]
                .concat()
                .into_iter()
                .map(Box::from)
                .collect(),
            PREFIXES.iter().copied().map(Box::from).collect(),
        );
        for name in more {
            let name = name.to_ascii_lowercase().replace('_', "-");
            if name.ends_with('-') {
                prefixes.push(name.into());
            } else {
                names.push(name.into());
            }
        }
        names.sort_unstable();
        Self { names, prefixes }
    }

    /// Whether a (lower-case) name means something else already, so that no credential can be told by it.
    pub(crate) fn is_taken(&self, name: &HeaderName) -> bool {
        HOP_BY_HOP.contains(name)
            || is_well_known(name)
            || is_credential_or_framing(name.as_str())
            || self.covers(name.as_str())
    }

    /// Whether a client may not send a field of this (lower-case) name through.
    pub(crate) fn covers(&self, name: &str) -> bool {
        match folded(name) {
            Cow::Borrowed(name) => self.lists(name),
            Cow::Owned(name) => self.lists(&name) || is_credential_or_framing(&name),
        }
    }

    fn lists(&self, name: &str) -> bool {
        self.prefixes
            .iter()
            .any(|prefix| name.starts_with(&**prefix))
            || self
                .names
                .binary_search_by(|known| (**known).cmp(name))
                .is_ok()
    }

    /// Removes what the client may not send through and what is for this hop by definition. What `Connection`
    /// nominates has gone before anything was decided. Whether the client takes what comes after a body.
    pub(crate) fn scrub(&self, headers: &mut HeaderMap) -> bool {
        let takes_trailers = strip_own_hop(headers, Marks::of(headers));
        // Nearly every request has nothing to remove; the list allocates only where one has.
        let covered: Vec<HeaderName> = headers
            .keys()
            .filter(|name| !is_well_known(name) && self.covers(name.as_str()))
            .cloned()
            .collect();
        for name in covered {
            headers.remove(name);
        }
        takes_trailers
    }
}

/// Sets fields, and removes whatever came under their names, in any spelling.
pub(crate) fn set_all(headers: &mut HeaderMap, fields: &[(HeaderName, http::HeaderValue)]) {
    for (name, value) in fields {
        remove_all(headers, name);
        headers.insert(name.clone(), value.clone());
    }
}

/// Removes whatever came under a name, in any spelling.
pub(crate) fn remove_all(headers: &mut HeaderMap, name: &HeaderName) {
    let own = folded(name.as_str());
    let same = headers.keys().filter(|it| folded(it.as_str()) == own);
    let same: Vec<HeaderName> = same.cloned().collect();
    for other in same {
        headers.remove(other);
    }
}

/// Whether a field of this (lower-case) name means another method, path or handling than what the request line
/// says.
pub(crate) fn overrides(name: &str) -> bool {
    OVERRIDES.contains(&&*folded(name))
}

/// Whether two (lower-case) names are one to upstreams that read `_` as `-`.
pub(crate) fn is_same_name(one: &str, other: &str) -> bool {
    let fold = |byte| if byte == b'_' { b'-' } else { byte };
    one.len() == other.len() && one.bytes().map(fold).eq(other.bytes().map(fold))
}

/// Whether a field says something to the gateway alone.
pub(crate) fn is_for_one_hop(name: &HeaderName) -> bool {
    HOP_BY_HOP.contains(name) || *name == header::EXPECT
}

/// A name with `_` as `-`: some upstreams read it so.
fn folded(name: &str) -> Cow<'_, str> {
    if name.as_bytes().contains(&b'_') {
        name.replace('_', "-").into()
    } else {
        name.into()
    }
}

/// The most frequent names, none of them reserved: a cheap way out.
fn is_well_known(name: &HeaderName) -> bool {
    matches!(
        *name,
        header::HOST
            | header::ACCEPT
            | header::ACCEPT_ENCODING
            | header::ACCEPT_LANGUAGE
            | header::AUTHORIZATION
            | header::CACHE_CONTROL
            | header::CONTENT_LENGTH
            | header::CONTENT_TYPE
            | header::COOKIE
            | header::IF_NONE_MATCH
            | header::ORIGIN
            | header::REFERER
            | header::USER_AGENT
    )
}

/// Spelt with an underscore these would be read as the real ones by some upstreams.
pub(crate) fn is_credential_or_framing(name: &str) -> bool {
    matches!(
        name,
        "authorization"
            | "content-length"
            | "content-type"
            | "host"
            | "transfer-encoding"
            | "traceparent"
            | "tracestate"
    )
}

/// Removes the fields that `Connection` nominates, and those that are for one hop by definition. `marks`: of these
/// fields.
pub(crate) fn strip_hop_by_hop(headers: &mut HeaderMap, marks: Marks) {
    if marks.has(Marks::CONNECTION) {
        strip_nominated(headers);
    }
    strip_own_hop(headers, marks);
}

/// Removes the fields that `Connection` nominates: they are for this hop, which has no use for them.
pub(crate) fn strip_nominated(headers: &mut HeaderMap) {
    let mut options = headers.get_all(header::CONNECTION).iter();
    let nominates = match (options.next(), options.next()) {
        (None, _) => false,
        (Some(only), None) => only.as_bytes() != b"keep-alive",
        (Some(_), Some(_)) => true,
    };
    if nominates {
        let nominated: Vec<HeaderName> = headers
            .get_all(header::CONNECTION)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .filter_map(|token| HeaderName::from_bytes(token.trim().as_bytes()).ok())
            .filter(|name| !matches!(name.as_str(), "close" | "keep-alive" | "upgrade"))
            // A client cannot take away what frames or addresses the message.
            .filter(|name| *name != header::HOST && *name != header::CONTENT_LENGTH)
            .collect();
        for name in nominated {
            headers.remove(name);
        }
    }
}

/// Whether `TE: trailers` was among it.
fn strip_own_hop(headers: &mut HeaderMap, marks: Marks) -> bool {
    let takes_trailers = marks.has(Marks::TE) && has_token(headers, &header::TE, TRAILERS);
    for name in marks.hop_by_hop() {
        headers.remove(name);
    }
    takes_trailers
}

/// What a field says that is there once. None: it is not there, or more often.
pub(crate) fn once<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

/// Whether a comma-separated field has this token, in any case.
pub(crate) fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|item| item.trim().eq_ignore_ascii_case(token))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn identity_is_reserved_in_every_spelling() {
        let reserved = Reserved::new(&["X-Tenant".into(), "x_acme_".into()]);
        for name in [
            "x-auth-subject",
            "x_auth_subject",
            "x-forwarded-prefix",
            "x_forwarded-for",
            "x-tenant",
            "x_tenant",
            "x-acme-role",
            "authorization_"
                .trim_end_matches('_')
                .replace('-', "_")
                .as_str(),
            "content_length",
            "forwarded",
            "remote-user",
            "x-original-url",
            "x-http-method-override",
            "x-forwarded-client-cert",
            "ssl_client_s_dn",
            "x-ssl-client-cn",
            "x-amzn-mtls-clientcert-leaf",
            "x-arr-clientcert",
        ] {
            // `authorization` itself is dealt with by the one who sets it.
            assert_eq!(reserved.covers(name), name != "authorization", "{name}");
        }
        for name in ["x-custom", "accept", "x-authors", "cookie"] {
            assert!(!reserved.covers(name), "{name}");
        }
    }

    #[test]
    fn connection_nominates_fields_but_never_framing() {
        let mut headers = HeaderMap::new();
        headers.insert(
            header::CONNECTION,
            HeaderValue::from_static("close, X-Hop, host"),
        );
        headers.insert("x-hop", HeaderValue::from_static("1"));
        headers.insert(header::HOST, HeaderValue::from_static("a"));
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
        headers.insert("x-stay", HeaderValue::from_static("1"));
        strip_nominated(&mut headers);
        Reserved::new(&[]).scrub(&mut headers);
        let names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["host", "x-stay"]);
    }
}
