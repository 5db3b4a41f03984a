//! A logout token of an identity provider that has been used: its `jti` is good once.

use serde::{Deserialize, Serialize};
use service_kit::UnixTime;

use super::{Record, id_of};

/// Kept until the token would be refused for its age.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LogoutTokenUse {
    pub(crate) exp: UnixTime,
}

impl LogoutTokenUse {
    /// The id of the record.
    pub(crate) fn id(provider: &str, jti: &str) -> String {
        id_of(provider, jti)
    }
}

impl Record for LogoutTokenUse {
    const AREA: &'static str = "lt";
}
