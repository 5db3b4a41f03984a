//! `gateway.dpop:`, and the public origins that proofs of keys (RFC 9449) are held against.

use std::fmt;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;
use service_kit::Secret;
use url::Url;

/// `gateway.dpop:`
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DpopConfig {
    /// Proofs must repeat a nonce that a gateway has said a moment ago.
    pub require_nonce: bool,
    /// Makes the nonces; at least 32 characters, the same for every gateway, and used for nothing
    /// else.
    pub nonce_secret: Option<Secret>,
    /// A file with `nonce_secret`.
    pub nonce_secret_file: Option<PathBuf>,
}

/// Scheme, host and, where it is not the scheme's own, port: how clients reach the gateway.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct PublicOrigin {
    /// In the one spelling, without a path.
    text: String,
    host: String,
    /// None: the scheme's own.
    port: Option<u16>,
    scheme_port: u16,
}

/// What is no origin.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is no origin; write scheme, host and port alone, such as `https://api.example.org`")]
pub struct NoOrigin(String);

impl PublicOrigin {
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// Whether no request can name one and not the other.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        self.host == other.host && self.port == other.port
    }

    /// Whether a request that names this host and port can be meant for it. Without a port, that of
    /// either scheme can be meant: which scheme was spoken in front of the gateway, it does not see.
    pub(crate) fn is_named_by(&self, host: &str, port: Option<u16>) -> bool {
        self.host == host
            && match port {
                None => self.port.is_none(),
                Some(port) => self.port.unwrap_or(self.scheme_port) == port,
            }
    }
}

impl TryFrom<String> for PublicOrigin {
    type Error = NoOrigin;

    fn try_from(written: String) -> Result<Self, NoOrigin> {
        let url = Url::parse(&written).ok().filter(|url| {
            matches!(url.scheme(), "https" | "http")
                && url.path() == "/"
                && url.query().is_none()
                && url.fragment().is_none()
                && url.username().is_empty()
                && url.password().is_none()
        });
        let parts = url.as_ref().and_then(|url| {
            let host = url.host_str().filter(|host| !host.ends_with('.'))?;
            Some((url, host.to_owned(), url.port_or_known_default()?))
        });
        let Some((url, host, port)) = parts else {
            return Err(NoOrigin(written));
        };
        Ok(Self {
            text: url.origin().ascii_serialization(),
            host,
            port: url.port(),
            scheme_port: port,
        })
    }
}

impl fmt::Display for PublicOrigin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl JsonSchema for PublicOrigin {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "PublicOrigin".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "Scheme, host and, where it is not the scheme's own, port.",
            "type": "string",
            "format": "uri",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(text: &str) -> Result<PublicOrigin, NoOrigin> {
        PublicOrigin::try_from(text.to_owned())
    }

    #[test]
    fn an_origin_has_one_spelling_and_nothing_after_it() {
        for (written, expected) in [
            ("https://API.example.org", "https://api.example.org"),
            ("https://api.example.org:443/", "https://api.example.org"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("http://[::1]:8080", "http://[::1]:8080"),
        ] {
            assert_eq!(origin(written).unwrap().as_str(), expected);
        }
        for wrong in [
            "",
            "api.example.org",
            "https://",
            "https://api.example.org/v1",
            "https://api.example.org?x",
            "https://api.example.org/#x",
            "https://a@api.example.org",
            "https://api.example.org.",
            "wss://api.example.org",
        ] {
            let error = origin(wrong).unwrap_err().to_string();
            assert!(
                error.contains(&format!("`{wrong}` is no origin")),
                "{error}"
            );
        }
    }

    #[test]
    fn a_request_names_an_origin_by_host_and_port() {
        let named = |text: &str, host: &str, port| origin(text).unwrap().is_named_by(host, port);
        assert!(named("https://a", "a", None));
        assert!(named("https://a", "a", Some(443)));
        assert!(named("http://a", "a", None));
        assert!(named("https://a:8443", "a", Some(8443)));
        assert!(!named("https://a", "b", None));
        assert!(!named("https://a", "a", Some(80)));
        assert!(!named("https://a", "a", Some(8443)));
        assert!(!named("https://a:8443", "a", None));
        assert!(!named("https://a:8443", "a", Some(443)));
    }
}
