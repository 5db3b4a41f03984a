//! Reads that are asked of two endpoints.

use schemars::JsonSchema;
use serde::Deserialize;

/// A request with a safe method and without a body that one endpoint has not begun to answer is sent to another one, too;
/// the first answer counts, and the other one is given up. It is one of the `attempts` of `retries`, and within their
/// budget. Whoever may no longer make the request is refused in between.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HedgeConfig {
    /// After so long: longer than nearly every answer takes.
    pub after_ms: u64,
}
