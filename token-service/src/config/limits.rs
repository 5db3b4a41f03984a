//! `token_service.limits`: how often may be asked for what anybody may ask for.

use schemars::JsonSchema;
use serde::Deserialize;

/// Requests from one address (a proxy's, where there is one) in a window; but for pages, of one public
/// client: whoever has a credential is not counted. More are answered 429.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsConfig {
    /// The window, in seconds.
    pub window_secs: u64,
    /// Devices that ask for codes (RFC 8628).
    pub device_authorizations: u64,
    /// Authorization requests that are pushed (RFC 9126).
    pub pushed_requests: u64,
    /// DPoP proofs (RFC 9449) where tokens are asked for or revoked.
    pub proofs: u64,
    /// Login and consent pages that browsers are shown, and logins at identity providers that they begin,
    /// whatever the client: what is asked is kept until the person has answered.
    pub pages: u64,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            window_secs: 60,
            device_authorizations: 300,
            pushed_requests: 1000,
            proofs: 3000,
            pages: 1000,
        }
    }
}
