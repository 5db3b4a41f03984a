//! A logout request that an application's page has posted, under the keyed hash of its name: it has an
//! ID token in it, which belongs into no URL.

use serde::{Deserialize, Serialize};
use service_kit::UnixTime;

use super::Record;

/// Taken by the browser that brings its name, once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LogoutRequest {
    /// As a form.
    pub(crate) form: String,
    pub(crate) exp: UnixTime,
}

impl Record for LogoutRequest {
    const AREA: &'static str = "logout";
}
