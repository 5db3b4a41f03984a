//! Looks after the endpoints of one upstream, once for the process: has them asked, ejects those that fail, takes
//! them back, and tells workers.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use service_kit::health::Status;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::check;
use super::health::{Health, Shares};
use super::names::{self, Names};
use super::roster::{Candidate, Endpoint, Roster};
use crate::metrics::upstream::UpstreamMetrics;
use crate::plan::{EndpointPlan, HealthCheck, Transport, UpstreamPlan};

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
    check: Option<(HealthCheck, Transport)>,
    /// Whose names are resolved how often.
    names: Option<(Names, Duration)>,
}

/// Those who are asked how they are, and what they have answered.
struct Checks {
    told: mpsc::Sender<(Arc<str>, bool)>,
    running: JoinSet<()>,
    of: HashMap<Arc<str>, AbortHandle>,
}

impl Keeper {
    /// None: no endpoint ever comes or goes.
    pub(crate) fn new(
        plan: &UpstreamPlan,
        roster: &Arc<Roster>,
        metrics: &UpstreamMetrics,
        readiness: &service_kit::Health,
    ) -> Option<Self> {
        let names = |refresh| (Names::new(plan.endpoints.clone()), refresh);
        plan.is_kept().then(|| Self {
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
            check: plan
                .health
                .check
                .clone()
                .map(|check| (check, plan.transport.clone())),
            names: plan.refresh.map(names),
        })
    }

    /// What the readiness of an upstream is called.
    pub(crate) fn part(upstream: &str) -> String {
        format!("upstream.{upstream}")
    }

    /// Until `stop`.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let (told, mut answers) = mpsc::channel(16);
        let (found, mut resolved) = mpsc::channel(1);
        let mut checks = Checks {
            told,
            running: JoinSet::new(),
            of: HashMap::new(),
        };
        let mut resolving = JoinSet::new();
        if let Some((names, refresh)) = self.names.take() {
            let metrics = self.metrics.clone();
            resolving.spawn(resolve(names, refresh, (metrics, found.clone())));
        }
        self.ask(&mut checks);
        loop {
            self.tell();
            let now = Instant::now();
            let next = self.health.next(now);
            let roster = self.roster.clone();
            tokio::select! {
                () = roster.alarm() => self.eject(),
                Some((name, is_well)) = answers.recv() => self.checked(&name, is_well),
                Some(endpoints) = resolved.recv() => self.renew(&endpoints, &mut checks),
                () = sleep_until(next.unwrap_or(now)), if next.is_some() => {
                    self.health.pass(Instant::now());
                }
                () = stop.cancelled() => return,
            }
        }
    }

    /// Has those asked that are not yet, and nobody that is gone.
    fn ask(&self, checks: &mut Checks) {
        let Some(check) = &self.check else {
            return;
        };
        checks.of.retain(|name, running| {
            let stays = self.endpoints.iter().any(|it| it.plan.name == *name);
            if !stays {
                running.abort();
            }
            stays
        });
        while checks.running.try_join_next().is_some() {}
        for endpoint in &self.endpoints {
            let plan = endpoint.plan.clone();
            if checks.of.contains_key(&plan.name) {
                continue;
            }
            let (told, name) = (checks.told.clone(), plan.name.clone());
            let tell = async move |is_well| {
                let _ = told.send((name.clone(), is_well)).await;
            };
            let name = plan.name.clone();
            let running = checks.running.spawn(check::run(check.clone(), plan, tell));
            checks.of.insert(name, running);
        }
    }

    /// The upstream runs elsewhere now.
    fn renew(&mut self, plans: &[EndpointPlan], checks: &mut Checks) {
        let known: Vec<_> = plans
            .iter()
            .map(|plan| self.endpoints.iter().position(|it| it.plan == *plan))
            .collect();
        let is_same = known.len() == self.endpoints.len() && known.iter().all(Option::is_some);
        if is_same {
            return;
        }
        let weights = plans.iter().map(|plan| plan.weight);
        self.health.renew(weights.zip(known.iter().copied()));
        let before = std::mem::take(&mut self.endpoints);
        let endpoint = |(plan, known): (&EndpointPlan, &Option<usize>)| {
            let known = known.and_then(|index| before.get(index)).cloned();
            known.unwrap_or_else(|| self.roster.endpoint(plan, &self.metrics))
        };
        self.endpoints = plans.iter().zip(&known).map(endpoint).collect();
        for gone in &before {
            let stays = self.endpoints.iter();
            if !stays
                .map(|it| &it.plan.name)
                .any(|it| *it == gone.plan.name)
            {
                self.metrics.forget(&gone.plan.name);
            }
        }
        let count = self.endpoints.len();
        tracing::info!(upstream = &*self.name, count, "endpoints have changed");
        self.told = None;
        self.ask(checks);
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

    fn checked(&mut self, name: &str, is_well: bool) {
        let mut endpoints = self.endpoints.iter().enumerate();
        let Some((index, endpoint)) = endpoints.find(|(_, it)| &*it.plan.name == name) else {
            return;
        };
        self.health.checked(index, is_well, Instant::now());
        if let Some(metrics) = &endpoint.metrics {
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
        if before.as_ref().is_none_or(|it| {
            (&it.weights, &it.last_resorts) != (&shares.weights, &shares.last_resorts)
        }) {
            let endpoints = self.endpoints.iter().cloned();
            let weights = shares.weights.iter().zip(&shares.last_resorts);
            let candidates = endpoints
                .zip(weights)
                .map(|(endpoint, (weight, last))| Candidate {
                    endpoint,
                    weight: *weight,
                    last_resort: *last,
                });
            self.roster.publish(candidates.collect());
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
        self.readiness
            .set(&Self::part(&self.name), self.status(&shares));
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

/// Tells where the upstream runs, whenever its names were asked for.
async fn resolve(
    mut names: Names,
    refresh: Duration,
    (metrics, found): (UpstreamMetrics, mpsc::Sender<Vec<EndpointPlan>>),
) {
    loop {
        let failed = names.resolve(names::look_up).await;
        metrics.resolved(failed == 0);
        if found.send(names.endpoints()).await.is_err() {
            return;
        }
        tokio::time::sleep(check::about(refresh)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::GatewayMetrics;

    #[tokio::test]
    async fn who_comes_is_told_who_stays_is_the_same_and_of_who_goes_nothing_is_left() {
        let text = "upstreams: { a: { url: 'http://x', dns: {}, health_check: { path: /h }, \
                    endpoints: ['10.0.0.1:1', '10.0.0.2:1'] } }";
        let plan = crate::plan::tests::compile(text).unwrap();
        let registry = service_kit::Metrics::new();
        let metrics = GatewayMetrics::new(&registry, &plan, &[]).unwrap();
        let upstream = &plan.upstreams[0];
        let of_upstream = metrics.upstream(0).unwrap();
        let roster = Arc::new(Roster::new(upstream, of_upstream));
        let health = service_kit::Health::new();
        let mut keeper = Keeper::new(upstream, &roster, of_upstream, &health).unwrap();
        let (told, _answers) = mpsc::channel(1);
        let mut checks = Checks {
            told,
            running: JoinSet::new(),
            of: HashMap::new(),
        };
        keeper.ask(&mut checks);
        keeper.tell();
        let (version, before) = (roster.version(), roster.endpoints());
        keeper.renew(&upstream.endpoints, &mut checks);
        keeper.tell();
        assert_eq!(roster.version(), version, "nothing has changed");
        let mut plans = upstream.endpoints.clone();
        plans[0].name = "10.0.0.3:1".into();
        keeper.renew(&plans, &mut checks);
        keeper.tell();
        assert!(roster.version() > version);
        let now = roster.endpoints();
        assert_eq!(&*now[0].plan.name, "10.0.0.3:1");
        assert!(Arc::ptr_eq(&now[1], &before[1]));
        let mut asked: Vec<_> = checks.of.keys().map(|name| &**name).collect();
        asked.sort_unstable();
        assert_eq!(asked, ["10.0.0.2:1", "10.0.0.3:1"]);
        let text = registry.render();
        assert!(
            text.contains("10.0.0.3:1") && !text.contains("10.0.0.1:1"),
            "{text}"
        );
        // An answer about who has gone says nothing.
        keeper.checked("10.0.0.1:1", false);
        keeper.renew(&[], &mut checks);
        keeper.tell();
        assert!(checks.of.is_empty() && roster.endpoints().is_empty());
    }
}
