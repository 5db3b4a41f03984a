//! Decides in a process beside the decision point, by its signed snapshots: the same loader, the same engine, the
//! same answers.
//!
//! A snapshot decides as long as the decision point was heard to stand by it. After that, and before there is a
//! first one, questions go to the decision point itself: not hearing it never permits.

mod config;
mod follow;
mod held;
mod keys;
mod meters;
mod refused;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use authzen::{
    Asked, DecisionError, DecisionPoint, Evaluation, EvaluationRequest, EvaluationsRequest,
    HttpDecisionPoint, HttpDecisionPointConfig, SearchRequest, SearchResults,
};
use service_kit::{ConfigIssue, Health, SharedClock, Status, UnixTime};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::config::Reading;
use crate::folder::Folder;
use crate::snapshot::Snapshot;
use crate::{Pdp, PdpError, PdpParts};
use follow::Follower;
use meters::LocalMeters;
use refused::Refused;

pub use config::LocalConfig;

/// Decides here. Clones share everything.
#[derive(Clone)]
pub struct LocalPdp(Arc<State>);

struct State {
    engine: Pdp,
    remote: HttpDecisionPoint,
    max_age: Duration,
    origin: Instant,
    clock: SharedClock,
    /// Milliseconds after `origin` at which the decision point was last known to stand by what is held, plus
    /// one. 0: never.
    heard: AtomicU64,
    /// The same by the calendar, from 1970 on: `Instant` stands still while a machine is suspended.
    heard_at: AtomicU64,
    /// Counts the times that others may be right from now on than those who have been asked before.
    changes: watch::Sender<u64>,
    meters: LocalMeters,
    health: Health,
}

/// Health part.
const PART: &str = "local_decisions";

/// An age that a poll of the network could not keep.
const SHORTEST_AGE: u64 = 1000;

impl LocalConfig {
    /// Everything that is wrong with it.
    pub fn check(&self, base: &Path) -> Vec<ConfigIssue> {
        let key = keys::read(&base.join(&self.key_file)).err();
        key.into_iter().chain(self.check_age()).collect()
    }

    fn check_age(&self) -> Option<ConfigIssue> {
        (self.max_age_ms < SHORTEST_AGE).then(|| {
            ConfigIssue::new(format!(
                "`connect.pdp.local.max_age_ms` is {}; it must be at least {SHORTEST_AGE}",
                self.max_age_ms
            ))
        })
    }
}

impl LocalPdp {
    /// Reads keys and opens the decision log; nothing is asked yet. `remote` is the decision point.
    pub fn open(
        config: &LocalConfig,
        base: &Path,
        remote: &HttpDecisionPointConfig,
        parts: PdpParts,
    ) -> Result<Self, PdpError> {
        if let Some(issue) = config.check(base).into_iter().next() {
            return Err(PdpError::Config(issue));
        }
        let unusable = |error: DecisionError| {
            PdpError::Config(ConfigIssue::new(format!("`connect.pdp`: {error}")))
        };
        let meters = LocalMeters::new(&parts.metrics)?;
        meters.age.set(-1);
        let (clock, health) = (parts.clock.clone(), parts.health.clone());
        let tasks = parts.tasks.clone();
        let engine = Pdp::deciding_by(nothing, &config.pdp(), base, parts)?;
        let local = Self(Arc::new(State {
            engine,
            remote: HttpDecisionPoint::new(remote).map_err(unusable)?,
            max_age: Duration::from_millis(config.max_age_ms),
            origin: Instant::now(),
            clock,
            heard: AtomicU64::new(0),
            heard_at: AtomicU64::new(0),
            changes: watch::Sender::new(0),
            meters,
            health,
        }));
        local.0.say_stale("no snapshot has been taken yet");
        let keys = keys::read(&base.join(&config.key_file)).map_err(PdpError::Config)?;
        let follower =
            Follower::new(local.0.clone(), config, keys, remote).map_err(PdpError::Config)?;
        follower.spawn(&tasks);
        Ok(local)
    }

    /// Changes whenever answers from before may not hold any more.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    /// Whether a snapshot may decide now; counted.
    fn decides(&self) -> bool {
        let decides = self.0.is_fresh(Instant::now());
        self.0.meters.decided(decides);
        decides
    }
}

impl State {
    fn is_fresh(&self, now: Instant) -> bool {
        self.age(now).is_some_and(|age| age <= self.max_age)
    }

    fn age(&self, now: Instant) -> Option<Duration> {
        let heard = self.heard.load(Ordering::Acquire).checked_sub(1)?;
        let since = now.saturating_duration_since(self.origin);
        let age = since.saturating_sub(Duration::from_millis(heard));
        let heard_at = self.heard_at.load(Ordering::Relaxed);
        let by_calendar = self.clock.now().as_millis().saturating_sub(heard_at);
        Some(age.max(Duration::from_millis(by_calendar)))
    }

    /// What time it is, by both clocks.
    fn moment(&self) -> (Instant, UnixTime) {
        (Instant::now(), self.clock.now())
    }

    /// The decision point stood by what is held at this time, or later.
    fn hear(&self, (at, unix): (Instant, UnixTime)) {
        let since = at.saturating_duration_since(self.origin).as_millis();
        let since = u64::try_from(since).unwrap_or(u64::MAX - 1);
        self.heard_at.store(unix.as_millis(), Ordering::Relaxed);
        self.heard.store(since + 1, Ordering::Release);
    }

    fn say_stale(&self, reason: &str) {
        let reason = format!("{reason}; the decision point is asked");
        self.health.set(PART, Status::Stale { reason });
    }
}

#[async_trait]
impl DecisionPoint for LocalPdp {
    async fn evaluate(&self, request: &EvaluationRequest) -> Result<Evaluation, DecisionError> {
        if self.decides() {
            self.0.engine.evaluate(request).await
        } else {
            self.0.remote.evaluate(request).await
        }
    }

    fn evaluate_now(&self, asked: &Asked<'_>) -> Option<Result<Evaluation, DecisionError>> {
        if !self.0.is_fresh(Instant::now()) {
            return None;
        }
        let answer = self.0.engine.evaluate_now(asked)?;
        self.0.meters.decided(true);
        Some(answer)
    }

    async fn evaluate_many(
        &self,
        request: &EvaluationsRequest,
    ) -> Result<Vec<Evaluation>, DecisionError> {
        if self.decides() {
            self.0.engine.evaluate_many(request).await
        } else {
            self.0.remote.evaluate_many(request).await
        }
    }

    /// The decision point's own: pages go on wherever they are asked for.
    async fn search(&self, request: &SearchRequest) -> Result<SearchResults, DecisionError> {
        self.0.remote.search(request).await
    }
}

impl fmt::Debug for LocalPdp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut local = formatter.debug_struct("LocalPdp");
        local
            .field("engine", &self.0.engine)
            .finish_non_exhaustive()
    }
}

/// What is held before there is a first snapshot. It permits nothing, and is never asked.
fn nothing() -> Result<Snapshot, PdpError> {
    let schema = "entity Nobody; action nothing appliesTo { principal: Nobody, resource: Nobody };";
    let policy = "@id(\"nothing\") forbid (principal, action, resource);";
    let files = [("nothing.cedar", policy), ("nothing.cedarschema", schema)];
    let folder = Folder::of_texts(files.into_iter()).unwrap_or_default();
    Snapshot::build(&folder, &Reading::default(), 0, None)
}

#[cfg(test)]
mod tests;
