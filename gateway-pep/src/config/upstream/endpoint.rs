//! One place where an upstream runs, and how requests are spread over several.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};

use crate::config::short::{self, Short};

/// A place where an upstream runs: `host:port`, or a map with `address` and settings.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, remote = "Self")]
#[schemars(transform = short::or_text)]
pub struct EndpointConfig {
    /// `host:port`.
    pub address: String,
    /// How many requests it gets, beside what others have: one of 3 gets three times as many as one of 1.
    #[serde(default = "weight")]
    pub weight: u32,
    /// Where it is. Those in the zone of the gateway (`gateway.zone`) get all requests while enough of them are up.
    #[serde(default)]
    pub zone: Option<String>,
    /// Connections that one worker has to it at most; with HTTP/2, requests under way. Requests go to other endpoints
    /// or, where all have as many as they may, wait. Default: as many as the upstream may have.
    #[serde(default)]
    pub connections: Option<u32>,
}

/// Which endpoint gets a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LoadBalancing {
    /// One after the other, as often as its weight says, evenly mixed.
    #[default]
    RoundRobin,
    /// Of two that are drawn (by weight), the one that has fewer requests of this worker under way.
    LeastRequest,
    /// The same value of `hash_on` leads to the same endpoint, at every gateway; a change of endpoints moves few.
    ConsistentHash,
}

fn weight() -> u32 {
    1
}

impl Short for EndpointConfig {
    const EXPECTED: &'static str = "`host:port`, or a map with `address`";

    fn short(address: &str) -> Self {
        Self {
            address: address.to_owned(),
            weight: weight(),
            zone: None,
            connections: None,
        }
    }

    fn settings<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::deserialize(deserializer)
    }
}

impl<'de> Deserialize<'de> for EndpointConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        short::deserialize(deserializer)
    }
}
