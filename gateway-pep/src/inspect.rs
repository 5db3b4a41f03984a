//! What a gateway that runs goes by, for whoever operates it: its routes, and how its upstreams are. No secret is
//! among it.

use std::sync::Arc;

use serde::Serialize;

use crate::listed::RouteState;
use crate::plan::Balancing;
use crate::purge::Caches;
use crate::upstream::roster::Roster;

/// Looks into a gateway. Clones share.
#[derive(Debug, Clone)]
pub struct Inspector {
    caches: Caches,
}

/// An upstream, as it is now.
#[derive(Debug, Serialize)]
pub struct UpstreamState {
    pub name: String,
    /// Whom tokens are cut for.
    pub resource: String,
    pub load_balancing: &'static str,
    /// Requests under way, and what they have become; some seconds old.
    pub active: i64,
    /// Requests that wait for a connection.
    pub pending: i64,
    /// Connections that one worker may have there.
    pub connections: usize,
    /// Too few endpoints are up, and all get requests.
    pub is_panicking: bool,
    pub endpoints: Vec<EndpointState>,
}

/// One place where an upstream runs.
#[derive(Debug, Serialize)]
pub struct EndpointState {
    pub name: String,
    /// As configured.
    pub weight: u32,
    /// What it gets now; 0: nothing.
    pub share: u32,
    /// Whether it is well and not ejected, as far as that is looked at.
    pub is_up: bool,
    /// Failures in a row, where they are counted.
    pub failures: u32,
    /// Since the process began, where there are several endpoints.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ejections: Option<u64>,
}

impl Inspector {
    pub(crate) fn of(caches: &Caches) -> Self {
        Self {
            caches: caches.clone(),
        }
    }

    /// In the order of the configuration.
    pub fn routes(&self) -> Arc<[RouteState]> {
        self.caches.now().routes
    }

    /// In the order of their names.
    pub fn upstreams(&self) -> Vec<UpstreamState> {
        let now = self.caches.now();
        let core = &now.core;
        let upstreams = core.plan.upstreams.iter().enumerate();
        let states = upstreams.filter_map(|(index, plan)| {
            let metrics = core.metrics.upstream(index)?;
            let roster = core.rosters.get(index)?;
            Some(UpstreamState {
                name: plan.name.to_string(),
                resource: plan.resource.as_str().to_owned(),
                load_balancing: match plan.balancing {
                    Balancing::RoundRobin => "round_robin",
                    Balancing::LeastRequest => "least_request",
                    Balancing::ConsistentHash(_) => "consistent_hash",
                },
                active: metrics.active.get(),
                pending: metrics.pending.get(),
                connections: plan.connections,
                is_panicking: metrics.panic.get() != 0,
                endpoints: endpoints(roster),
            })
        });
        states.collect()
    }
}

fn endpoints(roster: &Roster) -> Vec<EndpointState> {
    let shares = roster.shares().into_iter();
    let states = shares.map(|(endpoint, share)| {
        let counted = endpoint.metrics.as_ref();
        EndpointState {
            name: endpoint.plan.name.to_string(),
            weight: endpoint.plan.weight,
            share,
            is_up: counted.is_none_or(|metrics| metrics.up.get() != 0),
            failures: endpoint.failures(),
            requests: counted.map(|metrics| metrics.requests.get()),
            ejections: counted.map(|metrics| metrics.ejections.get()),
        }
    });
    states.collect()
}
