//! How an upstream is spoken to: by TLS or without, by HTTP/1.1 or HTTP/2.

use std::path::Path;
use std::time::Duration;

use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Uri, uri};
use service_kit::tls::{HTTP_1, HTTP_2};
use service_kit::{ClientTls, ConfigIssue};
use url::Url;

use crate::config::{Http2Config, Protocol, UpstreamConfig};

/// The same for all endpoints of an upstream.
#[derive(Debug, Clone)]
pub(crate) struct Transport {
    /// None: without TLS.
    pub(crate) tls: Option<ClientTls>,
    /// None: HTTP/1.1.
    pub(crate) http2: Option<Http2>,
    scheme: Scheme,
    /// What the upstream is called.
    authority: Authority,
}

/// [`Http2Config`], compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Http2 {
    /// Of a connection.
    pub(crate) streams: u32,
    /// Of a worker, to an endpoint.
    pub(crate) connections: usize,
    /// None: nobody is pinged.
    pub(crate) ping: Option<Duration>,
    pub(crate) ping_timeout: Duration,
}

impl Transport {
    /// `url`: of the upstream, with the scheme `http` or `https`; `authority`: host and port of it.
    pub(super) fn compile(
        name: &str,
        config: &UpstreamConfig,
        (url, authority): (&Url, &str),
        base: &Path,
    ) -> Result<Self, ConfigIssue> {
        let at = |key: &str| format!("upstreams.{name}.{key}");
        let http2 = match (config.protocol, &config.http2) {
            (Protocol::Http1, None) => None,
            (Protocol::Http1, Some(_)) => {
                return Err(ConfigIssue::new(format!(
                    "`{}` means nothing without `protocol: http2`",
                    at("http2")
                ))
                .hint("say so, or remove it"));
            }
            (Protocol::Http2, http2) => {
                let default = Http2Config::default();
                Some(Http2::compile(
                    &at("http2"),
                    http2.as_ref().unwrap_or(&default),
                )?)
            }
        };
        let is_secure = url.scheme() == "https";
        if !is_secure && config.tls.is_some() {
            return Err(ConfigIssue::new(format!(
                "`{}` means nothing for a URL of `http`",
                at("tls")
            ))
            .hint("write `https://` in `url`, or remove it"));
        }
        let tls = is_secure.then(|| {
            let default = service_kit::ClientTlsConfig::default();
            let tls = config.tls.as_ref().unwrap_or(&default);
            let protocol = if http2.is_some() { HTTP_2 } else { HTTP_1 };
            let host = url.host_str().unwrap_or_default();
            ClientTls::open(&at("tls"), tls, (host, protocol), base)
        });
        Ok(Self {
            tls: tls.transpose()?,
            http2,
            scheme: if is_secure {
                Scheme::HTTPS
            } else {
                Scheme::HTTP
            },
            authority: authority
                .parse()
                .map_err(|_| ConfigIssue::new(format!("upstream `{name}`: unusable host")))?,
        })
    }

    /// What a request names: its path and, in HTTP/2, whose it is. None: as whom its upstream is called.
    pub(crate) fn uri(&self, target: PathAndQuery, host: Option<&HeaderValue>) -> Uri {
        if self.http2.is_none() {
            return Uri::from(target);
        }
        let named = host.and_then(|host| Authority::try_from(host.as_bytes()).ok());
        let mut parts = uri::Parts::default();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(named.unwrap_or_else(|| self.authority.clone()));
        parts.path_and_query = Some(target.clone());
        // Of three whole parts there is always a whole.
        Uri::from_parts(parts).unwrap_or_else(|_| Uri::from(target))
    }

    /// Where this target is, as whoever explains it says it.
    pub(crate) fn url(&self, target: &str) -> String {
        format!("{}://{}{target}", self.scheme, self.authority)
    }

    /// So many requests an endpoint can have under way of one worker, as far as connections go. None: as many as
    /// there are connections.
    pub(crate) fn most_requests(&self) -> Option<u32> {
        let http2 = self.http2?;
        let connections = u32::try_from(http2.connections).unwrap_or(u32::MAX);
        Some(http2.streams.saturating_mul(connections))
    }
}

impl Http2 {
    fn compile(at: &str, config: &Http2Config) -> Result<Self, ConfigIssue> {
        let between = |key: &str, value: u64, most: u64| {
            if (1..=most).contains(&value) {
                return Ok(());
            }
            Err(ConfigIssue::new(format!(
                "`{at}.{key}` must be from 1 to {most}"
            )))
        };
        between("streams", config.streams.into(), MOST_STREAMS.into())?;
        let connections = u64::try_from(config.connections).unwrap_or(u64::MAX);
        between("connections", connections, MOST_CONNECTIONS)?;
        between("ping_timeout_secs", config.ping_timeout_secs, 3_600)?;
        let ping = Some(config.ping_secs).filter(|secs| *secs > 0);
        Ok(Self {
            streams: config.streams,
            connections: config.connections,
            ping: ping.map(Duration::from_secs),
            ping_timeout: Duration::from_secs(config.ping_timeout_secs),
        })
    }
}

/// What is read of each stream before its client takes it is held in memory.
const MOST_STREAMS: u32 = 1_000;
const MOST_CONNECTIONS: u64 = 64;

#[cfg(test)]
mod tests {
    use super::super::tests::compile;
    use super::*;

    fn transport(upstream: &str) -> Result<Transport, String> {
        let plan = compile(&format!("upstreams: {{ a: {{ {upstream} }} }}"));
        let plan = plan.map_err(|issues| issues.join("\n"))?;
        Ok(plan.upstreams[0].transport.clone())
    }

    #[test]
    fn what_is_spoken_follows_from_url_and_protocol() {
        let plain = transport("url: 'http://x:9000'").unwrap();
        assert!(plain.tls.is_none() && plain.http2.is_none());
        assert_eq!(plain.uri(PathAndQuery::from_static("/a?b"), None), "/a?b");
        assert_eq!(plain.most_requests(), None);
        let h2c = transport("url: 'http://x:9000', protocol: http2, http2: { connections: 2 }");
        let h2c = h2c.unwrap();
        assert!(h2c.tls.is_none());
        let target = PathAndQuery::from_static("/a?b");
        assert_eq!(h2c.uri(target.clone(), None), "http://x:9000/a?b");
        let named = HeaderValue::from_static("shop.example");
        assert_eq!(
            h2c.uri(target.clone(), Some(&named)),
            "http://shop.example/a?b"
        );
        assert_eq!(h2c.most_requests(), Some(200));
        let secure = transport("url: 'https://x', protocol: http2").unwrap();
        assert!(secure.tls.is_some());
        assert_eq!(secure.uri(target, None), "https://x/a?b");
    }

    #[test]
    fn mistakes_say_what_to_do() {
        for (upstream, expected) in [
            (
                "url: 'http://x', http2: {}",
                "means nothing without `protocol: http2`",
            ),
            (
                "url: 'http://x', tls: {}",
                "means nothing for a URL of `http`",
            ),
            (
                "url: 'http://x', protocol: http2, http2: { streams: 0 }",
                "streams` must be from 1 to 1000",
            ),
            (
                "url: 'http://x', protocol: http2, http2: { connections: 65 }",
                "connections` must be from 1 to 64",
            ),
            (
                "url: 'https://x', tls: { key_file: k.pem }",
                "has one of `certificate_file` and `key_file`",
            ),
            (
                "url: 'https://x', tls: { ca_file: none.pem }",
                "`upstreams.a.tls.ca_file`: cannot read",
            ),
            (
                "url: 'https://x', tls: { server_name: 'a b' }",
                "`a b` is no name of a server",
            ),
            ("url: 'ftp://x'", "must begin with `http://` or `https://`"),
        ] {
            let error = transport(upstream).unwrap_err();
            assert!(error.contains(expected), "{upstream}: {error}");
        }
    }
}
