//! Where an issuer's keys come from, and how they are kept up to date.
//!
//! They are read again at an interval, and when a token names a key that is not among them: one
//! reading for all who wait, and none sooner than a rest after the last. What cannot be read leaves
//! the old keys in force. Whoever verifies never waits for a lock, and waits for a reading only
//! where it cannot do without.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ::http::{StatusCode, header};
use arc_swap::ArcSwapOption;
use jose::KeySet;
use prometheus::IntCounterVec;
use service_kit::outbound::{self, Unread};
use service_kit::{Tasks, digest};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use url::Url;

use crate::source::chain;

/// Keys as they were read at one time.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) keys: KeySet,
    /// Of the text. Equal versions have equal keys.
    pub(super) version: [u8; 32],
}

impl Known {
    fn parse(text: &[u8]) -> Result<Self, String> {
        Ok(Self {
            keys: KeySet::parse(text)?,
            version: digest::sha256(text),
        })
    }
}

/// The keys of one issuer.
#[derive(Debug)]
pub(super) struct Keys {
    source: Source,
    pace: Pace,
    current: ArcSwapOption<Known>,
    /// Somebody needs a key that is not there.
    wanted: Notify,
    /// None: nobody reads, so waiting is in vain.
    reading: watch::Sender<Option<Reading>>,
}

/// Where they are.
#[derive(Debug)]
pub(super) enum Source {
    File(PathBuf),
    Url(Box<Remote>),
}

#[derive(Debug)]
pub(super) struct Remote {
    url: Url,
    client: reqwest::Client,
}

/// How often they are read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// Without being asked to.
    pub(super) refresh: Duration,
    /// Not sooner after the last time, whatever anybody asks for.
    pub(super) rest: Duration,
}

/// How the reading stands.
#[derive(Debug, Clone, Copy)]
struct Reading {
    /// How many have ended.
    ended: u64,
    now: bool,
    /// No other begins before.
    rest_until: Instant,
}

/// For one reading, from the first byte to the last.
const TIMEOUT: Duration = Duration::from_secs(5);

/// A request waits no longer than this for one.
const PATIENCE: Duration = Duration::from_secs(6);

/// Longer key sets are not read. Bytes.
const LONGEST: usize = 256 << 10;

impl Keys {
    /// Keys in a file must be there at once; others may come later.
    pub(super) fn open(source: Source, pace: Pace) -> Result<Self, String> {
        let current = match &source {
            Source::File(path) => {
                let text =
                    std::fs::read(path).map_err(|error| format!("cannot be read: {error}"))?;
                Some(Arc::new(Known::parse(&text)?))
            }
            Source::Url(_) => None,
        };
        Ok(Self {
            source,
            pace,
            current: ArcSwapOption::new(current),
            wanted: Notify::new(),
            reading: watch::Sender::new(None),
        })
    }

    /// What is known. None: nothing has been read yet.
    pub(super) fn current(&self) -> Option<Arc<Known>> {
        self.current.load_full()
    }

    /// Waits for a reading, if one may be had now. False: what is known is all there is.
    pub(super) async fn renew(&self) -> bool {
        let mut reading = self.reading.subscribe();
        let Some(seen) = *reading.borrow_and_update() else {
            return false;
        };
        if !seen.now {
            if Instant::now() < seen.rest_until {
                return false;
            }
            self.wanted.notify_one();
        }
        let ended = reading.wait_for(|now| now.is_none_or(|now| now.ended > seen.ended));
        // A request must not depend on the reader's being alive.
        let ended = tokio::time::timeout(PATIENCE, ended).await;
        matches!(
            ended.as_ref().map(|ended| ended.as_deref()),
            Ok(Ok(Some(_)))
        )
    }

    /// Keeps the keys up to date until the tasks drain.
    pub(super) fn follow(self: Arc<Self>, issuer: String, loads: IntCounterVec, tasks: &Tasks) {
        let draining = tasks.draining();
        // From now on there is something to wait for.
        self.reading.send_replace(Some(Reading {
            ended: 0,
            now: true,
            rest_until: Instant::now(),
        }));
        tasks.spawn(async move {
            tokio::select! {
                () = draining.cancelled() => {}
                () = self.run(&issuer, &loads) => {}
            }
            self.reading.send_replace(None);
        });
    }

    async fn run(&self, issuer: &str, loads: &IntCounterVec) {
        // A failure is told once, and again when it is another one.
        let mut told = None;
        loop {
            self.change(|reading| reading.now = true);
            let read = tokio::time::timeout(TIMEOUT, self.source.read()).await;
            let read = read.unwrap_or_else(|_| Err("do not come in time".into()));
            let pause = if read.is_ok() {
                self.pace.refresh
            } else {
                self.pace.rest.max(Duration::from_secs(1))
            };
            self.take(read, issuer, loads, &mut told);
            let rest_until = Instant::now() + self.pace.rest;
            self.change(|reading| {
                reading.ended += 1;
                reading.now = false;
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

    fn take(
        &self,
        read: Result<Known, String>,
        issuer: &str,
        loads: &IntCounterVec,
        told: &mut Option<String>,
    ) {
        match read {
            Ok(keys) => {
                loads.with_label_values(&["ok"]).inc();
                *told = None;
                let before = self.current.load();
                if before
                    .as_ref()
                    .is_none_or(|old| old.version != keys.version)
                {
                    tracing::info!(issuer, "the keys of an issuer of callers' tokens are read");
                    self.current.store(Some(Arc::new(keys)));
                }
            }
            Err(problem) => {
                loads.with_label_values(&["failed"]).inc();
                if told.as_ref() != Some(&problem) {
                    let old = self.current.load().is_some();
                    tracing::warn!(
                        issuer,
                        problem,
                        old_keys_stay = old,
                        "the keys of an issuer of callers' tokens cannot be read"
                    );
                    *told = Some(problem);
                }
            }
        }
    }
}

impl Source {
    /// A URL that can be trusted to be the issuer's: https, or this machine itself.
    pub(super) fn url(text: &str) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|error| format!("is not a URL: {error}"))?;
        match url.scheme() {
            "https" => {}
            "http" if outbound::is_loopback(&url) => {}
            _ => return Err("must be https".into()),
        }
        let client = outbound::client(TIMEOUT)
            .build()
            .map_err(|error| format!("cannot be asked: {error}"))?;
        Ok(Self::Url(Box::new(Remote { url, client })))
    }

    async fn read(&self) -> Result<Known, String> {
        let text = match self {
            Self::File(path) => tokio::fs::read(path)
                .await
                .map_err(|error| format!("cannot be read: {error}"))?,
            Self::Url(remote) => remote.fetch().await?,
        };
        Known::parse(&text)
    }
}

impl Remote {
    async fn fetch(&self) -> Result<Vec<u8>, String> {
        let broken = |error: reqwest::Error| chain(&error.without_url());
        let request = self
            .client
            .get(self.url.clone())
            .header(header::ACCEPT, "application/json");
        let mut answer = request.send().await.map_err(broken)?;
        if answer.status() != StatusCode::OK {
            return Err(format!("the answer is {}", answer.status()));
        }
        let text = outbound::body(&mut answer, LONGEST).await;
        text.map_err(|unread| match unread {
            Unread::TooLong => format!("the answer is longer than {LONGEST} bytes"),
            Unread::Broken(error) => broken(error),
        })
    }
}
