//! Attributes that are kept elsewhere: before a question is decided, what its policies read of
//! them is fetched from their providers (policy information points).
//!
//! A provider is the authority for the attributes that it is configured for: what the store or the
//! question says of them is not believed. What cannot be had denies, and says so.

mod access;
mod cell;
mod config;
mod http;
mod postgresql;
mod provider;
mod query;
mod source;
mod sqlite;

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::time::Duration;

use cedar_policy_core::ast::{EntityType, EntityUID, ExprKind, Literal, ValueKind, Var};
use futures_util::future::join_all;
use service_kit::{ConfigIssue, Metrics, Tasks, TraceContext};
use smol_str::SmolStr;
use tokio::time::Instant;

pub(crate) use access::{Access, accesses};
pub use config::{AttributeProviderConfig, HttpSource, PostgresqlSource, SqliteSource};

use crate::PdpError;
use crate::answer::Advice;
use crate::engine::{Question, Rule, interpret};
use crate::entities::SliceError;
use crate::mapping::Vocabulary;
use crate::meters::ProvidersMeters;
use crate::snapshot::Snapshot;
use provider::Provider;
use source::Source;

/// All providers, by what they provide.
#[derive(Debug, Default)]
pub(crate) struct Providers {
    providers: Vec<Provider>,
    /// Position of the provider of an attribute, by the attribute and the type of its entity.
    by_attribute: ByAttribute,
}

type ByAttribute = HashMap<SmolStr, HashMap<EntityType, usize>>;

/// For how long an answer holds by what it was completed with: as long as its snapshot decides,
/// where nothing was fetched.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Held(Option<Duration>);

impl Held {
    /// Says so in an answer.
    pub(crate) fn limit(self, advice: &mut Option<Advice>) {
        let Self(Some(held)) = self else {
            return;
        };
        let advice = advice.get_or_insert_default();
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

impl Providers {
    /// Opens what is configured. Types and attributes must be the schema's. A database need not be
    /// there yet.
    pub(crate) fn open(
        configured: &[AttributeProviderConfig],
        base: &Path,
        vocabulary: &Vocabulary,
        metrics: &Metrics,
        tasks: &Tasks,
    ) -> Result<Self, PdpError> {
        if configured.is_empty() {
            return Ok(Self::default());
        }
        let by_attribute = by_attribute(configured, vocabulary).map_err(PdpError::Config)?;
        let meters = ProvidersMeters::new(metrics)?;
        let mut providers = Vec::with_capacity(configured.len());
        for config in configured {
            let one = Provider::open(config, base, tasks, meters.of(&config.name));
            providers.push(one.map_err(|why| PdpError::Config(config.issue(&why)))?);
        }
        providers.iter().for_each(Provider::start);
        Ok(Self {
            providers,
            by_attribute,
        })
    }

    /// What is wrong with the configuration itself; the schema is not read.
    pub(crate) fn check(
        configured: &[AttributeProviderConfig],
        base: &Path,
    ) -> impl Iterator<Item = ConfigIssue> {
        configured.iter().filter_map(move |config| {
            let why = Source::open(config, base, &Tasks::new()).err()?;
            Some(config.issue(&why))
        })
    }

    /// What is configured that the schema does not have.
    pub(crate) fn check_schema(
        configured: &[AttributeProviderConfig],
        vocabulary: &Vocabulary,
    ) -> Option<ConfigIssue> {
        by_attribute(configured, vocabulary).err()
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
                let vocabulary = &snapshot.loaded.vocabulary;
                let said = provider.read(&fetched.said, uid.entity_type(), vocabulary);
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

/// Who provides what. What the schema does not have is refused, and what two provide.
fn by_attribute(
    configured: &[AttributeProviderConfig],
    vocabulary: &Vocabulary,
) -> Result<ByAttribute, ConfigIssue> {
    let mut made = ByAttribute::new();
    for (at, config) in configured.iter().enumerate() {
        let kind = config.kind(vocabulary).map_err(|why| config.issue(&why))?;
        for name in &config.attributes {
            let types = made.entry(name.into()).or_default();
            if let Some(other) = types.insert(kind.clone(), at) {
                let other = configured.get(other).map_or("itself", |one| &one.name);
                return Err(config.issue(&format!("`{name}` is provided by `{other}` already")));
            }
        }
    }
    Ok(made)
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
        ExprKind::Var(Var::Principal) => return Ok(Some((*question.principal).clone())),
        ExprKind::Var(Var::Resource) => return Ok(Some((*question.resource).clone())),
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
