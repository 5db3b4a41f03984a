//! A client assertion that has been used (RFC 7523 section 3): its `jti` is good once.

use serde::{Deserialize, Serialize};
use service_kit::{UnixTime, digest};

use super::Record;

/// Kept until the assertion would be refused for its age.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AssertionUse {
    pub(crate) exp: UnixTime,
}

impl AssertionUse {
    /// The id of the record. Hashed, because a `jti` may hold anything.
    pub(crate) fn id(client: &str, jti: &str) -> String {
        digest::sha256_base64url(format!("{}:{client}{jti}", client.len()).as_bytes())
    }
}

impl Record for AssertionUse {
    const AREA: &'static str = "ca";
}
