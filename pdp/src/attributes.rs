//! Attributes that are kept elsewhere: before a question is decided, what its policies read of
//! them is fetched from their providers (policy information points).
//!
//! A provider is the authority for the attributes that it is configured for: what the store or the
//! question says of them is not believed. What cannot be had denies, and says so.

mod asking;
mod bearer;
mod cell;
mod http;
mod postgresql;
mod provider;
mod query;
mod source;
mod sqlite;

use std::collections::HashMap;
use std::path::Path;

use authzen::DecisionError;
use cedar_policy_core::ast::EntityType;
use service_kit::{ConfigIssue, Metrics, Tasks, TraceContext};
use smol_str::SmolStr;
use tokio::time::Instant;

pub(crate) use asking::Asking;

use crate::PdpError;
use crate::answer::{Advice, Unavailable};
use crate::config::AttributeProviderConfig;
use crate::engine::{Question, Rule};
use crate::entities::SliceError;
use crate::mapping::Vocabulary;
use crate::meters::ProvidersMeters;
use crate::residual::{Known, Side};
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
pub(crate) struct Held(Option<Instant>);

impl Held {
    /// What was read has changed already when it is handed out.
    pub(crate) fn not_at_all() -> Self {
        Self(Some(Instant::now()))
    }

    /// Says so in an answer.
    pub(crate) fn limit(self, advice: &mut Option<Advice>) {
        let Self(Some(until)) = self else {
            return;
        };
        let held = until.saturating_duration_since(Instant::now());
        let advice = advice.get_or_insert_default();
        // Whole seconds, and never too many.
        let held = held.as_secs();
        advice.max_age = Some(advice.max_age.map_or(held, |known| known.min(held)));
    }
}

/// Why a question could not be completed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Incomplete {
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    #[error(transparent)]
    Slice(#[from] SliceError),
}

/// Where there is no denial to say it in: a search, or what is left of policies.
impl From<Incomplete> for DecisionError {
    fn from(incomplete: Incomplete) -> Self {
        match incomplete {
            Incomplete::Unavailable(unavailable) => Self::Unavailable(Some(unavailable.into())),
            Incomplete::Slice(error) => Self::Internal {
                message: error.to_string(),
            },
        }
    }
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

    /// What these rules read that providers have. Nothing of it has been fetched yet.
    fn known(&self, rules: &[&Rule], side: Side<'_>) -> Known {
        let mut known = Known::nothing();
        for access in rules.iter().flat_map(|rule| rule.accesses()) {
            let types = self.by_attribute.get(&access.name);
            for (kind, at) in types.into_iter().flatten() {
                if let Some(provider) = self.providers.get(*at) {
                    known.reads(access, side, kind, *at, provider.at_once);
                }
            }
        }
        known
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.providers.is_empty()
    }

    /// The way to them for one request, in whose trace they are asked.
    pub(crate) fn asking<'p>(&'p self, within: Option<&'p TraceContext>) -> Asking<'p> {
        Asking::new(self, within)
    }

    /// Adds to a question what its policies read and providers have.
    pub(crate) async fn complete(
        &self,
        snapshot: &Snapshot,
        question: &mut Question,
        within: Option<&TraceContext>,
    ) -> Result<Held, Incomplete> {
        self.asking(within).complete(snapshot, question).await
    }
}

/// Who provides what. What the schema does not have is refused, and what two provide.
fn by_attribute(
    configured: &[AttributeProviderConfig],
    vocabulary: &Vocabulary,
) -> Result<ByAttribute, ConfigIssue> {
    let mut made = ByAttribute::new();
    for (at, config) in configured.iter().enumerate() {
        let kind = kind_of(config, vocabulary).map_err(|why| config.issue(&why))?;
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

/// The entity type; what the schema does not know is refused.
fn kind_of(
    config: &AttributeProviderConfig,
    vocabulary: &Vocabulary,
) -> Result<EntityType, String> {
    let name = &config.entity_type;
    let kind: EntityType = name
        .parse()
        .map_err(|_| format!("`{name}` is not the name of an entity type"))?;
    let members = vocabulary
        .members(&kind)
        .ok_or_else(|| format!("the schema has no entity type `{name}`"))?;
    if config.attributes.is_empty() {
        return Err("it provides nothing: name `attributes`".into());
    }
    match config
        .attributes
        .iter()
        .find(|own| members.get(own).is_none())
    {
        Some(unknown) => Err(format!(
            "the schema's `{name}` has no attribute `{unknown}`"
        )),
        None => Ok(kind),
    }
}

#[cfg(test)]
mod tests;
