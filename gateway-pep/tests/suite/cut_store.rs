//! A store that can be cut off, from those that follow its event log or from those that write.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use store::{
    Batch, Commit, Draw, EventPage, MemoryStore, Position, Rate, ScanPage, Store, StoreError,
};

#[derive(Debug, Default)]
pub(crate) struct CutStore {
    inner: MemoryStore,
    /// Its event log is not heard.
    pub(crate) is_mute: AtomicBool,
    /// What is written fails, or is never answered.
    pub(crate) fails: AtomicBool,
    pub(crate) hangs: AtomicBool,
    /// Nothing is answered but by a failure.
    pub(crate) is_dead: AtomicBool,
}

impl CutStore {
    fn alive(&self) -> Result<(), StoreError> {
        if self.is_dead.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable(None));
        }
        Ok(())
    }
}

#[async_trait]
impl Store for CutStore {
    async fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        self.alive()?;
        self.inner.get(key).await
    }
    async fn take(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        self.alive()?;
        self.inner.take(key).await
    }
    async fn commit(&self, batch: Batch) -> Result<Commit, StoreError> {
        self.alive()?;
        if self.hangs.load(Ordering::SeqCst) {
            return std::future::pending().await;
        }
        if self.fails.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable(None));
        }
        self.inner.commit(batch).await
    }
    async fn scan(&self, p: &str, c: Option<&str>, l: usize) -> Result<ScanPage, StoreError> {
        self.inner.scan(p, c, l).await
    }
    async fn count(&self, key: &str, window: Duration) -> Result<u64, StoreError> {
        self.inner.count(key, window).await
    }
    async fn draw(&self, key: &str, rate: &Rate) -> Result<Draw, StoreError> {
        if self.fails.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable(None));
        }
        self.inner.draw(key, rate).await
    }
    async fn tail(&self, log: &str) -> Result<Position, StoreError> {
        self.inner.tail(log).await
    }
    async fn follow(
        &self,
        log: &str,
        p: &Position,
        wait: Duration,
    ) -> Result<EventPage, StoreError> {
        self.alive()?;
        if self.is_mute.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable(None));
        }
        let page = self.inner.follow(log, p, wait).await;
        if self.is_mute.load(Ordering::SeqCst) {
            Err(StoreError::Timeout)
        } else {
            page
        }
    }
    async fn ping(&self) -> Result<(), StoreError> {
        self.inner.ping().await
    }
}
