//! How often something may happen, and what is left of that: the generic cell rate algorithm, which needs one
//! number for each key. Here for the backends whose only user is this process.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hashbrown::HashTable;
use tokio::time::Instant;

/// `quota` times in each `window`, spread evenly; of that, `burst` at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    pub quota: u32,
    pub window: Duration,
    pub burst: u32,
}

/// What came of one try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Draw {
    pub is_allowed: bool,
    /// How often it may happen at once after this.
    pub remaining: u32,
    /// Until it may happen again; nothing where it was allowed.
    pub retry: Duration,
    /// Until all of `burst` is there again.
    pub reset: Duration,
}

/// Rates that are counted in this process alone. Who counts under one key waits for nobody who counts under
/// another, but by chance.
#[derive(Debug)]
pub struct Rates {
    shards: Box<[Mutex<Shard>; SHARDS]>,
    hash: RandomState,
}

#[derive(Debug, Default)]
struct Shard {
    /// When each key has all of its burst again.
    full_at: HashTable<(String, Instant)>,
    sweep_at: usize,
}

/// So many that looking through one of them, or letting it grow, holds up nobody for long, even with a million keys.
const SHARDS: usize = 256;
const SWEEP_FROM: usize = 64;

impl Rate {
    /// Between two, where they come evenly. Never nothing.
    pub(crate) fn interval(&self) -> Duration {
        let interval = self.window / self.quota.max(1);
        interval.max(Duration::from_micros(1))
    }

    /// How far ahead of the even flow one may be.
    pub(crate) fn ahead(&self) -> Duration {
        self.interval().saturating_mul(self.burst.max(1))
    }

    /// `reset`: until all is there again, after this try.
    pub(crate) fn drawn(&self, is_allowed: bool, reset: Duration, retry: Duration) -> Draw {
        let left = micros(self.ahead().saturating_sub(reset)) / micros(self.interval());
        Draw {
            is_allowed,
            remaining: u32::try_from(left).unwrap_or(u32::MAX),
            retry,
            reset,
        }
    }
}

/// Whole ones.
pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

impl Default for Rates {
    fn default() -> Self {
        Self {
            shards: Box::new(std::array::from_fn(|_| Mutex::default())),
            hash: RandomState::new(),
        }
    }
}

impl Rates {
    /// Takes one, if there is one.
    pub fn draw(&self, key: &str, rate: &Rate) -> Draw {
        let now = Instant::now();
        let hash = self.hash.hash_one(key);
        // Shards are told apart by other bits than the places in them.
        let place = usize::try_from(hash >> 32).unwrap_or_default() % SHARDS;
        let Some(shard) = self.shards.get(place) else {
            return rate.drawn(false, Duration::ZERO, rate.interval());
        };
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        let mut known = shard.full_at.find_mut(hash, |(name, _)| name == key);
        let full_at = known.as_ref().map_or(now, |known| known.1.max(now));
        let next = full_at + rate.interval();
        let ahead = next - now;
        if ahead > rate.ahead() {
            return rate.drawn(false, full_at - now, ahead.saturating_sub(rate.ahead()));
        }
        if let Some(known) = &mut known {
            known.1 = next;
        } else {
            shard.sweep(now);
            let again = |(name, _): &(String, Instant)| self.hash.hash_one(name);
            shard
                .full_at
                .insert_unique(hash, (key.to_owned(), next), again);
        }
        rate.drawn(true, ahead, Duration::ZERO)
    }
}

impl Shard {
    /// Drops what has nothing to say, each time that the map has doubled: constant cost per key.
    fn sweep(&mut self, now: Instant) {
        if self.full_at.len() < self.sweep_at.max(SWEEP_FROM) {
            return;
        }
        self.full_at.retain(|(_, full)| *full > now);
        self.sweep_at = self.full_at.len().saturating_mul(2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate {
        quota: 6,
        window: Duration::from_mins(1),
        burst: 3,
    };

    #[tokio::test(start_paused = true)]
    async fn what_was_used_comes_back_evenly() {
        let rates = Rates::default();
        for left in [2, 1, 0] {
            let draw = rates.draw("a:b", &RATE);
            assert_eq!((draw.is_allowed, draw.remaining), (true, left));
        }
        let no = rates.draw("a:b", &RATE);
        assert!(!no.is_allowed);
        assert_eq!(
            (no.retry, no.reset),
            (Duration::from_secs(10), Duration::from_secs(30))
        );
        assert!(rates.draw("a:c", &RATE).is_allowed);
        tokio::time::advance(Duration::from_secs(9)).await;
        assert!(!rates.draw("a:b", &RATE).is_allowed);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(rates.draw("a:b", &RATE).is_allowed);
        assert!(!rates.draw("a:b", &RATE).is_allowed);
        tokio::time::advance(Duration::from_mins(9)).await;
        assert_eq!(
            rates.draw("a:b", &RATE).remaining,
            2,
            "no more than the burst"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn keys_that_are_full_again_do_not_pile_up() {
        let rates = Rates::default();
        for round in 0..10 {
            for n in 0..SHARDS * SWEEP_FROM {
                rates.draw(&format!("a:{round}-{n}"), &RATE);
            }
            tokio::time::advance(Duration::from_mins(1)).await;
        }
        let held: usize = rates
            .shards
            .iter()
            .map(|shard| shard.lock().unwrap().full_at.len())
            .sum();
        assert!(held <= SHARDS * SWEEP_FROM * 3, "{held} held");
    }
}
