//! What is counted of one route.

use std::collections::HashSet;
use std::sync::{Arc, OnceLock};

use prometheus::core::Collector as _;
use prometheus::{IntCounter, IntCounterVec};
use service_kit::Metrics;
use service_kit::metrics::MetricError;

use super::durations::{self, Durations};
use super::place;
use crate::cache::Source;
use crate::plan::Plan;

/// See the module.
#[derive(Debug)]
pub(crate) struct RouteMetrics {
    pub(crate) durations: Durations,
    name: Arc<str>,
    /// Of all routes.
    all_decisions: IntCounterVec,
    /// By source. Made when the route first needs them: most of many routes are idle.
    decisions: OnceLock<Decisions>,
}

/// Permits and denies, by source.
type Decisions = [[IntCounter; 2]; Source::ALL.len()];

/// The label that says of which route something is.
const ROUTE: &str = "http_route";

impl RouteMetrics {
    /// Of each route, and of what leads to none.
    pub(super) fn all(metrics: &Metrics, plan: &Plan) -> Result<(Vec<Self>, Self), MetricError> {
        let durations = durations::family(
            metrics,
            (
                "http_server_request_duration_seconds",
                "From a request's head to the end of its answer",
            ),
            ROUTE,
        )?;
        let decisions = metrics.counters(
            "pep_decisions_total",
            "Decisions, by where they came from",
            &[ROUTE, "decision", "source"],
        )?;
        let counted = counted(&decisions);
        let make = |name: &Arc<str>| {
            let route = Self {
                durations: Durations::new(&durations, name),
                name: name.clone(),
                all_decisions: decisions.clone(),
                decisions: OnceLock::new(),
            };
            if counted.contains(&**name) {
                route.decisions();
            }
            route
        };
        let routes = plan
            .routes
            .iter()
            .map(|route| make(&route.template))
            .collect();
        // What leads to no route has none: OpenTelemetry leaves the label out, which is the same.
        Ok((routes, make(&"".into())))
    }

    pub(crate) fn decided(&self, source: Source, permitted: bool) {
        let decisions = self.decisions();
        if let Some([permit, deny]) = decisions.get(place(source)) {
            if permitted { permit } else { deny }.inc();
        }
    }

    /// Decisions by source, if there were any.
    pub(super) fn counted(&self) -> Option<&Decisions> {
        self.decisions.get()
    }

    fn decisions(&self) -> &Decisions {
        self.decisions.get_or_init(|| {
            Source::ALL.map(|source| {
                ["permit", "deny"].map(|decision| {
                    let labels = [&*self.name, decision, source.as_str()];
                    self.all_decisions.with_label_values(&labels)
                })
            })
        })
    }
}

/// Routes that something has been counted of, before this configuration was in force.
fn counted(decisions: &IntCounterVec) -> HashSet<String> {
    let mut routes = HashSet::new();
    for family in decisions.collect() {
        let metrics = family.get_metric().iter();
        let labels = metrics.flat_map(prometheus::proto::Metric::get_label);
        let names = labels.filter(|label| label.name() == ROUTE);
        routes.extend(names.map(|label| label.value().to_owned()));
    }
    routes
}
