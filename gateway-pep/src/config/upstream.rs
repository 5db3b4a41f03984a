//! One upstream: a URL alone, or a URL with settings.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};

/// A protected service. In the file `http://127.0.0.1:9000`, or a map with `url` and more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamConfig {
    /// `http://host:port`, nothing after it.
    pub url: String,
    /// The resource (RFC 8707) that tokens are swapped for: `aud` of the JWT. Default: the URL.
    pub resource: Option<String>,
    /// Idle connections that one worker keeps.
    pub idle_connections: usize,
    /// Idle connections are closed after so long.
    pub idle_secs: u64,
    /// Sends the client's `Host` instead of the URL's.
    pub preserve_host: bool,
    /// Connections that one worker has at most, tunnels among them. Further requests wait.
    pub connections: usize,
    /// So many requests of one worker wait at most; more are answered 503.
    pub pending: usize,
    /// And so long: then they are answered 503, too.
    pub pending_ms: u64,
}

/// The map form.
#[derive(serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
struct Settings {
    /// `http://host:port`, nothing after it.
    url: String,
    /// The resource (RFC 8707) that tokens are swapped for: `aud` of the JWT. Default: the URL.
    #[serde(default)]
    resource: Option<String>,
    /// Idle connections that one worker keeps.
    #[serde(default = "idle_connections")]
    idle_connections: usize,
    /// Idle connections are closed after so long.
    #[serde(default = "idle_secs")]
    idle_secs: u64,
    /// Sends the client's `Host` instead of the URL's.
    #[serde(default)]
    preserve_host: bool,
    /// Connections that one worker has at most, tunnels among them. Further requests wait.
    #[serde(default = "connections")]
    connections: usize,
    /// So many requests of one worker wait at most; more are answered 503.
    #[serde(default = "pending")]
    pending: usize,
    /// And so long: then they are answered 503, too.
    #[serde(default = "pending_ms")]
    pending_ms: u64,
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
            resource: None,
            idle_connections: idle_connections(),
            idle_secs: idle_secs(),
            preserve_host: false,
            connections: connections(),
            pending: pending(),
            pending_ms: pending_ms(),
        }
    }
}

impl From<Settings> for UpstreamConfig {
    fn from(settings: Settings) -> Self {
        Self {
            url: settings.url,
            resource: settings.resource,
            idle_connections: settings.idle_connections,
            idle_secs: settings.idle_secs,
            preserve_host: settings.preserve_host,
            connections: settings.connections,
            pending: settings.pending,
            pending_ms: settings.pending_ms,
        }
    }
}

// Not an untagged enum: that would lose "unknown key" with its line and column.
impl<'de> Deserialize<'de> for UpstreamConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UrlOrSettings)
    }
}

struct UrlOrSettings;

impl<'de> Visitor<'de> for UrlOrSettings {
    type Value = UpstreamConfig;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a URL, or a map with `url`")
    }

    fn visit_str<E: de::Error>(self, url: &str) -> Result<UpstreamConfig, E> {
        Ok(UpstreamConfig::new(url))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<UpstreamConfig, A::Error> {
        Settings::deserialize(MapAccessDeserializer::new(map)).map(UpstreamConfig::from)
    }
}

impl JsonSchema for UpstreamConfig {
    fn schema_name() -> Cow<'static, str> {
        "UpstreamConfig".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let url = generator.subschema_for::<String>();
        let settings = generator.subschema_for::<Settings>();
        schemars::json_schema!({
            "description": "A protected service: its URL, or a map with `url` and settings.",
            "anyOf": [url, settings],
        })
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
}
