//! What deciding here is counted by.

use prometheus::{IntCounter, IntCounterVec, IntGauge};
use service_kit::Metrics;
use service_kit::metrics::MetricError;

/// Handles, made once.
#[derive(Debug)]
pub(super) struct LocalMeters {
    snapshots: IntCounterVec,
    local: IntCounter,
    remote: IntCounter,
    pub(super) age: IntGauge,
}

impl LocalMeters {
    pub(super) fn new(metrics: &Metrics) -> Result<Self, MetricError> {
        let decisions = metrics.counters(
            "pdp_local_decisions_total",
            "Questions by who answered them: `local`, or `remote` while no snapshot may.",
            &["by"],
        )?;
        Ok(Self {
            local: decisions.with_label_values(&["local"]),
            remote: decisions.with_label_values(&["remote"]),
            snapshots: metrics.counters(
                "pdp_local_snapshots_total",
                "Answers to the question for a snapshot: `taken`, `same`, or why it was refused.",
                &["result"],
            )?,
            age: metrics.gauge(
                "pdp_local_age_seconds",
                "How long ago the decision point was heard. -1: never.",
            )?,
        })
    }

    pub(super) fn answered(&self, result: &str) {
        self.snapshots.with_label_values(&[result]).inc();
    }

    pub(super) fn decided(&self, is_local: bool) {
        if is_local { &self.local } else { &self.remote }.inc();
    }
}
