//! An answer as it is found: it borrows from the snapshot that gave it until it is written, so that
//! no word of it is copied on its way out.

use std::fmt;
use std::sync::Arc;

use authzen::{CacheAdvice, Decision, DecisionContext, Evaluation, SnapshotVersion, Vary};
use serde::Serialize;
use serde_json::{Value, json};
use strict_json::JsonText;

use crate::engine::{Determining, Outcome};
use crate::spelled::Spelled;

/// The answer to one question. Is written as the [`Evaluation`] that it stands for.
#[derive(Debug)]
pub(crate) struct Answer<'s> {
    pub(crate) decision: Decision,
    pub(crate) id: Id<'s>,
    /// The policies that it rests on.
    pub(crate) rules: Determining<'s>,
    /// Why a question could not be permitted that is none for policies, or that some of them could
    /// not answer.
    pub(crate) error: Option<Box<Value>>,
    pub(crate) version: &'s Spelled<SnapshotVersion>,
    pub(crate) cache: Option<Advice>,
}

/// For how long, and for which questions, an answer may be kept: a [`CacheAdvice`] as it is found.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Advice {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) vary: Option<SaidVary>,
    /// Seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) max_age: Option<u64>,
}

/// What an answer can depend on, as many answers say it.
pub(crate) type SaidVary = Arc<Spelled<Arc<Vary>>>;

/// Attributes that a decision needs cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("attributes cannot be had from `{provider}`")]
pub(crate) struct Unavailable {
    pub(crate) provider: String,
}

/// Names a decision: a random start for the process, then a count.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Id<'s> {
    pub(crate) process: &'s str,
    pub(crate) count: u64,
}

impl Id<'static> {
    /// Of an answer that nobody is to ask about.
    pub(crate) const NONE: Self = Self {
        process: "",
        count: 0,
    };
}

impl fmt::Display for Id<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}-{:x}", self.process, self.count)
    }
}

impl<'s> Answer<'s> {
    /// What policies say. Obligations of every determining policy apply: two permits, one of which
    /// masks, permit with the mask, since leaving a duty out is never the safe side. `missing` are
    /// attributes that are not known, for whoever asks why.
    pub(crate) fn of(
        outcome: Outcome<'s>,
        id: Id<'s>,
        version: &'s Spelled<SnapshotVersion>,
        missing: &[String],
        cache: Option<Advice>,
    ) -> Self {
        let error = failed(&outcome, missing);
        Self {
            decision: if outcome.permitted {
                Decision::Permit
            } else {
                Decision::Deny
            },
            id,
            rules: outcome.determining,
            error,
            version,
            cache,
        }
    }

    /// To a question that no policy was asked about.
    pub(crate) fn unasked(
        status: u16,
        message: &str,
        id: Id<'s>,
        version: &'s Spelled<SnapshotVersion>,
    ) -> Self {
        Self {
            decision: Decision::Deny,
            id,
            rules: Determining::new(),
            error: Some(Box::new(json!({ "status": status, "message": message }))),
            version,
            cache: None,
        }
    }

    /// To a question whose attributes cannot be had: for this once.
    pub(crate) fn unavailable(
        error: &Unavailable,
        id: Id<'s>,
        version: &'s Spelled<SnapshotVersion>,
    ) -> Self {
        // SECURITY: which entity it is may be what only the store knows; the log names it.
        let message = format!("attributes cannot be had from `{}`", error.provider);
        Self {
            error: Some(Box::new(json!({
                "status": 503,
                "message": message,
                "type": "attributes_unavailable",
                "provider": error.provider,
            }))),
            cache: Some(Advice {
                vary: None,
                max_age: Some(0),
            }),
            ..Self::unasked(503, "", id, version)
        }
    }
}

/// Says that policies could not be evaluated, where that is why nothing is permitted.
fn failed(outcome: &Outcome<'_>, missing: &[String]) -> Option<Box<Value>> {
    fn quoted(names: impl Iterator<Item = impl fmt::Display>) -> String {
        names
            .map(|name| format!("`{name}`"))
            .collect::<Vec<_>>()
            .join(", ")
    }
    if outcome.permitted || outcome.failures.is_empty() {
        return None;
    }
    let names = outcome.failures.iter();
    let names = quoted(names.map(|(rule, _)| &rule.reason.policy));
    let mut message = format!("could not be evaluated: {names}");
    if !missing.is_empty() {
        message = format!("{message}; missing: {}", quoted(missing.iter()));
    }
    Some(Box::new(json!({ "status": 500, "message": message })))
}

impl From<Answer<'_>> for Evaluation {
    fn from(answer: Answer<'_>) -> Self {
        let rules = || answer.rules.iter();
        let context = DecisionContext {
            id: Some(answer.id.to_string()),
            reasons: rules().map(|rule| rule.reason.value()).collect(),
            obligations: rules()
                .flat_map(|rule| rule.obligations.iter().cloned())
                .collect(),
            advice: rules()
                .flat_map(|rule| rule.advice.iter().cloned())
                .collect(),
            error: answer.error.map(|error| *error),
            snapshot: Some(answer.version.value()),
            cache: answer.cache.map(CacheAdvice::from),
            ..DecisionContext::default()
        };
        Self {
            decision: answer.decision,
            context,
        }
    }
}

impl Answer<'_> {
    /// As the [`Evaluation`] that it stands for is written.
    pub(crate) fn write(&self, text: &mut JsonText) {
        text.raw(if self.decision.is_permit() {
            r#"{"decision":true,"context":{"id":"#
        } else {
            r#"{"decision":false,"context":{"id":"#
        });
        self.id.write(text);
        if !self.rules.is_empty() {
            text.raw(r#","reasons":"#);
            text.list(&self.rules, |text, rule| rule.reason.write(text));
        }
        let rules = || self.rules.iter();
        let mut obligations = rules().flat_map(|rule| &rule.obligations).peekable();
        if obligations.peek().is_some() {
            text.raw(r#","obligations":"#);
            text.list(obligations, JsonText::value);
        }
        let mut advice = rules().flat_map(|rule| &rule.advice).peekable();
        if advice.peek().is_some() {
            text.raw(r#","advice":"#);
            text.list(advice, JsonText::value);
        }
        if let Some(error) = &self.error {
            text.raw(r#","error":"#);
            text.value(error);
        }
        text.raw(r#","snapshot":"#);
        self.version.write(text);
        if let Some(cache) = &self.cache {
            text.raw(r#","cache":"#);
            cache.write(text);
        }
        text.raw("}}");
    }
}

impl Id<'_> {
    pub(crate) fn write(&self, text: &mut JsonText) {
        text.raw("\"");
        text.raw(self.process);
        text.raw("-");
        text.hexadecimal(self.count);
        text.raw("\"");
    }
}

impl Advice {
    fn write(&self, text: &mut JsonText) {
        text.raw("{");
        if let Some(vary) = &self.vary {
            text.raw(r#""vary":"#);
            vary.write(text);
        }
        if let Some(seconds) = self.max_age {
            text.raw(if self.vary.is_some() {
                r#","max_age":"#
            } else {
                r#""max_age":"#
            });
            text.number(seconds);
        }
        text.raw("}");
    }
}

impl From<Advice> for CacheAdvice {
    fn from(advice: Advice) -> Self {
        Self {
            vary: advice.vary.map(|vary| vary.value()),
            max_age: advice.max_age,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_written_as_it_reads() {
        for count in [0, 9, 10, 15, 16, 255, 256, 0xabc_def0, u64::MAX] {
            let id = Id {
                process: "p",
                count,
            };
            let mut text = JsonText::default();
            id.write(&mut text);
            assert_eq!(text.into_bytes(), format!("\"{id}\"").into_bytes());
        }
    }

    #[test]
    fn advice_is_written_as_it_reads() {
        let vary = Vary {
            subject: vec!["a".into(), "b\"".into()],
            context: vec!["c".into()],
            ..Vary::default()
        };
        for vary in [None, Some(Arc::new(Spelled::from(Arc::new(vary))))] {
            for max_age in [None, Some(7)] {
                let advice = Advice {
                    vary: vary.clone(),
                    max_age,
                };
                let mut text = JsonText::default();
                advice.write(&mut text);
                let read: CacheAdvice = serde_json::from_slice(&text.into_bytes()).unwrap();
                assert_eq!(read, advice.into());
            }
        }
    }
}
