//! Attributes that are kept elsewhere: before a question is decided, what its policies read of
//! them is fetched from their providers (policy information points).
//!
//! A provider is the authority for the attributes that it is configured for: what the store or the
//! question says of them is not believed. What cannot be had denies, and says so.

mod access;
mod config;
mod http;

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use authzen::{Evaluation, Properties};
use cedar_policy_core::ast::{EntityType, EntityUID, ExprKind, Literal, Value, ValueKind, Var};
use futures_util::future::join_all;
use quick_cache::sync::Cache;
use service_kit::{ConfigIssue, TraceContext};
use smol_str::SmolStr;
use tokio::sync::Semaphore;
use tokio::time::Instant;

pub(crate) use access::{Access, accesses};
pub use config::{AttributeProviderConfig, HttpSource};

use crate::PdpError;
use crate::engine::{Question, Rule, interpret};
use crate::entities::{Row, SliceError, id};
use crate::mapping::Vocabulary;
use crate::meters::{ProviderMeters, ProvidersMeters};
use crate::snapshot::Snapshot;

/// All providers, by what they provide.
#[derive(Debug, Default)]
pub(crate) struct Providers {
    providers: Vec<Provider>,
    /// Position of the provider of an attribute, by the attribute and the type of its entity.
    by_attribute: HashMap<SmolStr, HashMap<EntityType, usize>>,
}

/// One source of some attributes of entities of one type.
#[derive(Debug)]
struct Provider {
    name: String,
    attributes: Vec<SmolStr>,
    source: http::Source,
    timeout: Duration,
    keep: Duration,
    /// At once.
    room: Semaphore,
    kept: Cache<EntityUID, Arc<Fetched>>,
    meters: ProviderMeters,
}

/// What a provider said of one entity.
#[derive(Debug, Clone)]
struct Fetched {
    /// Nothing: there is no such entity.
    said: Result<Option<Properties>, String>,
    until: Instant,
}

/// For how long an answer holds by what it was completed with: as long as its snapshot decides,
/// where nothing was fetched.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Held(Option<Duration>);

impl Held {
    /// Says so in an answer.
    pub(crate) fn limit(self, evaluation: &mut Evaluation) {
        let Self(Some(held)) = self else {
            return;
        };
        let advice = evaluation.context.cache.get_or_insert_default();
        // Whole seconds, and never too many.
        let held = held.as_secs();
        advice.max_age = Some(advice.max_age.map_or(held, |known| known.min(held)));
    }
}

/// Attributes that a decision needs cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("attributes cannot be had from `{provider}`")]
pub(crate) struct Unavailable {
    pub(crate) provider: String,
}

/// A policy reads what only a provider knows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "policy `{policy}` reads `{attribute}`, which is fetched from an attribute provider for one \
     question at a time: what leaves a side of the question open cannot be answered"
)]
pub(crate) struct ReadElsewhere {
    policy: String,
    attribute: SmolStr,
}

/// Why a question could not be completed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Incomplete {
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    #[error(transparent)]
    Slice(#[from] SliceError),
}

/// A failure is believed for so long, so that what is down is not asked by every question.
const FAILURE: Duration = Duration::from_secs(1);

impl Providers {
    /// Opens what is configured. Types and attributes must be the schema's.
    pub(crate) fn open(
        configured: &[AttributeProviderConfig],
        base: &Path,
        vocabulary: &Vocabulary,
        metrics: &service_kit::Metrics,
    ) -> Result<Self, PdpError> {
        let mut made = Self::default();
        if configured.is_empty() {
            return Ok(made);
        }
        let meters = ProvidersMeters::new(metrics)?;
        for config in configured {
            let place = config.place();
            let refuse =
                |why: String| PdpError::Config(ConfigIssue::new(format!("{place}: {why}")));
            let kind = config.kind(vocabulary).map_err(refuse)?;
            let at = made.providers.len();
            for name in &config.attributes {
                let types = made.by_attribute.entry(name.into()).or_default();
                if let Some(other) = types.insert(kind.clone(), at) {
                    let other = made.providers.get(other).map_or("itself", |one| &one.name);
                    return Err(refuse(format!("`{name}` is provided by `{other}` already")));
                }
            }
            made.providers.push(Provider {
                name: config.name.clone(),
                attributes: config.attributes.iter().map(SmolStr::from).collect(),
                source: http::Source::open(&config.name, &config.http, base).map_err(refuse)?,
                timeout: Duration::from_millis(config.timeout_ms.max(1)),
                keep: Duration::from_secs(config.cache_seconds),
                room: Semaphore::new(config.max_concurrent.max(1)),
                kept: Cache::new(config.max_entries.max(1)),
                meters: meters.of(&config.name),
            });
        }
        Ok(made)
    }

    /// What is wrong with the configuration itself; the schema is not read.
    pub(crate) fn check(
        configured: &[AttributeProviderConfig],
        base: &Path,
    ) -> impl Iterator<Item = ConfigIssue> {
        configured.iter().filter_map(move |config| {
            let why = http::Source::open(&config.name, &config.http, base).err()?;
            Some(ConfigIssue::new(format!("{}: {why}", config.place())))
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.providers.is_empty()
    }

    /// Refuses what leaves a side open where policies read what a provider has: it would have to
    /// be asked about every entity that there may be. The kinds are the principal's type, the
    /// action, and the resource's type.
    pub(crate) fn refuse_open<'a>(
        &self,
        snapshot: &Snapshot,
        kinds: impl IntoIterator<Item = (&'a EntityType, &'a EntityUID, &'a EntityType)>,
    ) -> Result<(), ReadElsewhere> {
        if self.providers.is_empty() {
            return Ok(());
        }
        let rules = &snapshot.loaded.rules;
        for (principal, action, resource) in kinds {
            for rule in rules.of_kind(principal, action, resource, &snapshot.store) {
                let is_elsewhere = |access: &&Access| self.by_attribute.contains_key(&access.name);
                if let Some(access) = rule.accesses().iter().find(is_elsewhere) {
                    return Err(ReadElsewhere {
                        policy: rule.reason.policy.clone(),
                        attribute: access.name.clone(),
                    });
                }
            }
        }
        Ok(())
    }

    /// Adds to a question what its policies read and providers have. `within` is the trace that
    /// they are asked in.
    pub(crate) async fn complete(
        &self,
        snapshot: &Snapshot,
        question: &mut Question,
        within: Option<&TraceContext>,
    ) -> Result<Held, Incomplete> {
        let mut taken = HashSet::new();
        let mut until: Option<Instant> = None;
        // Each round follows what the one before has fetched: as many as lookups are nested.
        loop {
            let wanted = self.wanted(snapshot, question, &taken)?;
            if wanted.is_empty() {
                let held = until.map(|until| until.saturating_duration_since(Instant::now()));
                return Ok(Held(held));
            }
            let fetched = wanted.iter().map(|(provider, uid)| async move {
                let fetched = provider.get(uid, within).await;
                (*provider, uid.clone(), fetched)
            });
            for (provider, uid, fetched) in join_all(fetched).await {
                // Read each time: the schema may have changed since it was fetched.
                let read = |said: &Option<Properties>| {
                    let vocabulary = &snapshot.loaded.vocabulary;
                    vocabulary.provided(uid.entity_type(), &provider.attributes, said.as_ref())
                };
                let said = fetched.said.as_ref().map_err(String::clone).and_then(read);
                let said = said.map_err(|why| {
                    let provider = provider.name.clone();
                    tracing::warn!(provider, entity = %uid, why, "denied: attributes cannot be had");
                    Unavailable { provider }
                })?;
                until = Some(until.map_or(fetched.until, |until| until.min(fetched.until)));
                provider.lay_over(question, snapshot, &uid, said);
                taken.insert((provider.name.as_str(), uid));
            }
        }
    }

    /// The entities that policies look into for what a provider has, and that it has not been
    /// asked about.
    fn wanted(
        &self,
        snapshot: &Snapshot,
        question: &Question,
        taken: &HashSet<(&str, EntityUID)>,
    ) -> Result<Vec<(&Provider, EntityUID)>, SliceError> {
        let mut wanted: Vec<(&Provider, EntityUID)> = Vec::new();
        for rule in snapshot.loaded.rules.matching(question, &snapshot.store) {
            // What is looked up by something that is still to be fetched cannot be told yet.
            let mut deepest = usize::MAX;
            for access in rule.accesses() {
                if access.depth > deepest {
                    break;
                }
                let Some(types) = self.by_attribute.get(&access.name) else {
                    continue;
                };
                let Some(uid) = looked_into(access, rule, question, snapshot)? else {
                    continue;
                };
                let provider = types.get(uid.entity_type());
                let Some(provider) = provider.and_then(|at| self.providers.get(*at)) else {
                    continue;
                };
                if taken.contains(&(provider.name.as_str(), uid.clone())) {
                    continue;
                }
                deepest = access.depth;
                let is_known = |(other, known): &(&Provider, EntityUID)| {
                    *known == uid && other.name == provider.name
                };
                if !wanted.iter().any(is_known) {
                    wanted.push((provider, uid));
                }
            }
        }
        Ok(wanted)
    }
}

impl Provider {
    /// What it says of an entity, from memory or asked now: once, however many want it.
    async fn get(&self, uid: &EntityUID, within: Option<&TraceContext>) -> Arc<Fetched> {
        let failed = |why: &str, now: Instant| {
            Arc::new(Fetched {
                said: Err(why.to_owned()),
                until: now,
            })
        };
        // Whoever waits for another's question waits no longer than for their own.
        let asked = tokio::time::timeout(self.timeout, self.kept_or_asked(uid, within)).await;
        let fetched =
            asked.unwrap_or_else(|_| failed("it does not answer in time", Instant::now()));
        self.meters.wanted(fetched.said.is_ok());
        fetched
    }

    async fn kept_or_asked(&self, uid: &EntityUID, within: Option<&TraceContext>) -> Arc<Fetched> {
        loop {
            match self.kept.get_value_or_guard_async(uid).await {
                Ok(kept) if Instant::now() < kept.until => return kept,
                Ok(kept) => {
                    // Only if nobody has replaced it meanwhile.
                    let _ = self.kept.remove_if(uid, |now| Arc::ptr_eq(now, &kept));
                }
                Err(guard) => {
                    let fetched = Arc::new(self.ask(uid, within).await);
                    if !self.keep.is_zero() {
                        let _ = guard.insert(Arc::clone(&fetched));
                    }
                    return fetched;
                }
            }
        }
    }

    async fn ask(&self, uid: &EntityUID, within: Option<&TraceContext>) -> Fetched {
        let started = Instant::now();
        let said = match self.room.acquire().await {
            Ok(_place) => self.source.ask(id(uid), within).await,
            Err(_) => Err("it is closed".to_owned()),
        };
        self.meters.asked(started.elapsed());
        let keep = if said.is_ok() {
            self.keep
        } else {
            FAILURE.min(self.keep)
        };
        Fetched {
            said,
            until: Instant::now() + keep,
        }
    }

    /// Puts what was said in the place of whatever else is known of the same attributes.
    fn lay_over(
        &self,
        question: &mut Question,
        snapshot: &Snapshot,
        uid: &EntityUID,
        said: Vec<(SmolStr, Value)>,
    ) {
        let known = question
            .overlays
            .get(uid)
            .or_else(|| snapshot.store.row(uid));
        let mut attributes: std::collections::BTreeMap<SmolStr, Value> = known
            .into_iter()
            .flat_map(Row::attributes)
            .filter(|(name, _)| !self.attributes.contains(name))
            .map(|(name, value)| (name.clone(), value.value()))
            .collect();
        attributes.extend(said);
        let row = Row::with_attributes(uid.clone(), known, attributes);
        question.overlays.insert(uid.clone(), row);
    }
}

/// The entity of an access, as far as it can be told yet. What cannot be evaluated is not looked
/// into.
fn looked_into(
    access: &Access,
    rule: &Rule,
    question: &Question,
    snapshot: &Snapshot,
) -> Result<Option<EntityUID>, SliceError> {
    match access.of.expr_kind() {
        ExprKind::Var(Var::Principal) => return Ok(Some(question.principal.clone())),
        ExprKind::Var(Var::Resource) => return Ok(Some(question.resource.clone())),
        ExprKind::Lit(Literal::EntityUID(uid)) => return Ok(Some((**uid).clone())),
        _ => {}
    }
    let values = interpret(rule.policy(), &[&access.of], question, &snapshot.store)?;
    Ok(values
        .into_iter()
        .find_map(|value| match value.ok()?.value_kind() {
            ValueKind::Lit(Literal::EntityUID(uid)) => Some((**uid).clone()),
            _ => None,
        }))
}

#[cfg(test)]
mod tests;
