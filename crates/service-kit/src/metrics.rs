//! Prometheus metrics: one registry a process, handles made once and kept by who counts.

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::core::Collector;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};

/// The registry. Clones share. Who asks for a metric again that is there already goes on counting with it.
#[derive(Clone, Default)]
pub struct Metrics(Arc<Registered>);

#[derive(Default)]
struct Registered {
    registry: Registry,
    made: Mutex<HashMap<String, Box<dyn Any + Send + Sync>>>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Metrics(…)")
    }
}

/// Seconds: from 50 µs to 5 s.
const LATENCY_BUCKETS: &[f64] = &[
    0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0,
    5.0,
];

/// A metric's name or label is malformed, or taken already.
#[derive(Debug, thiserror::Error)]
#[error("metric `{name}`")]
pub struct MetricError {
    name: String,
    #[source]
    source: prometheus::Error,
}

impl Metrics {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn counter(&self, name: &str, help: &str) -> Result<IntCounter, MetricError> {
        self.add(name, IntCounter::new(name, help))
    }

    pub fn counters(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<IntCounterVec, MetricError> {
        self.add(name, IntCounterVec::new(Opts::new(name, help), labels))
    }

    pub fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, MetricError> {
        self.add(name, IntGauge::new(name, help))
    }

    pub fn gauges(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<IntGaugeVec, MetricError> {
        self.add(name, IntGaugeVec::new(Opts::new(name, help), labels))
    }

    /// A histogram of seconds.
    pub fn latency(&self, name: &str, help: &str) -> Result<Histogram, MetricError> {
        let options = HistogramOpts::new(name, help).buckets(LATENCY_BUCKETS.to_vec());
        self.add(name, Histogram::with_opts(options))
    }

    /// Histograms of seconds.
    pub fn latencies(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<HistogramVec, MetricError> {
        let options = HistogramOpts::new(name, help).buckets(LATENCY_BUCKETS.to_vec());
        self.add(name, HistogramVec::new(options, labels))
    }

    /// The text exposition format.
    pub fn render(&self) -> String {
        TextEncoder::new()
            .encode_to_string(&self.0.registry.gather())
            .unwrap_or_default()
    }

    fn add<C: Collector + Clone + Any + Send + Sync>(
        &self,
        name: &str,
        made: prometheus::Result<C>,
    ) -> Result<C, MetricError> {
        let mut known = self.0.made.lock().unwrap_or_else(PoisonError::into_inner);
        let registered = made.and_then(|metric| {
            match self.0.registry.register(Box::new(metric.clone())) {
                Ok(()) => {
                    known.insert(name.to_owned(), Box::new(metric.clone()));
                    Ok(metric)
                }
                // Of another kind, or with another text or other labels, it is another.
                Err(error) => {
                    let before = known.get(name).and_then(|it| it.downcast_ref::<C>());
                    let before = before.filter(|it| describe(*it) == describe(&metric));
                    before.cloned().ok_or(error)
                }
            }
        });
        registered.map_err(|source| MetricError {
            name: name.to_owned(),
            source,
        })
    }
}

/// What is told of a metric beside its values.
fn describe(metric: &impl Collector) -> Vec<(&str, &[String])> {
    let descriptions = metric.desc().into_iter();
    descriptions
        .map(|it| (it.help.as_str(), it.variable_labels.as_slice()))
        .collect()
}
