//! The store in a Redis server (6.2 or later), for any number of processes.
//!
//! Every verb is one command or one script, so that it is atomic there. As durable as the
//! server is told to be: `appendonly yes` with `appendfsync always` keeps what was answered.
//! One server or a primary with replicas; not a cluster, since a batch spans keys.

mod link;

use std::fmt::{self, Debug};
use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use redis::Script;
use tokio::time::Instant;

use self::link::Link;
use crate::config::RedisConfig;
use crate::limits::{
    EVENTS_PER_PAGE, MAX_KEY_BYTES, check_batch, check_key, check_log, check_prefix, page_size,
    refused,
};
use crate::rate::micros;
use crate::{Batch, Commit, Draw, EventPage, Position, Rate, ScanPage, Store, StoreError, Write};

/// A Redis server, under one prefix.
pub struct RedisStore {
    link: Link,
    prefix: String,
    max_events: u64,
    scripts: Scripts,
}

struct Scripts {
    commit: Script,
    count: Script,
    draw: Script,
    page: Script,
    tail: Script,
}

/// Entries of a stream as Redis says them: id, then names and values of fields in turn.
type Entries = Vec<(String, Vec<Bytes>)>;

impl RedisStore {
    /// Connects at the first verb, and again whenever it has to. Paths are relative to `base`.
    pub fn open(config: &RedisConfig, base: &Path, max_events: u64) -> Result<Self, StoreError> {
        if config.prefix.len() > MAX_KEY_BYTES || config.prefix.chars().any(char::is_control) {
            return Err(refused("`store.redis.prefix` is no prefix for a key"));
        }
        if !(10..=60_000).contains(&config.timeout_ms) {
            return Err(refused("`store.redis.timeout_ms` is not from 10 to 60000"));
        }
        let timeout = Duration::from_millis(config.timeout_ms);
        let link = Link::new(&config.read_url(base)?, config.read_ca(base)?, timeout)?;
        Ok(Self {
            link,
            prefix: config.prefix.clone(),
            max_events,
            scripts: Scripts {
                commit: Script::new(include_str!("redis/commit.lua")),
                count: Script::new(include_str!("redis/count.lua")),
                draw: Script::new(include_str!("redis/draw.lua")),
                page: Script::new(include_str!("redis/page.lua")),
                tail: Script::new(include_str!("redis/tail.lua")),
            },
        })
    }

    /// Says in the log where the server is set up to lose what it acknowledged.
    pub(crate) async fn warn_if_forgetful(&self) {
        let info = self
            .link
            .run(|mut connection| async move {
                redis::cmd("INFO")
                    .query_async::<String>(&mut connection)
                    .await
            })
            .await;
        match info {
            Err(error) => tracing::warn!(%error, "cannot ask redis how durable it is"),
            Ok(info) => {
                if info.contains("aof_enabled:0") {
                    tracing::warn!("redis keeps no append-only file: a crash loses revocations");
                }
                if info.contains("maxmemory_policy:") && !info.contains("maxmemory_policy:noevict")
                {
                    tracing::warn!("redis evicts when memory is short: that loses revocations");
                }
            }
        }
    }

    fn record(&self, key: &str) -> String {
        format!("{}k:{key}", self.prefix)
    }

    fn counter(&self, key: &str) -> String {
        format!("{}c:{key}", self.prefix)
    }

    fn rate(&self, key: &str) -> String {
        format!("{}b:{key}", self.prefix)
    }

    fn stream(&self, log: &str) -> String {
        format!("{}l:{log}", self.prefix)
    }

    /// What the log holds after an id; none where the entry with that id is gone.
    async fn entries_after(&self, log: &str, id: &str) -> Result<Option<Entries>, StoreError> {
        let mut page = self.scripts.page.prepare_invoke();
        page.key(self.stream(log)).arg(id).arg(EVENTS_PER_PAGE);
        self.link
            .run(|mut connection| async move { page.invoke_async(&mut connection).await })
            .await
    }
}

#[async_trait]
impl Store for RedisStore {
    async fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        check_key(key)?;
        let get = redis::Cmd::get(self.record(key));
        self.link
            .run(|mut connection| async move { get.query_async(&mut connection).await })
            .await
    }

    async fn take(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        check_key(key)?;
        let take = redis::Cmd::get_del(self.record(key));
        self.link
            .run(|mut connection| async move { take.query_async(&mut connection).await })
            .await
    }

    async fn commit(&self, batch: Batch) -> Result<Commit, StoreError> {
        check_batch(&batch)?;
        if batch.is_empty() {
            return Ok(Commit::Applied);
        }
        let mut commit = self.scripts.commit.prepare_invoke();
        commit.arg(self.max_events);
        for write in &batch.writes {
            let (key, kind, value, ttl, expected): (_, _, &[u8], _, &[u8]) = match write {
                Write::Put { key, value, ttl } => (self.record(key), "put", value, *ttl, b""),
                Write::PutNew { key, value, ttl } => {
                    (self.record(key), "put_new", value, *ttl, b"")
                }
                Write::Replace {
                    key,
                    expected,
                    value,
                    ttl,
                } => (self.record(key), "replace", value, *ttl, expected),
                Write::Delete { key } => (self.record(key), "delete", b"", None, b""),
                Write::Append { log, event } => (self.stream(log), "append", event, None, b""),
            };
            let ttl = ttl.map_or_else(String::new, |ttl| millis(ttl).to_string());
            commit.key(key).arg(kind).arg(value).arg(ttl).arg(expected);
        }
        let applied: bool = self
            .link
            .run(|mut connection| async move { commit.invoke_async(&mut connection).await })
            .await?;
        Ok(if applied {
            Commit::Applied
        } else {
            Commit::Conflict
        })
    }

    async fn scan(
        &self,
        prefix: &str,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<ScanPage, StoreError> {
        check_prefix(prefix)?;
        let cursor: u64 = cursor
            .map_or(Ok(0), str::parse)
            .map_err(|_| refused("the cursor belongs to another scan"))?;
        let full_prefix = self.record(prefix);
        let mut scan = redis::cmd("SCAN");
        scan.arg(cursor).arg("MATCH").arg(glob(&full_prefix));
        scan.arg("COUNT").arg(page_size(limit));
        let (cursor, found): (u64, Vec<Bytes>) = self
            .link
            .run(|mut connection| async move { scan.query_async(&mut connection).await })
            .await?;
        let cursor = (cursor != 0).then(|| cursor.to_string());
        // What is not UTF-8 is not ours.
        let found: Vec<&str> = found
            .iter()
            .filter_map(|key| std::str::from_utf8(key).ok())
            .filter(|key| key.starts_with(&full_prefix))
            .collect();
        let mut entries = Vec::with_capacity(found.len());
        if !found.is_empty() {
            let mget = redis::Cmd::mget(&found);
            let values: Vec<Option<Bytes>> = self
                .link
                .run(|mut connection| async move { mget.query_async(&mut connection).await })
                .await?;
            let area = self.record("");
            for (key, value) in found.iter().zip(values) {
                if let (Some(key), Some(value)) = (key.strip_prefix(&area), value) {
                    entries.push((key.to_owned(), value));
                }
            }
        }
        Ok(ScanPage { entries, cursor })
    }

    async fn count(&self, key: &str, window: Duration) -> Result<u64, StoreError> {
        check_key(key)?;
        let mut count = self.scripts.count.prepare_invoke();
        count.key(self.counter(key)).arg(millis(window));
        self.link
            .run(|mut connection| async move { count.invoke_async(&mut connection).await })
            .await
    }

    async fn draw(&self, key: &str, rate: &Rate) -> Result<Draw, StoreError> {
        check_key(key)?;
        let mut draw = self.scripts.draw.prepare_invoke();
        draw.key(self.rate(key))
            .arg(micros(rate.interval()))
            .arg(micros(rate.ahead()));
        let (allowed, reset, retry): (u8, u64, u64) = self
            .link
            .run(|mut connection| async move { draw.invoke_async(&mut connection).await })
            .await?;
        let (reset, retry) = (Duration::from_micros(reset), Duration::from_micros(retry));
        Ok(rate.drawn(allowed == 1, reset, retry))
    }

    async fn tail(&self, log: &str) -> Result<Position, StoreError> {
        check_log(log)?;
        let mut tail = self.scripts.tail.prepare_invoke();
        tail.key(self.stream(log));
        self.link
            .run(|mut connection| async move { tail.invoke_async(&mut connection).await })
            .await
            .map(Position)
    }

    async fn follow(
        &self,
        log: &str,
        after: &Position,
        wait: Duration,
    ) -> Result<EventPage, StoreError> {
        check_log(log)?;
        if !is_entry_id(&after.0) {
            return Err(refused("the position belongs to another store"));
        }
        let stream = self.stream(log);
        let deadline = Instant::now().checked_add(wait);
        let mut after = after.clone();
        loop {
            let Some(entries) = self.entries_after(log, &after.0).await? else {
                let next = self.tail(log).await?;
                return Ok(EventPage::Gap { next });
            };
            if let Some((last, _)) = entries.last() {
                after = Position(last.clone());
            }
            let events: Vec<Bytes> = entries.into_iter().filter_map(event).collect();
            let left = deadline.map_or(wait, |deadline| {
                deadline.saturating_duration_since(Instant::now())
            });
            if !events.is_empty() || left.is_zero() {
                let next = after;
                return Ok(EventPage::Events { events, next });
            }
            // Only a wake-up: what it read is read again above, together with the check that
            // nothing is missing. In slices, because a flush wakes nobody.
            let slice = left.min(LONGEST_WAIT);
            self.link.wait_for_entry(&stream, &after.0, slice).await?;
        }
    }

    async fn ping(&self) -> Result<(), StoreError> {
        let ping = redis::cmd("PING");
        self.link
            .run(|mut connection| async move { ping.query_async(&mut connection).await })
            .await
    }
}

impl Debug for RedisStore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("RedisStore")
            .field("link", &self.link)
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

/// The event of an entry; none where the entry only marks the start of the stream.
fn event((_, fields): (String, Vec<Bytes>)) -> Option<Bytes> {
    let mut fields = fields.into_iter();
    let name = fields.next()?;
    fields.next().filter(|_| name == EVENT_FIELD)
}

/// A pattern that matches exactly what begins with `prefix`.
fn glob(prefix: &str) -> String {
    let mut pattern = String::with_capacity(prefix.len() + 1);
    for letter in prefix.chars() {
        if matches!(letter, '*' | '?' | '[' | ']' | '^' | '\\') {
            pattern.push('\\');
        }
        pattern.push(letter);
    }
    pattern.push('*');
    pattern
}

/// `milliseconds-sequence`, as entries of a stream are named.
fn is_entry_id(id: &str) -> bool {
    id.split_once('-').is_some_and(|(time, sequence)| {
        time.parse::<u64>().is_ok() && sequence.parse::<u64>().is_ok()
    })
}

/// Redis takes no time of zero, and none beyond what it can count.
fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis())
        .unwrap_or(MOST_MILLIS)
        .clamp(1, MOST_MILLIS)
}

const EVENT_FIELD: &[u8] = b"event";
const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// Some thirty thousand years.
const MOST_MILLIS: u64 = 1_000_000_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_matched_letter_by_letter() {
        assert_eq!(glob("a:b"), "a:b*");
        assert_eq!(glob(r"a*?[x]^\"), r"a\*\?\[x\]\^\\*");
    }

    #[test]
    fn a_position_of_another_backend_is_no_entry_id() {
        assert!(is_entry_id("1700000000000-0"));
        for odd in ["", "17", "-", "17-", "a-b", "$", "1-2-3"] {
            assert!(!is_entry_id(odd), "{odd}");
        }
    }
}
