//! A browser that was sent to an identity provider and has not come back, under the keyed hash of the
//! `state` that it brings.

use serde::{Deserialize, Serialize};
use service_kit::UnixTime;

use super::Record;

/// Taken once, by the browser that was sent. What proves that it comes from there (nonce and PKCE
/// verifier) is made from the `state` again and not kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FederatedLogin {
    pub(crate) provider: String,
    pub(crate) issuer: String,
    /// Handle of the browser's cookie.
    pub(crate) browser: String,
    /// Handle of the interaction that the login is for.
    pub(crate) interaction: String,
    /// Of the device that brought them here, sealed.
    pub(crate) user_code: Option<String>,
    /// The provider must have seen them since then.
    pub(crate) seen_since: Option<UnixTime>,
    pub(crate) exp: UnixTime,
}

impl Record for FederatedLogin {
    const AREA: &'static str = "fl";
}
