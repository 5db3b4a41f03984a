//! Searches: partial evaluation once, then candidates from the entity store, page by page. Every
//! result has been decided like any question, so that a result, evaluated, is permitted.

mod candidates;
mod pager;
mod partial;
mod plan;
mod token;
mod waiter;

use authzen::{
    DecisionError, EvaluationRequest, Found, RequestError, SearchQuestion, SearchResult, Wanted,
};
use cedar_policy_core::ast::EntityUID;
use service_kit::UnixTime;
use strict_json::Arena;
use tokio::time::Instant;

use crate::answer::Id;
use crate::attributes::Asking;
use crate::entities::id;
use crate::mapping::{Before, NotAsked, Sought};
use crate::residual::Side;
use crate::snapshot::{Read, Snapshot};

use candidates::{Candidates, LONGEST};
use pager::Pager;
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

impl Snapshot {
    /// One page of a search, `after` an id or name. An unknown type, action or entity finds
    /// nothing.
    pub(crate) async fn search(
        &self,
        question: &SearchQuestion,
        now: UnixTime,
        after: Option<&str>,
        bounds: Bounds<'_>,
        asking: &Asking<'_>,
    ) -> Result<PageFound, DecisionError> {
        let loaded = &self.loaded;
        let vocabulary = &loaded.vocabulary;
        let context = &question.context;
        let (sought, kind) = match &question.wanted {
            Wanted::Action { subject, resource } => {
                let question = EvaluationRequest {
                    subject: subject.clone(),
                    action: authzen::Action::new(""),
                    resource: resource.clone(),
                    context: context.clone(),
                };
                return self.actions(&question, now, after, bounds, asking).await;
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
                self.entities(sought, kind, after, bounds, asking).await
            }
            Err(NotAsked::Deny { .. }) => Ok(PageFound::default()),
            Err(NotAsked::Unusable { field, message }) => Err(DecisionError::Rejected {
                message: RequestError::Unusable { field, message }.to_string(),
            }),
        }
    }

    async fn entities(
        &self,
        sought: Sought,
        kind: &str,
        after: Option<&str>,
        bounds: Bounds<'_>,
        asking: &Asking<'_>,
    ) -> Result<PageFound, DecisionError> {
        let loaded = &self.loaded;
        let Sought {
            mut question,
            part,
            kind: entity_type,
            ids,
        } = sought;
        let side = Side {
            kind: &entity_type,
            sought: part,
            context_is_known: true,
        };
        let (known, _) = asking.complete_known(self, &mut question, side).await?;
        let overlays = question.overlays.clone();
        let ground = Ground {
            store: &self.store,
            overlays: &overlays,
            sought: part,
            known: &known,
        };
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
        let candidates = Candidates {
            candidates,
            kind,
            question,
            ground,
            remainder: &remainder,
        };
        let page = Pager::new(bounds);
        if known.is_enough() {
            candidates.decide(self, page)
        } else {
            candidates.complete_and_decide(self, asking, page).await
        }
    }

    async fn actions(
        &self,
        question: &EvaluationRequest,
        now: UnixTime,
        after: Option<&str>,
        bounds: Bounds<'_>,
        asking: &Asking<'_>,
    ) -> Result<PageFound, DecisionError> {
        let names = self
            .loaded
            .vocabulary
            .actions(&question.subject.kind, &question.resource.kind);
        let (arena, mut before) = (Arena::new(), Before::default());
        let lent = question.lend(&arena);
        let mut asked = lent.asked();
        let mut page = Pager::new(bounds);
        page.end_at(Instant::now() + LONGEST);
        for name in names {
            if after.is_some_and(|after| name <= after) {
                continue;
            }
            asked.action.name = name;
            let answer = match self.read(&asked, now, &mut before) {
                Ok(Read::Question(mut mapped)) => {
                    asking.complete(self, &mut mapped.question).await?;
                    let answered = self.decide_mapped(mapped, Id::NONE, false)?;
                    Some(answered.answer)
                }
                // What this action cannot use in the context is no error of the search.
                Ok(Read::Unknown { .. }) | Err(DecisionError::Rejected { .. }) => None,
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

#[cfg(test)]
pub(crate) mod tests;
