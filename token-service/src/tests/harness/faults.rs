//! What is around the service and can fail: its store and its decision point.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use authzen::{
    DecisionError, DecisionPoint, Evaluation, EvaluationRequest, EvaluationsRequest, Obligation,
    SearchRequest, SearchResults,
};
use bytes::Bytes;
use store::{
    Batch, Commit, Draw, EventPage, MemoryStore, Position, Rate, ScanPage, Store, StoreError,
};

/// The memory store, which can be made to fail.
#[derive(Debug, Default)]
pub(in crate::tests) struct TestStore {
    inner: MemoryStore,
    down: AtomicBool,
    /// Reads work, writes do not.
    read_only: AtomicBool,
}

/// Permits every scope that is not denied.
#[derive(Debug, Default)]
pub(in crate::tests) struct TestDecisions {
    down: AtomicBool,
    denied: Mutex<Vec<String>>,
    obliged: Mutex<Vec<String>>,
    pub(in crate::tests) asked: Mutex<Vec<EvaluationRequest>>,
    /// Nothing is answered while a test holds it.
    pub(in crate::tests) hold: tokio::sync::Mutex<()>,
}

impl TestStore {
    pub(in crate::tests) fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
    }

    pub(in crate::tests) fn set_read_only(&self, read_only: bool) {
        self.read_only.store(read_only, Ordering::SeqCst);
    }

    fn read(&self) -> Result<(), StoreError> {
        if self.down.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable(None));
        }
        Ok(())
    }

    fn write(&self) -> Result<(), StoreError> {
        self.read()?;
        if self.read_only.load(Ordering::SeqCst) {
            return Err(StoreError::Timeout);
        }
        Ok(())
    }
}

#[async_trait]
impl Store for TestStore {
    async fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        self.read()?;
        let found = self.inner.get(key).await;
        // Lets others in between a read and the write that follows it.
        tokio::task::yield_now().await;
        found
    }

    async fn take(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        self.write()?;
        self.inner.take(key).await
    }

    async fn commit(&self, batch: Batch) -> Result<Commit, StoreError> {
        self.write()?;
        self.inner.commit(batch).await
    }

    async fn scan(
        &self,
        prefix: &str,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<ScanPage, StoreError> {
        self.read()?;
        self.inner.scan(prefix, cursor, limit).await
    }

    async fn count(&self, key: &str, window: Duration) -> Result<u64, StoreError> {
        self.write()?;
        self.inner.count(key, window).await
    }

    async fn draw(&self, key: &str, rate: &Rate) -> Result<Draw, StoreError> {
        self.write()?;
        self.inner.draw(key, rate).await
    }

    async fn tail(&self, log: &str) -> Result<Position, StoreError> {
        self.inner.tail(log).await
    }

    async fn follow(
        &self,
        log: &str,
        after: &Position,
        wait: Duration,
    ) -> Result<EventPage, StoreError> {
        self.inner.follow(log, after, wait).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.read()
    }
}

impl TestDecisions {
    pub(in crate::tests) fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
    }

    pub(in crate::tests) fn deny(&self, scope: &str) {
        self.denied.lock().unwrap().push(scope.into());
    }

    pub(in crate::tests) fn oblige(&self, scope: &str) {
        self.obliged.lock().unwrap().push(scope.into());
    }
}

#[async_trait]
impl DecisionPoint for TestDecisions {
    async fn evaluate(&self, request: &EvaluationRequest) -> Result<Evaluation, DecisionError> {
        if self.down.load(Ordering::SeqCst) {
            return Err(DecisionError::Timeout);
        }
        self.asked.lock().unwrap().push(request.clone());
        drop(self.hold.lock().await);
        if self.denied.lock().unwrap().contains(&request.resource.id) {
            return Ok(Evaluation::deny());
        }
        let mut permit = Evaluation::permit();
        if self.obliged.lock().unwrap().contains(&request.resource.id) {
            permit.context.obligations.push(Obligation {
                id: "o".into(),
                kind: "mask".into(),
                properties: serde_json::Map::new(),
            });
        }
        Ok(permit)
    }

    async fn evaluate_many(
        &self,
        request: &EvaluationsRequest,
    ) -> Result<Vec<Evaluation>, DecisionError> {
        let mut answers = Vec::new();
        for entry in &request.entries {
            answers.push(self.evaluate(entry.as_ref().unwrap()).await?);
        }
        Ok(answers)
    }

    async fn search(&self, _request: &SearchRequest) -> Result<SearchResults, DecisionError> {
        Err(DecisionError::Unavailable(None))
    }
}
