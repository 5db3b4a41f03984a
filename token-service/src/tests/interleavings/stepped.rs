//! A store that stops before each verb until the explorer lets it go on, and a clock that can be put
//! back. Either can be made to break its promise: what the explorer must find.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::mem;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use service_kit::{Clock, UnixTime};
use store::{
    Batch, Commit, Draw, EventPage, MemoryStore, Position, Rate, ScanPage, Store, StoreError, Write,
};

/// The memory store, verb by verb.
#[derive(Debug, Default)]
pub(super) struct SteppedStore {
    inner: Mutex<Arc<MemoryStore>>,
    /// Every key that was ever written.
    keys: Mutex<BTreeSet<String>>,
    is_stepped: AtomicBool,
    next: Mutex<Option<Step>>,
    fault: Mutex<Option<Fault>>,
}

/// What a request does next.
#[derive(Debug, Clone, Default)]
pub(super) struct Step {
    pub(super) name: String,
    reads: BTreeSet<String>,
    writes: BTreeSet<String>,
    /// It changes what others look at outside of the store.
    pub(super) is_alone: bool,
}

/// A promise of stores that is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// A batch is written whether its conditions hold or not.
    NoConditions,
    /// `take` does not delete.
    TakesNothing,
    /// A batch says that it is applied, and is not where it takes back.
    LosesRevocations,
    /// What comes second in a batch is written a verb later.
    TearsBatches,
}

/// What the store has, to begin again from.
#[derive(Debug)]
pub(super) struct Kept {
    records: Vec<(String, Bytes)>,
    now: u64,
}

impl Step {
    /// Whether the two lead to the same, whichever comes first. The order of the event log is left
    /// out: no request reads it.
    pub(super) fn is_independent_of(&self, other: &Self) -> bool {
        !self.is_alone
            && !other.is_alone
            && self.writes.is_disjoint(&other.writes)
            && self.writes.is_disjoint(&other.reads)
            && self.reads.is_disjoint(&other.writes)
    }

    pub(super) fn beside_the_store(name: impl Into<String>, is_alone: bool) -> Self {
        Self {
            name: name.into(),
            is_alone,
            ..Self::default()
        }
    }

    fn of(verb: &str, key: &str, is_write: bool) -> Self {
        let keys = BTreeSet::from([key.to_owned()]);
        let (reads, writes) = if is_write {
            (BTreeSet::new(), keys)
        } else {
            (keys, BTreeSet::new())
        };
        Self {
            name: format!("{verb} {}", area(key)),
            reads,
            writes,
            is_alone: false,
        }
    }

    fn commit(batch: &Batch) -> Self {
        let keys: Vec<_> = batch.writes().iter().filter_map(key_of).collect();
        let areas: Vec<_> = keys.iter().map(|key| area(key)).collect();
        Self {
            name: format!("commit {}", areas.join("+")),
            writes: keys.iter().map(|key| (*key).to_owned()).collect(),
            ..Self::default()
        }
    }
}

impl SteppedStore {
    pub(super) fn set_stepped(&self, is_stepped: bool) {
        self.is_stepped.store(is_stepped, Ordering::SeqCst);
    }

    pub(super) fn set_fault(&self, fault: Option<Fault>) {
        *self.fault.lock().unwrap() = fault;
    }

    /// What the request that was polled last has stopped before.
    pub(super) fn next(&self) -> Option<Step> {
        self.next.lock().unwrap().take()
    }

    pub(super) async fn keep(&self, clock: &SteppedClock) -> Kept {
        Kept {
            records: self.records("").await,
            now: clock.0.load(Ordering::SeqCst),
        }
    }

    pub(super) async fn restore(&self, kept: &Kept, clock: &SteppedClock) {
        let fresh = MemoryStore::new();
        for (key, value) in &kept.records {
            fresh.put(key, value.clone(), None).await.unwrap();
        }
        *self.inner.lock().unwrap() = Arc::new(fresh);
        *self.keys.lock().unwrap() = kept.records.iter().map(|(key, _)| key.clone()).collect();
        clock.0.store(kept.now, Ordering::SeqCst);
    }

    /// The records whose keys begin so, without a stop.
    pub(super) async fn records(&self, prefix: &str) -> Vec<(String, Bytes)> {
        let keys = self.keys.lock().unwrap().clone();
        let mut records = Vec::new();
        for key in keys.into_iter().filter(|key| key.starts_with(prefix)) {
            if let Some(value) = self.inner().get(&key).await.unwrap() {
                records.push((key, value));
            }
        }
        records
    }

    fn inner(&self) -> Arc<MemoryStore> {
        self.inner.lock().unwrap().clone()
    }

    async fn stop(&self, step: Step) {
        if !self.is_stepped.load(Ordering::SeqCst) {
            return;
        }
        *self.next.lock().unwrap() = Some(step);
        let mut has_stopped = false;
        poll_fn(|_| {
            if mem::replace(&mut has_stopped, true) {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }

    async fn write(&self, batch: Batch) -> Result<Commit, StoreError> {
        let keys = batch.writes().iter().filter_map(key_of).map(str::to_owned);
        self.keys.lock().unwrap().extend(keys);
        self.inner().commit(batch).await
    }

    async fn torn(&self, batch: &Batch) -> Result<Commit, StoreError> {
        let (first, rest) = batch.writes().split_at(1);
        let outcome = self.write(first.iter().cloned().collect()).await?;
        if outcome.is_applied() && !rest.is_empty() {
            let rest = rest.iter().cloned().collect();
            self.stop(Step::commit(&rest)).await;
            return self.write(rest).await;
        }
        Ok(outcome)
    }
}

#[async_trait]
impl Store for SteppedStore {
    async fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        self.stop(Step::of("get", key, false)).await;
        self.inner().get(key).await
    }

    async fn take(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        self.stop(Step::of("take", key, true)).await;
        if *self.fault.lock().unwrap() == Some(Fault::TakesNothing) {
            return self.inner().get(key).await;
        }
        self.inner().take(key).await
    }

    async fn commit(&self, batch: Batch) -> Result<Commit, StoreError> {
        self.stop(Step::commit(&batch)).await;
        let fault = *self.fault.lock().unwrap();
        match fault {
            Some(Fault::NoConditions) => {
                self.write(batch.writes().iter().map(unconditional).collect())
                    .await
            }
            Some(Fault::LosesRevocations) if batch.writes().iter().any(is_append) => {
                Ok(Commit::Applied)
            }
            Some(Fault::TearsBatches) => self.torn(&batch).await,
            _ => self.write(batch).await,
        }
    }

    async fn scan(
        &self,
        prefix: &str,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<ScanPage, StoreError> {
        self.inner().scan(prefix, cursor, limit).await
    }

    async fn count(&self, key: &str, window: Duration) -> Result<u64, StoreError> {
        self.stop(Step::of("count", &format!("count:{key}"), true))
            .await;
        self.inner().count(key, window).await
    }

    async fn draw(&self, key: &str, rate: &Rate) -> Result<Draw, StoreError> {
        self.stop(Step::of("draw", &format!("draw:{key}"), true))
            .await;
        self.inner().draw(key, rate).await
    }

    async fn tail(&self, log: &str) -> Result<Position, StoreError> {
        self.inner().tail(log).await
    }

    async fn follow(
        &self,
        log: &str,
        after: &Position,
        wait: Duration,
    ) -> Result<EventPage, StoreError> {
        self.inner().follow(log, after, wait).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

/// A clock that is moved, and put back when all begins again.
#[derive(Debug)]
pub(super) struct SteppedClock(AtomicU64);

impl SteppedClock {
    pub(super) fn at(secs: u64) -> Self {
        Self(AtomicU64::new(secs * 1000))
    }

    /// Passes time, as one step.
    pub(super) async fn pass(&self, store: &SteppedStore, secs: u64) {
        let step = Step::beside_the_store(format!("{secs} seconds pass"), true);
        store.stop(step).await;
        self.0.fetch_add(secs * 1000, Ordering::SeqCst);
    }
}

impl Clock for SteppedClock {
    fn now(&self) -> UnixTime {
        UnixTime::from_millis(self.0.load(Ordering::SeqCst))
    }
}

fn key_of(write: &Write) -> Option<&str> {
    match write {
        Write::Put { key, .. }
        | Write::PutNew { key, .. }
        | Write::Replace { key, .. }
        | Write::Delete { key } => Some(key),
        Write::Append { .. } => None,
    }
}

fn unconditional(write: &Write) -> Write {
    match write.clone() {
        Write::PutNew { key, value, ttl }
        | Write::Replace {
            key, value, ttl, ..
        } => Write::Put { key, value, ttl },
        other => other,
    }
}

fn is_append(write: &Write) -> bool {
    matches!(write, Write::Append { .. })
}

fn area(key: &str) -> &str {
    key.split_once(':').map_or(key, |(area, _)| area)
}
