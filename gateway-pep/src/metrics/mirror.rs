//! Copies of requests, and what became of them.

use prometheus::IntCounter;
use service_kit::Metrics;
use service_kit::metrics::MetricError;

#[derive(Debug)]
pub(crate) struct MirrorMetrics {
    /// Answered, however.
    pub(crate) sent: IntCounter,
    /// Not answered, or there was no JWT for it.
    pub(crate) failed: IntCounter,
    /// Too many were under way.
    pub(crate) dropped: IntCounter,
    /// Its body was too long, or not there yet.
    pub(crate) body: IntCounter,
}

impl MirrorMetrics {
    pub(super) fn new(metrics: &Metrics) -> Result<Self, MetricError> {
        let copies = metrics.counters(
            "pep_mirrored_requests_total",
            "Copies of requests for mirrors, by what became of them",
            &["result"],
        )?;
        Ok(Self {
            sent: copies.with_label_values(&["sent"]),
            failed: copies.with_label_values(&["failed"]),
            dropped: copies.with_label_values(&["dropped"]),
            body: copies.with_label_values(&["body"]),
        })
    }
}
