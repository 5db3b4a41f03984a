//! What a person has approved for a client, remembered so that they are not asked again.

use oauth::Scope;
use serde::{Deserialize, Serialize};
use service_kit::{UnixTime, digest};

use super::Record;

/// Approved scope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Consent {
    pub(crate) scope: Scope,
    pub(crate) at: UnixTime,
}

impl Consent {
    /// The id of the record. Hashed, because a `sub` may be long and hold anything.
    pub(crate) fn id(sub: &str, client_id: &str) -> String {
        digest::sha256_base64url(format!("{}:{sub}{client_id}", sub.len()).as_bytes())
    }
}

impl Record for Consent {
    const AREA: &'static str = "consent";
}
