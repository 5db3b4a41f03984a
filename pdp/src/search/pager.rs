//! One page of results, and when it is enough.

use authzen::{DecisionContext, Evaluation, Found, SearchResult};
use tokio::time::Instant;

use super::{Bounds, PageFound};
use crate::answer::Answer;

/// Candidates that are only looked at, for each that may be decided.
const LOOKS: usize = 100;

/// Fills one page and knows when to stop.
pub(super) struct Pager<'w> {
    bounds: Bounds<'w>,
    looked: usize,
    ends_at: Option<Instant>,
    page: PageFound,
}

impl<'w> Pager<'w> {
    pub(super) fn new(bounds: Bounds<'w>) -> Self {
        Self {
            bounds,
            looked: 0,
            ends_at: None,
            page: PageFound::default(),
        }
    }

    /// How many results it takes.
    pub(super) fn room(&self) -> usize {
        self.bounds.results
    }

    /// It is enough once it is so late.
    pub(super) fn end_at(&mut self, time: Instant) {
        self.ends_at = Some(time);
    }

    /// A candidate that cannot be permitted. True: enough for one page.
    pub(super) fn look(&mut self, name: &str) -> bool {
        self.looked += 1;
        self.stop_at(
            name,
            self.looked >= self.bounds.decisions.saturating_mul(LOOKS),
        )
    }

    /// A candidate that was decided. True: enough for one page.
    pub(super) fn take(
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
        let is_late = || self.ends_at.is_some_and(|end| Instant::now() >= end);
        let enough = enough || self.bounds.waited.is_over() || is_late();
        if enough {
            self.page.next = Some(name.to_owned());
        }
        enough
    }

    pub(super) fn done(self) -> PageFound {
        self.page
    }
}
