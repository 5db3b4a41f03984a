//! Endpoints that are found by name.

use schemars::JsonSchema;
use serde::Deserialize;

/// The names of endpoints (or of the URL) are resolved again and again, and each address of them is an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DnsConfig {
    /// Between two times, give or take a tenth.
    pub refresh_secs: u64,
}

impl Default for DnsConfig {
    fn default() -> Self {
        Self { refresh_secs: 30 }
    }
}
