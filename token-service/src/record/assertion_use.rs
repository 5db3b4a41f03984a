//! A client assertion that has been used (RFC 7523 section 3): its `jti` is good once.

use serde::{Deserialize, Serialize};
use service_kit::UnixTime;

use super::{Record, id_of};

/// Kept until the assertion would be refused for its age.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AssertionUse {
    pub(crate) exp: UnixTime,
}

impl AssertionUse {
    /// The id of the record.
    pub(crate) fn id(client: &str, jti: &str) -> String {
        id_of(client, jti)
    }
}

impl Record for AssertionUse {
    const AREA: &'static str = "ca";
}
