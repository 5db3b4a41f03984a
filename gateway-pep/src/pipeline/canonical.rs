//! Step 1: the one view of a request. Whatever could be read in two ways is refused here.
//!
//! Router, decision request, cache key, log line and upstream bytes are all made from the
//! [`CanonicalRequest`]; nothing later looks at the request as it came.

mod authority;
mod fields;
mod path;

use std::net::IpAddr;

use bytes::Bytes;
use http::header::{self, HeaderMap};
use http::uri::PathAndQuery;
use http::{Method, Version, request};

pub(crate) use authority::{Authority, UrlScheme};
pub(crate) use path::{decode_segment, normalize};

use crate::headers;

/// A request that can be read in one way only. Immutable but for its headers, which shaping
/// takes over.
#[derive(Debug)]
pub(crate) struct CanonicalRequest {
    method: Method,
    authority: Authority,
    target: PathAndQuery,
    arrival: Arrival,
    upgrade: Upgrade,
    headers: HeaderMap,
}

/// How a request has come, by what its connection says of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival {
    pub(crate) client_ip: IpAddr,
    pub(crate) scheme: UrlScheme,
}

/// Whether the connection should become something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Upgrade {
    /// None that we know: an unknown one is ignored, as RFC 9110 section 7.8 allows.
    No,
    WebSocket,
}

/// Limits that belong to the request itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) target_bytes: usize,
    pub(crate) body_bytes: u64,
    /// Header fields. The parser of HTTP/1.1 looks at that itself.
    pub(crate) fields: usize,
}

/// Why a request has no canonical form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Ambiguity {
    #[error("the request target must be a path")]
    TargetForm,
    #[error("the request target is too long")]
    TargetTooLong,
    #[error("the path has an empty segment")]
    EmptySegment,
    #[error("the path has a dot segment")]
    DotSegment,
    #[error("the path has a character that must be percent-encoded, or may not occur")]
    PathCharacter,
    #[error("the path has a malformed percent-encoding")]
    PercentEncoding,
    #[error("the path percent-encodes a character that changes its meaning")]
    EncodedDelimiter,
    #[error("the path is not UTF-8")]
    PathUtf8,
    #[error("the query has a character that must be percent-encoded")]
    QueryCharacter,
    #[error("the request must have exactly one host")]
    Host,
    #[error("the request target and the host disagree")]
    HostMismatch,
    #[error("there are too many header fields")]
    TooManyFields,
    #[error("a header value begins or ends with space")]
    FieldValue,
    #[error("the method is not accepted here")]
    Method,
    #[error("the body has no clear length")]
    Framing,
    #[error("the body is too large")]
    BodyTooLarge,
    #[error("the expectation cannot be met")]
    Expectation,
    #[error("an upgrade request must be a GET without a body")]
    UpgradeWithBody,
    #[error("the request on the wire is malformed")]
    Wire,
    #[error("the proxy does not say once which request it asks about, and whose it is")]
    Asked,
    #[error("the request target or the host is not in its canonical form")]
    NotCanonical,
    #[error("a header says that another method or path is meant")]
    Override,
    #[error("the connection may become a WebSocket, and nothing else")]
    Upgrade,
}

impl CanonicalRequest {
    /// The only way to have one.
    pub(crate) fn new(
        parts: request::Parts,
        arrival: Arrival,
        limits: Limits,
    ) -> Result<Self, Ambiguity> {
        let request::Parts {
            method,
            uri,
            version,
            mut headers,
            ..
        } = parts;
        if matches!(method, Method::CONNECT | Method::TRACE) {
            return Err(Ambiguity::Method);
        }
        if version == Version::HTTP_2 {
            fields::as_of_http_1(&mut headers, limits.fields)?;
        }
        let authority = Authority::of(&uri, version, &headers, arrival.scheme)?;
        let target = canonical_target(uri.path_and_query(), limits.target_bytes)?;
        check_framing(&headers, limits.body_bytes)?;
        let upgrade = upgrade(&method, version, &headers)?;
        // SECURITY: here, and not where headers are shaped. What the upstream does not get can be no part of what
        // is decided on. After the framing: nothing that frames a message is taken away before it was looked at.
        headers::strip_nominated(&mut headers);
        Ok(Self {
            method,
            authority,
            target,
            arrival,
            upgrade,
            headers,
        })
    }

    pub(crate) fn method(&self) -> &Method {
        &self.method
    }

    pub(crate) fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Normalised, still percent-encoded.
    pub(crate) fn path(&self) -> &str {
        self.target.path()
    }

    pub(crate) fn query(&self) -> Option<&str> {
        self.target.query()
    }

    /// What goes to the upstream.
    pub(crate) fn target(&self) -> &PathAndQuery {
        &self.target
    }

    pub(crate) fn client_ip(&self) -> IpAddr {
        self.arrival.client_ip
    }

    /// That of the connection; what a client says of it must be the same.
    pub(crate) fn scheme(&self) -> UrlScheme {
        self.arrival.scheme
    }

    pub(crate) fn upgrade(&self) -> Upgrade {
        self.upgrade
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// For shaping, which turns the client's headers into the upstream's.
    pub(crate) fn take_headers(&mut self) -> HeaderMap {
        std::mem::take(&mut self.headers)
    }
}

fn canonical_target(target: Option<&PathAndQuery>, max: usize) -> Result<PathAndQuery, Ambiguity> {
    let target = target.ok_or(Ambiguity::TargetForm)?;
    let (path, query) = (target.path(), target.query());
    // A query alone is read as one of `/`, and would be forwarded as it is.
    if !target.as_str().starts_with('/') {
        return Err(Ambiguity::TargetForm);
    }
    if path.len() + query.map_or(0, |query| query.len() + 1) > max {
        return Err(Ambiguity::TargetTooLong);
    }
    if let Some(query) = query
        && !query
            .bytes()
            .all(|byte| matches!(byte, 0x21..=0x7e) && byte != b'#')
    {
        return Err(Ambiguity::QueryCharacter);
    }
    match path::normalize(path)? {
        // Nothing to change: share the bytes.
        None => Ok(target.clone()),
        Some(mut normalized) => {
            if let Some(query) = query {
                normalized.push('?');
                normalized.push_str(query);
            }
            PathAndQuery::from_maybe_shared(Bytes::from(normalized))
                .map_err(|_| Ambiguity::PathCharacter)
        }
    }
}

/// Path and query that stand in a text, as a client writes them. A fragment would be dropped by the parser without a word.
pub(crate) fn written_target(text: &[u8]) -> Result<PathAndQuery, Ambiguity> {
    let is_plain = |byte: &u8| matches!(byte, 0x21..=0x7e) && *byte != b'#';
    if text.first() != Some(&b'/') || !text.iter().all(is_plain) {
        return Err(Ambiguity::TargetForm);
    }
    PathAndQuery::from_maybe_shared(Bytes::copy_from_slice(text)).map_err(|_| Ambiguity::TargetForm)
}

/// One length or `chunked`, never both and never two. The parser below us is more lenient, and
/// an upstream might read the rest differently.
fn check_framing(headers: &HeaderMap, max_body: u64) -> Result<(), Ambiguity> {
    let mut encodings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let encoding = encodings.next();
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    let length = lengths.next();
    if encodings.next().is_some()
        || lengths.next().is_some()
        || (encoding.is_some() && length.is_some())
        || encoding.is_some_and(|value| !value.as_bytes().eq_ignore_ascii_case(b"chunked"))
    {
        return Err(Ambiguity::Framing);
    }
    if let Some(length) = length {
        let digits = length.to_str().map_err(|_| Ambiguity::Framing)?;
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Ambiguity::Framing);
        }
        if digits
            .parse::<u64>()
            .map_or(true, |length| length > max_body)
        {
            return Err(Ambiguity::BodyTooLarge);
        }
    }
    let mut expectations = headers.get_all(header::EXPECT).iter();
    if expectations.any(|value| !value.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
        return Err(Ambiguity::Expectation);
    }
    Ok(())
}

fn upgrade(method: &Method, version: Version, headers: &HeaderMap) -> Result<Upgrade, Ambiguity> {
    if !headers.contains_key(header::UPGRADE) {
        return Ok(Upgrade::No);
    }
    let has_body = headers.contains_key(header::TRANSFER_ENCODING)
        || headers
            .get(header::CONTENT_LENGTH)
            .is_some_and(|value| value != "0");
    if has_body {
        return Err(Ambiguity::UpgradeWithBody);
    }
    let asked = headers.get_all(header::UPGRADE).iter().count() == 1
        && headers
            .get(header::UPGRADE)
            .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
        && headers::has_token(headers, &header::CONNECTION, "upgrade");
    if asked && method == Method::GET && version == Version::HTTP_11 {
        Ok(Upgrade::WebSocket)
    } else {
        Ok(Upgrade::No)
    }
}

#[cfg(test)]
mod tests;
