//! The listeners at which other proxies ask.

use std::net::IpAddr;

use http::HeaderName;
use service_kit::ConfigIssue;

use super::networks::Networks;
use crate::canonical::UrlScheme;
use crate::config::{ClientScheme, Config, Dialect, ForwardAuthConfig};

/// One of them.
#[derive(Debug)]
pub(crate) struct ForwardAuthPlan {
    pub(crate) dialect: Dialect,
    /// Where the original request stands.
    pub(crate) names: Names,
    /// By what clients reach the proxy, where no question says it.
    pub(crate) scheme: UrlScheme,
    proxies: Networks,
}

/// Where the original request stands.
#[derive(Debug)]
pub(crate) enum Names {
    /// In headers.
    Headers(OriginalHeaders),
    /// In the message itself, behind a prefix of the path.
    Message { prefix: String },
    /// In the arguments of a call, over gRPC.
    Call,
}

/// The headers that name a request.
#[derive(Debug)]
pub(crate) struct OriginalHeaders {
    pub(crate) method: HeaderName,
    pub(crate) target: HeaderName,
    pub(crate) host: HeaderName,
}

impl ForwardAuthPlan {
    pub(super) fn compile(config: &Config, issues: &mut Vec<ConfigIssue>) -> Vec<Self> {
        let mut plans = Vec::new();
        for (index, listener) in config.gateway.forward_auth.iter().enumerate() {
            match Self::of(listener) {
                Ok(plan) => plans.push(plan),
                Err(issue) => {
                    issues.push(issue.within(&format!("`gateway.forward_auth[{index}]`")));
                }
            }
        }
        plans
    }

    fn of(config: &ForwardAuthConfig) -> Result<Self, ConfigIssue> {
        let prefix = config.path_prefix.as_deref().unwrap_or_default();
        let names = match config.dialect {
            Dialect::Envoy => Names::Message {
                prefix: path_prefix(prefix)?,
            },
            Dialect::Nginx | Dialect::Forwarded | Dialect::EnvoyGrpc if !prefix.is_empty() => {
                return Err(
                    ConfigIssue::new("`path_prefix` belongs to `dialect: envoy`")
                        .hint("remove it: the path stands elsewhere"),
                );
            }
            Dialect::EnvoyGrpc => Names::Call,
            Dialect::Nginx => Names::Headers(OriginalHeaders {
                method: HeaderName::from_static("x-original-method"),
                target: HeaderName::from_static("x-original-uri"),
                host: HeaderName::from_static("x-original-host"),
            }),
            Dialect::Forwarded => Names::Headers(OriginalHeaders {
                method: HeaderName::from_static("x-forwarded-method"),
                target: HeaderName::from_static("x-forwarded-uri"),
                host: HeaderName::from_static("x-forwarded-host"),
            }),
        };
        let scheme = match (config.dialect, config.scheme) {
            (Dialect::EnvoyGrpc, Some(_)) => {
                return Err(
                    ConfigIssue::new("`scheme` belongs to the dialects over HTTP")
                        .hint("remove it: Envoy says by what each request has come"),
                );
            }
            (_, Some(ClientScheme::Https)) => UrlScheme::Https,
            (_, Some(ClientScheme::Http) | None) => UrlScheme::Http,
        };
        if config.proxies.is_empty() {
            return Err(
                ConfigIssue::new("`proxies` is empty, so that nobody may ask")
                    .hint("name the network of the proxy, such as `10.1.2.3/32`"),
            );
        }
        Ok(Self {
            dialect: config.dialect,
            names,
            scheme,
            proxies: Networks::parse("proxies", &config.proxies)?,
        })
    }

    /// Whether it is asked by calls, over gRPC.
    pub(crate) fn is_called(&self) -> bool {
        matches!(self.names, Names::Call)
    }

    /// Whether whoever asks may speak for others.
    pub(crate) fn trusts(&self, peer: IpAddr) -> bool {
        self.proxies.contain(peer)
    }
}

fn path_prefix(text: &str) -> Result<String, ConfigIssue> {
    let is_good = text.is_empty() || (text.starts_with('/') && !text.ends_with('/'));
    if is_good {
        Ok(text.to_owned())
    } else {
        Err(
            ConfigIssue::new(format!("`path_prefix`: `{text}` is no prefix of a path"))
                .hint("begin with `/` and end without: `/check`"),
        )
    }
}
