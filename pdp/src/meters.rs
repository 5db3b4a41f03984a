//! What the PDP counts.

use std::sync::atomic::{AtomicU64, Ordering};

use authzen::{Decision, SearchKind};
use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge};
use service_kit::Metrics;
use service_kit::metrics::MetricError;

use crate::entities::EntityStore;

/// Handles, made once.
#[derive(Debug)]
pub(crate) struct Meters {
    permits: IntCounter,
    denies: IntCounter,
    pub(crate) rejected: IntCounter,
    pub(crate) duration: Histogram,
    pub(crate) unknown_attributes: IntCounter,
    pub(crate) policy_errors: IntCounter,
    reloads: IntCounterVec,
    turned_away: IntCounterVec,
    searches: IntCounterVec,
    search_duration: Histogram,
    search_decisions: IntCounter,
    pub(crate) epoch: IntGauge,
    revision: IntGauge,
    entities: IntGauge,
    entities_bytes: IntGauge,
}

/// What attribute providers are counted by.
#[derive(Debug)]
pub(crate) struct ProvidersMeters {
    wanted: IntCounterVec,
    durations: HistogramVec,
}

/// One provider's part of them.
#[derive(Debug)]
pub(crate) struct ProviderMeters {
    had: IntCounter,
    failed: IntCounter,
    duration: Histogram,
}

impl ProvidersMeters {
    pub(crate) fn new(metrics: &Metrics) -> Result<Self, MetricError> {
        Ok(Self {
            wanted: metrics.counters(
                "pdp_attributes_wanted_total",
                "Entities whose attributes were wanted from a provider, from memory or not: \
                 `had` or `failed`.",
                &["provider", "result"],
            )?,
            durations: metrics.latencies(
                "pdp_attributes_duration_seconds",
                "Time of asking an attribute provider about one entity.",
                &["provider"],
            )?,
        })
    }

    pub(crate) fn of(&self, provider: &str) -> ProviderMeters {
        ProviderMeters {
            had: self.wanted.with_label_values(&[provider, "had"]),
            failed: self.wanted.with_label_values(&[provider, "failed"]),
            duration: self.durations.with_label_values(&[provider]),
        }
    }
}

impl ProviderMeters {
    pub(crate) fn wanted(&self, had: bool) {
        if had { &self.had } else { &self.failed }.inc();
    }

    pub(crate) fn asked(&self, took: std::time::Duration) {
        self.duration.observe(took.as_secs_f64());
    }
}

impl Meters {
    pub(crate) fn new(metrics: &Metrics) -> Result<Self, MetricError> {
        let decisions = metrics.counters(
            "pdp_decisions_total",
            "Decisions by what they were; `rejected` is a question that could not be used.",
            &["decision"],
        )?;
        Ok(Self {
            permits: decisions.with_label_values(&["permit"]),
            denies: decisions.with_label_values(&["deny"]),
            rejected: decisions.with_label_values(&["rejected"]),
            duration: metrics.latency(
                "pdp_decision_duration_seconds",
                "Time of one decision, its log record not included.",
            )?,
            unknown_attributes: metrics.counter(
                "pdp_unknown_attributes_total",
                "Attributes in questions that the schema does not know; they are ignored.",
            )?,
            policy_errors: metrics.counter(
                "pdp_policy_errors_total",
                "Policies that could not be evaluated for a question.",
            )?,
            reloads: metrics.counters(
                "pdp_snapshot_reloads_total",
                "Changed policy folders by whether they were taken: `ok` or `refused`.",
                &["result"],
            )?,
            turned_away: metrics.counters(
                "pdp_turned_away_total",
                "Requests that were not taken on, by reason: `rate`, `bodies`, `requests` or `searches`.",
                &["reason"],
            )?,
            searches: metrics.counters(
                "pdp_searches_total",
                "Pages of search results by what was looked for.",
                &["kind"],
            )?,
            search_duration: metrics.latency(
                "pdp_search_duration_seconds",
                "Time of one page of search results.",
            )?,
            search_decisions: metrics.counter(
                "pdp_search_decisions_total",
                "Candidates that were decided for searches.",
            )?,
            epoch: metrics.gauge(
                "pdp_snapshot_epoch",
                "Counts the snapshots of this process.",
            )?,
            revision: metrics.gauge(
                "pdp_entities_revision",
                "The last change of written entities that decisions are made by.",
            )?,
            entities: metrics.gauge("pdp_entities", "Entities in the store, actions included.")?,
            entities_bytes: metrics.gauge(
                "pdp_entities_bytes",
                "About how many bytes of memory the store of entities takes.",
            )?,
        })
    }

    pub(crate) fn decision(&self, decision: Decision) {
        match decision {
            Decision::Permit => self.permits.inc(),
            Decision::Deny => self.denies.inc(),
        }
    }

    pub(crate) fn entities(&self, store: &EntityStore, revision: u64) {
        let number = |count| i64::try_from(count).unwrap_or(i64::MAX);
        self.revision
            .set(i64::try_from(revision).unwrap_or(i64::MAX));
        self.entities.set(number(store.len()));
        self.entities_bytes.set(number(store.bytes()));
    }

    pub(crate) fn reload(&self, taken: bool) {
        let result = if taken { "ok" } else { "refused" };
        self.reloads.with_label_values(&[result]).inc();
    }

    pub(crate) fn turned_away(&self, reason: &str) {
        self.turned_away.with_label_values(&[reason]).inc();
    }

    pub(crate) fn search(&self, kind: SearchKind, took: std::time::Duration, decided: usize) {
        self.searches.with_label_values(&[kind.as_str()]).inc();
        self.search_duration.observe(took.as_secs_f64());
        self.search_decisions.inc_by(decided as u64);
    }
}

/// What became of the decision log's records.
#[derive(Debug)]
pub(crate) struct LogMeters {
    /// As the sink counts them.
    pub(crate) dropped: SoFar,
    pub(crate) left_out: IntCounter,
}

impl LogMeters {
    pub(crate) fn new(metrics: &Metrics) -> Result<Self, MetricError> {
        Ok(Self {
            dropped: SoFar::of(metrics.counter(
                "pdp_decision_log_dropped_total",
                "Decision-log records that were lost to a slow sink.",
            )?),
            left_out: metrics.counter(
                "pdp_decision_log_left_out_total",
                "Decisions that the decision log leaves out, as it is told to.",
            )?,
        })
    }
}

/// A counter of what somebody else counts.
#[derive(Debug)]
pub(crate) struct SoFar {
    counter: IntCounter,
    seen: AtomicU64,
}

impl SoFar {
    fn of(counter: IntCounter) -> Self {
        Self {
            counter,
            seen: AtomicU64::new(0),
        }
    }

    pub(crate) fn is_now(&self, so_far: u64) {
        if so_far <= self.seen.load(Ordering::Relaxed) {
            return;
        }
        let seen = self.seen.fetch_max(so_far, Ordering::Relaxed);
        if so_far > seen {
            self.counter.inc_by(so_far - seen);
        }
    }
}
