//! Requests that are tried again, at another endpoint.

use schemars::JsonSchema;
use serde::Deserialize;

/// A request that failed at one endpoint is sent to another one, where there is another. One that never left always
/// can be; one that may have left only where its method is safe, or with an `Idempotency-Key`, and only before
/// anything of an answer was passed on. Whoever may no longer make the request is refused in between.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RetriesConfig {
    /// Tries beside the first. 0: none.
    pub attempts: u32,
    /// Answers after which another endpoint is tried, from 500 to 599: `[502, 503, 504]`. Default: none.
    pub statuses: Vec<u16>,
    /// An endpoint that has not begun to answer within this is given up, where the request may be sent to another.
    /// All tries together have `response_secs` of `timeouts`, and the first has all of it by default.
    pub per_try_timeout_ms: Option<u64>,
    /// A body that is no longer is read before it is sent, where the request may have to be sent again. Longer ones
    /// are not sent again once they are on their way.
    pub body_bytes: usize,
    /// Of each worker's requests, so many may be retries: they must not become what brings the rest down.
    pub budget_percent: u32,
    /// So many retries of a worker in a second are always allowed.
    pub budget_min_per_second: u32,
}

impl Default for RetriesConfig {
    fn default() -> Self {
        Self {
            attempts: 1,
            statuses: Vec::new(),
            per_try_timeout_ms: None,
            body_bytes: 64 << 10,
            budget_percent: 20,
            budget_min_per_second: 10,
        }
    }
}
