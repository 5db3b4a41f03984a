//! Why a question is answered as it is: for each policy that concerns it, whether its scope
//! matched, which condition failed first, with which values, and where that is written; for a
//! deny, the nearest permits and what would have to change.
//!
//! For whoever writes policies, and never for a caller without the right to know. Off the way of
//! decisions: every expression is evaluated by Cedar itself.

mod conjunct;
mod scope;
mod words;

pub use conjunct::Conjunct;
pub use scope::Mismatch;

use std::path::Path;

use authzen::{Asked, DecisionError};
use serde::Serialize;
use service_kit::UnixTime;
use strict_json::{Arena, Members};

use crate::config::Reading;
use crate::engine::{Outcome, Question, Rule};
use crate::mapping::Before;
use crate::snapshot::{Read, Snapshot};
use crate::{PdpError, PolicyIssue};

/// Why an answer is what it is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explanation {
    /// What was decided, and in what way.
    pub outcome: ExplainedOutcome,
    /// The same in one sentence, without a value or a policy's text: for users.
    pub summary: String,
    /// Policies whose scope matched, those that determine the answer first.
    pub policies: Vec<ExplainedPolicy>,
    /// For what nothing permits: the permits that came nearest, the nearest first.
    pub nearest: Vec<ExplainedPolicy>,
    /// How many policies are not shown.
    pub omitted: usize,
}

/// What was decided, and in what way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ExplainedOutcome {
    Permitted,
    /// A policy forbids it.
    Forbidden,
    /// No policy permits it.
    NotPermitted,
    /// A `forbid` could not be evaluated, which denies.
    Unevaluable,
    /// No policy was asked: attributes that they read cannot be had.
    Unavailable,
    /// No policy was asked: a type, an action or an entity is not known.
    Unknown,
}

/// One policy and one question.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ExplainedPolicy {
    pub policy: String,
    /// `permit` or `forbid`.
    pub effect: &'static str,
    /// What the policy says of itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The template that it is a link of, which is what stands at its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// Where it is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
    /// The parts of its scope that do not match.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mismatches: Vec<Mismatch>,
    /// Whether it applies. None: it cannot be evaluated.
    pub applies: Option<bool>,
    /// The conditions, in their order, up to the first that does not hold; for one of the
    /// nearest, every one that does not hold.
    pub conditions: Vec<Conjunct>,
    /// What would have to change for it to apply; for a forbid that stands against a permit, for it
    /// not to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<String>,
}

/// A place in a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Place {
    pub file: String,
    pub line: usize,
    pub column: usize,
}

/// The most policies in one explanation, and the most that are near.
const SHOWN: usize = 50;
const NEAREST: usize = 3;
/// More policies than this are not looked at for near ones.
const LOOKED_AT: usize = 20_000;

impl Explanation {
    /// Where no policy was asked.
    pub(crate) fn without_policies(outcome: ExplainedOutcome, summary: String) -> Self {
        Self {
            outcome,
            summary,
            policies: Vec::new(),
            nearest: Vec::new(),
            omitted: 0,
        }
    }
}

impl Snapshot {
    /// Explains the answer to a question.
    pub(crate) fn explain(
        &self,
        asked: &Asked<'_>,
        now: UnixTime,
    ) -> Result<Explanation, DecisionError> {
        match self.read(asked, now, &mut Before::default())? {
            Read::Question(mapped) => self.explain_question(&mapped.question),
            Read::Unknown { message, .. } => Ok(Explanation::without_policies(
                ExplainedOutcome::Unknown,
                message,
            )),
        }
    }

    /// Explains the answer to a question that has been completed.
    pub(crate) fn explain_question(
        &self,
        question: &Question,
    ) -> Result<Explanation, DecisionError> {
        let internal = |error: crate::entities::SliceError| DecisionError::Internal {
            message: error.to_string(),
        };
        let rules = &self.loaded.rules;
        let outcome = rules.decide(question, &self.store).map_err(internal)?;
        let mut matching: Vec<&Rule> = rules.matching(question, &self.store);
        // However many policies there are, the index knows those that only conditions keep away.
        let permits = matching.iter().copied().filter(|rule| !rule.is_forbid());
        let permits: Vec<&Rule> = permits.collect();
        matching.sort_by_key(|rule| !is_among(rule, &outcome.determining));
        let mut omitted = matching.len().saturating_sub(SHOWN);
        matching.truncate(SHOWN);
        let way = way_of(&outcome);
        let is_denied = way != ExplainedOutcome::Permitted;
        let (mut policies, mut is_permitted) = (Vec::with_capacity(matching.len()), false);
        for rule in matching {
            let mut explained = self.explained(rule, question, false).map_err(internal)?;
            is_permitted |= !rule.is_forbid() && explained.applies == Some(true);
            if is_denied && rule.is_forbid() && explained.applies != Some(false) {
                explained.changes = words::ways_out(&explained.conditions);
            }
            policies.push(explained);
        }
        let mut nearest = Vec::new();
        // Without a forbid that stands against it, would it be permitted?
        if is_denied && !is_permitted {
            omitted += rules.len().saturating_sub(LOOKED_AT);
            nearest = self.nearest(question, permits).map_err(internal)?;
        }
        Ok(Explanation {
            outcome: way,
            summary: words::summary(way, &outcome.determining),
            policies,
            nearest,
            omitted,
        })
    }

    /// The permits that would apply if the least were different. `matching` are those whose scope does.
    fn nearest<'s>(
        &'s self,
        question: &Question,
        matching: Vec<&'s Rule>,
    ) -> Result<Vec<ExplainedPolicy>, crate::entities::SliceError> {
        let view = self.store.view(&question.overlays);
        let mut ranked: Vec<(usize, &Rule)> = matching.into_iter().map(|rule| (0, rule)).collect();
        if ranked.len() < SHOWN {
            let others = self.loaded.rules.iter().take(LOOKED_AT);
            let others = others
                .filter(|rule| !rule.is_forbid())
                // Of another action is not near.
                .filter(|rule| scope::is_of_action(rule.policy(), question, view))
                .map(|rule| (scope::mismatches(rule.policy(), question, view).len(), rule));
            ranked.extend(others.filter(|(misses, _)| *misses > 0));
        }
        ranked.sort_by_key(|(misses, _)| *misses);
        // Conditions are evaluated for those whose scope is nearest.
        let mut found = Vec::new();
        for (misses, rule) in ranked.into_iter().take(SHOWN) {
            let explained = self.explained(rule, question, true)?;
            found.push((misses + explained.conditions.len(), explained));
        }
        found.sort_by_key(|(distance, _)| *distance);
        Ok(found
            .into_iter()
            .take(NEAREST)
            .map(|(_, explained)| explained)
            .collect())
    }

    fn explained(
        &self,
        rule: &Rule,
        question: &Question,
        as_near: bool,
    ) -> Result<ExplainedPolicy, crate::entities::SliceError> {
        let view = self.store.view(&question.overlays);
        let mismatches = scope::mismatches(rule.policy(), question, view);
        let mut conditions = conjunct::all(rule, question, &self.store)?;
        let first = conditions.iter().position(|one| one.holds != Some(true));
        let applies = match first.and_then(|at| conditions.get(at)) {
            _ if !mismatches.is_empty() => Some(false),
            None => Some(true),
            Some(one) => one.holds,
        };
        if as_near {
            conditions.retain(|one| one.holds != Some(true));
            // What fails behind one that is false is guarded by it.
            if conditions
                .first()
                .is_some_and(|one| one.holds == Some(false))
            {
                conditions.retain(|one| one.holds == Some(false));
            }
        } else if let Some(first) = first {
            conditions.truncate(first + 1);
        }
        let changes = if as_near {
            words::changes(&mismatches, &conditions)
        } else {
            Vec::new()
        };
        Ok(ExplainedPolicy {
            policy: rule.reason.policy.clone(),
            effect: if rule.is_forbid() { "forbid" } else { "permit" },
            reason: rule.reason.reason.clone(),
            template: rule.template.as_deref().map(str::to_owned),
            place: conjunct::place(rule, rule.policy().loc()),
            mismatches,
            applies,
            conditions,
            changes,
        })
    }
}

/// Explains the answer of a policy folder to a question, an AuthZEN evaluation as JSON.
pub fn explain_policies(folder: &Path, question: &[u8]) -> Result<Explanation, PdpError> {
    let snapshot = Snapshot::open(folder, &Reading::default(), 0)?;
    let unusable =
        |message: String| PdpError::Policies(vec![PolicyIssue::of_file("question", message)]);
    let arena = Arena::new();
    let body = Members::parse(question, &arena).map_err(|error| unusable(error.to_string()))?;
    let asked = Asked::of(&body).map_err(|error| unusable(error.to_string()))?;
    snapshot
        .explain(&asked, UnixTime::from_secs(0))
        .map_err(|error| unusable(error.to_string()))
}

fn is_among(rule: &Rule, rules: &[&Rule]) -> bool {
    rules.iter().any(|other| std::ptr::eq(*other, rule))
}

fn way_of(outcome: &Outcome<'_>) -> ExplainedOutcome {
    if outcome.permitted {
        ExplainedOutcome::Permitted
    } else if !outcome.determining.is_empty() {
        ExplainedOutcome::Forbidden
    } else if outcome.failures.iter().any(|(rule, _)| rule.is_forbid()) {
        ExplainedOutcome::Unevaluable
    } else {
        ExplainedOutcome::NotPermitted
    }
}

#[cfg(test)]
mod tests;
