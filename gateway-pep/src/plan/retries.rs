//! When a request is tried again, compiled.

use std::time::Duration;

use http::header::HeaderName;
use http::{HeaderMap, Method, StatusCode};
use service_kit::ConfigIssue;

use super::health::{of_hundred, statuses};
use crate::config::RetriesConfig;

/// [`RetriesConfig`], compiled.
#[derive(Debug, Clone)]
pub(crate) struct Retries {
    /// Beside the first.
    pub(crate) attempts: u32,
    pub(crate) statuses: Vec<StatusCode>,
    /// None: a try has as long as all of them.
    pub(crate) per_try: Option<Duration>,
    pub(crate) body_bytes: u64,
    pub(crate) budget_percent: u32,
    pub(crate) budget_min: u32,
}

/// draft-ietf-httpapi-idempotency-key-header: whoever gets the same key twice does it once.
pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Whether an upstream may get it twice, once it may have got it.
pub(crate) fn is_repeatable(method: &Method, headers: &HeaderMap) -> bool {
    method.is_safe() || headers.contains_key(IDEMPOTENCY_KEY)
}

impl Retries {
    /// None: nothing is tried again.
    pub(super) fn compile(at: &str, config: &RetriesConfig) -> Result<Option<Self>, ConfigIssue> {
        if config.budget_percent > 100 {
            return Err(of_hundred(&format!("{at}.budget_percent")));
        }
        if config.per_try_timeout_ms == Some(0) {
            return Err(
                ConfigIssue::new(format!("`{at}.per_try_timeout_ms` must not be 0"))
                    .hint("leave it out: then a try has as long as all of them"),
            );
        }
        let statuses = statuses(at, &config.statuses, 500)?;
        Ok((config.attempts > 0).then(|| Self {
            attempts: config.attempts,
            statuses,
            per_try: config.per_try_timeout_ms.map(Duration::from_millis),
            body_bytes: u64::try_from(config.body_bytes).unwrap_or(u64::MAX),
            budget_percent: config.budget_percent,
            budget_min: config.budget_min_per_second,
        }))
    }

    /// Whether another endpoint may have a better answer.
    pub(crate) fn want_another(&self, status: StatusCode) -> bool {
        status.is_server_error() && self.statuses.contains(&status)
    }
}
