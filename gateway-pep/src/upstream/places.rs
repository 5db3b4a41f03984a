//! How many requests one worker has under way at one upstream, and how many wait for one of them to end: a
//! slow upstream holds up its own clients, and nobody else's.

use std::cell::Cell;
use std::future::Future;
use std::time::Duration;

use prometheus::IntGauge;
use tokio::sync::{Semaphore, SemaphorePermit, TryAcquireError};
use tokio::time::timeout;

/// Places for requests, those in use and those that are waited for.
#[derive(Debug)]
pub(super) struct Places {
    free: Semaphore,
    all: usize,
    waiting: Cell<usize>,
    most_waiting: usize,
    patience: Duration,
    /// What was last added to the gauge that workers share.
    gauged: Cell<i64>,
}

/// Counts as long as it is there.
struct Waiting<'p>(&'p Places, Option<&'p IntGauge>);

impl Places {
    pub(super) fn new(all: usize, most_waiting: usize, patience: Duration) -> Self {
        let all = all.min(Semaphore::MAX_PERMITS);
        Self {
            free: Semaphore::new(all),
            all,
            waiting: Cell::new(0),
            most_waiting,
            patience,
            gauged: Cell::new(0),
        }
    }

    /// Takes one; whoever has it must [`Places::leave`] it. False where none comes free in time, or too many
    /// wait.
    pub(super) async fn take(&self, gauge: Option<&IntGauge>) -> bool {
        let taken = match self.free.try_acquire() {
            Ok(place) => Some(place),
            Err(TryAcquireError::NoPermits) if self.waiting.get() < self.most_waiting => {
                let _waiting = Waiting::new(self, gauge);
                let place = timeout(self.patience, self.free.acquire()).await;
                place.ok().and_then(Result::ok)
            }
            Err(_) => None,
        };
        taken.map(SemaphorePermit::forget).is_some()
    }

    /// Waits with the others for something else to come free. None where it does not in time, or too many wait.
    pub(super) async fn wait<T>(
        &self,
        event: impl Future<Output = T>,
        gauge: Option<&IntGauge>,
    ) -> Option<T> {
        if self.waiting.get() >= self.most_waiting {
            return None;
        }
        let _waiting = Waiting::new(self, gauge);
        timeout(self.patience, event).await.ok()
    }

    pub(super) fn leave(&self) {
        self.free.add_permits(1);
    }

    pub(super) fn used(&self) -> usize {
        self.all.saturating_sub(self.free.available_permits())
    }

    /// Brings the gauge of places in use up to date.
    pub(super) fn update(&self, gauge: &IntGauge) {
        let used = i64::try_from(self.used()).unwrap_or(i64::MAX);
        gauge.add(used - self.gauged.replace(used));
    }
}

impl<'p> Waiting<'p> {
    fn new(places: &'p Places, gauge: Option<&'p IntGauge>) -> Self {
        places.waiting.set(places.waiting.get() + 1);
        if let Some(gauge) = gauge {
            gauge.inc();
        }
        Self(places, gauge)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let Self(places, gauge) = self;
        places.waiting.set(places.waiting.get().saturating_sub(1));
        if let Some(gauge) = gauge {
            gauge.dec();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_finds_no_place_waits_for_a_while_if_not_too_many_do() {
        let places = Places::new(1, 1, Duration::from_secs(1));
        assert!(places.take(None).await);
        let (first, second) = tokio::join!(places.take(None), places.take(None));
        assert!(!first, "nobody leaves in time");
        assert!(!second, "too many wait");
        let (third, ()) = tokio::join!(places.take(None), async { places.leave() });
        assert!(third);
        places.leave();
        assert!(places.take(None).await);
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_up_waiting_takes_nothing_along() {
        let places = Places::new(1, 1, Duration::from_mins(1));
        assert!(places.take(None).await);
        let given_up = timeout(Duration::from_secs(1), places.take(None)).await;
        assert!(given_up.is_err());
        assert_eq!(places.waiting.get(), 0);
        places.leave();
        assert!(places.take(None).await);
        assert_eq!(places.free.available_permits(), 0);
    }
}
