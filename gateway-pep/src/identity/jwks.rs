//! The keys of an issuer (RFC 7517), kept up to date while nobody waits for it.
//!
//! They are read again at an interval, and when a token names a key that is not among them. What cannot be
//! read leaves the last keys in force, for a bounded time.

mod source;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use jose::KeySet;
use prometheus::IntCounter;
use service_kit::renewal::{self, Pace, Reader, Renewal, Renewals};
use service_kit::{Health, Tasks, digest, health};
use tokio::time::Instant;

pub(crate) use source::Source;

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
    /// So long the last ones are good where they cannot be read.
    keep: Duration,
    current: ArcSwapOption<Known>,
    origin: Instant,
    /// Milliseconds after `origin`: from then on the last keys count for nothing.
    good_until: AtomicU64,
    renewals: Arc<Renewals>,
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

impl Told {
    /// What health calls an issuer.
    pub(crate) fn part(issuer: &str) -> String {
        format!("issuer {issuer}")
    }
}

/// Reads them, and says how that went.
struct KeyReader {
    keys: Arc<Jwks>,
    told: Told,
    /// A failure is told once, and again when it is another one.
    problem: Option<String>,
}

impl Jwks {
    /// Keys that are at hand must be good at once; others may come later.
    pub(crate) fn open(source: Source, pace: Pace, keep: Duration) -> Result<Self, String> {
        let keys = Self {
            source,
            keep,
            current: ArcSwapOption::default(),
            origin: Instant::now(),
            good_until: AtomicU64::new(0),
            renewals: Arc::new(Renewals::new(pace)),
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

    /// Waits for a reading, if one may be had now. What never changes has no other keys.
    pub(crate) async fn renew(&self) -> Renewal {
        self.renewals.renew().await
    }

    /// Keeps the keys up to date until the tasks drain.
    pub(crate) fn follow(self: Arc<Self>, told: Told, tasks: &Tasks) {
        if self.source.is_fixed() {
            return;
        }
        let reader = KeyReader {
            keys: self.clone(),
            told,
            problem: None,
        };
        self.renewals.clone().follow(reader, tasks);
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
            self.millis(Instant::now() + self.keep)
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
}

impl Reader for KeyReader {
    async fn read(&mut self) -> bool {
        let read = tokio::time::timeout(renewal::READING, self.keys.source.read()).await;
        let read = read.unwrap_or_else(|_| Err("they do not come in time".into()));
        let read = read.and_then(|text| self.keys.take(&text));
        let is_read = read.is_ok();
        self.tell(read);
        is_read
    }
}

impl KeyReader {
    fn tell(&mut self, read: Result<bool, String>) {
        let told = &self.told;
        let issuer = &*told.issuer;
        let part = Told::part(issuer);
        match read {
            Ok(is_new) => {
                told.readings.ok.inc();
                self.problem = None;
                if is_new {
                    tracing::info!(issuer, "the keys of an issuer are read");
                }
                told.health.set(&part, health::Status::Ready);
            }
            Err(problem) => {
                told.readings.failed.inc();
                if self.problem.as_ref() != Some(&problem) {
                    let last_keys_count = self.keys.version(Instant::now()).is_some();
                    tracing::warn!(
                        issuer,
                        problem,
                        last_keys_count,
                        "the keys of an issuer cannot be read"
                    );
                    self.problem = Some(problem);
                }
                let reason = "its keys cannot be read".into();
                told.health.set(&part, health::Status::Stale { reason });
            }
        }
    }
}
