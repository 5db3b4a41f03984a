//! Something that is read again and again while nobody waits for it, such as the keys of an issuer.
//!
//! It is read at an interval, and when somebody wants it anew: one reading for all who wait, and none sooner
//! than a rest after the last, whoever asks. Whoever wants it waits for no lock, and for a reading only where
//! one may be had.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::Tasks;

/// A reading takes no longer, from the first byte to the last: its reader sees to that.
pub const READING: Duration = Duration::from_secs(5);

/// Whoever waits for one waits no longer than this.
const PATIENCE: Duration = Duration::from_secs(6);

/// How often it is read.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Without being asked to.
    pub refresh: Duration,
    /// Not sooner after the last time, whatever anybody asks for.
    pub rest: Duration,
}

/// What came of asking for it anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewal {
    Read,
    /// It was read a moment ago, and that has to do; or nobody reads.
    Resting,
    /// It could not be read.
    Failed,
}

/// Reads, and puts in force what was read.
pub trait Reader: Send + 'static {
    /// Reads once. Whether that went well.
    fn read(&mut self) -> impl Future<Output = bool> + Send;
}

/// When it is read, and who waits for that.
#[derive(Debug)]
pub struct Renewals {
    pace: Pace,
    /// Somebody needs what is not there.
    wanted: Notify,
    /// None: nobody reads, so waiting is in vain.
    reading: watch::Sender<Option<Reading>>,
}

/// How the reading stands.
#[derive(Debug, Clone, Copy)]
struct Reading {
    /// How many have ended.
    ended: u64,
    now: bool,
    has_failed: bool,
    /// No other begins before.
    rest_until: Instant,
}

impl Renewals {
    pub fn new(pace: Pace) -> Self {
        Self {
            pace,
            wanted: Notify::new(),
            reading: watch::Sender::new(None),
        }
    }

    /// Waits for a reading, if one may be had now.
    pub async fn renew(&self) -> Renewal {
        let mut reading = self.reading.subscribe();
        let Some(seen) = *reading.borrow_and_update() else {
            return Renewal::Resting;
        };
        if !seen.now {
            if Instant::now() < seen.rest_until {
                return seen.outcome(Renewal::Resting);
            }
            self.wanted.notify_one();
        }
        let ended = reading.wait_for(|now| now.is_none_or(|now| now.ended > seen.ended));
        // A request must not depend on the reader's being alive.
        match tokio::time::timeout(PATIENCE, ended).await {
            Ok(Ok(reading)) => reading.map_or(Renewal::Failed, |now| now.outcome(Renewal::Read)),
            Ok(Err(_)) | Err(_) => Renewal::Failed,
        }
    }

    /// Has it read until the tasks drain.
    pub fn follow(self: Arc<Self>, reader: impl Reader, tasks: &Tasks) {
        let draining = tasks.draining();
        // From now on there is something to wait for.
        self.reading.send_replace(Some(Reading {
            ended: 0,
            now: true,
            has_failed: false,
            rest_until: Instant::now(),
        }));
        tasks.spawn(async move {
            tokio::select! {
                () = draining.cancelled() => {}
                () = self.run(reader) => {}
            }
            self.reading.send_replace(None);
        });
    }

    async fn run(&self, mut reader: impl Reader) {
        loop {
            self.change(|reading| reading.now = true);
            let is_read = reader.read().await;
            let pause = if is_read {
                self.pace.refresh
            } else {
                self.pace.rest.max(Duration::from_secs(1))
            };
            let rest_until = Instant::now() + self.pace.rest;
            self.change(|reading| {
                reading.ended += 1;
                reading.now = false;
                reading.has_failed = !is_read;
                reading.rest_until = rest_until;
            });
            self.pause(pause, rest_until).await;
        }
    }

    fn change(&self, change: impl FnOnce(&mut Reading)) {
        self.reading.send_modify(|reading| {
            if let Some(reading) = reading {
                change(reading);
            }
        });
    }

    /// Until it is wanted after the rest, or the time has passed.
    async fn pause(&self, longest: Duration, rest_until: Instant) {
        let due = Instant::now() + longest;
        while tokio::time::timeout_at(due, self.wanted.notified())
            .await
            .is_ok()
        {
            // What was wanted before the last reading ended has been had by now.
            if Instant::now() >= rest_until {
                break;
            }
        }
    }
}

impl Reading {
    fn outcome(self, good: Renewal) -> Renewal {
        if self.has_failed {
            Renewal::Failed
        } else {
            good
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use super::*;

    #[derive(Default)]
    struct Counted {
        readings: AtomicUsize,
        fails: AtomicBool,
    }

    impl Reader for Arc<Counted> {
        async fn read(&mut self) -> bool {
            tokio::time::sleep(Duration::from_millis(10)).await;
            self.readings.fetch_add(1, Ordering::SeqCst);
            !self.fails.load(Ordering::SeqCst)
        }
    }

    fn renewals() -> Arc<Renewals> {
        Arc::new(Renewals::new(Pace {
            refresh: Duration::from_mins(5),
            rest: Duration::from_secs(10),
        }))
    }

    #[tokio::test(start_paused = true)]
    async fn all_who_wait_have_one_reading_and_nobody_has_another_before_the_rest_is_over() {
        let (renewals, counted, tasks) = (renewals(), Arc::<Counted>::default(), Tasks::new());
        assert_eq!(renewals.renew().await, Renewal::Resting, "nobody reads");
        renewals.clone().follow(counted.clone(), &tasks);
        let all = tokio::join!(renewals.renew(), renewals.renew(), renewals.renew());
        assert_eq!(all, (Renewal::Read, Renewal::Read, Renewal::Read));
        assert_eq!(renewals.renew().await, Renewal::Resting);
        assert_eq!(counted.readings.load(Ordering::SeqCst), 1);
        tokio::time::sleep(Duration::from_secs(11)).await;
        assert_eq!(renewals.renew().await, Renewal::Read);
        assert_eq!(counted.readings.load(Ordering::SeqCst), 2);
        // Without being asked to.
        tokio::time::sleep(Duration::from_secs(301)).await;
        assert_eq!(counted.readings.load(Ordering::SeqCst), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_is_known_to_whoever_asks_and_is_tried_again_after_the_rest() {
        let (renewals, counted, tasks) = (renewals(), Arc::<Counted>::default(), Tasks::new());
        counted.fails.store(true, Ordering::SeqCst);
        renewals.clone().follow(counted.clone(), &tasks);
        assert_eq!(renewals.renew().await, Renewal::Failed);
        assert_eq!(renewals.renew().await, Renewal::Failed, "at rest, too");
        counted.fails.store(false, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_secs(11)).await;
        assert_eq!(counted.readings.load(Ordering::SeqCst), 2);
        assert_eq!(renewals.renew().await, Renewal::Resting);
    }
}
