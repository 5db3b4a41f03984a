//! How long an upstream may take, of all its routes or of one.

use schemars::JsonSchema;
use serde::Deserialize;

/// What is not said here is as the route's upstream has it, then as `gateway.timeouts` has it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct UpstreamTimeoutsConfig {
    /// Connecting to an endpoint.
    pub connect_ms: Option<u64>,
    /// From the request to the response's head, over all tries.
    pub response_secs: Option<u64>,
    /// Between two pieces of the response's body.
    pub idle_body_secs: Option<u64>,
    /// From the request to the last byte of its answer. An answer that takes longer is broken off; tunnels are not.
    /// Default: however long it takes.
    pub total_secs: Option<u64>,
}
