//! Asking what strangers have named: at public addresses alone. The name is looked up here, and what is
//! connected to is what was looked at, so that a name cannot change its mind in between.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

/// Finds the addresses of a host, those that are public.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PublicAddresses;

/// A name that leads to no public address.
#[derive(Debug, thiserror::Error)]
#[error("the host has no public address")]
pub(crate) struct NotPublic;

/// Whether a URL could lead to a public address. SECURITY: an address that is written out is never
/// looked up, so that it has to be looked at before the URL is asked.
pub(crate) fn may_be_public(url: &Url) -> bool {
    match url.host() {
        None => false,
        Some(Host::Ipv4(address)) => is_public(address.into()),
        Some(Host::Ipv6(address)) => is_public(address.into()),
        Some(Host::Domain(name)) => {
            let name = name.trim_end_matches('.');
            name != "localhost" && !name.ends_with(".localhost")
        }
    }
}

impl Resolve for PublicAddresses {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let public: Vec<SocketAddr> = found.filter(|it| is_public(it.ip())).collect();
            if public.is_empty() {
                return Err(NotPublic.into());
            }
            Ok(Box::new(public.into_iter()) as Addrs)
        })
    }
}

/// Whether an address is one of the Internet at large (RFC 6890 and its registries).
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let is_special = match (a, b, c) {
        // This host, carriers' own, protocols, 6to4 relays, benchmarks, multicast and what is reserved.
        (0 | 224..=255, _, _)
        | (100, 64..=127, _)
        | (192, 0, 0)
        | (192, 88, 99)
        | (198, 18 | 19, _) => true,
        _ => false,
    };
    !(is_special
        || address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_documentation())
}

/// Only what is given out to the Internet, without what carries another address inside.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, ..] = address.segments();
    match (a, b) {
        // Protocols (Teredo among them), documentation, 6to4.
        (0x2001, 0..=0x1ff | 0xdb8) | (0x2002, _) | (0x3fff, 0..=0xfff) => false,
        _ => (0x2000..0x4000).contains(&a),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_spelling_of_an_inner_address_is_public() {
        for inner in [
            "https://127.0.0.1/",
            "https://0x7f.1/",
            "https://2130706433/",
            "https://0/",
            "https://10.1.2.3/",
            "https://172.31.0.1/",
            "https://192.168.1.1/",
            "https://169.254.169.254/latest/meta-data",
            "https://100.100.100.200/",
            "https://198.18.0.1/",
            "https://224.0.0.1/",
            "https://255.255.255.255/",
            "https://[::1]/",
            "https://[::]/",
            "https://[::ffff:10.0.0.1]/",
            "https://[64:ff9b::a00:1]/",
            "https://[fd00::1]/",
            "https://[fe80::1]/",
            "https://[2002:a00:1::]/",
            "https://[2001::1]/",
            "https://[ff02::1]/",
            "https://localhost/",
            "https://localhost./",
            "https://x.localhost/",
        ] {
            assert!(!may_be_public(&Url::parse(inner).unwrap()), "{inner}");
        }
        for outer in [
            "https://93.184.215.14/",
            "https://[2606:4700::1]/",
            "https://app.example/",
        ] {
            assert!(may_be_public(&Url::parse(outer).unwrap()), "{outer}");
        }
    }

    #[tokio::test]
    async fn a_name_of_an_inner_address_is_not_found() {
        let found = PublicAddresses.resolve("localhost".parse().unwrap()).await;
        let error = found.map(|_| ()).unwrap_err();
        assert!(error.is::<NotPublic>(), "{error}");
    }
}
