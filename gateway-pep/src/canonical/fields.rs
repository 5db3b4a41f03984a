//! The header fields of an HTTP/2 request, as HTTP/1.1 has them: an upstream gets nothing that it could
//! read in another way than the gateway does.
//!
//! What RFC 9113 sections 8.2 and 8.3 forbid by name (fields of a connection, upper case, pseudo-header
//! fields where they may not be) the library below refuses before there is a request.

use http::header::{self, HeaderMap, HeaderValue};

use crate::canonical::Ambiguity;

pub(super) fn as_of_http_1(headers: &mut HeaderMap, max: usize) -> Result<(), Ambiguity> {
    if headers.len() > max {
        return Err(Ambiguity::TooManyFields);
    }
    // RFC 9113 section 8.2.1. The parser of HTTP/1.1 takes such space away.
    let is_space = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    let is_padded = |value: &HeaderValue| {
        is_space(value.as_bytes().first()) || is_space(value.as_bytes().last())
    };
    if headers.values().any(is_padded) {
        return Err(Ambiguity::FieldValue);
    }
    join_cookies(headers)
}

/// RFC 9113 section 8.2.3: crumbs become one field again.
fn join_cookies(headers: &mut HeaderMap) -> Result<(), Ambiguity> {
    let mut crumbs = headers.get_all(header::COOKIE).iter();
    let (Some(first), Some(second)) = (crumbs.next(), crumbs.next()) else {
        return Ok(());
    };
    let mut whole = first.as_bytes().to_vec();
    for crumb in std::iter::once(second).chain(crumbs) {
        whole.extend_from_slice(b"; ");
        whole.extend_from_slice(crumb.as_bytes());
    }
    let whole = HeaderValue::from_bytes(&whole).map_err(|_| Ambiguity::FieldValue)?;
    headers.insert(header::COOKIE, whole);
    Ok(())
}
