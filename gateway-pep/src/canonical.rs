//! Step 1: the one view of a request. Whatever could be read in two ways is refused here.
//!
//! Router, decision request, cache key, log line and upstream bytes are all made from the
//! [`CanonicalRequest`]; nothing later looks at the request as it came.

mod ambiguity;
mod authority;
mod encoded;
mod fields;
mod path;

use std::net::IpAddr;

use bytes::Bytes;
use http::header::{self, HeaderMap};
use http::uri::PathAndQuery;
use http::{Method, Version, request};
use hyper::ext::Protocol;

pub(crate) use crate::canonical::ambiguity::Ambiguity;
pub(crate) use crate::canonical::authority::{Authority, UrlScheme};
pub(crate) use crate::canonical::encoded::Encoded;
pub(crate) use crate::canonical::path::{decode_segment, normalize, normalize_keeping};

use crate::headers::{self, Marks};

/// A request that can be read in one way only. Immutable but for its headers, which shaping
/// takes over.
#[derive(Debug)]
pub(crate) struct CanonicalRequest(
    /// It goes through many hands.
    Box<Canonical>,
);

#[derive(Debug)]
struct Canonical {
    method: Method,
    authority: Authority,
    target: PathAndQuery,
    encoded: Encoded,
    arrival: Arrival,
    upgrade: Upgrade,
    headers: HeaderMap,
}

/// How a request has come, by what its connection says of it, or the proxy in front.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival {
    pub(crate) client_ip: IpAddr,
    pub(crate) scheme: UrlScheme,
    /// By what the last connection has come: the client's own, where no proxy is in front.
    pub(crate) hop: UrlScheme,
}

impl Arrival {
    /// Without a proxy in front.
    pub(crate) fn direct(client_ip: IpAddr, scheme: UrlScheme) -> Self {
        Self {
            client_ip,
            scheme,
            hop: scheme,
        }
    }
}

/// Whether the connection should become something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Upgrade {
    /// None that we know: an unknown one is ignored, as RFC 9110 section 7.8 allows.
    No,
    WebSocket,
    /// The same, and another proxy would pass it on.
    WebSocketElsewhere,
}

/// Limits that belong to the request itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) target_bytes: usize,
    pub(crate) body_bytes: u64,
    /// Header fields. The parser of HTTP/1.1 looks at that itself.
    pub(crate) fields: usize,
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
            extensions,
            ..
        } = parts;
        if matches!(method, Method::CONNECT | Method::TRACE) {
            return Err(Ambiguity::Method);
        }
        if version == Version::HTTP_2 {
            fields::as_of_http_1(&mut headers, limits.fields)?;
        }
        let authority = Authority::of(&uri, version, &headers, (arrival.scheme, arrival.hop))?;
        let (target, encoded) = canonical_target(uri.path_and_query(), limits.target_bytes)?;
        let marks = Marks::of(&headers);
        check_framing(&headers, marks, limits.body_bytes)?;
        let upgrade = if extensions.get::<Protocol>().is_some() {
            Upgrade::WebSocket
        } else if marks.has(Marks::UPGRADE) {
            upgrade(&method, version, &headers)?
        } else {
            Upgrade::No
        };
        // SECURITY: here, and not where headers are shaped. What the upstream does not get can be no part of what
        // is decided on. After the framing: nothing that frames a message is taken away before it was looked at.
        if marks.has(Marks::CONNECTION) {
            headers::strip_nominated(&mut headers);
        }
        Ok(Self(Box::new(Canonical {
            method,
            authority,
            target,
            encoded,
            arrival,
            upgrade,
            headers,
        })))
    }

    pub(crate) fn method(&self) -> &Method {
        &self.0.method
    }

    pub(crate) fn authority(&self) -> &Authority {
        &self.0.authority
    }

    /// Normalised, still percent-encoded.
    pub(crate) fn path(&self) -> &str {
        self.0.target.path()
    }

    /// What its path has encoded that some readers would decode. Only where the route takes it, it goes on.
    pub(crate) fn encoded(&self) -> Encoded {
        self.0.encoded
    }

    pub(crate) fn query(&self) -> Option<&str> {
        self.0.target.query()
    }

    /// What goes to the upstream.
    pub(crate) fn target(&self) -> &PathAndQuery {
        &self.0.target
    }

    pub(crate) fn client_ip(&self) -> IpAddr {
        self.0.arrival.client_ip
    }

    /// By what the client has sent it; what it says of that itself must be the same.
    pub(crate) fn scheme(&self) -> UrlScheme {
        self.0.arrival.scheme
    }

    pub(crate) fn upgrade(&self) -> Upgrade {
        self.0.upgrade
    }

    /// Another proxy asks about a request to become a WebSocket.
    pub(crate) fn upgraded_elsewhere(mut self) -> Self {
        self.0.upgrade = Upgrade::WebSocketElsewhere;
        self
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        &self.0.headers
    }

    /// For shaping, which turns the client's headers into the upstream's.
    pub(crate) fn take_headers(&mut self) -> HeaderMap {
        std::mem::take(&mut self.0.headers)
    }
}

/// A wish for a WebSocket by HTTP/2 (RFC 8441), as the `GET` that it is by HTTP/1.1: whatever is decided and logged is the same.
/// Any other `CONNECT` stays one, and is no request that can be read.
pub(crate) fn settle_connect<B>(request: &mut http::Request<B>) {
    let asks_for = |protocol: &Protocol| protocol.as_str() == "websocket";
    if request.method() == Method::CONNECT && request.extensions().get().is_some_and(asks_for) {
        *request.method_mut() = Method::GET;
    }
}

fn canonical_target(
    target: Option<&PathAndQuery>,
    max: usize,
) -> Result<(PathAndQuery, Encoded), Ambiguity> {
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
    let (normalized, encoded) = normalize_keeping(path)?;
    let target = match normalized {
        // Nothing to change: share the bytes.
        None => target.clone(),
        Some(mut normalized) => {
            if let Some(query) = query {
                normalized.push('?');
                normalized.push_str(query);
            }
            PathAndQuery::from_maybe_shared(Bytes::from(normalized))
                .map_err(|_| Ambiguity::PathCharacter)?
        }
    };
    Ok((target, encoded))
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
fn check_framing(headers: &HeaderMap, marks: Marks, max_body: u64) -> Result<(), Ambiguity> {
    let is_framed = marks.has(Marks::TRANSFER_ENCODING) || marks.has(Marks::CONTENT_LENGTH);
    if !is_framed && !marks.has(Marks::EXPECT) {
        return Ok(());
    }
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

/// What a request with `Upgrade` asks for.
fn upgrade(method: &Method, version: Version, headers: &HeaderMap) -> Result<Upgrade, Ambiguity> {
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
