//! `GET` and `PUT /log-level`: how much is logged, for a bounded time; then it is as configured again.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use service_kit::Tasks;
use service_kit::log::{self, LogLevel};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::problem;
use crate::explain::from_a_program;

/// How much the process logs. Clones share.
#[derive(Debug, Clone)]
pub(crate) struct Level(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    configured: LogLevel,
    changed: Mutex<Option<Changed>>,
    tasks: Tasks,
}

/// It is not as configured.
#[derive(Debug)]
struct Changed {
    level: LogLevel,
    until: Instant,
    /// Waits until then.
    back: JoinHandle<()>,
}

/// What is wanted.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    level: LogLevel,
    #[serde(default = "Wanted::for_secs")]
    for_secs: u64,
}

/// What is.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Now {
    level: LogLevel,
    configured: LogLevel,
    /// After so many seconds it is as configured.
    #[serde(skip_serializing_if = "Option::is_none")]
    for_secs: Option<u64>,
}

/// Seconds.
const LONGEST: u64 = 3_600;
/// Bytes of a body.
const LARGEST: usize = 4 << 10;

impl Wanted {
    fn for_secs() -> u64 {
        300
    }
}

impl Level {
    pub(crate) fn new(configured: LogLevel, tasks: &Tasks) -> Self {
        Self(Arc::new(Inner {
            configured,
            changed: Mutex::default(),
            tasks: tasks.clone(),
        }))
    }

    /// For the admin listener.
    pub(crate) fn router(self) -> Router {
        Router::new()
            .route("/log-level", get(state).put(change))
            .layer(DefaultBodyLimit::max(LARGEST))
            .with_state(self)
    }

    fn state(&self) -> Now {
        let changed = self.changed();
        let changed = changed.as_ref();
        let left = |changed: &Changed| changed.until.saturating_duration_since(Instant::now());
        Now {
            level: changed.map_or(self.0.configured, |changed| changed.level),
            configured: self.0.configured,
            for_secs: changed.map(|changed| left(changed).as_secs()),
        }
    }

    /// False: the process has no log of its own.
    fn change(&self, level: LogLevel, lasting: Duration) -> bool {
        let mut changed = self.changed();
        if !log::change(level) {
            return false;
        }
        let until = Instant::now() + lasting;
        let (this, draining) = (self.clone(), self.0.tasks.draining());
        let back = self.0.tasks.spawn(async move {
            tokio::select! {
                () = tokio::time::sleep_until(until) => this.go_back(),
                () = draining.cancelled() => {}
            }
        });
        // However often it is changed, one waits.
        if let Some(before) = changed.replace(Changed { level, until, back }) {
            before.back.abort();
        }
        true
    }

    /// Unless it was changed again meanwhile.
    fn go_back(&self) {
        let mut changed = self.changed();
        let is_over = |changed: &Changed| changed.until <= Instant::now();
        if changed.as_ref().is_some_and(is_over) {
            *changed = None;
            log::change(self.0.configured);
            tracing::info!(level = ?self.0.configured, "the log is as configured again");
        }
    }

    fn changed(&self) -> std::sync::MutexGuard<'_, Option<Changed>> {
        let changed = self.0.changed.lock();
        changed.unwrap_or_else(PoisonError::into_inner)
    }
}

async fn state(State(level): State<Level>) -> Response {
    Json(level.state()).into_response()
}

async fn change(State(level): State<Level>, headers: HeaderMap, body: Bytes) -> Response {
    if let Err(problem) = from_a_program(&headers) {
        return problem.into_response();
    }
    let Ok(wanted) = serde_json::from_slice::<Wanted>(&body) else {
        let detail = "the body has `level` (`off`, `error`, `warn`, `info` or `debug`), and may have `for_secs`";
        return problem(StatusCode::BAD_REQUEST, "not-a-log-level", detail);
    };
    if !(1..=LONGEST).contains(&wanted.for_secs) {
        let detail = "`for_secs` must be from 1 to 3600; for longer, say it in the configuration";
        return problem(StatusCode::BAD_REQUEST, "not-a-log-level", detail);
    }
    // Before: there may be no log afterwards.
    tracing::warn!(level = ?wanted.level, for_secs = wanted.for_secs, "the log was told to say more or less");
    if !level.change(wanted.level, Duration::from_secs(wanted.for_secs)) {
        let detail = "this process has no log of its own";
        return problem(StatusCode::CONFLICT, "no-log", detail);
    }
    Json(level.state()).into_response()
}
