//! How many requests of one worker may be retries: a share of all, and a few in any case. Where most requests fail,
//! retries would only make it worse.

use std::cell::Cell;

use tokio::time::Instant;

/// What is left. In hundredths of a retry.
#[derive(Debug)]
pub(super) struct Budget {
    percent: u64,
    min_per_second: u64,
    /// By requests.
    earned: Cell<u64>,
    /// By time.
    given: Cell<u64>,
    given_at: Cell<Instant>,
}

const ONE: u64 = 100;

/// What can be saved up: a quiet hour is no reason for a storm.
const MOST: u64 = 100 * ONE;

impl Budget {
    pub(super) fn new(percent: u32, min_per_second: u32) -> Self {
        let min_per_second = u64::from(min_per_second);
        Self {
            percent: percent.into(),
            min_per_second,
            earned: Cell::new(0),
            given: Cell::new(min_per_second * ONE),
            given_at: Cell::new(Instant::now()),
        }
    }

    /// There is one more request.
    pub(super) fn earn(&self) {
        self.earned
            .set((self.earned.get() + self.percent).min(MOST));
    }

    /// Takes a retry, if there is one left.
    pub(super) fn spend(&self) -> bool {
        let now = Instant::now();
        let millis = now.duration_since(self.given_at.replace(now)).as_millis();
        let millis = u64::try_from(millis).unwrap_or(u64::MAX).min(1_000);
        let more = self.min_per_second * ONE * millis / 1_000;
        self.given
            .set((self.given.get() + more).min(self.min_per_second * ONE));
        [&self.given, &self.earned].into_iter().any(|left| {
            let less = left.get().checked_sub(ONE);
            less.inspect(|less| left.set(*less)).is_some()
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_share_of_all_requests_and_a_few_in_any_case() {
        let budget = Budget::new(20, 2);
        let spent = |budget: &Budget| (0..50).filter(|_| budget.spend()).count();
        assert_eq!(spent(&budget), 2);
        tokio::time::advance(Duration::from_mins(10)).await;
        assert_eq!(spent(&budget), 2, "time saves up a second's, no more");
        for _ in 0..100 {
            budget.earn();
        }
        assert_eq!(spent(&budget), 20);
        for _ in 0..100_000 {
            budget.earn();
        }
        assert_eq!((0..1000).filter(|_| budget.spend()).count(), 100);
        let none = Budget::new(0, 0);
        none.earn();
        assert!(!none.spend());
    }
}
