//! `gateway.access_log_lines:` what a line of the access log looks like, and what of a request it may say.

use schemars::JsonSchema;
use serde::Deserialize;

/// Lines of the access log.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AccessLogLinesConfig {
    pub format: LineFormat,
    /// Query parameters that are logged with their values; of others the name alone is, with `***`. Absent: no query
    /// is logged. Names of what holds credentials are refused.
    pub query: Option<Vec<String>>,
    /// Request headers that are logged, beside `User-Agent`; of `Referer` without its query. Names of what holds
    /// credentials are refused. For `json`: in `combined`, the fields are fixed.
    pub headers: Vec<String>,
    /// Path parameters, by their names in templates, whose place in the path says `***`.
    pub masked_path_parameters: Vec<String>,
    /// How much of a client's address is logged.
    pub client_address: LoggedAddress,
}

/// What a line looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LineFormat {
    /// An object a line.
    #[default]
    Json,
    /// Apache's combined log format, which nginx writes, too.
    Combined,
}

/// How much of a client's address is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LoggedAddress {
    #[default]
    Whole,
    /// The first 24 bits of an IPv4 address, 48 of an IPv6 one; the rest is 0.
    Network,
    Nothing,
}
