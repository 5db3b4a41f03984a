//! What is counted and timed.

use std::time::Duration;

use prometheus::{Histogram, IntCounterVec};
use service_kit::Metrics;
use service_kit::metrics::MetricError;

use crate::config::GrantType;

/// Handles, made once.
#[derive(Debug, Clone)]
pub(crate) struct Meter {
    requests: IntCounterVec,
    introspection: Histogram,
    issued: IntCounterVec,
    logins: IntCounterVec,
    revocations: IntCounterVec,
    signals: IntCounterVec,
}

impl Meter {
    pub(crate) fn new(metrics: &Metrics) -> Result<Self, MetricError> {
        Ok(Self {
            requests: metrics.counters(
                "token_service_requests_total",
                "Requests by endpoint and outcome",
                &["endpoint", "outcome"],
            )?,
            introspection: metrics.latency(
                "token_service_introspection_seconds",
                "Time to answer an introspection, in process or over HTTP",
            )?,
            issued: metrics.counters(
                "token_service_tokens_issued_total",
                "Access tokens issued, by grant type",
                &["grant_type"],
            )?,
            logins: metrics.counters(
                "token_service_logins_total",
                "Login attempts by outcome",
                &["outcome"],
            )?,
            revocations: metrics.counters(
                "token_service_revocations_total",
                "Revocations by what was revoked",
                &["kind"],
            )?,
            signals: metrics.counters(
                "token_service_signals_total",
                "Attempts to tell a receiver of an event, by outcome; lost: dropped",
                &["outcome"],
            )?,
        })
    }

    /// `outcome`: a word of a fixed set, never anything from a request.
    pub(crate) fn request(&self, endpoint: &str, outcome: &str) {
        self.requests.with_label_values(&[endpoint, outcome]).inc();
    }

    pub(crate) fn introspected(&self, took: Duration) {
        self.introspection.observe(took.as_secs_f64());
    }

    pub(crate) fn issued(&self, grant_type: GrantType) {
        self.issued.with_label_values(&[grant_type.as_str()]).inc();
    }

    pub(crate) fn login(&self, outcome: &str) {
        self.logins.with_label_values(&[outcome]).inc();
    }

    /// `outcome`: `taken`, `refused` (and dropped), `failed` (and tried again), `lost`.
    pub(crate) fn signal(&self, outcome: &str) {
        self.signals.with_label_values(&[outcome]).inc();
    }

    pub(crate) fn revoked(&self, kind: &str) {
        self.revocations.with_label_values(&[kind]).inc();
    }
}
