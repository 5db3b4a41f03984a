//! The document of a client whose id is its URL, as it was fetched last, under the hash of the id.

use serde::{Deserialize, Serialize};
use service_kit::{UnixTime, digest};

use super::Record;
use crate::client_metadata::ClientMetadata;

/// What a document said, or that there was none to believe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ClientDocument {
    /// None: there is no such client.
    pub(crate) metadata: Option<ClientMetadata>,
    /// It is not asked for again before.
    pub(crate) fresh_until: UnixTime,
    /// Where it cannot be fetched again, it counts until then.
    pub(crate) exp: UnixTime,
}

impl ClientDocument {
    /// The id of the record.
    pub(crate) fn id(client_id: &str) -> String {
        digest::sha256_base64url(client_id.as_bytes())
    }
}

impl Record for ClientDocument {
    const AREA: &'static str = "cd";
}
