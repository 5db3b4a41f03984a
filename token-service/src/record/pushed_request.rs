//! An authorization request that its client has pushed (RFC 9126), under the keyed hash of its name.

use serde::{Deserialize, Serialize};
use service_kit::UnixTime;

use super::Record;

/// Taken by the browser that brings its name, once. What was sent is kept and not what was found in
/// it: it is checked again when it is used, against what the client may do then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PushedRequest {
    pub(crate) client_id: String,
    /// As a form, without what authenticated the client.
    pub(crate) form: String,
    pub(crate) exp: UnixTime,
}

impl Record for PushedRequest {
    const AREA: &'static str = "par";
}
