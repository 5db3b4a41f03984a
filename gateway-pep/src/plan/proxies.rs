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
    pass_on: bool,
}

impl Proxies {
    pub(crate) fn compile(config: &GatewayConfig, issues: &mut Vec<ConfigIssue>) -> Self {
        if config.proxies.is_empty() && config.proxy_headers != ProxyHeaders::default() {
            issues.push(
                ConfigIssue::new("`gateway.proxy_headers` means nothing without `gateway.proxies`")
                    .hint("name the networks of the proxies, or remove it"),
            );
        }
        if config.proxies.is_empty() && config.proxy_protocol {
            issues.push(
                ConfigIssue::new(
                    "`gateway.proxy_protocol` means nothing without `gateway.proxies`",
                )
                .hint("name the networks of the load balancers, or remove it"),
            );
        }
        let networks = Networks::parse("gateway.proxies", &config.proxies);
        Self {
            networks: networks.unwrap_or_else(|issue| {
                issues.push(issue);
                Networks::default()
            }),
            headers: config.proxy_headers,
            pass_on: config.proxy_protocol,
        }
    }

    pub(crate) fn are_there(&self) -> bool {
        !self.networks.is_empty()
    }

    /// Whether they begin each connection with whose bytes they pass on (PROXY protocol).
    pub(crate) fn pass_on(&self) -> bool {
        self.pass_on
    }

    /// Whether this one may speak for others.
    pub(crate) fn trust(&self, peer: IpAddr) -> bool {
        self.networks.contain(peer)
    }
}
