//! Entities that are written while the PDP runs: changes validated against the schema, committed
//! to the store whole, in one order for every process that shares it, and then decided by.
//!
//! A change's revision is its place in that order. What the policy folder states, only the folder
//! changes.

mod change;
mod follow;
mod record;

use std::sync::Arc;

use authzen::Properties;
use store::{Batch, Commit, Store, StoreError};

pub(crate) use change::{Change, ChangeError};
pub(crate) use follow::restore_one;

use crate::entities::EntityStore;
use crate::pdp::Inner;
use crate::snapshot::Snapshot;

/// Another process may be first so many times before a change gives up.
const ATTEMPTS: usize = 20;

/// A change that has been made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Written {
    /// Its place in the order of changes.
    pub(crate) revision: u64,
    pub(crate) upserted: usize,
    /// Such as were there.
    pub(crate) deleted: usize,
    /// What there is now, and about how many bytes it takes.
    pub(crate) entities: usize,
    pub(crate) bytes: usize,
}

/// Why a change was not made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WriteError {
    /// It contradicts the schema, the folder or the hierarchy.
    #[error(transparent)]
    Change(#[from] ChangeError),
    /// It does not fit into one record of the store.
    #[error(
        "the change is too large: split it into parts of less than {} bytes",
        record::LARGEST
    )]
    TooLarge,
    /// Other processes were always first.
    #[error("too many changes at once; try again")]
    Busy,
    /// It is not known whether the change was made.
    #[error("the store of entities cannot be written: {0}")]
    Store(#[from] StoreError),
    /// A snapshot could not be made.
    #[error("{0}")]
    Internal(String),
}

impl Written {
    fn of(change: &Change, deleted: usize, entities: &EntityStore, revision: u64) -> Self {
        Self {
            revision,
            upserted: change.upserts.len(),
            deleted,
            entities: entities.len(),
            bytes: entities.bytes(),
        }
    }
}

impl Inner {
    /// Makes the change that a body asks for: all of it, durably, or nothing. Whoever asks from
    /// now on, here, is answered by it. To delete what is not there is no change, and makes no revision.
    pub(crate) async fn write(self: &Arc<Self>, body: &Properties) -> Result<Written, WriteError> {
        let mut read_by = self.snapshot.load_full();
        let mut change = Change::from_json(body, &read_by.loaded.schema)?;
        let _turn = self.turn.lock().await;
        let mut is_up_to_date = self.store.is_none();
        for _ in 0..ATTEMPTS {
            let snapshot = self.snapshot.load_full();
            // Another schema may have come in while this waited for its turn.
            if !Arc::ptr_eq(&snapshot.loaded, &read_by.loaded) {
                change = Change::from_json(body, &snapshot.loaded.schema)?;
                read_by = Arc::clone(&snapshot);
            }
            let deleted = change.deletes_of(&snapshot);
            if change.upserts.is_empty() && deleted == 0 {
                // Another process may just have written what is to be deleted.
                match &self.store {
                    Some(store) if !is_up_to_date => self.catch_up(store.as_ref()).await?,
                    _ => {
                        return Ok(Written::of(
                            &change,
                            0,
                            &snapshot.store,
                            snapshot.version.revision,
                        ));
                    }
                }
                is_up_to_date = true;
                continue;
            }
            let entities = change.applied_to(&snapshot)?;
            let written = Written::of(&change, deleted, &entities, snapshot.version.revision + 1);
            let Some(store) = &self.store else {
                self.publish(&snapshot, entities, written.revision);
                return Ok(written);
            };
            match commit(store.as_ref(), &change, written.revision).await? {
                Commit::Applied => {
                    self.publish(&snapshot, entities, written.revision);
                    return Ok(written);
                }
                Commit::Conflict => self.catch_up(store.as_ref()).await?,
            }
        }
        Err(WriteError::Busy)
    }

    /// Decides by other entities from now on. The caller holds the turn.
    pub(crate) fn publish(&self, before: &Snapshot, entities: EntityStore, revision: u64) {
        let snapshot = before.with_entities(entities, revision);
        let version = snapshot.version.value();
        self.meters.entities(&snapshot.store, revision);
        self.snapshot.store(Arc::new(snapshot));
        self.changes.send_replace(version);
    }
}

async fn commit(store: &dyn Store, change: &Change, revision: u64) -> Result<Commit, WriteError> {
    let event = record::Event::of(revision, change);
    let mut batch = Batch::new().append(record::LOG, event.to_bytes().ok_or(WriteError::TooLarge)?);
    let number = record::revision(revision);
    batch = match revision {
        1 => batch.put_new(record::REVISION, number, None),
        _ => batch.replace(
            record::REVISION,
            record::revision(revision - 1),
            number,
            None,
        ),
    };
    for (row, text) in &change.upserts {
        batch = batch.put(record::key(row.uid()), text.clone(), None);
    }
    for uid in &change.deletes {
        batch = batch.delete(record::key(uid));
    }
    Ok(store.commit(batch).await?)
}

#[cfg(test)]
mod tests;
