//! Purging: what caches know of somebody, of a token or of a route is forgotten, by every worker of every gateway that
//! follows the event log. Nothing is revoked by it: who asks next is asked about anew.

use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use service_kit::Secret;
use store::{Store, StoreError};

use crate::config::Config;
use crate::core::Core;
use crate::events::{CacheEvent, Purge, token_name};
use crate::listed::{self, RouteState};

/// What is to be forgotten: one of these.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum PurgeRequest {
    /// A subject, by its id, as the decision point is told it.
    Subject(String),
    /// A client, by its id.
    Client(String),
    /// An access token. Neither logged nor written anywhere.
    Token(Secret),
    /// A route, by its template. Decisions alone.
    Route(String),
    /// All; the value must be true.
    Everything(bool),
}

/// Why nothing was purged.
#[derive(Debug, thiserror::Error)]
pub enum PurgeError {
    #[error("there is no route `{0}`")]
    NoRoute(String),
    #[error("`everything` must be true")]
    NotEverything,
    #[error("the event log cannot be written")]
    Store(#[from] StoreError),
}

/// What a gateway remembers.
#[derive(Debug, Serialize)]
pub struct CacheState {
    pub tokens: CacheCounts,
    pub decisions: CacheCounts,
    /// Streams and tunnels whose grounds are looked at.
    pub streams: i64,
}

/// Of one kind of answer, since the process began.
#[derive(Debug, Serialize)]
pub struct CacheCounts {
    /// Remembered now, by all workers; some seconds old.
    pub entries: i64,
    /// At most, by one worker.
    pub capacity: usize,
    /// Answers from a worker's memory,
    pub l1: u64,
    /// from the store that gateways share,
    pub l2: u64,
    /// and from whoever was asked.
    pub remote: u64,
    /// Older than they should be, because nobody could be asked.
    pub stale: u64,
}

/// The caches of a gateway that runs. Clones share.
#[derive(Debug, Clone)]
pub struct Caches {
    pub(crate) of: Arc<RwLock<Remembering>>,
    pub(crate) events: Arc<dyn Store>,
    pub(crate) event_log: String,
}

/// By which configuration a gateway remembers.
#[derive(Debug, Clone)]
pub(crate) struct Remembering {
    pub(crate) core: Arc<Core>,
    pub(crate) token_capacity: usize,
    pub(crate) decision_capacity: usize,
    pub(crate) routes: Arc<[RouteState]>,
}

impl Remembering {
    pub(crate) fn of(core: Arc<Core>, config: &Config) -> Self {
        Self {
            core,
            token_capacity: config.gateway.cache.tokens,
            decision_capacity: config.gateway.cache.decisions,
            routes: listed::routes(config),
        }
    }
}

impl Caches {
    /// Announces a purge, durably. Gateways follow within moments, this one included.
    pub async fn purge(&self, request: PurgeRequest) -> Result<(), PurgeError> {
        let purge = match request {
            PurgeRequest::Subject(subject) => Purge::Subject(subject),
            PurgeRequest::Client(client) => Purge::Client(client),
            PurgeRequest::Token(token) => {
                let plan = self.now().core.plan.clone();
                let secret = plan.cache_secret.as_ref();
                Purge::Token(token_name(secret, token.reveal().as_bytes()))
            }
            PurgeRequest::Route(template) => {
                let plan = self.now().core.plan.clone();
                let mut routes = plan.routes.iter();
                if !routes.any(|route| *route.template == *template) {
                    return Err(PurgeError::NoRoute(template));
                }
                Purge::Route(template)
            }
            PurgeRequest::Everything(true) => Purge::Everything,
            PurgeRequest::Everything(false) => return Err(PurgeError::NotEverything),
        };
        let event = CacheEvent::CachePurged { purge };
        let event = Bytes::from(serde_json::to_vec(&event).unwrap_or_default());
        self.events.append(&self.event_log, event).await?;
        Ok(())
    }

    pub(crate) fn now(&self) -> Remembering {
        self.of
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn replace(&self, next: Remembering) {
        *self.of.write().unwrap_or_else(PoisonError::into_inner) = next;
    }

    pub fn state(&self) -> CacheState {
        let now = self.now();
        let metrics = &now.core.metrics;
        let (tokens, decisions) = (metrics.swaps_by_source(), metrics.decisions_by_source());
        let counts = |entries, capacity, [l1, l2, remote, stale]: [u64; 4]| CacheCounts {
            entries,
            capacity,
            l1,
            l2,
            remote,
            stale,
        };
        CacheState {
            tokens: counts(metrics.token_entries.get(), now.token_capacity, tokens),
            decisions: counts(
                metrics.decision_entries.get(),
                now.decision_capacity,
                decisions,
            ),
            streams: metrics.streams.get(),
        }
    }
}
