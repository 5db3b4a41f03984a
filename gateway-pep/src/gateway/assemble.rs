//! What workers grow from, made of a configuration and of what it works with.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use service_kit::tls::Issuance;
use service_kit::{ConfigIssue, LineSink, Tls, descriptors};
use store::Store;

use super::GatewayParts;
use crate::acme::Acme;
use crate::body::Pace;
use crate::cache::decisions::DecisionLimits;
use crate::cache::sealed::Sealed;
use crate::cache::tokens::TokenLimits;
use crate::canonical::Limits;
use crate::capacity::Wanted;
use crate::config::{CacheConfig, Config};
use crate::core::{Core, StreamLimits, Timeouts};
use crate::error::GatewayError;
use crate::events::Feed;
use crate::login::store::SessionStore;
use crate::metrics::GatewayMetrics;
use crate::obligation::rate::Limiter;
use crate::pipeline::refusal::REASONS;
use crate::plan::Plan;
use crate::proofs::Proofs;
use crate::upstream::roster::Roster;
use crate::worker::Seed;

/// Compiles a configuration. Nothing is asked, bound or followed yet.
///
/// `before`: what was made of the one that it replaces.
pub(super) fn assemble(
    config: &Config,
    base: &Path,
    parts: &GatewayParts,
    before: Option<&Core>,
) -> Result<Core, GatewayError> {
    if config.needs_token_service() && parts.introspector.is_none() {
        return Err(GatewayError::NoTokenService);
    }
    let mut plan =
        Plan::compile(config, base, parts.introspector.clone()).map_err(GatewayError::Config)?;
    let fitting = Wanted::of(config, workers(config))
        .fit(descriptors::raise())
        .map_err(|issue| GatewayError::Config(vec![issue]))?;
    fitting.bound(config, &mut plan.upstreams);
    let tls = tls_of(config, base, parts)?;
    let metrics = GatewayMetrics::new(&parts.metrics, &plan, REASONS)?;
    let upstreams = plan.upstreams.iter().enumerate();
    let rosters = upstreams.filter_map(|(index, plan)| {
        let roster = Roster::new(plan, metrics.upstream(index)?);
        Some(Arc::new(roster))
    });
    let rosters = rosters.collect();
    let lag = Duration::from_millis(config.gateway.cache.max_event_lag_ms);
    let feed = before.map_or_else(|| Arc::new(Feed::new(lag)), |before| before.feed.clone());
    let own = before.map_or_else(Arc::default, |before| before.limiter.own.clone());
    let gateway = &config.gateway;
    let patience = Duration::from_millis(gateway.timeouts.ask_ms);
    Ok(Core {
        rosters,
        proofs: Proofs::new(parts.proofs.clone(), patience),
        limiter: Limiter {
            shared: parts.rates.clone(),
            own,
            patience,
        },
        realm: gateway.realm.clone(),
        request_limits: Limits {
            target_bytes: gateway.limits.target_bytes,
            body_bytes: gateway.limits.body_bytes,
            fields: gateway.limits.headers,
        },
        body_pace: Pace {
            idle: Duration::from_secs(gateway.timeouts.idle_body_secs),
            bytes_per_sec: gateway.limits.body_bytes_per_sec,
        },
        head_bytes: gateway.limits.head_bytes,
        max_headers: gateway.limits.headers,
        max_connections: fitting.connections,
        max_connections_per_address: gateway.limits.connections_per_address,
        max_streams: gateway.limits.streams,
        h2c: gateway.h2c,
        tls,
        masked_body_bytes: gateway.limits.masked_body_bytes,
        filtered_elements: gateway.limits.filtered_elements,
        question_body_bytes: gateway.limits.question_body_bytes,
        question_resources: gateway.limits.question_resources,
        timeouts: Timeouts::new(&gateway.timeouts),
        streams: StreamLimits::new(&gateway.streams),
        plan: Arc::new(plan),
        metrics: Arc::new(metrics),
        feed,
        traces: parts.traces.clone(),
        client_traces: gateway.client_traces,
        clock: parts.clock.clone(),
    })
}

/// As many as the machine has cores, where none are said.
pub(super) fn workers(config: &Config) -> usize {
    match config.gateway.workers {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        workers => workers,
    }
}

/// What workers grow from.
pub(super) fn seed(
    core: Arc<Core>,
    config: &Config,
    notifications: Vec<LineSink>,
    parts: &GatewayParts,
) -> Result<Seed, GatewayError> {
    let cache = &config.gateway.cache;
    let ask = Duration::from_millis(config.gateway.timeouts.ask_ms);
    let (token_limits, decision_limits) = limits(cache, ask);
    let shared_ttl = Duration::from_secs(cache.shared_ttl_secs);
    let sealed = |store: &Option<Arc<dyn Store>>, area: &'static str| {
        let (Some(store), Some(secret)) = (store, &core.plan.cache_secret) else {
            return Ok(None);
        };
        Sealed::new(store.clone(), area, secret, shared_ttl)
            .map(Some)
            .ok_or(GatewayError::CacheSecret)
    };
    let shared_tokens = sealed(&parts.shared_tokens, "gateway-token")?;
    let shared_decisions = sealed(&parts.shared_decisions, "gateway-decision")?;
    let sessions = core.plan.logins.as_ref().map(|logins| {
        let (store, log) = (parts.events.clone(), parts.event_log.clone());
        SessionStore::new(store, log, logins.seal.clone(), ask)
    });
    Ok(Seed {
        sessions,
        decisions: parts.decisions.clone(),
        notifications,
        shared_tokens,
        shared_decisions,
        token_limits,
        decision_limits,
        clock_skew: Duration::from_secs(cache.clock_skew_secs),
        remember_revocations: token_limits.ttl
            + shared_ttl
            + Duration::from_secs(cache.clock_skew_secs)
            + ask * 2,
        core,
    })
}

fn limits(cache: &CacheConfig, ask: Duration) -> (TokenLimits, DecisionLimits) {
    let tokens = TokenLimits {
        capacity: cache.tokens,
        ttl: Duration::from_secs(cache.token_ttl_secs),
        inactive_ttl: Duration::from_secs(cache.inactive_ttl_secs),
        ask,
    };
    let decisions = DecisionLimits {
        capacity: cache.decisions,
        ttl: Duration::from_secs(cache.decision_ttl_secs),
        ask,
    };
    (tokens, decisions)
}

/// By certificates of files, and by those that the gateway gets itself.
fn tls_of(config: &Config, base: &Path, parts: &GatewayParts) -> Result<Option<Tls>, GatewayError> {
    let issuance = parts.acme.as_ref().map(Acme::issuance);
    open_tls(config, base, issuance).map_err(|issue| GatewayError::Config(vec![issue]))
}

/// Reads certificates and keys, where clients come by TLS.
pub(super) fn open_tls(
    config: &Config,
    base: &Path,
    issuance: Option<Arc<Issuance>>,
) -> Result<Option<Tls>, ConfigIssue> {
    let gateway = &config.gateway;
    let Some(tls) = &gateway.tls else {
        return Ok(None);
    };
    if gateway.h2c {
        return Err(
            ConfigIssue::new("`gateway.h2c` is for listeners without TLS")
                .hint("leave it out: by TLS, clients speak HTTP/2 where they want to"),
        );
    }
    Tls::open_named("gateway.tls", tls, base, issuance).map(Some)
}
