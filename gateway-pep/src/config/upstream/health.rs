//! When an endpoint of an upstream gets no requests: what they have come to, and what it answers when it is asked.

use schemars::JsonSchema;
use serde::Deserialize;

/// An endpoint whose requests fail one after the other is ejected: for a time, it gets none. Where there is only
/// one, it is not.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OutlierDetectionConfig {
    /// So many failures in a row: connections refused or broken off, timeouts, and `statuses`. 0: never.
    pub consecutive_failures: u32,
    /// Answers that count as failures, from 500 to 599: `[502, 503, 504]`. Default: none.
    pub statuses: Vec<u16>,
    /// The first time it is ejected for so long, the second time for twice as long, and so on.
    pub ejection_secs: u64,
    /// But no longer. One that has done well for so long begins anew.
    pub max_ejection_secs: u64,
    /// Of all endpoints, so many are ejected at most; one, in any case.
    pub max_ejected_percent: u8,
}

/// Each endpoint is asked now and then how it is, by one `GET` of this process.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HealthCheckConfig {
    /// What is asked for: `/healthz`. Without a token.
    pub path: String,
    /// The answers of one that is well. Default: 200 to 299.
    #[serde(default)]
    pub statuses: Vec<u16>,
    /// Between two checks of an endpoint, give or take a tenth.
    #[serde(default = "interval_ms")]
    pub interval_ms: u64,
    /// One that has not answered within this is not well.
    #[serde(default = "timeout_ms")]
    pub timeout_ms: u64,
    /// So many bad answers in a row, and it gets no requests any more.
    #[serde(default = "unhealthy_threshold")]
    pub unhealthy_threshold: u32,
    /// So many good answers in a row, and it gets requests again.
    #[serde(default = "healthy_threshold")]
    pub healthy_threshold: u32,
}

impl Default for OutlierDetectionConfig {
    fn default() -> Self {
        Self {
            consecutive_failures: 5,
            statuses: Vec::new(),
            ejection_secs: 10,
            max_ejection_secs: 300,
            max_ejected_percent: 50,
        }
    }
}

fn interval_ms() -> u64 {
    5_000
}

fn timeout_ms() -> u64 {
    1_000
}

fn unhealthy_threshold() -> u32 {
    3
}

fn healthy_threshold() -> u32 {
    2
}
