//! Resolves the names of an upstream's endpoints, again and again: each address of a name is an endpoint. A name
//! that cannot be resolved is where it was.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::time::timeout;

use crate::plan::EndpointPlan;

/// What was found, by the names of the configuration.
#[derive(Debug)]
pub(super) struct Names {
    configured: Vec<EndpointPlan>,
    found: BTreeMap<String, Vec<SocketAddr>>,
}

/// More addresses are not looked at.
const MOST: usize = 256;

/// One name is given up after this.
const PATIENCE: Duration = Duration::from_secs(5);

impl Names {
    pub(super) fn new(configured: Vec<EndpointPlan>) -> Self {
        Self {
            configured,
            found: BTreeMap::new(),
        }
    }

    /// Asks for every name once. How many could not be resolved.
    pub(super) async fn resolve(
        &mut self,
        look_up: impl AsyncFn(&str, u16) -> io::Result<Vec<SocketAddr>>,
    ) -> usize {
        let mut failed = 0;
        for endpoint in &self.configured {
            if endpoint.host.parse::<IpAddr>().is_ok() {
                continue;
            }
            let looking = timeout(PATIENCE, look_up(&endpoint.host, endpoint.port));
            let why = match looking.await {
                Ok(Ok(addresses)) if !addresses.is_empty() => {
                    self.found.insert(endpoint.name.to_string(), addresses);
                    continue;
                }
                Ok(Ok(_)) => "it has no address".to_owned(),
                Ok(Err(error)) => error.to_string(),
                Err(_) => "nobody has answered in time".to_owned(),
            };
            failed += 1;
            tracing::warn!(name = &*endpoint.name, why, "cannot resolve an endpoint");
        }
        failed
    }

    /// Where the upstream runs. A name that was never resolved stands for itself.
    pub(super) fn endpoints(&self) -> Vec<EndpointPlan> {
        let mut all = BTreeMap::new();
        for endpoint in &self.configured {
            let Some(addresses) = self.found.get(&*endpoint.name) else {
                all.entry(endpoint.name.clone()).or_insert(endpoint.clone());
                continue;
            };
            for address in addresses {
                let plan = EndpointPlan {
                    name: address.to_string().into(),
                    host: address.ip().to_string(),
                    port: address.port(),
                    ..endpoint.clone()
                };
                all.entry(plan.name.clone()).or_insert(plan);
            }
        }
        all.into_values().take(MOST).collect()
    }
}

/// Asks the system.
pub(super) async fn look_up(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    Ok(tokio::net::lookup_host((host, port)).await?.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(names: &Names) -> Vec<String> {
        let all = names.endpoints();
        all.iter()
            .map(|it| format!("{}*{}", it.name, it.weight))
            .collect()
    }

    #[tokio::test]
    async fn every_address_is_an_endpoint_and_what_fails_stays_where_it_was() {
        let text = "upstreams: { a: { url: 'http://x', dns: {}, endpoints: \
                    ['10.0.0.9:1', { address: 'b:80', weight: 2 }, 'c:80'] } }";
        let plan = crate::plan::tests::compile(text).unwrap();
        let mut names = Names::new(plan.upstreams[0].endpoints.clone());
        assert_eq!(named(&names), ["10.0.0.9:1*1", "b:80*2", "c:80*1"]);
        let at = |ip: &str, port| SocketAddr::new(ip.parse().unwrap(), port);
        let failed = names.resolve(async |host: &str, port| match host {
            "b" => Ok(vec![
                at("10.0.0.2", port),
                at("::1", port),
                at("10.0.0.2", port),
            ]),
            _ => Err(io::Error::other("no such name")),
        });
        assert_eq!(failed.await, 1);
        let expected = ["10.0.0.2:80*2", "10.0.0.9:1*1", "[::1]:80*2", "c:80*1"];
        assert_eq!(named(&names), expected);
        assert_eq!(names.endpoints()[2].host, "::1");
        let failed = names.resolve(async |host: &str, port| match host {
            "c" => Ok(vec![at("10.0.0.3", port)]),
            _ => Ok(Vec::new()),
        });
        assert_eq!(failed.await, 1);
        let expected = [
            "10.0.0.2:80*2",
            "10.0.0.3:80*1",
            "10.0.0.9:1*1",
            "[::1]:80*2",
        ];
        assert_eq!(named(&names), expected);
    }
}
