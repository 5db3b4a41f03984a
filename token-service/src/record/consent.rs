//! What a person has approved for a client, remembered so that they are not asked again.

use oauth::Scope;
use serde::{Deserialize, Serialize};
use service_kit::UnixTime;

use super::{Record, id_of};

/// Approved scope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Consent {
    pub(crate) scope: Scope,
    pub(crate) at: UnixTime,
}

impl Consent {
    /// The id of the record.
    pub(crate) fn id(sub: &str, client_id: &str) -> String {
        id_of(sub, client_id)
    }

    /// The same of what was approved for one redirect URI of the client alone.
    pub(crate) fn id_at(sub: &str, client_id: &str, redirect_uri: &str) -> String {
        id_of(sub, &id_of(client_id, redirect_uri))
    }
}

impl Record for Consent {
    const AREA: &'static str = "consent";
}
