//! How the gateway speaks to an upstream.

use schemars::JsonSchema;
use serde::Deserialize;

/// What is spoken to an upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// HTTP/1.1: a connection for each request under way.
    #[default]
    Http1,
    /// HTTP/2: many requests on a connection. With `https` agreed on by ALPN, with `http` known beforehand (h2c).
    /// What gRPC needs.
    Http2,
}

/// Connections of HTTP/2 to an upstream.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Http2Config {
    /// Requests under way on a connection, at most; fewer where the upstream says so.
    pub streams: u32,
    /// Connections of a worker to an endpoint, at most: another one is opened where all have as many requests as
    /// they may.
    pub connections: usize,
    /// While requests are under way, a connection is pinged so often. 0: never; the system looks after connections
    /// anyhow, and many servers of gRPC turn away who pings oftener than every 300 seconds.
    pub ping_secs: u64,
    /// A connection whose ping is not answered within this is given up.
    pub ping_timeout_secs: u64,
}

impl Default for Http2Config {
    fn default() -> Self {
        Self {
            streams: 100,
            connections: 4,
            ping_secs: 0,
            ping_timeout_secs: 20,
        }
    }
}
