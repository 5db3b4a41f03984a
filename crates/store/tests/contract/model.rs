//! Random operations: whatever is done, in whatever order, the three backends agree.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use store::{Batch, EventPage, MemoryStore, Position, RedisConfig, Store};
use tempfile::TempDir;

use crate::backends::{redb_at, redis_with};
use crate::redis_server::RedisServer;

#[derive(Debug, Clone)]
enum Operation {
    Get(u8),
    Take(u8),
    Commit(Vec<Part>),
    Scan(&'static str, usize),
    Count(u8),
    Tail(u8),
    Follow(u8),
}

#[derive(Debug, Clone)]
enum Part {
    Put(u8, u8, bool),
    PutNew(u8, u8, bool),
    Replace(u8, u8, u8),
    Delete(u8),
    Append(u8, u8),
}

/// Few keys and few values, so that conditions often hold and often do not.
fn part() -> impl Strategy<Value = Part> {
    let (key, value, log) = (0..5u8, 0..3u8, 0..2u8);
    prop_oneof![
        (key.clone(), value.clone(), any::<bool>()).prop_map(|(k, v, ttl)| Part::Put(k, v, ttl)),
        (key.clone(), value.clone(), any::<bool>()).prop_map(|(k, v, ttl)| Part::PutNew(k, v, ttl)),
        (key.clone(), value.clone(), value.clone()).prop_map(|(k, e, v)| Part::Replace(k, e, v)),
        key.prop_map(Part::Delete),
        (log, value).prop_map(|(l, v)| Part::Append(l, v)),
    ]
}

fn operation() -> impl Strategy<Value = Operation> {
    let prefix = prop_oneof![Just(""), Just("k:"), Just("k:*"), Just("k:["), Just("q")];
    prop_oneof![
        2 => (0..5u8).prop_map(Operation::Get),
        2 => (0..5u8).prop_map(Operation::Take),
        8 => prop::collection::vec(part(), 0..5).prop_map(Operation::Commit),
        1 => (prefix, 1..4usize).prop_map(|(prefix, limit)| Operation::Scan(prefix, limit)),
        1 => (0..5u8).prop_map(Operation::Count),
        1 => (0..2u8).prop_map(Operation::Tail),
        3 => (0..2u8).prop_map(Operation::Follow),
    ]
}

#[test]
fn memory_redb_and_redis_agree_on_random_operations() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let server = runtime.block_on(RedisServer::start());
    let folder = TempDir::new().unwrap();
    let config = ProptestConfig {
        cases: 100,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let cases = AtomicUsize::new(0);
    proptest!(config, |(operations in prop::collection::vec(operation(), 1..60))| {
        let case = cases.fetch_add(1, Ordering::Relaxed);
        runtime.block_on(check(&operations, &server, folder.path(), case));
    });
}

async fn check(operations: &[Operation], server: &RedisServer, folder: &Path, case: usize) {
    let mut redis = RedisConfig::at(server.url());
    // Also a prefix that would match something else if it were taken for a pattern.
    redis.prefix = format!("[case]{case}*:");
    let mut memory = Side::new(Arc::new(MemoryStore::new()));
    let mut others = [
        Side::new(Arc::new(redb_at(&folder.join(format!("{case}.redb"))))),
        Side::new(Arc::new(redis_with(&redis))),
    ];
    for side in [&mut memory].into_iter().chain(&mut others) {
        // From the first event on.
        side.apply(&Operation::Tail(0)).await;
        side.apply(&Operation::Tail(1)).await;
    }
    let last = [
        Operation::Scan("", 3),
        Operation::Follow(0),
        Operation::Follow(1),
    ];
    for operation in operations.iter().chain(&last) {
        let expected = memory.apply(operation).await;
        for side in &mut others {
            let got = side.apply(operation).await;
            assert_eq!(got, expected, "{operation:?} on {:?}", side.store);
        }
    }
}

/// One backend, and how far its logs were followed.
struct Side {
    store: Arc<dyn Store>,
    positions: BTreeMap<u8, Position>,
}

impl Side {
    fn new(store: Arc<dyn Store>) -> Self {
        Self {
            store,
            positions: BTreeMap::new(),
        }
    }

    /// What the operation gave, without what may differ: order of a scan, text of positions
    /// and of errors.
    async fn apply(&mut self, operation: &Operation) -> String {
        let store = &self.store;
        match operation {
            Operation::Get(k) => format!("{:?}", store.get(&key(*k)).await.unwrap()),
            Operation::Take(k) => format!("{:?}", store.take(&key(*k)).await.unwrap()),
            Operation::Commit(parts) => {
                let batch = parts.iter().fold(Batch::new(), add);
                store.commit(batch).await.map_or_else(
                    // Only a key that stands twice: that is for all to refuse.
                    |error| format!("{error}"),
                    |commit| format!("{commit:?}"),
                )
            }
            Operation::Scan(prefix, limit) => self.scan(prefix, *limit).await,
            Operation::Count(k) => {
                let window = Duration::from_hours(1);
                store.count(&key(*k), window).await.unwrap().to_string()
            }
            Operation::Tail(log) => {
                let tail = store.tail(&log_name(*log)).await.unwrap();
                self.positions.insert(*log, tail);
                String::new()
            }
            Operation::Follow(log) => self.follow(*log).await,
        }
    }

    async fn scan(&self, prefix: &str, limit: usize) -> String {
        let mut found = BTreeMap::new();
        let mut cursor: Option<String> = None;
        loop {
            let page = self.store.scan(prefix, cursor.as_deref(), limit);
            let page = page.await.unwrap();
            found.extend(page.entries);
            cursor = page.cursor;
            if cursor.is_none() {
                return format!("{found:?}");
            }
        }
    }

    async fn follow(&mut self, log: u8) -> String {
        let at = &self.positions[&log];
        let page = self.store.follow(&log_name(log), at, Duration::ZERO).await;
        match page.unwrap() {
            EventPage::Events { events, next } => {
                self.positions.insert(log, next);
                format!("{events:?}")
            }
            EventPage::Gap { .. } => "gap".to_owned(),
        }
    }
}

fn add(batch: Batch, part: &Part) -> Batch {
    let ttl = |ttl: bool| ttl.then_some(Duration::from_hours(1));
    match *part {
        Part::Put(k, v, t) => batch.put(key(k), value(v), ttl(t)),
        Part::PutNew(k, v, t) => batch.put_new(key(k), value(v), ttl(t)),
        Part::Replace(k, e, v) => batch.replace(key(k), value(e), value(v), None),
        Part::Delete(k) => batch.delete(key(k)),
        Part::Append(l, v) => batch.append(log_name(l), value(v)),
    }
}

fn key(n: u8) -> String {
    ["k:a", "k:*", "k:[a]", "k:ä", "q:a"][usize::from(n)].to_owned()
}

/// The first one is empty.
fn value(n: u8) -> Bytes {
    Bytes::from(vec![n; usize::from(n)])
}

fn log_name(n: u8) -> String {
    format!("log{n}")
}
