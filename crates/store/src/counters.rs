//! Counters that live in one process: for the backends whose only user is this process.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Counts by key, each within its window.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    counts: HashMap<String, Count>,
    sweep_at: usize,
}

#[derive(Debug)]
struct Count {
    value: u64,
    ends: Option<Instant>,
}

impl Counters {
    /// Adds one; a counter whose window has ended starts again.
    pub(crate) fn add(&self, key: &str, window: Duration) -> u64 {
        let now = Instant::now();
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = inner.counts.get_mut(key)
            && count.is_live(now)
        {
            count.value = count.value.saturating_add(1);
            return count.value;
        }
        inner.sweep(now);
        let fresh = Count {
            value: 1,
            // A window beyond what the clock can say never ends.
            ends: now.checked_add(window),
        };
        inner.counts.insert(key.to_owned(), fresh);
        1
    }
}

impl Inner {
    /// Drops what has ended, each time that the map has doubled: constant cost per count.
    fn sweep(&mut self, now: Instant) {
        if self.counts.len() < self.sweep_at.max(SWEEP_FROM) {
            return;
        }
        self.counts.retain(|_, count| count.is_live(now));
        self.sweep_at = self.counts.len().saturating_mul(2);
    }
}

impl Count {
    fn is_live(&self, now: Instant) -> bool {
        self.ends.is_none_or(|ends| now < ends)
    }
}

const SWEEP_FROM: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_counter_starts_again_when_its_window_ends() {
        let counters = Counters::default();
        let window = Duration::from_secs(10);
        assert_eq!(counters.add("a:b", window), 1);
        tokio::time::advance(Duration::from_secs(9)).await;
        assert_eq!(counters.add("a:b", window), 2);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(counters.add("a:b", window), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn ended_counters_do_not_pile_up() {
        let counters = Counters::default();
        for round in 0..10 {
            for n in 0..SWEEP_FROM {
                counters.add(&format!("a:{round}-{n}"), Duration::from_secs(1));
            }
            tokio::time::advance(Duration::from_secs(2)).await;
        }
        let held = counters.inner.lock().unwrap().counts.len();
        assert!(held <= SWEEP_FROM * 2, "{held} held");
    }
}
