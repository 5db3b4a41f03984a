//! Where an upstream runs, as all workers know it. What changes there is published as a whole: a request looks at
//! one number to know that nothing has.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;

use super::maglev::Maglev;
use crate::metrics::upstream::{EndpointMetrics, UpstreamMetrics};
use crate::plan::{Balancing, EndpointPlan, UpstreamPlan};

/// One place where an upstream runs.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) plan: EndpointPlan,
    /// None: it is the only one, and what is counted of the upstream says it all.
    pub(crate) metrics: Option<EndpointMetrics>,
}

/// What workers choose from.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) candidates: Vec<Candidate>,
    /// Where requests are led by a value of theirs.
    pub(crate) table: Option<Maglev>,
}

/// One endpoint, and how much it gets now.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    pub(crate) endpoint: Arc<Endpoint>,
    /// 0: nothing.
    pub(crate) weight: u32,
}

/// The endpoints of one upstream.
#[derive(Debug)]
pub(crate) struct Roster {
    version: AtomicU64,
    view: ArcSwap<View>,
}

impl Roster {
    pub(crate) fn new(plan: &UpstreamPlan, metrics: &UpstreamMetrics) -> Self {
        let is_alone = plan.endpoints.len() == 1;
        let candidate = |endpoint: &EndpointPlan| Candidate {
            weight: endpoint.weight,
            endpoint: Arc::new(Endpoint {
                metrics: (!is_alone).then(|| metrics.endpoint(&endpoint.name)),
                plan: endpoint.clone(),
            }),
        };
        let candidates: Vec<_> = plan.endpoints.iter().map(candidate).collect();
        let is_hashed = matches!(plan.balancing, Balancing::ConsistentHash(_));
        Self {
            version: AtomicU64::new(1),
            view: ArcSwap::from_pointee(View::new(candidates, is_hashed)),
        }
    }

    /// Grows with every change.
    pub(super) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    pub(super) fn view(&self) -> Arc<View> {
        self.view.load_full()
    }
}

impl View {
    fn new(candidates: Vec<Candidate>, is_hashed: bool) -> Self {
        let names = candidates
            .iter()
            .map(|it| (&*it.endpoint.plan.name, it.weight));
        let table = is_hashed.then(|| Maglev::new(names));
        Self { candidates, table }
    }
}
