//! A second upstream that gets copies of a route's requests, and whose answers nobody sees.

use schemars::JsonSchema;
use serde::Deserialize;

/// `mirror:` of a route.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MirrorConfig {
    /// Name of one of `upstreams`, best one that no route leads to: copies take their places among its requests.
    pub upstream: String,
    /// Of so many permitted requests in a hundred, a copy is sent.
    #[serde(default = "all")]
    pub percent: u8,
    /// Copies carry a JWT that is cut for this upstream. Without it they carry no credential at all.
    #[serde(default)]
    pub jwt: bool,
    /// Copies that one worker has under way; more are dropped.
    #[serde(default = "in_flight")]
    pub in_flight: usize,
    /// Bodies up to so long are copied, if they are there when the request is forwarded. Requests with others are not
    /// mirrored.
    #[serde(default = "body_bytes")]
    pub body_bytes: usize,
}

fn all() -> u8 {
    100
}

fn in_flight() -> usize {
    16
}

fn body_bytes() -> usize {
    16 << 10
}
