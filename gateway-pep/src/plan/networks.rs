//! Where those are who may speak for others.

use std::net::IpAddr;

use ipnet::IpNet;
use service_kit::ConfigIssue;

/// Networks of proxies.
#[derive(Debug, Default)]
pub(crate) struct Networks(Vec<IpNet>);

impl Networks {
    /// `key`: what they are called.
    pub(super) fn parse(key: &str, written: &[String]) -> Result<Self, ConfigIssue> {
        let networks = written.iter().map(|text| network(key, text));
        networks.collect::<Result<_, _>>().map(Self)
    }

    pub(crate) fn contain(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// SECURITY: whoever is in it may say for which client. Everybody is nobody's proxy.
fn network(key: &str, text: &str) -> Result<IpNet, ConfigIssue> {
    let network: IpNet = text.parse().map_err(|_| {
        ConfigIssue::new(format!("`{text}` in `{key}` is no network"))
            .hint("write an address and the length of its prefix: `10.0.0.0/8`, `::1/128`")
    })?;
    if network.prefix_len() == 0 {
        return Err(
            ConfigIssue::new(format!("`{text}` in `{key}` would trust everybody"))
                .hint("name the network of the proxy alone"),
        );
    }
    if matches!(network, IpNet::V6(network) if network.addr().to_ipv4_mapped().is_some()) {
        return Err(
            ConfigIssue::new(format!("`{text}` in `{key}` is a network of IPv4"))
                .hint("write it as one: `10.0.0.0/8`"),
        );
    }
    Ok(network)
}
