//! What the file holds, and what a batch does to it inside one transaction.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use redb::{ReadableTable, Table, TableDefinition, TableError, WriteTransaction};

use crate::event_log::Sequence;
use crate::{Batch, Commit, Write};

/// Milliseconds since 1970-01-01T00:00:00Z, as the process that opened the store reads them.
/// Only a file needs it: its garbage has to be recognised after a restart.
pub type WallClock = Arc<dyn Fn() -> u64 + Send + Sync>;

type Definition<K, V> = TableDefinition<'static, K, V>;

/// Key to expiry ([`FOR_EVER`] where there is none) and value.
pub(super) const RECORDS: Definition<&str, (u64, &[u8])> = Definition::new("records");
/// Every expiry in `records`, in order of time: what the sweep walks.
const EXPIRIES: Definition<(u64, &str), ()> = Definition::new("expiries");
/// Log to the numbers of its first and last event.
pub(super) const LOGS: Definition<&str, (u64, u64)> = Definition::new("logs");
/// Log and number to event.
pub(super) const EVENTS: Definition<(&str, u64), &[u8]> = Definition::new("events");

/// All tables, open for writing in one transaction, at one moment.
pub(super) struct Tables<'txn> {
    records: Table<'txn, &'static str, (u64, &'static [u8])>,
    expiries: Table<'txn, (u64, &'static str), ()>,
    logs: Table<'txn, &'static str, (u64, u64)>,
    events: Table<'txn, (&'static str, u64), &'static [u8]>,
    now: u64,
}

impl<'txn> Tables<'txn> {
    /// Creates them where they are missing.
    pub(super) fn open(txn: &'txn WriteTransaction, now: u64) -> Result<Self, TableError> {
        Ok(Self {
            records: txn.open_table(RECORDS)?,
            expiries: txn.open_table(EXPIRIES)?,
            logs: txn.open_table(LOGS)?,
            events: txn.open_table(EVENTS)?,
            now,
        })
    }

    /// All conditions, then all writes: a batch that conflicts has touched nothing, so that
    /// its neighbours in the same transaction can still be committed.
    pub(super) fn apply(&mut self, batch: &Batch, max_events: u64) -> Result<Commit, redb::Error> {
        for write in &batch.writes {
            let holds = match write {
                Write::PutNew { key, .. } => self.live(key)?.is_none(),
                Write::Replace { key, expected, .. } => self.live(key)?.as_ref() == Some(expected),
                Write::Put { .. } | Write::Delete { .. } | Write::Append { .. } => true,
            };
            if !holds {
                return Ok(Commit::Conflict);
            }
        }
        for write in &batch.writes {
            match write {
                Write::Put { key, value, ttl }
                | Write::PutNew { key, value, ttl }
                | Write::Replace {
                    key, value, ttl, ..
                } => self.put(key, value, *ttl)?,
                Write::Delete { key } => self.remove(key)?,
                Write::Append { log, event } => self.append(log, event, max_events)?,
            }
        }
        Ok(Commit::Applied)
    }

    pub(super) fn take(&mut self, key: &str) -> Result<Option<Bytes>, redb::Error> {
        let value = self.live(key)?;
        if value.is_some() {
            self.remove(key)?;
        }
        Ok(value)
    }

    /// Collects up to `limit` records whose time is over; returns how many it found.
    pub(super) fn sweep(&mut self, limit: usize) -> Result<usize, redb::Error> {
        let due: Vec<String> = self
            .expiries
            .range(..=(self.now, ""))?
            .take(limit)
            .map(|entry| entry.map(|(at, _)| at.value().1.to_owned()))
            .collect::<Result<_, _>>()?;
        for key in &due {
            self.remove(key)?;
        }
        Ok(due.len())
    }

    fn live(&self, key: &str) -> Result<Option<Bytes>, redb::Error> {
        let found = self.records.get(key)?;
        Ok(found.and_then(|found| live_value(found.value(), self.now)))
    }

    fn put(&mut self, key: &str, value: &[u8], ttl: Option<Duration>) -> Result<(), redb::Error> {
        let expires = ttl.map_or(FOR_EVER, |ttl| {
            let millis = u64::try_from(ttl.as_millis()).unwrap_or(FOR_EVER);
            self.now.saturating_add(millis)
        });
        let old = self.records.insert(key, (expires, value))?;
        let old = old.map(|old| old.value().0);
        self.move_expiry(key, old.unwrap_or(FOR_EVER), expires)
    }

    fn remove(&mut self, key: &str) -> Result<(), redb::Error> {
        let old = self.records.remove(key)?.map(|old| old.value().0);
        self.move_expiry(key, old.unwrap_or(FOR_EVER), FOR_EVER)
    }

    /// INVARIANT: `expiries` has one entry for each record that has an expiry, and no other.
    fn move_expiry(&mut self, key: &str, from: u64, to: u64) -> Result<(), redb::Error> {
        if from == to {
            return Ok(());
        }
        if from != FOR_EVER {
            self.expiries.remove((from, key))?;
        }
        if to != FOR_EVER {
            self.expiries.insert((to, key), ())?;
        }
        Ok(())
    }

    fn append(&mut self, log: &str, event: &[u8], max_events: u64) -> Result<(), redb::Error> {
        let mut sequence = sequence(self.logs.get(log)?.map(|held| held.value()));
        self.events.insert((log, sequence.append()), event)?;
        while let Some(dropped) = sequence.trim_one(max_events) {
            self.events.remove((log, dropped))?;
        }
        self.logs.insert(log, (sequence.first, sequence.last))?;
        Ok(())
    }
}

/// The value of a stored record, unless its time is over.
pub(super) fn live_value((expires, value): (u64, &[u8]), now: u64) -> Option<Bytes> {
    (now < expires).then(|| Bytes::copy_from_slice(value))
}

pub(super) fn sequence(held: Option<(u64, u64)>) -> Sequence {
    held.map_or_else(Sequence::default, |(first, last)| Sequence { first, last })
}

const FOR_EVER: u64 = u64::MAX;
