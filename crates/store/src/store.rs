//! The boundary: trait [`Store`].

use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::{Batch, Commit, Draw, EventPage, Position, Rate, StoreError};

/// Keys are UTF-8, `area:rest`, at most 512 bytes, without control characters; names of logs are
/// the same without the colon; values and events have at most 1 MiB. Anything else is refused.
/// Records, counters and logs of the same name have nothing to do with each other.
///
/// When a verb that writes returns `Ok`, the write survives a `kill -9` of every process
/// involved (on the durable backends). An `Err` means that it is not known whether it happened.
#[async_trait]
pub trait Store: Send + Sync + Debug {
    /// The value, or none.
    async fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError>;

    /// Reads and deletes in one step: of any number of concurrent callers one gets the value.
    async fn take(&self, key: &str) -> Result<Option<Bytes>, StoreError>;

    /// Applies all of the batch or nothing of it.
    async fn commit(&self, batch: Batch) -> Result<Commit, StoreError>;

    /// Some of the keys under a prefix, with their values. Not ordered and not a snapshot: a
    /// key that is there from the first page to the last is returned at least once. `cursor` is
    /// what the previous page gave; none starts. `limit` says about how many to look at, from 1
    /// to 1000. On Redis this walks every key there is: for housekeeping, not for requests.
    async fn scan(
        &self,
        prefix: &str,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<ScanPage, StoreError>;

    /// Adds one to a counter that lives for `window` from its first count; returns the new
    /// value. Not durable: losing a count in a crash is fine.
    async fn count(&self, key: &str, window: Duration) -> Result<u64, StoreError>;

    /// Takes one of what comes back evenly under a key, if there is one. Not durable, as a count.
    async fn draw(&self, key: &str, rate: &Rate) -> Result<Draw, StoreError>;

    /// The end of the event log: what is appended later has a greater position.
    async fn tail(&self, log: &str) -> Result<Position, StoreError>;

    /// What was appended after `after`, oldest first; waits up to `wait` for the first.
    /// An empty page says: nothing was appended up to the moment of the answer. An `Err` comes as
    /// soon as the store is lost, not when the wait is over: whoever follows in a loop pauses
    /// before asking from the same position again.
    async fn follow(
        &self,
        log: &str,
        after: &Position,
        wait: Duration,
    ) -> Result<EventPage, StoreError>;

    /// Cheap end-to-end check for readiness.
    async fn ping(&self) -> Result<(), StoreError>;

    /// Writes whatever is there.
    async fn put(&self, key: &str, value: Bytes, ttl: Option<Duration>) -> Result<(), StoreError> {
        self.commit(Batch::new().put(key, value, ttl))
            .await
            .map(drop)
    }

    /// Writes where nothing is there; false where something is.
    async fn put_new(
        &self,
        key: &str,
        value: Bytes,
        ttl: Option<Duration>,
    ) -> Result<bool, StoreError> {
        Ok(self
            .commit(Batch::new().put_new(key, value, ttl))
            .await?
            .is_applied())
    }

    /// Writes where the value is `expected`, byte for byte; false where it is not.
    async fn replace(
        &self,
        key: &str,
        expected: Bytes,
        value: Bytes,
        ttl: Option<Duration>,
    ) -> Result<bool, StoreError> {
        Ok(self
            .commit(Batch::new().replace(key, expected, value, ttl))
            .await?
            .is_applied())
    }

    /// Deletes what may be there.
    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.commit(Batch::new().delete(key)).await.map(drop)
    }

    /// Appends one event.
    async fn append(&self, log: &str, event: Bytes) -> Result<(), StoreError> {
        self.commit(Batch::new().append(log, event)).await.map(drop)
    }
}

/// One page of a [`Store::scan`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScanPage {
    pub entries: Vec<(String, Bytes)>,
    /// For the next call; none at the end. A page may be empty before the end.
    pub cursor: Option<String>,
}
