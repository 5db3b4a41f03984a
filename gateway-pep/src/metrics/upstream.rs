//! What is counted of upstreams and, where there are several, of their endpoints.

use std::sync::Arc;

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec};
use service_kit::Metrics;
use service_kit::metrics::MetricError;

use super::durations::{self, Durations};
use crate::plan::Plan;

/// Of one upstream.
#[derive(Debug, Clone)]
pub(crate) struct UpstreamMetrics {
    name: Arc<str>,
    pub(crate) durations: Durations,
    pub(crate) connects: IntCounter,
    pub(crate) retries: RetryMetrics,
    /// Looked at now and then.
    pub(crate) active: IntGauge,
    pub(crate) pending: IntGauge,
    /// Whether too few endpoints are up.
    pub(crate) panic: IntGauge,
    endpoints: OfEndpoints,
    resolutions: IntCounterVec,
}

/// Why requests were sent again.
#[derive(Debug, Clone)]
pub(crate) struct RetryMetrics {
    /// A kept connection had ended.
    pub(crate) kept_connection: IntCounter,
    pub(crate) failure: IntCounter,
    pub(crate) status: IntCounter,
    /// To another endpoint beside one that is slow.
    pub(crate) hedge: IntCounter,
    /// And were not, because too many were.
    pub(crate) beyond_budget: IntCounter,
}

/// Of one endpoint among several.
#[derive(Debug)]
pub(crate) struct EndpointMetrics {
    pub(crate) requests: IntCounter,
    /// Whether it gets requests for its own sake.
    pub(crate) up: IntGauge,
    pub(crate) ejections: IntCounter,
    pub(crate) checks_passed: IntCounter,
    pub(crate) checks_failed: IntCounter,
}

/// By upstream and endpoint.
#[derive(Debug, Clone)]
struct OfEndpoints {
    requests: IntCounterVec,
    up: IntGaugeVec,
    ejections: IntCounterVec,
    checks: IntCounterVec,
}

impl RetryMetrics {
    fn new((retries, beyond_budget): (&IntCounterVec, &IntCounterVec), upstream: &str) -> Self {
        let by = |reason: &str| retries.with_label_values(&[upstream, reason]);
        Self {
            kept_connection: by("kept_connection"),
            failure: by("failure"),
            status: by("status"),
            hedge: by("hedge"),
            beyond_budget: beyond_budget.with_label_values(&[upstream]),
        }
    }
}

impl UpstreamMetrics {
    /// Of every upstream of a plan, in its order.
    pub(super) fn all(metrics: &Metrics, plan: &Plan) -> Result<Vec<Self>, MetricError> {
        let labels = &["upstream"];
        let durations = durations::family(
            metrics,
            (
                "http_client_request_duration_seconds",
                "From a request to the upstream to the head of its response, or to its failure",
            ),
            "upstream",
        )?;
        let connects =
            metrics.counters("pep_upstream_connects_total", "Connections opened", labels)?;
        let retries = metrics.counters(
            "pep_upstream_retries_total",
            "Requests that were sent again: because a kept connection had ended, or to another endpoint",
            &["upstream", "reason"],
        )?;
        let beyond_budget = metrics.counters(
            "pep_upstream_retry_budget_exhausted_total",
            "Requests that were not sent again because too many were",
            labels,
        )?;
        let active = metrics.gauges(
            "http_client_active_requests",
            "Requests under way at an upstream, and what they have become",
            labels,
        )?;
        let pending = metrics.gauges(
            "pep_upstream_requests_pending",
            "Requests that wait for a connection to an upstream",
            labels,
        )?;
        let panic = metrics.gauges(
            "pep_upstream_panic",
            "1 while too few endpoints are up, and all get requests",
            labels,
        )?;
        let endpoints = OfEndpoints::new(metrics)?;
        let resolutions = metrics.counters(
            "pep_upstream_resolutions_total",
            "Times that the names of endpoints were resolved",
            &["upstream", "result"],
        )?;
        let make = |name: &Arc<str>| Self {
            durations: Durations::new(&durations, name),
            connects: connects.with_label_values(&[name]),
            retries: RetryMetrics::new((&retries, &beyond_budget), name),
            active: active.with_label_values(&[name]),
            pending: pending.with_label_values(&[name]),
            panic: panic.with_label_values(&[name]),
            endpoints: endpoints.clone(),
            resolutions: resolutions.clone(),
            name: name.clone(),
        };
        let upstreams = plan.upstreams.iter();
        Ok(upstreams.map(|upstream| make(&upstream.name)).collect())
    }

    /// Its names were resolved, all of them or not.
    pub(crate) fn resolved(&self, are_all: bool) {
        let result = if are_all { "ok" } else { "failed" };
        let labels = &[&*self.name, result];
        self.resolutions.with_label_values(labels).inc();
    }

    /// There is no such endpoint any more: series of what comes and goes must not pile up.
    pub(crate) fn forget(&self, endpoint: &str) {
        let labels = &[&*self.name, endpoint];
        let all = &self.endpoints;
        let of_checks = ["ok", "failed"].map(|result| [&*self.name, endpoint, result]);
        // What is not there need not go.
        let _ = all.requests.remove_label_values(labels);
        let _ = all.up.remove_label_values(labels);
        let _ = all.ejections.remove_label_values(labels);
        for labels in of_checks {
            let _ = all.checks.remove_label_values(&labels);
        }
    }

    /// Of one of its endpoints. Whether it is up says who puts it in force.
    pub(crate) fn endpoint(&self, endpoint: &str) -> EndpointMetrics {
        let labels = &[&*self.name, endpoint];
        let all = &self.endpoints;
        let checks = |result| {
            let labels = &[&*self.name, endpoint, result];
            all.checks.with_label_values(labels)
        };
        EndpointMetrics {
            up: all.up.with_label_values(labels),
            requests: all.requests.with_label_values(labels),
            ejections: all.ejections.with_label_values(labels),
            checks_passed: checks("ok"),
            checks_failed: checks("failed"),
        }
    }
}

impl OfEndpoints {
    fn new(metrics: &Metrics) -> Result<Self, MetricError> {
        let labels = &["upstream", "endpoint"];
        Ok(Self {
            requests: metrics.counters(
                "pep_upstream_endpoint_requests_total",
                "Requests sent to an endpoint, where an upstream has several",
                labels,
            )?,
            up: metrics.gauges(
                "pep_upstream_endpoint_up",
                "1 while an endpoint answers well and is not ejected",
                labels,
            )?,
            ejections: metrics.counters(
                "pep_upstream_endpoint_ejections_total",
                "Times that an endpoint was ejected because its requests failed",
                labels,
            )?,
            checks: metrics.counters(
                "pep_upstream_health_checks_total",
                "Times that an endpoint was asked how it is",
                &["upstream", "endpoint", "result"],
            )?,
        })
    }
}
