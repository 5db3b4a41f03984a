//! The PDP as its callers see it: opened on a folder, asked in process or over HTTP.

mod decide;
mod decide_many;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use authzen::{
    Asked, DecisionContext, DecisionError, DecisionPoint, Evaluation, EvaluationRequest,
    EvaluationsRequest, Page, SearchQuestion, SearchRequest, SearchResults, SnapshotVersion,
};
use serde_json::Value;
use service_kit::random::Ids;
use service_kit::traces::{self, Server, Span};
use service_kit::{Health, Metrics, SharedClock, Status, Tasks, Tls, Traces, UnixTime};
use store::{Position, Store};
use strict_json::Arena;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::PdpError;
use crate::attributes::Providers;
use crate::callers::Callers;
use crate::config::{EntityRight, ExplainRight, Identifier, InlineEntities, PdpConfig, Reading};
use crate::decision_log::{Asker, DecisionLog, Lines};
use crate::filter::Tables;
use crate::handout::Handout;
use crate::metadata::Metadata;
use crate::meters::{LogMeters, Meters};
use crate::native::Partly;
use crate::room::Room;
use crate::search::{Bounds, Holder, PageTokens, Place, Waited, Waiter};
use crate::second_opinion::SecondOpinion;
use crate::snapshot::Snapshot;
use crate::traced;

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
    /// Where spans of requests go.
    pub traces: Traces,
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
    pub(crate) reading: Reading,
    pub(crate) identifier: Option<Identifier>,
    pub(crate) metadata: Option<Metadata>,
    pub(crate) callers: Callers,
    tls: Option<Tls>,
    pub(crate) entities_without_callers: EntityRight,
    pub(crate) explain_without_callers: ExplainRight,
    pub(crate) residuals_without_callers: bool,
    pub(crate) snapshots_without_callers: bool,
    /// Where snapshots are handed out.
    pub(crate) handout: Option<Handout>,
    pub(crate) limits: Limits,
    pub(crate) inline_entities: InlineEntities,
    pub(crate) room: Room,
    /// Where attributes are fetched from that are kept elsewhere.
    pub(crate) providers: Providers,
    /// Where a database has entities, for data filters.
    pub(crate) tables: Option<Tables>,
    pub(crate) meters: Meters,
    pub(crate) health: Health,
    pub(crate) tasks: Tasks,
    pub(crate) traces: Traces,
    /// As spans name it.
    pub(crate) server: Server,
    pub(crate) clock: SharedClock,
    log: DecisionLog,
    /// Of decisions.
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

impl Limits {
    fn of(config: &PdpConfig) -> Self {
        Self {
            body_bytes: config.max_body_bytes,
            json_depth: config.max_json_depth,
            evaluations: config.max_evaluations,
            page: config.max_page.max(1),
            search_decisions: config.max_search_decisions.max(1),
            rescan: std::time::Duration::from_millis(config.rescan_ms.max(10)),
            revision_wait: std::time::Duration::from_millis(config.max_revision_wait_ms),
        }
    }
}

/// Health part and metric label.
pub(crate) const HEALTH_PART: &str = "policies";

impl Pdp {
    /// Reads the folder and opens the decision log. A folder that is not valid is refused here;
    /// later edits are refused one by one while this first snapshot decides.
    pub fn open(config: &PdpConfig, base: &Path, parts: PdpParts) -> Result<Self, PdpError> {
        let folder = base.join(&config.policies);
        let open = || Snapshot::open(&folder, &config.reading(), 1);
        Self::deciding_by(open, config, base, parts)
    }

    /// Opens everything beside the first snapshot, which is read in its turn.
    pub(crate) fn deciding_by(
        snapshot: impl FnOnce() -> Result<Snapshot, PdpError>,
        config: &PdpConfig,
        base: &Path,
        parts: PdpParts,
    ) -> Result<Self, PdpError> {
        config.check_limits().map_err(PdpError::Config)?;
        let identifier = config.identifier().map_err(PdpError::Config)?;
        let callers = Callers::new(config, base).map_err(PdpError::Config)?;
        let tls = callers.tls(config, base).map_err(PdpError::Config)?;
        let pages = PageTokens::new(config, base).map_err(PdpError::Config)?;
        let metadata = Metadata::open(config, base).map_err(PdpError::Config)?;
        let handout = Handout::open(config, base).map_err(PdpError::Config)?;
        let snapshot = snapshot()?;
        let vocabulary = &snapshot.loaded.vocabulary;
        let filters = config.filters.as_ref();
        let tables = filters.map(|file| Tables::open(&base.join(file), vocabulary));
        let tables = tables.transpose()?;
        let configured = &config.attribute_providers;
        let (metrics, tasks) = (&parts.metrics, &parts.tasks);
        let providers = Providers::open(configured, base, vocabulary, metrics, tasks)?;
        let meters = Meters::new(&parts.metrics)?;
        meters.epoch.set(1);
        meters.entities(&snapshot.store, 0);
        snapshot.loaded.warn();
        callers.follow(&parts.metrics, &parts.tasks)?;
        let second_opinion = SecondOpinion::start(
            config.second_opinions().map_err(PdpError::Config)?,
            &parts.metrics,
            &parts.tasks,
        )?;
        parts.health.set(HEALTH_PART, Status::Ready);
        let (changes, _) = watch::channel(snapshot.version.value());
        Ok(Self(Arc::new(Inner {
            snapshot: ArcSwap::from_pointee(snapshot),
            changes,
            turn: Arc::default(),
            store: parts.store,
            follower: tokio::sync::Mutex::default(),
            folder: base.join(&config.policies),
            reading: config.reading(),
            server: config.server(identifier.as_ref()),
            identifier,
            metadata,
            callers,
            tls,
            entities_without_callers: config.entities_without_callers,
            explain_without_callers: config.explain_without_callers,
            residuals_without_callers: config.residuals_without_callers,
            snapshots_without_callers: config.snapshots_without_callers,
            handout,
            limits: Limits::of(config),
            inline_entities: config.inline_entities,
            room: Room::of(config),
            tables,
            providers,
            meters,
            health: parts.health,
            tasks: parts.tasks,
            traces: parts.traces,
            clock: parts.clock,
            log: DecisionLog::open(config, base, LogMeters::new(&parts.metrics)?)?,
            ids: Ids::new()?,
            pages,
            second_opinion,
        })))
    }

    /// By what the HTTP API is to be served, where it is not plain HTTP.
    pub fn tls(&self) -> Option<Tls> {
        self.0.tls.clone()
    }

    /// Says which snapshot decides, each time it changes.
    pub fn changes(&self) -> watch::Receiver<SnapshotVersion> {
        self.0.changes.subscribe()
    }
}

impl Inner {
    /// Where the log's records of a request are gathered.
    pub(crate) fn lines<'l>(&'l self, asker: &'l Asker) -> Lines<'l> {
        self.log.lines(asker)
    }

    /// Logs that a caller was told what policies leave open. `brought` are entities that the question
    /// has with it.
    pub(crate) fn log_left_open(
        &self,
        kind: &'static str,
        partly: &Partly,
        brought: &[Value],
        snapshot: &Snapshot,
        asker: &Asker,
    ) {
        let Partly { shown, part, .. } = partly;
        let (now, version) = (self.clock.now(), &snapshot.version);
        let mut lines = self.log.lines(asker).with_entities(brought);
        lines.left_open(kind, shown, *part, version, now);
    }

    /// Answers one page of a search from one snapshot, beside the threads that answer questions. The
    /// page ends early where nobody waits for it any more, or the process is about to end.
    pub(crate) async fn search(
        self: &Arc<Self>,
        request: SearchRequest,
        asker: Asker,
    ) -> Result<SearchResults, DecisionError> {
        let inner = Arc::clone(self);
        let waiter = Waiter::default();
        let waited = waiter.waited();
        let runtime = Handle::current();
        let searching = move || {
            let mut span = asker.part("search");
            // Nothing is waited for but providers.
            let found = inner.search_now(&request, &asker, &waited, span.as_mut());
            let found = runtime.block_on(found);
            traced::finish(span, found.as_ref().err());
            found
        };
        let mut searching = tokio::task::spawn_blocking(searching);
        let draining = self.tasks.draining();
        let found = tokio::select! {
            found = &mut searching => found,
            () = draining.cancelled() => {
                // What is found by now is a page, too, and says where to go on.
                drop(waiter);
                searching.await
            }
        };
        found.map_err(|error| DecisionError::Internal {
            message: error.to_string(),
        })?
    }

    /// Whose page tokens a caller has: its own alone, where callers have names.
    fn holder<'a>(&self, asker: &'a Asker) -> Holder<'a> {
        Holder(self.callers.are_configured().then_some(&*asker.caller))
    }

    /// What is searched for, how many results make a page, and after which it begins.
    fn wanted(
        &self,
        request: &SearchRequest,
        asker: &Asker,
        now: UnixTime,
    ) -> Result<(SearchQuestion, usize, Option<String>), DecisionError> {
        let rejected = |message: String| DecisionError::Rejected { message };
        match (&request.token, &request.question) {
            (Some(token), _) => {
                let place = self
                    .pages
                    .open(request, token, self.holder(asker), now)
                    .map_err(|error| rejected(error.to_string()))?;
                Ok((place.question, place.limit, Some(place.after)))
            }
            (None, Some(question)) => {
                let limit = request.limit.unwrap_or(self.limits.page);
                Ok((question.clone(), limit, None))
            }
            (None, None) => Err(rejected("`page.token` is missing".into())),
        }
    }

    async fn search_now(
        &self,
        request: &SearchRequest,
        asker: &Asker,
        waited: &Waited,
        span: Option<&mut Span>,
    ) -> Result<SearchResults, DecisionError> {
        let started = Instant::now();
        let now = self.clock.now();
        let (question, limit, after) = self.wanted(request, asker, now)?;
        let snapshot = self.snapshot.load_full();
        let bounds = Bounds {
            results: limit.min(self.limits.page),
            decisions: self.limits.search_decisions,
            waited,
        };
        let asking = self.providers.asking(asker.within(span.as_deref()));
        let found = snapshot.search(&question, now, after.as_deref(), bounds, &asking);
        let found = found.await.inspect_err(|error| {
            if matches!(error, DecisionError::Rejected { .. }) {
                self.meters.rejected.inc();
            }
        })?;
        let took = started.elapsed();
        self.meters.search(request.kind, took, found.decided);
        let mut lines = self.log.lines(asker);
        lines.search(&question, &found, &snapshot.version, now, took);
        traced::searched(span, request.kind, &found, &snapshot.version);
        let next_token = match found.next {
            None => String::new(),
            Some(after) => {
                let place = Place {
                    question,
                    limit,
                    after,
                };
                self.pages
                    .seal(&place, self.holder(asker), now)
                    .ok_or_else(|| DecisionError::Internal {
                        message: "no page token can be made".into(),
                    })?
            }
        };
        Ok(SearchResults {
            context: DecisionContext {
                snapshot: Some(snapshot.version.value()),
                ..DecisionContext::default()
            },
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
        let snapshot = self.0.snapshot.load_full();
        let (arena, asker) = (Arena::new(), Asker::in_process());
        let lent = request.lend(&arena);
        let answer = self.0.decide(&snapshot, &lent.asked(), &asker).await?;
        Ok(answer.into())
    }

    fn evaluate_now(&self, asked: &Asked<'_>) -> Option<Result<Evaluation, DecisionError>> {
        if !self.0.knows_all() {
            return None;
        }
        let snapshot = self.0.snapshot.load();
        let answer = self.0.decide_now(&snapshot, asked, &Asker::in_process());
        Some(answer.map(Evaluation::from))
    }

    async fn evaluate_many(
        &self,
        request: &EvaluationsRequest,
    ) -> Result<Vec<Evaluation>, DecisionError> {
        let snapshot = self.0.snapshot.load_full();
        let entries = request.entries.iter();
        let arena = Arena::new();
        let lent: Vec<_> = entries
            .map(|entry| entry.as_ref().map(|entry| entry.lend(&arena)))
            .collect();
        let entries = lent.iter().map(|entry| match entry {
            Ok(lent) => Ok(lent.asked()),
            Err(error) => Err((*error).clone()),
        });
        let asker = Asker::in_process();
        let decided = self
            .0
            .decide_many(&snapshot, entries, request.semantic, &asker);
        Ok(decided.await?.into_iter().map(Evaluation::from).collect())
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
            trace: traces::current(),
            place: None,
            may_read: false,
        }
    }
}
