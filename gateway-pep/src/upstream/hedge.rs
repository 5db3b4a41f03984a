//! A second try beside a first one that is slow. Whoever drives both looks in between whether it may still be made.

use std::rc::Rc;
use std::time::Duration;

use http::StatusCode;
use http_body::Body as _;

use super::Exchange;
use super::sending::copy;

/// What can be begun beside a try.
#[derive(Debug)]
pub(crate) struct Hedge {
    /// When that has no answer by then.
    pub(crate) after: Duration,
    pub(crate) other: Exchange,
    /// Answers that another endpoint may have a better one for.
    pub(crate) retried: Vec<StatusCode>,
}

impl Exchange {
    /// Whether its upstream wants that at all.
    pub(crate) fn is_hedged(&self) -> bool {
        self.pool.plan().is_some_and(|plan| plan.hedge.is_some())
    }

    /// For the next try. None: there is to be nothing beside it, or there may not be.
    pub(crate) fn hedge(&mut self) -> Option<Hedge> {
        let after = self.pool.plan()?.hedge?;
        let retries = self.plan()?;
        let request = self.request.as_ref()?;
        let is_read = request.method().is_safe() && request.body().is_end_stream();
        if !is_read || self.retries >= retries.attempts {
            return None;
        }
        let retried = retries.statuses.clone();
        let request = copy(request)?;
        let other = self.beside(request);
        Some(Hedge {
            after,
            other,
            retried,
        })
    }

    /// Whether the try beside another one is made. It is counted as one.
    pub(crate) fn begins(&mut self) -> bool {
        // One that still waits for a place would wait for two then.
        let first = self.beside.take().and_then(|beside| beside.take());
        let (Some(first), Some(plan)) = (first, self.pool.plan()) else {
            return false;
        };
        self.tried.push(first);
        if self.pool.choose_well(plan, self.key, &self.tried).is_none() {
            return false;
        }
        if !self.pool.budget.spend() {
            self.count(|retries| &retries.beyond_budget);
            return false;
        }
        self.count(|retries| &retries.hedge);
        true
    }

    /// Neither of the two is the answer.
    pub(crate) fn join(&mut self, other: Self) {
        self.retries += 1;
        for at in other.tried {
            if !self.tried.iter().any(|known| Rc::ptr_eq(known, &at)) {
                self.tried.push(at);
            }
        }
    }
}
