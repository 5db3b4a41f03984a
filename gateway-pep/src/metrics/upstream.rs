//! What is counted of upstreams and, where there are several, of their endpoints.

use std::sync::Arc;

use prometheus::{Histogram, IntCounter, IntCounterVec, IntGauge};
use service_kit::Metrics;
use service_kit::metrics::MetricError;

use crate::plan::Plan;

/// Of one upstream.
#[derive(Debug)]
pub(crate) struct UpstreamMetrics {
    name: Arc<str>,
    pub(crate) duration: Histogram,
    pub(crate) connects: IntCounter,
    pub(crate) retries: IntCounter,
    /// Looked at now and then.
    pub(crate) active: IntGauge,
    pub(crate) pending: IntGauge,
    endpoints: OfEndpoints,
}

/// Of one endpoint among several.
#[derive(Debug)]
pub(crate) struct EndpointMetrics {
    pub(crate) requests: IntCounter,
}

/// By upstream and endpoint.
#[derive(Debug, Clone)]
struct OfEndpoints {
    requests: IntCounterVec,
}

impl UpstreamMetrics {
    /// Of every upstream of a plan, in its order.
    pub(super) fn all(metrics: &Metrics, plan: &Plan) -> Result<Vec<Self>, MetricError> {
        let labels = &["upstream"];
        let durations = metrics.latencies(
            "pep_upstream_duration_seconds",
            "From a request to the upstream to the head of its response",
            labels,
        )?;
        let connects =
            metrics.counters("pep_upstream_connects_total", "Connections opened", labels)?;
        let retries = metrics.counters(
            "pep_upstream_retries_total",
            "Requests repeated because a kept connection had ended",
            labels,
        )?;
        let active = metrics.gauges(
            "pep_upstream_requests_active",
            "Requests under way at an upstream, and what they have become",
            labels,
        )?;
        let pending = metrics.gauges(
            "pep_upstream_requests_pending",
            "Requests that wait for a connection to an upstream",
            labels,
        )?;
        let endpoints = OfEndpoints::new(metrics)?;
        let make = |name: &Arc<str>| Self {
            duration: durations.with_label_values(&[name]),
            connects: connects.with_label_values(&[name]),
            retries: retries.with_label_values(&[name]),
            active: active.with_label_values(&[name]),
            pending: pending.with_label_values(&[name]),
            endpoints: endpoints.clone(),
            name: name.clone(),
        };
        let upstreams = plan.upstreams.iter();
        Ok(upstreams.map(|upstream| make(&upstream.name)).collect())
    }

    /// Of one of its endpoints.
    pub(crate) fn endpoint(&self, endpoint: &str) -> EndpointMetrics {
        let labels = &[&*self.name, endpoint];
        EndpointMetrics {
            requests: self.endpoints.requests.with_label_values(labels),
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
        })
    }
}
