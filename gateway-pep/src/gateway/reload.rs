//! Another configuration for a gateway that runs. All of it is in force, or nothing of it.
//!
//! What is made of it (routes, upstreams, issuers, limits, caches) is made anew, beside what is there, and takes over
//! on each thread between two requests: of one connection, the next request is answered by it. What has begun goes on
//! by the configuration that it began with, still held against its token and decision, until it ends.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use service_kit::Tasks;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::assemble::{assemble, seed, workers};
use super::lines::Sinks;
use super::{GatewayError, GatewayParts, RunningGateway};
use crate::config::Config;
use crate::core::Core;
use crate::identity::issuer::Kind;
use crate::identity::jwks::Told;
use crate::purge::Remembering;
use crate::upstream::keeper::Keeper;
use crate::worker::serve::Succession;

/// What only a restart changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fixed {
    listen: SocketAddr,
    pub(super) forward_auth: Vec<SocketAddr>,
    pub(super) workers: usize,
    max_event_lag_ms: u64,
    /// Connections that are open would go on without it.
    is_tls: bool,
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
        ];
        let differing = all.into_iter().filter(|(_, is_same)| !is_same);
        differing.map(|(key, _)| key).collect()
    }
}

impl RunningGateway {
    /// Replaces the configuration. When this returns, every request that comes is answered by the new one; with an
    /// error, everything is as it was.
    ///
    /// Paths in the configuration are relative to `base`.
    pub async fn reload(&mut self, config: &Config, base: &Path) -> Result<(), GatewayError> {
        let differences = self.fixed.differences(&Fixed::of(config));
        if !differences.is_empty() {
            return Err(GatewayError::NeedsRestart(differences));
        }
        let before = self.caches.now().core;
        let core = Arc::new(assemble(config, base, &self.parts, Some(&before))?);
        let following = follow(&core, &self.parts);
        let replaced = self.replace(core.clone(), config, base).await;
        match &replaced {
            Ok(()) => {
                std::mem::replace(&mut self.following, following).drain();
                forget_issuers(&before, &core, &self.parts);
                forget_endpoints(&before, &core, &self.parts);
            }
            Err(_) => following.drain(),
        }
        replaced
    }

    async fn replace(
        &mut self,
        core: Arc<Core>,
        config: &Config,
        base: &Path,
    ) -> Result<(), GatewayError> {
        read_keys(&core).await?;
        let Sinks {
            access_log,
            notifications,
        } = self.lines.open(&config.gateway, base)?;
        let seed = seed(core.clone(), config, notifications, &self.parts)?;
        for thread in &self.threads {
            let (done, is_done) = oneshot::channel();
            let succession = Succession {
                seed: seed.clone(),
                sink: access_log.clone(),
                done,
            };
            let sent = thread.successions.send(succession).await;
            sent.map_err(|_| GatewayError::Stopping)?;
            is_done.await.map_err(|_| GatewayError::Stopping)??;
        }
        self.caches.replace(Remembering::of(core, config));
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
    for (index, (plan, roster)) in core.plan.upstreams.iter().zip(&core.rosters).enumerate() {
        let keeper = core
            .metrics
            .upstream(index)
            .and_then(|metrics| Keeper::new(plan, roster, metrics, &parts.health));
        if let Some(keeper) = keeper {
            tasks.spawn(keeper.run(tasks.draining()));
        }
    }
    tasks
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
