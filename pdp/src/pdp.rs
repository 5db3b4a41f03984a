//! The PDP as its callers see it: opened on a folder, asked in process or over HTTP.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use authzen::{
    DecisionError, DecisionPoint, Evaluation, EvaluationRequest, EvaluationsRequest, Page,
    SearchRequest, SearchResults, SnapshotVersion,
};
use cedar_policy_core::ast::Var;
use service_kit::{Health, Metrics, SharedClock, Status, Tasks};
use store::{Position, Store};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::callers::{Callers, EntityRight};
use crate::config::{Identifier, PdpConfig};
use crate::decision_log::{Asker, DecisionLog};
use crate::explain::ExplainRight;
use crate::filter::Tables;
use crate::meters::Meters;
use crate::native::{InlineEntities, Partly, Whole};
use crate::room::Room;
use crate::search::{Bounds, PageTokens, Place};
use crate::second_opinion::{SecondOpinion, Taken};
use crate::snapshot::{Answered, Failure, Snapshot};
use crate::{PdpError, RequestProperties};

/// What a PDP is given by the process that runs it.
#[derive(Debug, Clone)]
pub struct PdpParts {
    /// Dates log records.
    pub clock: SharedClock,
    /// Where decisions are counted.
    pub metrics: Metrics,
    /// Told how the policies are, as part `policies`.
    pub health: Health,
    /// Where the watcher runs.
    pub tasks: Tasks,
    /// Where entities are kept that are written while the PDP runs. None: in memory alone.
    pub store: Option<Arc<dyn Store>>,
}

/// A Policy Decision Point. Clones share everything.
#[derive(Clone)]
pub struct Pdp(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) snapshot: ArcSwap<Snapshot>,
    pub(crate) changes: watch::Sender<SnapshotVersion>,
    /// Whoever makes the next snapshot holds this; whoever decides never does.
    pub(crate) turn: Arc<tokio::sync::Mutex<()>>,
    pub(crate) store: Option<Arc<dyn Store>>,
    /// How far the log of written entities has been followed.
    pub(crate) follower: tokio::sync::Mutex<Option<Position>>,
    pub(crate) folder: PathBuf,
    pub(crate) overrides: BTreeMap<String, RequestProperties>,
    pub(crate) identifier: Option<Identifier>,
    pub(crate) callers: Callers,
    pub(crate) entities_without_callers: EntityRight,
    pub(crate) explain_without_callers: ExplainRight,
    pub(crate) limits: Limits,
    pub(crate) inline_entities: InlineEntities,
    pub(crate) room: Room,
    /// Where a database has entities, for data filters.
    pub(crate) tables: Option<Tables>,
    pub(crate) meters: Meters,
    pub(crate) health: Health,
    pub(crate) tasks: Tasks,
    clock: SharedClock,
    log: DecisionLog,
    ids: Ids,
    pages: PageTokens,
    second_opinion: SecondOpinion,
}

/// Bounds of the HTTP API and of the watcher.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) body_bytes: usize,
    pub(crate) json_depth: usize,
    pub(crate) evaluations: usize,
    pub(crate) page: usize,
    pub(crate) search_decisions: usize,
    pub(crate) rescan: std::time::Duration,
    pub(crate) revision_wait: std::time::Duration,
}

/// Decision ids: a random start for the process, then a count.
#[derive(Debug)]
struct Ids {
    prefix: String,
    next: AtomicU64,
}

/// Health part and metric label.
pub(crate) const HEALTH_PART: &str = "policies";

impl Pdp {
    /// Reads the folder and opens the decision log. A folder that is not valid is refused here;
    /// later edits are refused one by one while this first snapshot decides.
    pub fn open(config: &PdpConfig, base: &Path, parts: PdpParts) -> Result<Self, PdpError> {
        let identifier = config.identifier().map_err(PdpError::Config)?;
        let callers = Callers::new(&config.callers, base).map_err(PdpError::Config)?;
        let pages = PageTokens::new(config, base).map_err(PdpError::Config)?;
        let folder = base.join(&config.policies);
        let snapshot = Snapshot::read(&folder, &config.request_properties, 1)?;
        let tables = match &config.filters {
            Some(file) => Some(Tables::open(&base.join(file), &snapshot.loaded.vocabulary)?),
            None => None,
        };
        let meters = Meters::new(&parts.metrics)?;
        meters.epoch.set(1);
        meters.entities(&snapshot.store, 0);
        for warning in &snapshot.loaded.warnings {
            tracing::warn!(%warning, "suspicious policy");
        }
        let second_opinion =
            SecondOpinion::start(config.second_opinion_every, &parts.metrics, &parts.tasks)?;
        parts.health.set(HEALTH_PART, Status::Ready);
        let (changes, _) = watch::channel(snapshot.version.clone());
        Ok(Self(Arc::new(Inner {
            snapshot: ArcSwap::from_pointee(snapshot),
            changes,
            turn: Arc::default(),
            store: parts.store,
            follower: tokio::sync::Mutex::default(),
            folder,
            overrides: config.request_properties.clone(),
            identifier,
            callers,
            entities_without_callers: config.entities_without_callers,
            explain_without_callers: config.explain_without_callers,
            limits: Limits {
                body_bytes: config.max_body_bytes,
                json_depth: config.max_json_depth,
                evaluations: config.max_evaluations,
                page: config.max_page.max(1),
                search_decisions: config.max_search_decisions.max(1),
                rescan: std::time::Duration::from_millis(config.rescan_ms.max(10)),
                revision_wait: std::time::Duration::from_millis(config.max_revision_wait_ms),
            },
            inline_entities: config.inline_entities,
            room: Room::new(
                config.max_concurrent_requests,
                config.max_concurrent_searches,
                std::time::Duration::from_millis(config.max_wait_ms),
            ),
            tables,
            meters,
            health: parts.health,
            tasks: parts.tasks,
            clock: parts.clock,
            log: DecisionLog::open(config, base)?,
            ids: Ids {
                prefix: service_kit::random::id()?,
                next: AtomicU64::new(0),
            },
            pages,
            second_opinion,
        })))
    }

    /// Says which snapshot decides, each time it changes.
    pub fn changes(&self) -> watch::Receiver<SnapshotVersion> {
        self.0.changes.subscribe()
    }
}

impl Inner {
    /// Answers one question from one snapshot, counts it and logs it.
    pub(crate) fn decide(
        &self,
        snapshot: &Arc<Snapshot>,
        request: &EvaluationRequest,
        asker: &Asker,
    ) -> Result<Evaluation, DecisionError> {
        let started = Instant::now();
        let sampled = self.second_opinion.is_wanted();
        let mut answered = snapshot
            .answer(request, self.ids.next(), sampled)
            .inspect_err(|_| {
                self.meters.rejected.inc();
            })?;
        self.account(snapshot, request, &mut answered, asker, started.elapsed());
        Ok(answered.evaluation)
    }

    /// Answers one question in Cedar's words, counted and logged like any; also says which
    /// policies could not be evaluated, and why.
    pub(crate) fn authorize(
        &self,
        snapshot: &Arc<Snapshot>,
        asked: Whole,
        asker: &Asker,
    ) -> Result<(Evaluation, Vec<Failure>), DecisionError> {
        let started = Instant::now();
        let sampled = self.second_opinion.is_wanted();
        let mut answered = snapshot.decide(asked.question, self.ids.next(), sampled)?;
        self.account(
            snapshot,
            &asked.shown,
            &mut answered,
            asker,
            started.elapsed(),
        );
        Ok((answered.evaluation, answered.failures))
    }

    /// Logs that a caller was told what policies leave open.
    pub(crate) fn log_left_open(
        &self,
        kind: &'static str,
        partly: &Partly,
        snapshot: &Snapshot,
        asker: &Asker,
    ) {
        let part = if partly.part == Var::Principal {
            "subject"
        } else {
            "resource"
        };
        let (shown, now) = (&partly.shown, self.clock.now());
        self.log
            .left_open(kind, shown, part, &snapshot.version, asker, now);
    }

    /// Counts an answer, logs it, and hands it on for a second opinion.
    fn account(
        &self,
        snapshot: &Arc<Snapshot>,
        request: &EvaluationRequest,
        answered: &mut Answered,
        asker: &Asker,
        took: std::time::Duration,
    ) {
        if let Some((question, verdict)) = answered.decided.take() {
            self.second_opinion.take(Taken {
                id: answered.evaluation.context.id.clone().unwrap_or_default(),
                snapshot: Arc::clone(snapshot),
                question,
                verdict,
            });
        }
        self.meters.duration.observe(took.as_secs_f64());
        self.meters.decision(answered.evaluation.decision);
        self.meters
            .unknown_attributes
            .inc_by(answered.unknown_attributes);
        self.meters
            .policy_errors
            .inc_by(answered.failures.len() as u64);
        for failure in &answered.failures {
            let Failure {
                policy,
                message,
                place,
            } = failure;
            let place = place.as_deref().unwrap_or_default();
            if answered.denied_by_failure {
                tracing::warn!(
                    policy,
                    place,
                    error = message,
                    "denied: a policy could not be evaluated"
                );
            } else {
                tracing::debug!(
                    policy,
                    place,
                    error = message,
                    "a policy could not be evaluated"
                );
            }
        }
        self.log
            .record(request, answered, asker, self.clock.now(), took);
        self.meters
            .log_lost(self.log.dropped(), self.log.left_out());
    }

    /// Answers many from one snapshot: no two entries are decided by different policies.
    pub(crate) fn decide_many(
        &self,
        request: &EvaluationsRequest,
        asker: &Asker,
    ) -> Result<Vec<Evaluation>, DecisionError> {
        let snapshot = self.snapshot.load_full();
        let mut evaluations = Vec::with_capacity(request.entries.len());
        for entry in &request.entries {
            let evaluation = match entry {
                Ok(entry) => match self.decide(&snapshot, entry, asker) {
                    Ok(evaluation) => evaluation,
                    Err(DecisionError::Rejected { message }) => Evaluation::refused(&message),
                    Err(error) => return Err(error),
                },
                Err(error) => Evaluation::refused(&error.to_string()),
            };
            let decision = evaluation.decision;
            evaluations.push(evaluation);
            if request.semantic.stops_at(decision) {
                break;
            }
        }
        Ok(evaluations)
    }

    /// Answers one page of a search from one snapshot, beside the threads that answer questions.
    pub(crate) async fn search(
        self: &Arc<Self>,
        request: SearchRequest,
        asker: Asker,
    ) -> Result<SearchResults, DecisionError> {
        let inner = Arc::clone(self);
        tokio::task::spawn_blocking(move || inner.search_now(&request, &asker))
            .await
            .map_err(|error| DecisionError::Internal {
                message: error.to_string(),
            })?
    }

    fn search_now(
        &self,
        request: &SearchRequest,
        asker: &Asker,
    ) -> Result<SearchResults, DecisionError> {
        let started = Instant::now();
        let now = self.clock.now();
        let rejected = |message: String| DecisionError::Rejected { message };
        let (question, limit, after) = match (&request.token, &request.question) {
            (Some(token), _) => {
                let place = self
                    .pages
                    .open(request, token, now)
                    .map_err(|error| rejected(error.to_string()))?;
                (place.question, place.limit, Some(place.after))
            }
            (None, Some(question)) => {
                let limit = request.limit.unwrap_or(self.limits.page);
                (question.clone(), limit, None)
            }
            (None, None) => return Err(rejected("`page.token` is missing".into())),
        };
        let snapshot = self.snapshot.load_full();
        let bounds = Bounds {
            results: limit.min(self.limits.page),
            decisions: self.limits.search_decisions,
        };
        let found = snapshot
            .search(&question, after.as_deref(), bounds)
            .inspect_err(|_| self.meters.rejected.inc())?;
        let took = started.elapsed();
        self.meters.search(request.kind, took, found.decided);
        self.log
            .search(&question, &found, &snapshot.version, asker, now, took);
        let next_token = match found.next {
            None => String::new(),
            Some(after) => {
                let place = Place {
                    question,
                    limit,
                    after,
                };
                self.pages
                    .seal(&place, now)
                    .ok_or_else(|| DecisionError::Internal {
                        message: "no page token can be made".into(),
                    })?
            }
        };
        Ok(SearchResults {
            page: Page {
                next_token,
                count: Some(found.results.len()),
            },
            results: found.results,
        })
    }
}

#[async_trait]
impl DecisionPoint for Pdp {
    async fn evaluate(&self, request: &EvaluationRequest) -> Result<Evaluation, DecisionError> {
        self.0
            .decide(&self.0.snapshot.load(), request, &Asker::in_process())
    }

    async fn evaluate_many(
        &self,
        request: &EvaluationsRequest,
    ) -> Result<Vec<Evaluation>, DecisionError> {
        self.0.decide_many(request, &Asker::in_process())
    }

    async fn search(&self, request: &SearchRequest) -> Result<SearchResults, DecisionError> {
        self.0.search(request.clone(), Asker::in_process()).await
    }
}

impl fmt::Debug for Pdp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Pdp")
            .field("folder", &self.0.folder)
            .field("snapshot", &self.0.snapshot.load().version)
            .finish_non_exhaustive()
    }
}

impl Asker {
    fn in_process() -> Self {
        Self {
            caller: "in process".into(),
            request_id: None,
        }
    }
}

impl Ids {
    fn next(&self) -> String {
        let count = self.next.fetch_add(1, Ordering::Relaxed);
        format!("{}-{count:x}", self.prefix)
    }
}
