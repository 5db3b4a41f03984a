//! One source of some attributes: asked once, however many want it, and remembered for a while.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cedar_policy_core::ast::{EntityType, EntityUID, Value};
use quick_cache::sync::Cache;
use service_kit::{Tasks, TraceContext};
use smol_str::SmolStr;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::source::{Said, Source};
use crate::config::AttributeProviderConfig;
use crate::engine::Question;
use crate::entities::{Row, id};
use crate::mapping::Vocabulary;
use crate::meters::ProviderMeters;
use crate::snapshot::Snapshot;

/// One source of some attributes of entities of one type.
#[derive(Debug)]
pub(super) struct Provider {
    pub(super) name: String,
    pub(super) attributes: Vec<SmolStr>,
    source: Source,
    timeout: Duration,
    keep: Duration,
    /// It is asked about so many entities at once.
    pub(super) at_once: usize,
    room: Arc<Semaphore>,
    kept: Cache<EntityUID, Arc<Fetched>>,
    meters: ProviderMeters,
}

/// What a provider said of one entity.
#[derive(Debug, Clone)]
pub(super) struct Fetched {
    /// Nothing: there is no such entity.
    pub(super) said: Result<Option<Said>, String>,
    pub(super) until: Instant,
}

/// A failure is believed for so long, so that what is down is not asked by every question.
const FAILURE: Duration = Duration::from_secs(1);

impl Provider {
    /// The error says what is wrong with the configuration.
    pub(super) fn open(
        config: &AttributeProviderConfig,
        base: &Path,
        tasks: &Tasks,
        meters: ProviderMeters,
    ) -> Result<Self, String> {
        Ok(Self {
            name: config.name.clone(),
            attributes: config.attributes.iter().map(SmolStr::from).collect(),
            source: Source::open(config, base, tasks)?,
            timeout: config.timeout(),
            keep: Duration::from_secs(config.cache_seconds),
            at_once: config.at_once(),
            room: Arc::new(Semaphore::new(config.at_once())),
            kept: Cache::new(config.max_entries.max(1)),
            meters,
        })
    }

    /// Tries what it can be asked by, and logs what does not work.
    pub(super) fn start(&self) {
        self.source.start(&self.name, &self.room);
    }

    /// What it says of an entity, from memory or asked now: once, however many want it.
    pub(super) async fn get(&self, uid: &EntityUID, within: Option<&TraceContext>) -> Arc<Fetched> {
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
        let said = match Arc::clone(&self.room).acquire_owned().await {
            Ok(place) => self.source.ask(&self.name, id(uid), within, place).await,
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

    /// What was said, by the schema of now: it may have changed since.
    pub(super) fn read(
        &self,
        said: &Result<Option<Said>, String>,
        kind: &EntityType,
        vocabulary: &Vocabulary,
    ) -> Result<Vec<(SmolStr, Value)>, String> {
        let object = match said {
            Ok(Some(said)) => Some(said.object(vocabulary.members(kind))?),
            Ok(None) => None,
            Err(why) => return Err(why.clone()),
        };
        vocabulary.provided(kind, &self.attributes, object.as_deref())
    }

    /// Puts what was said in the place of whatever else is known of the same attributes.
    pub(super) fn lay_over(
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
        let mut attributes: BTreeMap<SmolStr, Value> = known
            .into_iter()
            .flat_map(Row::attributes)
            .filter(|(name, _)| !self.attributes.contains(name))
            .map(|(name, value)| (name.clone(), value.value()))
            .collect();
        attributes.extend(said);
        let row = Row::with_attributes(uid.clone(), known, attributes);
        question.overlays.insert(Arc::new(row));
    }
}
