//! Following the event log: what was announced, and whether we still hear it.
//!
//! One task follows; workers look at one number a request and fetch what is new. The task says
//! "heard" only after everything heard was published, and a worker looks at "heard" before it
//! looks for news: so whoever trusts its cache has seen all that was announced up to then.

mod announced;

use std::collections::VecDeque;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use oauth::TokenEvent;
use prometheus::{Histogram, IntCounter};
use service_kit::{Health, SharedClock, UnixTime, health};
use store::{EventPage, Position, Store, StoreError};
use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub(crate) use announced::{CacheEvent, Change, Purge, SessionEvent, token_name};

/// The announcements, as workers read them.
#[derive(Debug)]
pub(crate) struct Feed {
    origin: Instant,
    max_lag: Duration,
    /// Milliseconds after `origin`, plus one, at which the log was last heard. 0: never.
    heard: AtomicU64,
    /// Number of changes published so far.
    published: AtomicU64,
    recent: Mutex<VecDeque<Change>>,
    news: Notify,
}

/// Follows one log.
#[derive(Debug)]
pub(crate) struct Follower {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) log: String,
    pub(crate) feed: Arc<Feed>,
    pub(crate) clock: SharedClock,
    pub(crate) health: Health,
    pub(crate) lag: Histogram,
    pub(crate) received: IntCounter,
}

/// Changes kept for workers that have not looked for a while.
const KEEP: usize = 8192;
const WAIT: Duration = Duration::from_millis(500);
const RETRY: Duration = Duration::from_millis(200);
const PART: &str = "events";

impl Feed {
    pub(crate) fn new(max_lag: Duration) -> Self {
        Self {
            origin: Instant::now(),
            max_lag,
            heard: AtomicU64::new(0),
            published: AtomicU64::new(0),
            recent: Mutex::default(),
            news: Notify::new(),
        }
    }

    /// Whether the log was heard recently enough. Ask this before [`Feed::has_news`].
    pub(crate) fn is_heard(&self, now: Instant) -> bool {
        match self.heard.load(Ordering::Acquire).checked_sub(1) {
            None => false,
            Some(heard) => {
                let since = now.saturating_duration_since(self.origin);
                since.saturating_sub(Duration::from_millis(heard)) <= self.max_lag
            }
        }
    }

    /// Whether anything was published after `cursor`.
    pub(crate) fn has_news(&self, cursor: u64) -> bool {
        self.published.load(Ordering::Acquire) != cursor
    }

    /// Everything after `cursor`, and the new cursor. A worker that looks too late learns that
    /// everything changed.
    pub(crate) fn news(&self, cursor: u64, now: UnixTime) -> (Vec<Change>, u64) {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let published = self.published.load(Ordering::Acquire);
        let missed = usize::try_from(published.saturating_sub(cursor)).unwrap_or(usize::MAX);
        let changes = match recent.len().checked_sub(missed) {
            Some(known) => recent.iter().skip(known).cloned().collect(),
            None => vec![Change::Everything { at: now }],
        };
        (changes, published)
    }

    pub(crate) fn publish(&self, changes: Vec<Change>) {
        if changes.is_empty() {
            return;
        }
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let count = u64::try_from(changes.len()).unwrap_or(u64::MAX);
        recent.extend(changes);
        let excess = recent.len().saturating_sub(KEEP);
        recent.drain(..excess);
        self.published.fetch_add(count, Ordering::AcqRel);
        self.news.notify_waiters();
    }

    /// Resolves at the next [`Feed::publish`] after this future was enabled.
    pub(crate) fn published(&self) -> Notified<'_> {
        self.news.notified()
    }

    /// Only after [`Feed::publish`] of what was heard.
    pub(crate) fn hear(&self, now: Instant) {
        let since = now.saturating_duration_since(self.origin).as_millis();
        let since = u64::try_from(since).unwrap_or(u64::MAX - 1);
        self.heard.store(since + 1, Ordering::Release);
    }
}

impl Follower {
    /// Runs until the process drains and the last worker has no use for it. Nobody is ready before the log was
    /// heard, which is said at once and not when this is first polled.
    pub(crate) fn run(self, stop: CancellationToken) -> impl Future<Output = ()> {
        self.health.set(
            PART,
            health::Status::NotReady {
                reason: "the event log was not heard yet".into(),
            },
        );
        async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.follow() => {}
            }
        }
    }

    async fn follow(&self) {
        let mut position: Option<Position> = None;
        let mut last_heard: Option<Instant> = None;
        let mut failing = false;
        loop {
            match self.step(position.take()).await {
                Ok(next) => {
                    position = Some(next);
                    let now = Instant::now();
                    self.feed.hear(now);
                    if let Some(before) = last_heard.replace(now) {
                        self.lag.observe((now - before).as_secs_f64());
                    }
                    if failing || !self.is_ready() {
                        failing = false;
                        self.health.set(PART, health::Status::Ready);
                    }
                }
                Err((error, unchanged)) => {
                    position = unchanged;
                    if !failing {
                        failing = true;
                        tracing::warn!(%error, "the event log cannot be followed");
                    }
                    if last_heard.is_some() {
                        let reason = "the event log is not heard; caches are bypassed".into();
                        self.health.set(PART, health::Status::Stale { reason });
                    }
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    fn is_ready(&self) -> bool {
        self.health.parts().get(PART) == Some(&health::Status::Ready)
    }

    /// One look at the log. On failure the position comes back as it was.
    async fn step(
        &self,
        position: Option<Position>,
    ) -> Result<Position, (StoreError, Option<Position>)> {
        let Some(position) = position else {
            let next = self
                .store
                .tail(&self.log)
                .await
                .map_err(|error| (error, None))?;
            // What was shared before we began to listen may have been revoked unheard.
            self.feed.publish(vec![Change::Everything {
                at: self.clock.now(),
            }]);
            return Ok(next);
        };
        let page = self.store.follow(&self.log, &position, WAIT);
        // A connection that hangs must not look like a quiet log, nor hold us for ever.
        let page = match tokio::time::timeout(WAIT * 4, page).await {
            Ok(page) => page,
            Err(_) => Err(StoreError::Timeout),
        };
        match page {
            Ok(EventPage::Events { events, next }) => {
                self.received
                    .inc_by(u64::try_from(events.len()).unwrap_or(0));
                let changes = events.iter().map(|event| self.change(event)).collect();
                self.feed.publish(changes);
                Ok(next)
            }
            Ok(EventPage::Gap { next }) => {
                tracing::warn!("events were missed; everything cached is dropped");
                self.feed.publish(vec![Change::Everything {
                    at: self.clock.now(),
                }]);
                Ok(next)
            }
            Err(error) => Err((error, Some(position))),
        }
    }

    fn change(&self, event: &[u8]) -> Change {
        let at = self.clock.now();
        if let Ok(event) = serde_json::from_slice::<TokenEvent>(event) {
            return match event {
                TokenEvent::TokenRevoked { token_ref } => Change::Token(token_ref),
                TokenEvent::GrantRevoked { grant } => Change::Grant(grant),
                TokenEvent::ClientEnded { client_id } => Change::Client(client_id),
                TokenEvent::RegistryChanged => Change::AllTokens { at },
            };
        }
        if let Ok(SessionEvent::SessionsEnded { name }) = serde_json::from_slice(event) {
            return Change::Sessions(name);
        }
        match serde_json::from_slice::<CacheEvent>(event) {
            Ok(CacheEvent::CachePurged {
                purge: Purge::Everything,
            }) => {
                return Change::Everything { at };
            }
            Ok(CacheEvent::CachePurged { purge }) => return Change::Purge { purge, at },
            Err(_) => {}
        }
        // A `PolicyEvent`, or written by a newer version, or by nobody we know.
        // SECURITY: tokens, too. What a token is swapped for is decided by policy: its scopes, and the
        // claims that a service is told.
        Change::Everything { at }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_feed_is_trusted_only_while_it_is_heard() {
        let feed = Feed::new(Duration::from_secs(3));
        assert!(!feed.is_heard(Instant::now()));
        feed.hear(Instant::now());
        assert!(feed.is_heard(Instant::now()));
        tokio::time::advance(Duration::from_millis(3100)).await;
        assert!(!feed.is_heard(Instant::now()));
    }

    #[test]
    fn a_worker_gets_every_change_once_or_learns_that_it_missed_some() {
        let feed = Feed::new(Duration::from_secs(3));
        let now = UnixTime::from_secs(1);
        feed.publish(vec![Change::Token("a".into()), Change::Grant("b".into())]);
        assert!(feed.has_news(0));
        let (changes, cursor) = feed.news(1, now);
        assert_eq!((changes, cursor), (vec![Change::Grant("b".into())], 2));
        assert!(!feed.has_news(2));
        for _ in 0..KEEP {
            feed.publish(vec![Change::Token("c".into())]);
        }
        assert_eq!(feed.news(1, now).0, [Change::Everything { at: now }]);
        assert_eq!(feed.news(2, now).0.len(), KEEP);
    }
}
