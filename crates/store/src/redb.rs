//! The store in one file, for one process: survives `kill -9` and power cuts, needs no server.
//!
//! Reads run where they are asked (microseconds, and no lock is held across an fsync); writes
//! go to one thread, see `writer.rs`.

mod tables;
mod writer;

use std::fmt::{self, Debug};
use std::fs::{DirBuilder, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use redb::{Builder, Database, DatabaseError, ReadableDatabase};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use self::tables::{EVENTS, LOGS, RECORDS, Tables, live_value, sequence};
use self::writer::{Work, Writer};
use crate::counters::Counters;
use crate::event_log::Sequence;
use crate::limits::{
    DEFAULT_MAX_EVENTS, check_batch, check_key, check_log, check_prefix, page_size, refused,
};
use crate::{Batch, Commit, Draw, EventPage, Position, Rate, Rates, ScanPage, Store, StoreError};

pub use self::tables::WallClock;

/// A `redb` file. Counters are in memory.
pub struct RedbStore {
    // Dropped first, so that the file is closed when the store is gone.
    writer: Writer,
    database: Arc<Database>,
    file: String,
    clock: WallClock,
    counters: Counters,
    rates: Rates,
    appended: watch::Sender<()>,
}

/// What a [`RedbStore`] may take.
#[derive(Debug, Clone, Copy)]
pub struct RedbBounds {
    /// Of the file, in memory. What is read beyond that comes from the system's own cache of the
    /// file, of which this is a second copy.
    pub cache_bytes: usize,
    /// How many events a log keeps.
    pub events: u64,
}

/// Mebibytes.
pub(crate) const DEFAULT_CACHE_MB: u32 = 16;

impl Default for RedbBounds {
    fn default() -> Self {
        Self {
            cache_bytes: DEFAULT_CACHE_MB as usize * 1024 * 1024,
            events: DEFAULT_MAX_EVENTS,
        }
    }
}

impl RedbStore {
    /// Opens or creates the file (and its folder), readable by its owner only. Blocks; checks
    /// the whole file, so that a damaged one is refused here and not met later.
    pub fn open(path: &Path, clock: WallClock, bounds: RedbBounds) -> Result<Self, StoreError> {
        let file = path.display().to_string();
        let failed = |source: Box<dyn std::error::Error + Send + Sync>| StoreError::Internal {
            message: format!("cannot open the file `{file}`"),
            source: Some(source),
        };
        prepare(path).map_err(|error| failed(error.into()))?;
        let database = Arc::new(open_database(path, &file, bounds.cache_bytes)?);
        let create = || -> Result<(), redb::Error> {
            let txn = database.begin_write()?;
            drop(Tables::open(&txn, clock())?);
            txn.commit()?;
            Ok(())
        };
        create().map_err(|error| failed(error.into()))?;
        let appended = watch::Sender::new(());
        let work = Work {
            database: Arc::clone(&database),
            file: file.clone(),
            clock: Arc::clone(&clock),
            appended: appended.clone(),
            max_events: bounds.events,
        };
        let writer = Writer::start(work).map_err(|error| failed(error.into()))?;
        Ok(Self {
            writer,
            database,
            file,
            clock,
            counters: Counters::default(),
            rates: Rates::default(),
            appended,
        })
    }

    fn read<T>(
        &self,
        read: impl FnOnce(&redb::ReadTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        let attempt = || read(&self.database.begin_read()?);
        attempt().map_err(|error| self.cannot_read(error))
    }

    fn page(&self, log: &str, after: u64) -> Result<EventPage, StoreError> {
        self.read(|txn| {
            let held = txn.open_table(LOGS)?.get(log)?.map(|held| held.value());
            let sequence = sequence(held);
            let mut failure = None;
            let page = sequence.page(after, |skip, take| {
                let first = sequence.first.saturating_add(skip);
                read_events(txn, log, first, take).unwrap_or_else(|error| {
                    failure = Some(error);
                    Vec::new()
                })
            });
            failure.map_or(Ok(page), Err)
        })
    }

    fn cannot_read(&self, error: redb::Error) -> StoreError {
        StoreError::Internal {
            message: format!("cannot read the file `{}`", self.file),
            source: Some(Box::new(error)),
        }
    }
}

#[async_trait]
impl Store for RedbStore {
    async fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        check_key(key)?;
        self.read(|txn| {
            let found = txn.open_table(RECORDS)?.get(key)?;
            Ok(found.and_then(|found| live_value(found.value(), (self.clock)())))
        })
    }

    async fn take(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        check_key(key)?;
        self.writer.take(key).await
    }

    async fn commit(&self, batch: Batch) -> Result<Commit, StoreError> {
        check_batch(&batch)?;
        if batch.is_empty() {
            return Ok(Commit::Applied);
        }
        self.writer.commit(batch).await
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
        let (prefix, cursor) = (prefix.to_owned(), cursor.map(str::to_owned));
        let limit = page_size(limit);
        let (database, now) = (Arc::clone(&self.database), (self.clock)());
        // A page can be long, and not all of it need be in the cache.
        tokio::task::spawn_blocking(move || {
            scan_page(&database, &prefix, cursor.as_deref(), limit, now)
        })
        .await
        .map_err(|_| StoreError::Unavailable(Some("shutting down".into())))?
        .map_err(|error| self.cannot_read(error))
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
        self.read(|txn| {
            let held = txn.open_table(LOGS)?.get(log)?.map(|held| held.value());
            Ok(sequence(held).tail())
        })
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
            let page = self.page(log, after)?;
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
        self.writer.ping().await
    }
}

impl Debug for RedbStore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("RedbStore")
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}

/// The folder and an empty file, both private: the store holds keyed hashes and grants.
fn prepare(path: &Path) -> std::io::Result<()> {
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    if !parent.exists() {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(parent)?;
    }
    if !path.exists() {
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)?;
        // The name of a new file is durable once its folder is.
        File::open(parent)?.sync_all()?;
    }
    Ok(())
}

fn open_database(path: &Path, file: &str, cache_bytes: usize) -> Result<Database, StoreError> {
    let open = || {
        Builder::new()
            .set_cache_size(cache_bytes)
            .set_check_integrity_on_open(true)
            .create(path)
    };
    // A damaged file must not bring the process down, whatever `redb` makes of it.
    let error = match catch_unwind(AssertUnwindSafe(open)) {
        Ok(Ok(database)) => return Ok(database),
        Ok(Err(error)) => Some(error),
        Err(_) => None,
    };
    let message = match &error {
        Some(DatabaseError::DatabaseAlreadyOpen) => {
            format!("the file `{file}` is already open in another process")
        }
        Some(DatabaseError::Storage(redb::StorageError::Io(io)))
            if io.kind() != std::io::ErrorKind::InvalidData
                && io.kind() != std::io::ErrorKind::UnexpectedEof =>
        {
            format!("cannot open the file `{file}`")
        }
        Some(_) | None => format!("the file `{file}` is damaged or not a store"),
    };
    Err(StoreError::Internal {
        message,
        source: error.map(Into::into),
    })
}

fn read_events(
    txn: &redb::ReadTransaction,
    log: &str,
    first: u64,
    take: usize,
) -> Result<Vec<Bytes>, redb::Error> {
    txn.open_table(EVENTS)?
        .range((log, first)..=(log, u64::MAX))?
        .take(take)
        .map(|entry| {
            let (_, event) = entry?;
            Ok(Bytes::copy_from_slice(event.value()))
        })
        .collect()
}

fn scan_page(
    database: &Database,
    prefix: &str,
    cursor: Option<&str>,
    limit: usize,
    now: u64,
) -> Result<ScanPage, redb::Error> {
    let mut entries: Vec<(String, Bytes)> = Vec::new();
    let table = database.begin_read()?.open_table(RECORDS)?;
    for entry in table.range(cursor.unwrap_or(prefix)..)? {
        let (key, record) = entry?;
        let key = key.value();
        if !key.starts_with(prefix) {
            break;
        }
        if cursor == Some(key) {
            continue;
        }
        let Some(value) = live_value(record.value(), now) else {
            continue;
        };
        entries.push((key.to_owned(), value));
        if entries.len() == limit {
            let cursor = Some(key.to_owned());
            return Ok(ScanPage { entries, cursor });
        }
    }
    Ok(ScanPage {
        entries,
        cursor: None,
    })
}
