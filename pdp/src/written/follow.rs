//! Following the store: what other processes write is decided by here, too, in the same order.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cedar_policy_core::ast::EntityUID;
use serde_json::Value;
use service_kit::Status;
use store::{EventPage, Position, Store, StoreError};
use tokio::time::Instant;

use super::{Change, WriteError, change, record};
use crate::entities::{EntityStore, Origin, fit};
use crate::pdp::Inner;
use crate::snapshot::Snapshot;
use crate::{Pdp, PdpError};

/// Health part.
const PART: &str = "entities";

const RETRY: Duration = Duration::from_millis(500);
const WAIT: Duration = Duration::from_secs(10);
const PAGE: usize = 1000;

/// Why a revision is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Freshness {
    pub(crate) wanted: u64,
    pub(crate) reached: u64,
}

impl Pdp {
    /// Takes over every entity that has been written so far. Nothing is to be decided before.
    pub async fn restore_entities(&self) -> Result<(), PdpError> {
        let Some(store) = self.0.store.clone() else {
            return Ok(());
        };
        let _turn = self.0.turn.lock().await;
        let position = self.0.restore(store.as_ref()).await?;
        self.0.follower.lock().await.replace(position);
        self.0.health.set(PART, Status::Ready);
        Ok(())
    }

    /// Follows what other processes write, until the tasks drain.
    pub fn follow_entities(&self) {
        let Some(store) = self.0.store.clone() else {
            return;
        };
        let inner = Arc::clone(&self.0);
        let draining = inner.tasks.draining();
        self.0.tasks.spawn(async move {
            tokio::select! {
                () = draining.cancelled() => {}
                () = inner.follow(store.as_ref()) => {}
            }
        });
    }
}

impl Inner {
    /// Waits, within bounds, until entities are at least of this revision.
    pub(crate) async fn at_least(&self, wanted: u64) -> Result<(), Freshness> {
        let mut changes = self.changes.subscribe();
        let reached = changes.wait_for(|version| version.revision >= wanted);
        match tokio::time::timeout(self.limits.revision_wait, reached).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Freshness {
                wanted,
                reached: self.snapshot.load().version.revision,
            }),
        }
    }

    async fn follow(&self, store: &dyn Store) {
        let mut failing = false;
        loop {
            // Waits without the turn: only what was said is taken over with it.
            let position = self.follower.lock().await.clone();
            let heard = match position {
                Some(position) => store.follow(record::LOG, &position, WAIT).await.map(drop),
                None => Ok(()),
            };
            let followed = match heard {
                Ok(()) => {
                    let _turn = self.turn.lock().await;
                    self.catch_up(store).await
                }
                Err(error) => Err(error.into()),
            };
            match followed {
                Ok(()) if failing => {
                    failing = false;
                    self.health.set(PART, Status::Ready);
                }
                Ok(()) => {}
                Err(error) => {
                    if !failing {
                        failing = true;
                        let reason = format!("written entities are not followed: {error}");
                        tracing::warn!(reason);
                        self.health.set(PART, Status::Stale { reason });
                    }
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    /// Takes over what the log has said since the last look. The caller holds the turn.
    pub(super) async fn catch_up(&self, store: &dyn Store) -> Result<(), WriteError> {
        loop {
            let position = self.follower.lock().await.clone();
            let page = match position {
                Some(position) => store.follow(record::LOG, &position, Duration::ZERO).await?,
                None => EventPage::Gap {
                    next: store.tail(record::LOG).await?,
                },
            };
            match page {
                EventPage::Events { events, next } => {
                    if events.is_empty() {
                        return Ok(());
                    }
                    self.take_over(&events)?;
                    self.follower.lock().await.replace(next);
                }
                EventPage::Gap { .. } => {
                    let position = self
                        .restore(store)
                        .await
                        .map_err(|error| WriteError::Internal(error.to_string()))?;
                    self.follower.lock().await.replace(position);
                }
            }
        }
    }

    /// Applies events that are newer than what decides.
    fn take_over(&self, events: &[Bytes]) -> Result<(), WriteError> {
        let before = self.snapshot.load_full();
        let mut entities = before.store.clone();
        let mut revision = before.version.revision;
        for event in events {
            let event: record::Event = serde_json::from_slice(event)
                .map_err(|error| WriteError::Internal(format!("an event is broken: {error}")))?;
            // Our own come back, too.
            if event.revision <= revision {
                continue;
            }
            revision = event.revision;
            let change = read(&event, &before)?;
            for uid in &change.deletes {
                entities.remove(uid);
            }
            for (row, _) in &change.upserts {
                entities.remove(row.uid());
            }
            for (row, _) in change.upserts {
                if stated(&before, row.uid()) {
                    return Err(change::ChangeError::Stated(row.uid().clone()).into());
                }
                entities.upsert(row).map_err(change::ChangeError::from)?;
            }
        }
        if revision != before.version.revision {
            self.publish(&before, entities, revision);
        }
        Ok(())
    }

    /// Reads every record, and what was written meanwhile; returns where to follow from.
    async fn restore(&self, store: &dyn Store) -> Result<Position, PdpError> {
        let unreadable = |error: StoreError| PdpError::Entities(error.to_string());
        let started = Instant::now();
        // First: whatever is committed later is in the log after this.
        let position = store.tail(record::LOG).await.map_err(unreadable)?;
        let revision = match store.get(record::REVISION).await.map_err(unreadable)? {
            None => 0,
            Some(number) => std::str::from_utf8(&number)
                .ok()
                .and_then(|number| number.parse().ok())
                .ok_or_else(|| PdpError::Entities("the revision is not a number".into()))?,
        };
        let before = self.snapshot.load_full();
        let mut entities = before.without_written();
        let mut cursor = None;
        let (mut issues, mut found) = (Vec::new(), 0_usize);
        loop {
            let page = store
                .scan(record::PREFIX, cursor.as_deref(), PAGE)
                .await
                .map_err(unreadable)?;
            for (_, text) in page.entries {
                found += 1;
                if found.is_multiple_of(100_000) {
                    tracing::info!(entities = found, "reading entities");
                }
                issues.extend(restore_one(&mut entities, &text, &before).err());
            }
            cursor = page.cursor;
            if cursor.is_none() {
                break;
            }
        }
        if !issues.is_empty() {
            issues.truncate(fit::SHOWN);
            return Err(PdpError::Policies(issues));
        }
        let took = started.elapsed();
        tracing::info!(entities = found, revision, ?took, "entities are restored");
        self.publish(&before, entities, revision);
        Ok(position)
    }
}

/// Takes over one entity as it is kept, in Cedar's JSON format.
pub(crate) fn restore_one(
    entities: &mut EntityStore,
    text: &[u8],
    snapshot: &Snapshot,
) -> Result<(), crate::PolicyIssue> {
    let broken = |message: String| crate::PolicyIssue::of_file("entities", message);
    let value: Value = serde_json::from_slice(text).map_err(|error| broken(error.to_string()))?;
    let (row, _) = change::entity(&value, &snapshot.loaded.schema).map_err(|error| {
        broken(format!(
            "{} was written, and does not fit: {error}",
            value.get("uid").unwrap_or(&Value::Null)
        ))
        .hint("go back to the schema that it was written under, and delete it there")
    })?;
    if stated(snapshot, row.uid()) {
        return Err(fit::issue(row.uid(), "is stated by the folder, too"));
    }
    let uid = row.uid().clone();
    entities
        .upsert(row)
        .map_err(|circle| fit::issue(&uid, &circle.to_string()))
}

fn stated(snapshot: &Snapshot, uid: &EntityUID) -> bool {
    let own = snapshot.store.row(uid);
    own.is_some_and(|own| own.origin() == Origin::Folder)
}

fn read(event: &record::Event, snapshot: &Snapshot) -> Result<Change, WriteError> {
    let mut change = Change {
        upserts: Vec::new(),
        deletes: event.delete.clone(),
    };
    for text in &event.upsert {
        let entity = serde_json::from_str(text.get())
            .map_err(|error| error.to_string())
            .and_then(|value: Value| change::entity(&value, &snapshot.loaded.schema))
            .map_err(|message| WriteError::Internal(format!("an entity is broken: {message}")))?;
        change.upserts.push(entity);
    }
    Ok(change)
}
