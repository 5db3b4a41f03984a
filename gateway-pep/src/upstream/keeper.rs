//! Looks after the endpoints of one upstream, once for the process: has them asked, ejects those that fail, takes
//! them back, and tells workers.

use std::sync::Arc;

use service_kit::health::Status;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::check;
use super::health::{Health, Shares};
use super::roster::{Endpoint, Roster};
use crate::metrics::upstream::UpstreamMetrics;
use crate::plan::UpstreamPlan;

/// Of one upstream.
#[derive(Debug)]
pub(crate) struct Keeper {
    name: Arc<str>,
    roster: Arc<Roster>,
    endpoints: Vec<Arc<Endpoint>>,
    health: Health,
    told: Option<Shares>,
    /// What the process says of itself.
    readiness: service_kit::Health,
    metrics: UpstreamMetrics,
}

impl Keeper {
    /// None: no endpoint ever comes or goes.
    pub(crate) fn new(
        plan: &UpstreamPlan,
        roster: &Arc<Roster>,
        metrics: &UpstreamMetrics,
        readiness: &service_kit::Health,
    ) -> Option<Self> {
        plan.health.is_any().then(|| Self {
            name: plan.name.clone(),
            roster: roster.clone(),
            endpoints: roster.endpoints(),
            health: Health::new(
                plan.health.clone(),
                plan.endpoints.iter().map(|it| it.weight),
            ),
            told: None,
            readiness: readiness.clone(),
            metrics: metrics.clone(),
        })
    }

    /// Until `stop`.
    pub(crate) async fn run(mut self, plan: HealthCheckOf, stop: CancellationToken) {
        let (sender, mut answers) = mpsc::channel(16);
        let mut checks = JoinSet::new();
        if let Some(check) = plan {
            for (index, endpoint) in self.endpoints.iter().enumerate() {
                let sender = sender.clone();
                let told = async move |is_well| {
                    let _ = sender.send((index, is_well)).await;
                };
                checks.spawn(check::run(check.clone(), endpoint.plan.clone(), told));
            }
        }
        loop {
            self.tell();
            let now = Instant::now();
            let next = self.health.next(now);
            let roster = self.roster.clone();
            tokio::select! {
                () = roster.alarm() => self.eject(),
                Some((index, is_well)) = answers.recv() => self.checked(index, is_well),
                () = sleep_until(next.unwrap_or(now)), if next.is_some() => {
                    self.health.pass(Instant::now());
                }
                () = stop.cancelled() => return,
            }
        }
    }

    fn eject(&mut self) {
        for (index, endpoint) in self.endpoints.iter().enumerate() {
            if endpoint.takes_failures() && self.health.eject(index, Instant::now()) {
                let name = &*endpoint.plan.name;
                tracing::warn!(upstream = &*self.name, endpoint = name, "endpoint ejected");
                if let Some(metrics) = &endpoint.metrics {
                    metrics.ejections.inc();
                }
            }
        }
    }

    fn checked(&mut self, index: usize, is_well: bool) {
        self.health.checked(index, is_well, Instant::now());
        let endpoint = self.endpoints.get(index);
        if let Some(metrics) = endpoint.and_then(|it| it.metrics.as_ref()) {
            if is_well {
                &metrics.checks_passed
            } else {
                &metrics.checks_failed
            }
            .inc();
        }
    }

    /// Tells workers and whoever asks, where something has changed.
    fn tell(&mut self) {
        let shares = self.health.shares(Instant::now());
        let before = self.told.replace(shares.clone());
        if before.as_ref() == Some(&shares) {
            return;
        }
        if before
            .as_ref()
            .is_none_or(|it| it.weights != shares.weights)
        {
            self.roster.publish(&shares.weights);
        }
        self.metrics.panic.set(i64::from(shares.is_panic));
        for (index, (endpoint, is_up)) in self.endpoints.iter().zip(&shares.are_up).enumerate() {
            let was_up = before
                .as_ref()
                .and_then(|it| it.are_up.get(index))
                .copied()
                .unwrap_or(true);
            if was_up != *is_up {
                let name = &*endpoint.plan.name;
                tracing::info!(upstream = &*self.name, endpoint = name, is_up, "endpoint");
            }
            if let Some(metrics) = &endpoint.metrics {
                metrics.up.set(i64::from(*is_up));
            }
        }
        self.readiness.set(&part(&self.name), self.status(&shares));
    }

    /// One that is down makes no gateway unready: others would be no better off, and other upstreams are well.
    fn status(&self, shares: &Shares) -> Status {
        let down: Vec<&str> = self
            .endpoints
            .iter()
            .zip(&shares.are_up)
            .filter(|(_, is_up)| !**is_up)
            .map(|(endpoint, _)| &*endpoint.plan.name)
            .collect();
        if down.is_empty() {
            return Status::Ready;
        }
        let (some, all) = (down.len(), self.endpoints.len());
        let all_the_same = if shares.is_panic {
            "; too few are up, so all get requests"
        } else {
            ""
        };
        Status::Stale {
            reason: format!(
                "{some} of {all} endpoints down ({}){all_the_same}",
                down.join(", ")
            ),
        }
    }
}

/// What health calls an upstream.
pub(crate) fn part(upstream: &str) -> String {
    format!("upstream.{upstream}")
}

/// How endpoints are asked, if they are.
pub(crate) type HealthCheckOf = Option<crate::plan::HealthCheck>;
