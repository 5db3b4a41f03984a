//! Where an upstream runs, as all workers know it. What changes there is published as a whole: a request looks at
//! one number to know that nothing has.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use arc_swap::ArcSwap;
use tokio::sync::Notify;

use crate::maglev::Maglev;
use crate::metrics::upstream::{EndpointMetrics, UpstreamMetrics};
use crate::plan::{Balancing, EndpointPlan, UpstreamPlan};

/// One place where an upstream runs.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) plan: EndpointPlan,
    /// None: it is the only one, and what is counted of the upstream says it all.
    pub(crate) metrics: Option<EndpointMetrics>,
    /// Requests that failed, one after the other.
    failures: AtomicU32,
    /// So many are too many. None: they are not counted.
    too_many: Option<u32>,
}

/// What workers choose from.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) candidates: Vec<Candidate>,
    /// Those that are far get nothing while those that are near can take it.
    pub(crate) keeps_near: bool,
    /// Where requests are led by a value of theirs.
    pub(crate) table: Option<Maglev>,
}

/// One endpoint, and how much it gets now.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    pub(crate) endpoint: Arc<Endpoint>,
    /// 0: nothing.
    pub(crate) weight: u32,
    /// What it would get, has it not failed too often. It is not known to be down.
    pub(crate) last_resort: u32,
}

/// What all endpoints of an upstream have in common.
#[derive(Debug, Clone, Copy)]
struct Kind {
    /// What is counted of the upstream says it all.
    is_alone: bool,
    /// So many failures are too many. None: they are not counted.
    too_many: Option<u32>,
}

impl Kind {
    fn endpoint(self, plan: &EndpointPlan, metrics: &UpstreamMetrics) -> Arc<Endpoint> {
        Arc::new(Endpoint {
            metrics: (!self.is_alone).then(|| metrics.endpoint(&plan.name)),
            plan: plan.clone(),
            failures: AtomicU32::new(0),
            too_many: self.too_many,
        })
    }
}

/// The endpoints of one upstream.
#[derive(Debug)]
pub(crate) struct Roster {
    is_hashed: bool,
    near_percent: u8,
    kind: Kind,
    /// Somebody has failed too often.
    alarm: Notify,
    version: AtomicU64,
    view: ArcSwap<View>,
}

impl Endpoint {
    /// In a row.
    pub(crate) fn failures(&self) -> u32 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Whether it has failed too often. Counted anew from here.
    pub(super) fn takes_failures(&self) -> bool {
        let failures = self.failures.load(Ordering::Relaxed);
        let is_outlier = self.too_many.is_some_and(|too_many| failures >= too_many);
        if is_outlier {
            self.failures.store(0, Ordering::Relaxed);
        }
        is_outlier
    }
}

impl Roster {
    pub(crate) fn new(plan: &UpstreamPlan, metrics: &UpstreamMetrics) -> Self {
        let outliers = plan.health.outliers.as_ref();
        let kind = Kind {
            is_alone: plan.endpoints.len() == 1 && !plan.is_kept(),
            too_many: outliers.map(|outliers| outliers.failures),
        };
        let candidate = |endpoint: &EndpointPlan| Candidate {
            weight: endpoint.weight,
            last_resort: endpoint.weight,
            endpoint: kind.endpoint(endpoint, metrics),
        };
        let candidates: Vec<_> = plan.endpoints.iter().map(candidate).collect();
        let is_hashed = matches!(plan.balancing, Balancing::ConsistentHash(_));
        Self {
            is_hashed,
            near_percent: plan.near_percent,
            kind,
            alarm: Notify::new(),
            version: AtomicU64::new(1),
            view: ArcSwap::from_pointee(View::new(candidates, is_hashed, plan.near_percent)),
        }
    }

    /// Grows with every change.
    pub(super) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    pub(super) fn view(&self) -> Arc<View> {
        self.view.load_full()
    }

    pub(crate) fn endpoints(&self) -> Vec<Arc<Endpoint>> {
        let view = self.view.load();
        let candidates = view.candidates.iter();
        candidates.map(|it| it.endpoint.clone()).collect()
    }

    /// Each endpoint, and what it gets now.
    pub(crate) fn shares(&self) -> Vec<(Arc<Endpoint>, u32)> {
        let view = self.view.load();
        let candidates = view.candidates.iter();
        candidates
            .map(|it| (it.endpoint.clone(), it.weight))
            .collect()
    }

    /// One that has come to the others.
    pub(super) fn endpoint(&self, plan: &EndpointPlan, metrics: &UpstreamMetrics) -> Arc<Endpoint> {
        self.kind.endpoint(plan, metrics)
    }

    /// Has workers choose from these.
    pub(super) fn publish(&self, candidates: Vec<Candidate>) {
        let view = View::new(candidates, self.is_hashed, self.near_percent);
        self.view.store(Arc::new(view));
        self.version.fetch_add(1, Ordering::Release);
    }

    /// Resolves when an endpoint has failed too often.
    pub(super) async fn alarm(&self) {
        self.alarm.notified().await;
    }

    /// Whether it matters what requests come to.
    pub(super) fn counts(&self) -> bool {
        self.kind.too_many.is_some()
    }

    /// A request to an endpoint is over.
    pub(super) fn ended(&self, endpoint: &Endpoint, has_failed: bool) {
        let Some(too_many) = endpoint.too_many else {
            return;
        };
        if !has_failed {
            // Nothing is written where nothing changes: workers share it.
            if endpoint.failures.load(Ordering::Relaxed) != 0 {
                endpoint.failures.store(0, Ordering::Relaxed);
            }
        } else if endpoint.failures.fetch_add(1, Ordering::Relaxed) + 1 >= too_many {
            self.alarm.notify_one();
        }
    }
}

impl View {
    pub(super) fn new(candidates: Vec<Candidate>, is_hashed: bool, near_percent: u8) -> Self {
        let near = || candidates.iter().filter(|it| it.endpoint.plan.is_near);
        let (all, up) = (near().count(), near().filter(|it| it.weight > 0).count());
        let suffices = up > 0 && up * 100 >= all * usize::from(near_percent);
        let names = candidates
            .iter()
            .map(|it| (&*it.endpoint.plan.name, it.weight));
        let table = is_hashed.then(|| Maglev::new(names));
        Self {
            keeps_near: suffices && all < candidates.len(),
            candidates,
            table,
        }
    }
}
