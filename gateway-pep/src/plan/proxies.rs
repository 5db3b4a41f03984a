//! The proxies in front, who say for which client a request is.

use std::net::IpAddr;

use service_kit::ConfigIssue;

use super::networks::Networks;
use crate::config::{GatewayConfig, ProxyHeaders};

/// None may: their networks are none.
#[derive(Debug, Default)]
pub(crate) struct Proxies {
    networks: Networks,
    pub(crate) headers: ProxyHeaders,
}

impl Proxies {
    pub(crate) fn compile(config: &GatewayConfig, issues: &mut Vec<ConfigIssue>) -> Self {
        if config.proxies.is_empty() && config.proxy_headers != ProxyHeaders::default() {
            issues.push(
                ConfigIssue::new("`gateway.proxy_headers` means nothing without `gateway.proxies`")
                    .hint("name the networks of the proxies, or remove it"),
            );
        }
        let networks = Networks::parse("gateway.proxies", &config.proxies);
        Self {
            networks: networks.unwrap_or_else(|issue| {
                issues.push(issue);
                Networks::default()
            }),
            headers: config.proxy_headers,
        }
    }

    pub(crate) fn are_there(&self) -> bool {
        !self.networks.is_empty()
    }

    /// Whether this one may speak for others.
    pub(crate) fn trust(&self, peer: IpAddr) -> bool {
        self.networks.contain(peer)
    }
}
