//! An answer as it is found: it borrows from the snapshot that gave it until it is written, so that
//! no word of it is copied on its way out.

use std::fmt;

use authzen::{CacheAdvice, Decision, DecisionContext, Evaluation, SnapshotVersion};
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use crate::attributes::Unavailable;
use crate::engine::{Determining, Outcome, Rule};

/// The answer to one question. Is written as the [`Evaluation`] that it stands for.
#[derive(Debug)]
pub(crate) struct Answer<'s> {
    pub(crate) decision: Decision,
    pub(crate) id: Id<'s>,
    /// The policies that it rests on.
    pub(crate) rules: Determining<'s>,
    /// Why a question could not be permitted that is none for policies, or that some of them could
    /// not answer.
    pub(crate) error: Option<Value>,
    pub(crate) version: &'s SnapshotVersion,
    pub(crate) cache: Option<CacheAdvice>,
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

impl Serialize for Id<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'s> Answer<'s> {
    /// What policies say. Obligations of every determining policy apply: two permits, one of which
    /// masks, permit with the mask, since leaving a duty out is never the safe side. `missing` are
    /// attributes that are not known, for whoever asks why.
    pub(crate) fn of(
        outcome: &Outcome<'s>,
        id: Id<'s>,
        version: &'s SnapshotVersion,
        missing: &[String],
    ) -> Self {
        Self {
            decision: if outcome.permitted {
                Decision::Permit
            } else {
                Decision::Deny
            },
            id,
            rules: outcome.determining.clone(),
            error: failed(outcome, missing),
            version,
            cache: None,
        }
    }

    /// To a question that no policy was asked about.
    pub(crate) fn unasked(
        status: u16,
        message: &str,
        id: Id<'s>,
        version: &'s SnapshotVersion,
    ) -> Self {
        Self {
            decision: Decision::Deny,
            id,
            rules: Determining::new(),
            error: Some(json!({ "status": status, "message": message })),
            version,
            cache: None,
        }
    }

    /// To a question whose attributes cannot be had: for this once.
    pub(crate) fn unavailable(
        error: &Unavailable,
        id: Id<'s>,
        version: &'s SnapshotVersion,
    ) -> Self {
        // SECURITY: which entity it is may be what only the store knows; the log names it.
        let message = format!("attributes cannot be had from `{}`", error.provider);
        Self {
            error: Some(json!({
                "status": 503,
                "message": message,
                "type": "attributes_unavailable",
                "provider": error.provider,
            })),
            cache: Some(CacheAdvice {
                vary: None,
                max_age: Some(0),
            }),
            ..Self::unasked(503, "", id, version)
        }
    }
}

/// Says that policies could not be evaluated, where that is why nothing is permitted.
fn failed(outcome: &Outcome<'_>, missing: &[String]) -> Option<Value> {
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
    Some(json!({ "status": 500, "message": message }))
}

impl From<Answer<'_>> for Evaluation {
    fn from(answer: Answer<'_>) -> Self {
        let rules = || answer.rules.iter();
        let context = DecisionContext {
            id: Some(answer.id.to_string()),
            reasons: rules().map(|rule| rule.reason.clone()).collect(),
            obligations: rules()
                .flat_map(|rule| rule.obligations.iter().cloned())
                .collect(),
            advice: rules()
                .flat_map(|rule| rule.advice.iter().cloned())
                .collect(),
            error: answer.error,
            snapshot: Some(answer.version.clone()),
            cache: answer.cache,
            ..DecisionContext::default()
        };
        Self {
            decision: answer.decision,
            context,
        }
    }
}

impl Serialize for Answer<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Shown<'a> {
            decision: Decision,
            context: Context<'a>,
        }
        #[derive(Serialize)]
        struct Context<'a> {
            id: Id<'a>,
            #[serde(skip_serializing_if = "Each::is_empty")]
            reasons: Each<'a, authzen::Reason>,
            #[serde(skip_serializing_if = "Each::is_empty")]
            obligations: Each<'a, authzen::Obligation>,
            #[serde(skip_serializing_if = "Each::is_empty")]
            advice: Each<'a, Value>,
            #[serde(skip_serializing_if = "Option::is_none")]
            error: &'a Option<Value>,
            snapshot: &'a SnapshotVersion,
            #[serde(skip_serializing_if = "Option::is_none")]
            cache: &'a Option<CacheAdvice>,
        }
        let rules = &*self.rules;
        let shown = Shown {
            decision: self.decision,
            context: Context {
                id: self.id,
                reasons: Each(rules, |rule| std::slice::from_ref(&rule.reason)),
                obligations: Each(rules, |rule| &rule.obligations),
                advice: Each(rules, |rule| &rule.advice),
                error: &self.error,
                snapshot: self.version,
                cache: &self.cache,
            },
        };
        shown.serialize(serializer)
    }
}

/// What rules have of something, one after the other.
pub(crate) struct Each<'a, T>(
    pub(crate) &'a [&'a Rule],
    pub(crate) for<'r> fn(&'r Rule) -> &'r [T],
);

impl<T> Each<'_, T> {
    fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().flat_map(|rule| self.1(rule))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }
}

impl<T: Serialize> Serialize for Each<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}
