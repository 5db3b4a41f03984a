//! What a request says in a header field or in its query. Read strictly: what is there twice, or could be read in
//! another way by whoever is behind the gateway, is refused.

pub(crate) mod query;

use http::{HeaderMap, HeaderName};

use crate::headers::is_same_name;

/// Why a request does not say what it has to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unread {
    #[error("the request does not say which resource it is about")]
    Missing,
    #[error("what the request is about is said more than once, or can be read in two ways")]
    Ambiguous,
    #[error("the body is not JSON that can be read in one way only")]
    NotJson,
    #[error("the body is too large to be read")]
    TooLarge,
    #[error("the body is not there to be read")]
    NoBody,
    #[error("the request names too many resources")]
    TooMany,
}

/// How several values are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum List {
    /// There is one.
    No,
    /// `query:name*`: the name again for each.
    Repeated,
    /// `query:name,`: commas between them.
    Commas,
}

/// The one value of a field that is there in one spelling: some upstreams read `_` and `-` as the same.
pub(crate) fn header<'h>(
    headers: &'h HeaderMap,
    name: &HeaderName,
) -> Result<Option<&'h str>, Unread> {
    let mut found = None;
    for (other, value) in headers {
        if other == name {
            if found.is_some() {
                return Err(Unread::Ambiguous);
            }
            found = Some(value.to_str().map_err(|_| Unread::Ambiguous)?);
        } else if is_same_name(other.as_str(), name.as_str()) {
            return Err(Unread::Ambiguous);
        }
    }
    Ok(found)
}
