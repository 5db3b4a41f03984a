//! Searches: partial evaluation once, then candidates from the entity store, page by page. Every
//! result has been decided like any question, so that a result, evaluated, is permitted.

mod partial;
mod plan;
mod token;
mod waiter;

use authzen::{
    DecisionContext, DecisionError, Evaluation, EvaluationRequest, Found, RequestError,
    SearchQuestion, SearchResult, Wanted,
};
use cedar_policy_core::ast::{EntityUID, Var};
use service_kit::UnixTime;

use crate::answer::{Answer, Id};
use crate::engine::Question;
use crate::entities::id;
use crate::mapping::{Before, NotAsked, Sought};
use crate::snapshot::Snapshot;

use partial::Remainder;
use plan::Ground;
pub(crate) use token::{Holder, PageTokens, Place};
pub(crate) use waiter::{Waited, Waiter};

/// How much of a search one page may do.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds<'w> {
    /// The most results.
    pub(crate) results: usize,
    /// The most candidates that are decided.
    pub(crate) decisions: usize,
    /// A page that nobody waits for ends at the next candidate.
    pub(crate) waited: &'w Waited,
}

/// A page of results.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct PageFound {
    pub(crate) results: Vec<SearchResult>,
    /// The id or name after which to go on, where there may be more.
    pub(crate) next: Option<String>,
    /// Candidates that were decided.
    pub(crate) decided: usize,
}

/// Candidates that are only looked at, for each that may be decided.
const LOOKS: usize = 100;

impl Snapshot {
    /// One page of a search, `after` an id or name. An unknown type, action or entity finds
    /// nothing.
    pub(crate) fn search(
        &self,
        question: &SearchQuestion,
        now: UnixTime,
        after: Option<&str>,
        bounds: Bounds<'_>,
    ) -> Result<PageFound, DecisionError> {
        let loaded = &self.loaded;
        let vocabulary = &loaded.vocabulary;
        let context = &question.context;
        let (sought, kind) = match &question.wanted {
            Wanted::Action { subject, resource } => {
                return self.actions(subject, resource, context, now, after, bounds);
            }
            Wanted::Subject {
                subject,
                action,
                resource,
            } => (
                vocabulary.subjects(&subject.kind, action, resource, context, &self.store),
                &subject.kind,
            ),
            Wanted::Resource {
                subject,
                action,
                resource,
            } => (
                vocabulary.resources(subject, action, &resource.kind, context, &self.store),
                &resource.kind,
            ),
        };
        match sought {
            Ok(mut sought) => {
                vocabulary.tell_time(&mut sought.question, now);
                self.entities(sought, kind, after, bounds)
            }
            Err(NotAsked::Deny { .. }) => Ok(PageFound::default()),
            Err(NotAsked::Unusable { field, message }) => Err(DecisionError::Rejected {
                message: RequestError::Unusable { field, message }.to_string(),
            }),
        }
    }

    fn entities(
        &self,
        sought: Sought,
        kind: &str,
        after: Option<&str>,
        bounds: Bounds<'_>,
    ) -> Result<PageFound, DecisionError> {
        let loaded = &self.loaded;
        let Sought {
            mut question,
            part,
            kind: entity_type,
            ids,
        } = sought;
        let overlays = std::mem::take(&mut question.overlays);
        let ground = Ground {
            store: &self.store,
            overlays: &overlays,
            sought: part,
        };
        question.overlays.clone_from(&overlays);
        let schema = (*loaded.schema).as_ref();
        let remainder = Remainder::of(&loaded.rules, schema, &question, &entity_type, ground);
        let gathered: Option<Vec<EntityUID>> = ids.or_else(|| {
            let few = remainder.plan.gather(&entity_type, ground)?;
            // Only what the store holds can be found.
            let stored = few.into_iter().filter(|uid| self.store.row(uid).is_some());
            Some(stored.cloned().collect())
        });
        let candidates: Box<dyn Iterator<Item = &EntityUID>> = match &gathered {
            Some(uids) => {
                let from = after.map_or(0, |after| uids.partition_point(|uid| id(uid) <= after));
                Box::new(uids.iter().skip(from))
            }
            None => Box::new(self.store.of_type(&entity_type, after)),
        };
        let mut page = Pager::new(bounds);
        for uid in candidates {
            if !remainder.plan.admits(uid, ground) {
                if page.look(id(uid)) {
                    break;
                }
                continue;
            }
            let answer = self.decide_candidate(&mut question, part, uid, &remainder.live)?;
            let found = || Found::Entity {
                kind: kind.to_owned(),
                id: id(uid).to_owned(),
            };
            if page.take(id(uid), Some(answer), found) {
                break;
            }
        }
        Ok(page.done())
    }

    fn decide_candidate(
        &self,
        question: &mut Question,
        part: Var,
        uid: &EntityUID,
        live: &[usize],
    ) -> Result<Answer<'_>, DecisionError> {
        let place = match part {
            Var::Principal => &mut question.principal,
            _ => &mut question.resource,
        };
        *place = uid.clone().into();
        let outcome = self
            .loaded
            .rules
            .decide_among(live, question, &self.store)
            .map_err(|error| DecisionError::Internal {
                message: error.to_string(),
            })?;
        Ok(Answer::of(&outcome, Id::NONE, &self.version, &[]))
    }

    fn actions(
        &self,
        subject: &authzen::Subject,
        resource: &authzen::Resource,
        context: &authzen::Properties,
        now: UnixTime,
        after: Option<&str>,
        bounds: Bounds<'_>,
    ) -> Result<PageFound, DecisionError> {
        let names = self
            .loaded
            .vocabulary
            .actions(&subject.kind, &resource.kind);
        let request = EvaluationRequest {
            subject: subject.clone(),
            action: authzen::Action::new(""),
            resource: resource.clone(),
            context: context.clone(),
        };
        let (lent, mut before) = (request.lend(), Before::default());
        let mut asked = lent.asked();
        let mut page = Pager::new(bounds);
        for name in names {
            if after.is_some_and(|after| name <= after) {
                continue;
            }
            asked.action.name = name;
            let answer = match self.answer(&asked, now, &mut before, Id::NONE, false) {
                Ok(answered) => Some(answered.answer),
                // What this action cannot use in the context is no error of the search.
                Err(DecisionError::Rejected { .. }) => None,
                Err(error) => return Err(error),
            };
            let found = || Found::Action {
                name: name.to_owned(),
            };
            if page.take(name, answer, found) {
                break;
            }
        }
        Ok(page.done())
    }
}

/// Fills one page and knows when to stop.
struct Pager<'w> {
    bounds: Bounds<'w>,
    looked: usize,
    page: PageFound,
}

impl<'w> Pager<'w> {
    fn new(bounds: Bounds<'w>) -> Self {
        Self {
            bounds,
            looked: 0,
            page: PageFound::default(),
        }
    }

    /// A candidate that cannot be permitted. True: enough for one page.
    fn look(&mut self, name: &str) -> bool {
        self.looked += 1;
        self.stop_at(
            name,
            self.looked >= self.bounds.decisions.saturating_mul(LOOKS),
        )
    }

    /// A candidate that was decided. True: enough for one page.
    fn take(
        &mut self,
        name: &str,
        answer: Option<Answer<'_>>,
        found: impl FnOnce() -> Found,
    ) -> bool {
        self.page.decided += 1;
        if let Some(answer) = answer.filter(|answer| answer.decision.is_permit()) {
            if self.page.results.len() == self.bounds.results {
                // This one is the first of the next page: what was there before goes on to it.
                self.page.next = self.page.results.last().map(|last| match &last.found {
                    Found::Entity { id: name, .. } | Found::Action { name } => name.clone(),
                });
                return true;
            }
            let evaluation = Evaluation::from(answer);
            self.page.results.push(SearchResult {
                found: found(),
                context: DecisionContext {
                    obligations: evaluation.context.obligations,
                    advice: evaluation.context.advice,
                    ..DecisionContext::default()
                },
            });
        }
        self.stop_at(name, self.page.decided >= self.bounds.decisions)
    }

    fn stop_at(&mut self, name: &str, enough: bool) -> bool {
        let enough = enough || self.bounds.waited.is_over();
        if enough {
            self.page.next = Some(name.to_owned());
        }
        enough
    }

    fn done(self) -> PageFound {
        self.page
    }
}

#[cfg(test)]
pub(crate) mod tests;
