//! `diagnostics:` of the gateway and of a route: what answers say about how they came to be.

use schemars::JsonSchema;
use serde::Deserialize;

/// Headers of answers for whoever looks into them. Whoever gets an answer gets these: leave them out where clients are
/// not to know how the gateway is built.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DiagnosticsConfig {
    /// `Server-Timing`: how long it took to swap the token, to decide, and to get the upstream's answer.
    pub server_timing: bool,
    /// `Cache-Status` (RFC 9211): whether token and decision were remembered.
    pub cache_status: bool,
    /// `Proxy-Status` (RFC 9209) of the gateway's own answers: what went wrong, or was refused, in registered words.
    pub proxy_status: bool,
}
