//! `gateway.rates:` limits that decisions name.

use schemars::JsonSchema;
use serde::Deserialize;

/// One of `gateway.rates:` how often somebody may do what a decision puts under this limit (obligation `rate`).
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RateConfig {
    /// So many times,
    pub limit: u32,
    /// in so many seconds, spread evenly.
    pub window_secs: u64,
    /// So many at once. Default: `limit`.
    #[serde(default)]
    pub burst: Option<u32>,
    /// Whose times are counted.
    #[serde(default)]
    pub per: Per,
    /// Counted in the store that gateways share; without it, by each gateway for itself. Where the store cannot be
    /// asked, requests that it would count are refused (503).
    #[serde(default = "yes")]
    pub shared: bool,
}

/// Whose times are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Per {
    /// Each subject's, with whatever client.
    #[default]
    Subject,
    /// Each client's, for whatever subject.
    Client,
    /// Each subject's with each client.
    SubjectAndClient,
}

fn yes() -> bool {
    true
}
