//! The keys of an issuer (RFC 7517), kept up to date while nobody waits for it.
//!
//! They are read again at an interval, and when a token names a key that is not among them: one
//! reading for all who wait, and none sooner than a rest after the last, whoever sends what. What
//! cannot be read leaves the last keys in force, for a bounded time.

mod source;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use jose::KeySet;
use prometheus::IntCounter;
use service_kit::{Health, Tasks, digest, health};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

pub(crate) use source::{Source, is_trusted};

/// Keys as they were read at one time.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) keys: KeySet,
    /// Counts the changes: what was verified by other keys is verified again.
    version: u64,
    digest: [u8; 32],
}

/// The keys of one issuer.
#[derive(Debug)]
pub(crate) struct Jwks {
    source: Source,
    pace: Pace,
    current: ArcSwapOption<Known>,
    origin: Instant,
    /// Milliseconds after `origin`: from then on the last keys count for nothing.
    good_until: AtomicU64,
    /// Somebody needs a key that is not there.
    wanted: Notify,
    /// None: nobody reads, so waiting is in vain.
    reading: watch::Sender<Option<Reading>>,
}

/// How often they are read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// Without being asked to.
    pub(crate) refresh: Duration,
    /// Not sooner after the last time, whatever anybody asks for.
    pub(crate) rest: Duration,
    /// So long the last ones are good where they cannot be read.
    pub(crate) keep: Duration,
}

/// What came of asking for new keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Renewal {
    Read,
    /// They were read a moment ago, and that has to do.
    Resting,
    /// They could not be read.
    Failed,
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

/// How readings have ended, counted.
#[derive(Debug, Clone)]
pub(crate) struct KeyReadings {
    pub(crate) ok: IntCounter,
    pub(crate) failed: IntCounter,
}

/// What a reader tells of itself.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    pub(crate) issuer: Arc<str>,
    pub(crate) readings: KeyReadings,
    pub(crate) health: Health,
}

/// For one reading, from the first byte to the last.
const TIMEOUT: Duration = Duration::from_secs(5);

/// A request waits no longer than this for one.
const PATIENCE: Duration = Duration::from_secs(6);

impl Jwks {
    /// Keys that are at hand must be good at once; others may come later.
    pub(crate) fn open(source: Source, pace: Pace) -> Result<Self, String> {
        let keys = Self {
            current: ArcSwapOption::default(),
            origin: Instant::now(),
            good_until: AtomicU64::new(0),
            wanted: Notify::new(),
            reading: watch::Sender::new(None),
            pace,
            source,
        };
        if let Some(text) = keys.source.at_hand()? {
            keys.take(&text)?;
        }
        Ok(keys)
    }

    /// What is known and still counts.
    pub(crate) fn current(&self, now: Instant) -> Option<Arc<Known>> {
        self.current.load_full().filter(|_| self.is_good(now))
    }

    /// Of what is known and still counts.
    pub(crate) fn version(&self, now: Instant) -> Option<u64> {
        let known = self.current.load();
        let version = known.as_ref().map(|known| known.version);
        version.filter(|_| self.is_good(now))
    }

    /// Waits for a reading, if one may be had now.
    pub(crate) async fn renew(&self) -> Renewal {
        let mut reading = self.reading.subscribe();
        let Some(seen) = *reading.borrow_and_update() else {
            // What never changes has no other keys; else nobody reads any more.
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

    /// Keeps the keys up to date until the tasks drain.
    pub(crate) fn follow(self: Arc<Self>, told: Told, tasks: &Tasks) {
        if self.source.is_fixed() {
            return;
        }
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
                () = self.run(&told) => {}
            }
            self.reading.send_replace(None);
        });
    }

    async fn run(&self, told: &Told) {
        let mut problem = None;
        loop {
            self.change(|reading| reading.now = true);
            let read = tokio::time::timeout(TIMEOUT, self.source.read()).await;
            let read = read.unwrap_or_else(|_| Err("they do not come in time".into()));
            let read = read.and_then(|text| self.take(&text));
            let pause = match read {
                Ok(_) => self.pace.refresh,
                Err(_) => self.pace.rest.max(Duration::from_secs(1)),
            };
            let has_failed = read.is_err();
            self.tell(told, read, &mut problem);
            let rest_until = Instant::now() + self.pace.rest;
            self.change(|reading| {
                reading.ended += 1;
                reading.now = false;
                reading.has_failed = has_failed;
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

    /// Until keys are wanted after the rest, or the time has passed.
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

    /// Puts keys in force; true where they are others.
    fn take(&self, text: &[u8]) -> Result<bool, String> {
        let keys = KeySet::parse(text)?;
        let digest = digest::sha256(text);
        let before = self.current.load();
        let is_new = before.as_ref().is_none_or(|old| old.digest != digest);
        if is_new {
            let version = before.as_ref().map_or(0, |old| old.version) + 1;
            self.current.store(Some(Arc::new(Known {
                keys,
                version,
                digest,
            })));
        }
        let good_until = if self.source.is_fixed() {
            u64::MAX
        } else {
            self.millis(Instant::now() + self.pace.keep)
        };
        self.good_until.store(good_until, Ordering::Release);
        Ok(is_new)
    }

    fn is_good(&self, now: Instant) -> bool {
        self.millis(now) < self.good_until.load(Ordering::Acquire)
    }

    fn millis(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.origin).as_millis();
        u64::try_from(since).unwrap_or(u64::MAX - 1)
    }

    /// A failure is told once, and again when it is another one.
    fn tell(&self, told: &Told, read: Result<bool, String>, before: &mut Option<String>) {
        let issuer = &*told.issuer;
        let part = format!("issuer {issuer}");
        match read {
            Ok(is_new) => {
                told.readings.ok.inc();
                *before = None;
                if is_new {
                    tracing::info!(issuer, "the keys of an issuer are read");
                }
                told.health.set(&part, health::Status::Ready);
            }
            Err(problem) => {
                told.readings.failed.inc();
                if before.as_ref() != Some(&problem) {
                    let last_keys_count = self.version(Instant::now()).is_some();
                    tracing::warn!(
                        issuer,
                        problem,
                        last_keys_count,
                        "the keys of an issuer cannot be read"
                    );
                    *before = Some(problem);
                }
                let reason = "its keys cannot be read".into();
                told.health.set(&part, health::Status::Stale { reason });
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
