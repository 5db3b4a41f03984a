//! Another configuration for a gateway that runs. All of it is in force, or nothing of it.
//!
//! What is made of it (routes, upstreams, issuers, limits, caches) is made anew, beside what is there, and takes over
//! on each thread between two requests: of one connection, the next request is answered by it. What has begun goes on
//! by the configuration that it began with, still held against its token and decision, until it ends.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use service_kit::{LineSink, Tasks};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::assemble::{assemble, seed, workers};
use super::lines::{OpenLines, Sinks};
use super::{GatewayParts, RunningGateway};
use crate::config::{AcmeConfig, Config};
use crate::core::Core;
use crate::error::GatewayError;
use crate::identity::issuer::Kind;
use crate::identity::jwks::Told;
use crate::purge::Remembering;
use crate::serve::Succession;
use crate::upstream::keeper::Keeper;
use crate::worker::Seed;

/// What only a restart changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fixed {
    listen: SocketAddr,
    pub(super) forward_auth: Vec<SocketAddr>,
    pub(super) workers: usize,
    max_event_lag_ms: u64,
    /// Connections that are open would go on without it.
    is_tls: bool,
    /// All of it; what is in files of its own is not looked at.
    acme: Option<AcmeConfig>,
}

impl Fixed {
    pub(super) fn of(config: &Config) -> Self {
        let gateway = &config.gateway;
        Self {
            listen: gateway.listen,
            forward_auth: gateway.forward_auth.iter().map(|it| it.listen).collect(),
            workers: workers(config),
            max_event_lag_ms: gateway.cache.max_event_lag_ms,
            is_tls: gateway.tls.is_some(),
            acme: gateway.acme.clone(),
        }
    }

    /// The keys by which two differ.
    fn differences(&self, other: &Self) -> Vec<&'static str> {
        let all = [
            ("gateway.listen", self.listen == other.listen),
            (
                "gateway.forward_auth[].listen",
                self.forward_auth == other.forward_auth,
            ),
            ("gateway.workers", self.workers == other.workers),
            (
                "gateway.cache.max_event_lag_ms",
                self.max_event_lag_ms == other.max_event_lag_ms,
            ),
            ("gateway.tls", self.is_tls == other.is_tls),
            ("gateway.acme", self.acme == other.acme),
        ];
        let differing = all.into_iter().filter(|(_, is_same)| !is_same);
        differing.map(|(key, _)| key).collect()
    }
}

/// A configuration that can be put in force. Nothing of it is.
#[derive(Debug)]
pub struct Prepared {
    seed: Seed,
    sinks: (LineSink, Vec<OpenLines>),
    remembering: Remembering,
    following: Tasks,
}

impl RunningGateway {
    /// Replaces the configuration. When this returns, every request that comes is answered by the new one; with an
    /// error, everything is as it was.
    ///
    /// Paths in the configuration are relative to `base`.
    pub async fn reload(&mut self, config: &Config, base: &Path) -> Result<(), GatewayError> {
        let prepared = self.prepare(config, base).await?;
        Box::pin(self.put_in_force(prepared)).await
    }

    /// All of [`RunningGateway::reload`] that can be wrong with a configuration. What is not put in force has to be
    /// [abandoned](RunningGateway::abandon).
    pub async fn prepare(
        &mut self,
        config: &Config,
        base: &Path,
    ) -> Result<Prepared, GatewayError> {
        let differences = self.fixed.differences(&Fixed::of(config));
        if !differences.is_empty() {
            return Err(GatewayError::NeedsRestart(differences));
        }
        let before = self.caches.now().core;
        let core = Arc::new(assemble(config, base, &self.parts, Some(&before))?);
        let following = follow(&core, &self.parts);
        match self.open(core.clone(), config, base).await {
            Ok((seed, sinks)) => Ok(Prepared {
                seed,
                sinks,
                remembering: Remembering::of(core, config),
                following,
            }),
            Err(error) => {
                self.give_up(&core, &following);
                Err(error)
            }
        }
    }

    async fn open(
        &mut self,
        core: Arc<Core>,
        config: &Config,
        base: &Path,
    ) -> Result<(Seed, (LineSink, Vec<OpenLines>)), GatewayError> {
        read_keys(&core).await?;
        let Sinks {
            access_log,
            notifications,
            open,
        } = self.lines.open(&config.gateway, base)?;
        let seed = seed(core, config, notifications, &self.parts)?;
        Ok((seed, (access_log, open)))
    }

    /// Nothing of it is left.
    pub fn abandon(&self, prepared: &Prepared) {
        self.give_up(&prepared.seed.core, &prepared.following);
    }

    fn give_up(&self, core: &Core, following: &Tasks) {
        following.drain();
        forget_endpoints(core, &self.caches.now().core, &self.parts);
    }

    /// Fails where the gateway is stopping, and nowhere else.
    pub async fn put_in_force(&mut self, prepared: Prepared) -> Result<(), GatewayError> {
        let before = self.caches.now().core;
        begin(&prepared.seed.core, &self.parts, &prepared.following);
        if let Err(error) = self.succeed(&prepared).await {
            self.abandon(&prepared);
            return Err(error);
        }
        let Prepared {
            seed: Seed { core, .. },
            sinks: (_, open),
            remembering,
            following,
            ..
        } = prepared;
        self.lines.keep(open);
        self.caches.replace(remembering);
        std::mem::replace(&mut self.following, following).drain();
        forget_issuers(&before, &core, &self.parts);
        forget_endpoints(&before, &core, &self.parts);
        Ok(())
    }

    async fn succeed(&self, prepared: &Prepared) -> Result<(), GatewayError> {
        for thread in &self.threads {
            let (done, is_done) = oneshot::channel();
            let succession = Succession {
                seed: prepared.seed.clone(),
                sink: prepared.sinks.0.clone(),
                done,
            };
            let sent = thread.successions.send(succession).await;
            sent.map_err(|_| GatewayError::Stopping)?;
            is_done.await.map_err(|_| GatewayError::Stopping)??;
        }
        Ok(())
    }
}

/// Begins to keep up to date what is read again and again: until the tasks that come back drain.
pub(super) fn follow(core: &Core, parts: &GatewayParts) -> Tasks {
    let tasks = parts.tasks.child();
    for (index, issuer) in core.plan.issuers.iter().enumerate() {
        let readings = core.metrics.key_readings(index);
        if let (Kind::Jwt(rules), Some(readings)) = (&issuer.kind, readings) {
            let told = Told {
                issuer: issuer.name.clone(),
                readings: readings.clone(),
                health: parts.health.clone(),
            };
            rules.keys.clone().follow(told, &tasks);
        }
    }
    if let Some(tls) = &core.tls {
        tls.follow(&tasks);
    }
    for upstream in &core.plan.upstreams {
        if let Some(tls) = &upstream.transport.tls {
            tls.follow(&tasks);
        }
    }
    tasks
}

/// It comes in force: endpoints are looked after, and what is said of them from now on is said of these.
pub(super) fn begin(core: &Core, parts: &GatewayParts, tasks: &Tasks) {
    for (index, (plan, roster)) in core.plan.upstreams.iter().zip(&core.rosters).enumerate() {
        for endpoint in roster.endpoints() {
            if let Some(metrics) = &endpoint.metrics {
                // Nobody knows better at first.
                metrics.up.set(1);
            }
        }
        let keeper = core
            .metrics
            .upstream(index)
            .and_then(|metrics| Keeper::new(plan, roster, metrics, &parts.health));
        if let Some(keeper) = keeper {
            tasks.spawn(keeper.run(tasks.draining()));
        }
    }
}

/// Waits for keys without which those who were known a moment ago would not be.
async fn read_keys(core: &Core) -> Result<(), GatewayError> {
    for issuer in core.plan.issuers.iter() {
        let Kind::Jwt(rules) = &issuer.kind else {
            continue;
        };
        if rules.keys.version(Instant::now()).is_none() {
            rules.keys.renew().await;
        }
        if rules.keys.version(Instant::now()).is_none() {
            return Err(GatewayError::NoKeys(issuer.name.to_string()));
        }
    }
    Ok(())
}

/// Nobody looks any more at the keys of issuers that are gone.
fn forget_issuers(before: &Core, now: &Core, parts: &GatewayParts) {
    let gone = before.plan.issuers.iter();
    let gone = gone.filter(|old| now.plan.issuers.iter().all(|new| new.name != old.name));
    for issuer in gone {
        parts.health.forget(&Told::part(&issuer.name));
    }
}

/// Nobody looks any more after upstreams and endpoints that are gone: what was said of them last would stand for
/// ever.
fn forget_endpoints(before: &Core, now: &Core, parts: &GatewayParts) {
    for (index, (old, roster)) in before
        .plan
        .upstreams
        .iter()
        .zip(&before.rosters)
        .enumerate()
    {
        let mut upstreams = now.plan.upstreams.iter().zip(&now.rosters);
        let new = upstreams.find(|(new, _)| new.name == old.name);
        if !new.is_some_and(|(new, _)| new.is_kept()) {
            parts.health.forget(&Keeper::part(&old.name));
        }
        let mut stays: Vec<_> = new.map_or_else(Vec::new, |(_, roster)| roster.endpoints());
        stays.retain(|endpoint| endpoint.metrics.is_some());
        let gone = roster.endpoints().into_iter();
        let gone = gone.filter(|old| stays.iter().all(|new| new.plan.name != old.plan.name));
        if let Some(metrics) = before.metrics.upstream(index) {
            gone.for_each(|endpoint| metrics.forget(&endpoint.plan.name));
        }
    }
}
