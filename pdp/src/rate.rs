//! How often a caller may ask: a steady rate with a burst of one second, without a lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// The generic cell rate algorithm: the time at which the bucket would be empty again.
#[derive(Debug)]
pub(crate) struct Rate {
    origin: Instant,
    /// Nanoseconds between two requests at the steady rate.
    interval: u64,
    /// Nanoseconds after the origin.
    empty_at: AtomicU64,
}

/// What may come at once.
const BURST: u64 = 1_000_000_000;

impl Rate {
    pub(crate) fn new(per_second: u32, now: Instant) -> Self {
        Self {
            origin: now,
            interval: BURST / u64::from(per_second.max(1)),
            empty_at: AtomicU64::new(0),
        }
    }

    /// Takes one, or says how long to wait for it.
    pub(crate) fn take(&self, now: Instant) -> Result<(), Duration> {
        let now = now.saturating_duration_since(self.origin).as_nanos();
        let now = u64::try_from(now).unwrap_or(u64::MAX);
        let next = |empty_at: u64| empty_at.max(now).saturating_add(self.interval);
        let taken = self
            .empty_at
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |empty_at| {
                let next = next(empty_at);
                (next - now <= BURST.max(self.interval)).then_some(next)
            });
        match taken {
            Ok(_) => Ok(()),
            Err(empty_at) => {
                let early = next(empty_at).saturating_sub(now);
                Err(Duration::from_nanos(
                    early.saturating_sub(BURST.max(self.interval)),
                ))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_passes_and_then_only_the_rate() {
        let start = Instant::now();
        let rate = Rate::new(10, start);
        let taken = |at: Instant| (0..100).filter(|_| rate.take(at).is_ok()).count();
        assert_eq!(taken(start), 10);
        let wait = rate.take(start).unwrap_err();
        assert_eq!(wait, Duration::from_millis(100));
        assert_eq!(taken(start + Duration::from_millis(99)), 0);
        assert_eq!(taken(start + Duration::from_millis(500)), 5);
        assert_eq!(
            taken(start + Duration::from_mins(1)),
            10,
            "no more is saved up"
        );
    }
}
