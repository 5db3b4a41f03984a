//! How somebody must have logged in to use a route (RFC 9470), and whether they have.

use std::time::Duration;

use oauth::SubjectFacts;
use service_kit::{ConfigIssue, UnixTime};

use crate::config::RouteConfig;

/// What a login must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StepUp {
    /// Called one of these. Empty: whatever it is called.
    acr_values: Vec<String>,
    /// No longer ago.
    max_age: Option<Duration>,
    /// As challenges say them: separated by spaces.
    acr_text: Option<String>,
}

impl StepUp {
    /// None where a route wants nothing of the login.
    pub(crate) fn compile(route: &RouteConfig) -> Result<Option<Self>, ConfigIssue> {
        let acr_values = &route.acr_values;
        if acr_values.is_empty() && route.max_age_secs.is_none() {
            return Ok(None);
        }
        let is_word = |acr: &String| {
            let allowed = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
            !acr.is_empty() && acr.bytes().all(allowed)
        };
        if let Some(wrong) = acr_values.iter().find(|acr| !is_word(acr)) {
            return Err(ConfigIssue::new(format!(
                "`acr_values`: `{wrong}` must be a word without spaces and quotation marks"
            )));
        }
        Ok(Some(Self::new(acr_values.clone(), route.max_age_secs)))
    }

    /// Of names that are words.
    pub(crate) fn new(acr_values: Vec<String>, max_age_secs: Option<u64>) -> Self {
        Self {
            acr_text: (!acr_values.is_empty()).then(|| acr_values.join(" ")),
            acr_values,
            max_age: max_age_secs.map(Duration::from_secs),
        }
    }

    /// Whether a login is good enough. Who never logged in (a client by itself) has no such login.
    pub(crate) fn is_met(&self, facts: &SubjectFacts, now: UnixTime) -> bool {
        let acr = facts.acr.as_ref();
        let is_strong =
            self.acr_values.is_empty() || acr.is_some_and(|acr| self.acr_values.contains(acr));
        let is_fresh = self.max_age.is_none_or(|max_age| {
            let at = facts.auth_time.map(UnixTime::from_secs);
            at.is_some_and(|at| now.since(at) <= max_age)
        });
        is_strong && is_fresh
    }

    pub(crate) fn challenge(&self) -> oauth::StepUp<'_> {
        oauth::StepUp {
            acr_values: self.acr_text.as_deref(),
            max_age_secs: self.max_age.map(|max_age| max_age.as_secs()),
        }
    }
}
