//! What API keys may be.

use std::time::Duration;

use serde::Serialize;

use super::issues::Issues;
use crate::config::ApiKeysConfig;

/// The scope with which they are made, listed and ended.
pub(crate) const API_KEYS: &str = "api_keys";

/// Bounds of every key.
#[derive(Debug, Serialize)]
pub(crate) struct ApiKeyRules {
    pub(crate) per_subject: usize,
    pub(crate) default_life: Duration,
    pub(crate) max_life: Duration,
}

/// Of one subject: they are kept in one record.
const MOST: usize = 100;
const LONGEST_DAYS: u64 = 3650;

impl ApiKeyRules {
    pub(super) fn understand(config: &ApiKeysConfig, issues: &mut Issues<'_>) -> Self {
        if !(1..=MOST).contains(&config.per_subject) {
            issues.add("per_subject", &format!("must be from 1 to {MOST}"));
        }
        if !(1..=LONGEST_DAYS).contains(&config.max_days) {
            issues.add("max_days", &format!("must be from 1 to {LONGEST_DAYS}"));
        }
        if !(1..=config.max_days).contains(&config.default_days) {
            issues.add("default_days", "must be from 1 to `max_days`");
        }
        Self {
            per_subject: config.per_subject,
            default_life: days(config.default_days),
            max_life: days(config.max_days),
        }
    }
}

fn days(days: u64) -> Duration {
    Duration::from_hours(24 * days.min(LONGEST_DAYS))
}
