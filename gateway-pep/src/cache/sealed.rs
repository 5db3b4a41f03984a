//! The second level: entries in a store that gateways share, sealed so that whoever can write to
//! the store can neither read nor mint an identity or a permit.
//!
//! The name of an entry is a keyed hash of what it answers; the entry is bound to its name, so
//! it cannot be moved to another. A store that fails or lies is a miss.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use service_kit::{Secret, UnixTime};
use store::Store;
use tokio::time::{Instant, timeout};

use crate::seal::Seal;

/// Entries of one kind.
#[derive(Clone)]
pub(crate) struct Sealed {
    store: Arc<dyn Store>,
    area: &'static str,
    seal: Seal,
    ttl: Duration,
}

/// What a sealed entry holds.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Entry<T> {
    /// When the question was asked, not when it was answered: all that happened before is in
    /// the answer.
    pub(crate) as_of: UnixTime,
    pub(crate) answer: T,
}

/// One worker's access: leaves a store that fails alone for a while.
#[derive(Debug, Clone)]
pub(crate) struct SealedAccess {
    sealed: Sealed,
    ill_until: Rc<Cell<Option<Instant>>>,
}

/// The store may not cost more than asking would.
const PATIENCE: Duration = Duration::from_millis(100);
const QUARANTINE: Duration = Duration::from_secs(1);

impl std::fmt::Debug for Sealed {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Sealed")
            .field("area", &self.area)
            .finish_non_exhaustive()
    }
}

impl Sealed {
    /// Entries under `area`. None where the secret cannot make keys, which does not happen.
    pub(crate) fn new(
        store: Arc<dyn Store>,
        area: &'static str,
        secret: &Secret,
        ttl: Duration,
    ) -> Option<Self> {
        Some(Self {
            store,
            area,
            seal: Seal::new(secret, area)?,
            ttl,
        })
    }

    pub(crate) fn access(self) -> SealedAccess {
        SealedAccess {
            sealed: self,
            ill_until: Rc::default(),
        }
    }

    fn name(&self, question: &[u8]) -> String {
        format!("{}:{}", self.area, self.seal.name(question))
    }
}

impl SealedAccess {
    /// What is known about a question, if it was asked after `trusted_from`.
    pub(crate) async fn find<T: DeserializeOwned>(
        &self,
        question: &[u8],
        trusted_from: UnixTime,
    ) -> Option<Entry<T>> {
        if self
            .ill_until
            .get()
            .is_some_and(|until| Instant::now() < until)
        {
            return None;
        }
        let name = self.sealed.name(question);
        let Ok(Ok(value)) = timeout(PATIENCE, self.sealed.store.get(&name)).await else {
            self.fell_ill();
            return None;
        };
        let entry = self.sealed.seal.open::<Entry<T>>(&name, &value?);
        entry.filter(|entry| entry.as_of > trusted_from)
    }

    /// Shares an answer. Failing to is no failure.
    pub(crate) async fn share<T: Serialize>(&self, question: &[u8], entry: &Entry<T>) {
        if self
            .ill_until
            .get()
            .is_some_and(|until| Instant::now() < until)
        {
            return;
        }
        let name = self.sealed.name(question);
        let Some(value) = self.sealed.seal.seal(&name, entry) else {
            return;
        };
        let put = self
            .sealed
            .store
            .put(&name, value.into(), Some(self.sealed.ttl));
        if !matches!(timeout(PATIENCE, put).await, Ok(Ok(()))) {
            self.fell_ill();
        }
    }

    /// How long an entry may be used after it was asked for.
    pub(crate) fn ttl(&self) -> Duration {
        self.sealed.ttl
    }

    fn fell_ill(&self) {
        self.ill_until.set(Some(Instant::now() + QUARANTINE));
    }
}
