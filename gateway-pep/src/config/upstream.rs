//! One upstream: a URL alone, or a URL with settings.

mod dns;
mod endpoint;
mod health;
mod hedge;
mod protocol;
mod retries;
mod timeouts;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};
use service_kit::ClientTlsConfig;

use crate::config::short::{self, Short};

pub use dns::DnsConfig;
pub use endpoint::{EndpointConfig, LoadBalancing};
pub use health::{HealthCheckConfig, OutlierDetectionConfig};
pub use hedge::HedgeConfig;
pub use protocol::{Http2Config, Protocol};
pub use retries::RetriesConfig;
pub use timeouts::UpstreamTimeoutsConfig;

/// A protected service: its URL (`http://127.0.0.1:9000`), or a map with `url` and settings.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, remote = "Self")]
#[schemars(transform = short::or_text)]
pub struct UpstreamConfig {
    /// `http://host:port` or `https://host:port`, nothing after it: what the service is called and, without
    /// `endpoints`, where it is.
    pub url: String,
    /// What is spoken to it: `http1` or `http2`.
    #[serde(default)]
    pub protocol: Protocol,
    /// With `protocol: http2`.
    #[serde(default)]
    pub http2: Option<Http2Config>,
    /// With a URL of `https`: whom is believed there, and what is shown. Default: the authorities of the system, and
    /// nothing.
    #[serde(default)]
    pub tls: Option<ClientTlsConfig>,
    /// What comes after a request's body (trailers) is passed on, as far as a client may say it. Nothing was decided on
    /// it; default: it ends here. Trailers of answers are always passed on.
    #[serde(default)]
    pub request_trailers: bool,
    /// The resource (RFC 8707) that tokens are swapped for: `aud` of the JWT. Default: the URL.
    #[serde(default)]
    pub resource: Option<String>,
    /// Where the service runs, if that is elsewhere or in several places: `host:port` each, or a map with
    /// `address` and `weight`. Each gets the same requests, with the `Host` of the URL.
    #[serde(default)]
    pub endpoints: Vec<EndpointConfig>,
    /// Each address of the names is an endpoint, and they are resolved again and again: `dns: {}`. Default: a name
    /// is one endpoint, wherever the system finds it when it is connected to.
    #[serde(default)]
    pub dns: Option<DnsConfig>,
    /// Which endpoint gets a request.
    #[serde(default)]
    pub load_balancing: LoadBalancing,
    /// With `load_balancing: consistent_hash`: `header:name`, `path:name` (a parameter of the route's template) or
    /// `subject` (who calls). A request that has none is balanced as by `round_robin`.
    #[serde(default)]
    pub hash_on: Option<String>,
    /// Of several endpoints, those whose requests fail get none for a while.
    #[serde(default)]
    pub outlier_detection: OutlierDetectionConfig,
    /// Endpoints that do not answer well when they are asked get no requests. Default: nobody is asked.
    #[serde(default)]
    pub health_check: Option<HealthCheckConfig>,
    /// Requests that failed at one endpoint are sent to another one.
    #[serde(default)]
    pub retries: RetriesConfig,
    /// Reads that are slow at one endpoint are asked of another one, too. Default: they are waited for.
    #[serde(default)]
    pub hedge: Option<HedgeConfig>,
    /// How long it may take, where that is not as `gateway.timeouts` has it.
    #[serde(default)]
    pub timeouts: UpstreamTimeoutsConfig,
    /// An endpoint that has come back gets its whole share after so long, and a growing one until then. 0: at once.
    #[serde(default)]
    pub slow_start_secs: u64,
    /// Where fewer endpoints are well, all get requests: those that are left could not bear it. 0: never; where none
    /// is well, requests are answered 503.
    #[serde(default = "panic_threshold_percent")]
    pub panic_threshold_percent: u8,
    /// Endpoints of other zones get requests where fewer of those in the gateway's own are up.
    #[serde(default = "zone_threshold_percent")]
    pub zone_threshold_percent: u8,
    /// Idle connections that one worker keeps, to all endpoints together.
    #[serde(default = "idle_connections")]
    pub idle_connections: usize,
    /// Idle connections are closed after so long.
    #[serde(default = "idle_secs")]
    pub idle_secs: u64,
    /// Sends the client's `Host` instead of the URL's.
    #[serde(default)]
    pub preserve_host: bool,
    /// Connections that one worker has at most, to all endpoints together, tunnels among them. Further requests
    /// wait.
    #[serde(default = "connections")]
    pub connections: usize,
    /// So many requests of one worker wait at most; more are answered 503.
    #[serde(default = "pending")]
    pub pending: usize,
    /// And so long: then they are answered 503, too.
    #[serde(default = "pending_ms")]
    pub pending_ms: u64,
}

fn panic_threshold_percent() -> u8 {
    50
}

fn zone_threshold_percent() -> u8 {
    70
}

fn idle_connections() -> usize {
    256
}

fn idle_secs() -> u64 {
    55
}

fn connections() -> usize {
    1024
}

fn pending() -> usize {
    1024
}

fn pending_ms() -> u64 {
    1_000
}

impl UpstreamConfig {
    /// An upstream with default settings.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            protocol: Protocol::default(),
            http2: None,
            tls: None,
            request_trailers: false,
            resource: None,
            endpoints: Vec::new(),
            dns: None,
            load_balancing: LoadBalancing::default(),
            hash_on: None,
            outlier_detection: OutlierDetectionConfig::default(),
            health_check: None,
            retries: RetriesConfig::default(),
            hedge: None,
            timeouts: UpstreamTimeoutsConfig::default(),
            slow_start_secs: 0,
            panic_threshold_percent: panic_threshold_percent(),
            zone_threshold_percent: zone_threshold_percent(),
            idle_connections: idle_connections(),
            idle_secs: idle_secs(),
            preserve_host: false,
            connections: connections(),
            pending: pending(),
            pending_ms: pending_ms(),
        }
    }
}

impl Short for UpstreamConfig {
    const EXPECTED: &'static str = "a URL, or a map with `url`";

    fn short(url: &str) -> Self {
        Self::new(url)
    }

    fn settings<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::deserialize(deserializer)
    }
}

impl<'de> Deserialize<'de> for UpstreamConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        short::deserialize(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<UpstreamConfig, String> {
        service_kit::config::parse(text, &service_kit::Variables::default())
            .map_err(|issue| issue.to_string())
    }

    #[test]
    fn an_upstream_is_a_url_or_a_map_and_a_misspelt_key_is_named() {
        assert_eq!(
            parse("http://a:1").unwrap(),
            UpstreamConfig::new("http://a:1")
        );
        let map = parse("url: http://a:1\nresource: https://r\n").unwrap();
        assert_eq!(map.resource.as_deref(), Some("https://r"));
        assert_eq!(map.idle_secs, 55);
        let error = parse("url: http://a:1\nresorce: x\n").unwrap_err();
        assert!(error.contains("unknown key `resorce`"), "{error}");
        assert!(error.contains("did you mean `resource`?"), "{error}");
    }

    #[test]
    fn an_endpoint_is_an_address_or_a_map_and_a_misspelt_key_is_named_with_its_line() {
        let map = parse("url: http://a\nendpoints: ['b:1', { address: 'c:2', weight: 3 }]\n");
        let weights: Vec<_> = map
            .unwrap()
            .endpoints
            .into_iter()
            .map(|endpoint| (endpoint.address, endpoint.weight))
            .collect();
        assert_eq!(weights, [("b:1".into(), 1), ("c:2".into(), 3)]);
        let error = parse("url: http://a\nendpoints:\n- { address: 'c:2', wieght: 3 }\n");
        let error = error.unwrap_err();
        assert!(error.contains("unknown key `wieght`"), "{error}");
        assert!(error.contains('3'), "no line: {error}");
    }
}
