//! A browser that was sent to an identity provider to log out there, and where it goes afterwards, under
//! the keyed hash of the `state` that it brings.

use serde::{Deserialize, Serialize};
use service_kit::UnixTime;

use super::Record;

/// Taken once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UpstreamLogout {
    /// One of those that the client has registered.
    pub(crate) target: String,
    /// The client's own.
    pub(crate) state: Option<String>,
    pub(crate) exp: UnixTime,
}

impl Record for UpstreamLogout {
    const AREA: &'static str = "uo";
}
