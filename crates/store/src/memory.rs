//! The store that lives and dies with its process: for tests, demos and shared caches that may
//! be lost.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::counters::Counters;
use crate::event_log::Sequence;
use crate::limits::{
    DEFAULT_MAX_EVENTS, check_batch, check_key, check_log, check_prefix, page_size, refused,
};
use crate::{
    Batch, Commit, Draw, EventPage, Position, Rate, Rates, ScanPage, Store, StoreError, Write,
};

/// Everything in memory, behind one lock that is never held across an await.
#[derive(Debug)]
pub struct MemoryStore {
    state: Mutex<State>,
    counters: Counters,
    rates: Rates,
    /// Says to followers that something was appended.
    appended: watch::Sender<()>,
    max_events: u64,
}

#[derive(Debug, Default)]
struct State {
    records: BTreeMap<String, Record>,
    /// When which record may be collected; exactly one entry a record that has a ttl.
    expiries: BTreeSet<(Instant, String)>,
    logs: HashMap<String, Log>,
}

#[derive(Debug)]
struct Record {
    value: Bytes,
    expires: Option<Instant>,
}

#[derive(Debug, Default)]
struct Log {
    sequence: Sequence,
    events: VecDeque<Bytes>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::bounded(DEFAULT_MAX_EVENTS)
    }

    /// An empty store whose logs keep that many events.
    pub fn bounded(max_events: u64) -> Self {
        Self {
            state: Mutex::default(),
            counters: Counters::default(),
            rates: Rates::default(),
            appended: watch::Sender::new(()),
            max_events,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere cannot leave a batch half written: nothing in `apply` panics.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        check_key(key)?;
        Ok(self.state().live(key, Instant::now()).cloned())
    }

    async fn take(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        check_key(key)?;
        let mut state = self.state();
        let value = state.live(key, Instant::now()).cloned();
        state.remove(key);
        Ok(value)
    }

    async fn commit(&self, batch: Batch) -> Result<Commit, StoreError> {
        check_batch(&batch)?;
        let appends = batch.appends();
        let outcome = self.state().commit(batch, Instant::now(), self.max_events);
        if appends && outcome.is_applied() {
            self.appended.send_replace(());
        }
        Ok(outcome)
    }

    async fn scan(
        &self,
        prefix: &str,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<ScanPage, StoreError> {
        check_prefix(prefix)?;
        if cursor.is_some_and(|cursor| !cursor.starts_with(prefix)) {
            return Err(refused("the cursor belongs to another scan"));
        }
        let limit = page_size(limit);
        let from = cursor.map_or(Bound::Included(prefix), Bound::Excluded);
        let now = Instant::now();
        let state = self.state();
        let entries: Vec<(String, Bytes)> = state
            .records
            .range::<str, _>((from, Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .filter(|(_, record)| record.is_live(now))
            .take(limit)
            .map(|(key, record)| (key.clone(), record.value.clone()))
            .collect();
        let cursor = match entries.last() {
            Some((last, _)) if entries.len() == limit => Some(last.clone()),
            Some(_) | None => None,
        };
        Ok(ScanPage { entries, cursor })
    }

    async fn count(&self, key: &str, window: Duration) -> Result<u64, StoreError> {
        check_key(key)?;
        Ok(self.counters.add(key, window))
    }

    async fn draw(&self, key: &str, rate: &Rate) -> Result<Draw, StoreError> {
        check_key(key)?;
        Ok(self.rates.draw(key, rate))
    }

    async fn tail(&self, log: &str) -> Result<Position, StoreError> {
        check_log(log)?;
        let state = self.state();
        let sequence = state.logs.get(log).map(|log| log.sequence);
        Ok(sequence.unwrap_or_default().tail())
    }

    async fn follow(
        &self,
        log: &str,
        after: &Position,
        wait: Duration,
    ) -> Result<EventPage, StoreError> {
        check_log(log)?;
        let after = Sequence::parse(after)?;
        let deadline = Instant::now().checked_add(wait);
        let mut appended = self.appended.subscribe();
        loop {
            appended.borrow_and_update();
            let page = self.state().page(log, after);
            if !page.is_empty() {
                return Ok(page);
            }
            let woken = match deadline {
                Some(deadline) => timeout_at(deadline, appended.changed()).await,
                None => Ok(appended.changed().await),
            };
            if woken.is_err() {
                return Ok(page);
            }
        }
    }

    async fn ping(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

impl State {
    fn live(&self, key: &str, now: Instant) -> Option<&Bytes> {
        let record = self.records.get(key)?;
        record.is_live(now).then_some(&record.value)
    }

    fn commit(&mut self, batch: Batch, now: Instant, max_events: u64) -> Commit {
        self.collect_garbage(now);
        let holds = batch.writes.iter().all(|write| match write {
            Write::PutNew { key, .. } => self.live(key, now).is_none(),
            Write::Replace { key, expected, .. } => self.live(key, now) == Some(expected),
            Write::Put { .. } | Write::Delete { .. } | Write::Append { .. } => true,
        });
        if !holds {
            return Commit::Conflict;
        }
        for write in batch.writes {
            match write {
                Write::Put { key, value, ttl }
                | Write::PutNew { key, value, ttl }
                | Write::Replace {
                    key, value, ttl, ..
                } => self.put(key, value, ttl, now),
                Write::Delete { key } => self.remove(&key),
                Write::Append { log, event } => {
                    self.logs.entry(log).or_default().append(event, max_events);
                }
            }
        }
        Commit::Applied
    }

    fn put(&mut self, key: String, value: Bytes, ttl: Option<Duration>, now: Instant) {
        self.remove(&key);
        // A ttl beyond what the clock can say is for ever.
        let expires = ttl.and_then(|ttl| now.checked_add(ttl));
        if let Some(expires) = expires {
            self.expiries.insert((expires, key.clone()));
        }
        self.records.insert(key, Record { value, expires });
    }

    fn remove(&mut self, key: &str) {
        if let Some((key, record)) = self.records.remove_entry(key)
            && let Some(expires) = record.expires
        {
            self.expiries.remove(&(expires, key));
        }
    }

    /// A few at every commit: garbage goes faster than it comes, and no commit waits for all.
    fn collect_garbage(&mut self, now: Instant) {
        for _ in 0..GARBAGE_PER_COMMIT {
            match self.expiries.first() {
                Some((expires, _)) if *expires <= now => {}
                Some(_) | None => return,
            }
            if let Some((_, key)) = self.expiries.pop_first() {
                self.records.remove(&key);
            }
        }
    }

    fn page(&self, log: &str, after: u64) -> EventPage {
        let Some(log) = self.logs.get(log) else {
            return Sequence::default().page(after, |_, _| Vec::new());
        };
        log.sequence.page(after, |skip, take| {
            let skip = usize::try_from(skip).unwrap_or(usize::MAX);
            log.events.iter().skip(skip).take(take).cloned().collect()
        })
    }
}

impl Record {
    fn is_live(&self, now: Instant) -> bool {
        self.expires.is_none_or(|expires| now < expires)
    }
}

impl Log {
    fn append(&mut self, event: Bytes, max_events: u64) {
        self.events.push_back(event);
        self.sequence.append();
        while self.sequence.trim_one(max_events).is_some() {
            self.events.pop_front();
        }
    }
}

const GARBAGE_PER_COMMIT: usize = 16;
