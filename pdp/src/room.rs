//! Room for requests: how many are answered at once, and how much of what they send is held.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

use crate::config::PdpConfig;

/// Room for requests, by how much they cost.
#[derive(Debug)]
pub(crate) struct Room {
    requests: Semaphore,
    /// Searches, filters, explanations: what may walk through much.
    searches: Arc<Semaphore>,
    /// For bodies that come in pieces, in steps of [`STEP`] bytes.
    bodies: Semaphore,
    patience: Duration,
}

/// Bytes.
const STEP: usize = 1024;

/// What a body that comes in pieces takes of the room for them.
pub(crate) type BodyRoom<'r> = Option<SemaphorePermit<'r>>;

/// The place of a search. Whoever does the work holds it, not whoever waits for the answer: a client
/// that hangs up ends no work on another thread. It is given back when the last clone is dropped.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    _permit: Arc<OwnedSemaphorePermit>,
}

impl Room {
    pub(crate) fn of(config: &PdpConfig) -> Self {
        let semaphore = |count: usize| Semaphore::new(count.clamp(1, Semaphore::MAX_PERMITS));
        // One must always fit.
        let bytes = config.max_bodies_bytes.max(config.max_body_bytes);
        Self {
            requests: semaphore(config.max_concurrent_requests),
            searches: Arc::new(semaphore(config.max_concurrent_searches)),
            bodies: semaphore(bytes.div_ceil(STEP)),
            patience: Duration::from_millis(config.max_wait_ms),
        }
    }

    /// A place among requests, if there is one now.
    pub(crate) fn for_request_now(&self) -> Option<SemaphorePermit<'_>> {
        self.requests.try_acquire().ok()
    }

    /// The same, if there is one soon.
    pub(crate) async fn for_request(&self) -> Option<SemaphorePermit<'_>> {
        let place = tokio::time::timeout(self.patience, self.requests.acquire());
        place.await.ok()?.ok()
    }

    /// Makes what is held of the room for bodies as large as a body that has come to so many bytes.
    /// False: there is no more now. Nobody waits for it, since whoever waits holds what he has sent.
    pub(crate) fn grow<'r>(&'r self, held: &mut BodyRoom<'r>, bytes: usize) -> bool {
        let has = held.as_ref().map_or(0, SemaphorePermit::num_permits);
        let wanted = bytes.div_ceil(STEP).saturating_sub(has);
        let wanted = u32::try_from(wanted).unwrap_or(u32::MAX);
        let Ok(more) = self.bodies.try_acquire_many(wanted) else {
            return false;
        };
        match held {
            Some(held) => held.merge(more),
            None => *held = Some(more),
        }
        true
    }

    /// A place among searches, if there is one soon.
    pub(crate) async fn for_search(&self) -> Option<Place> {
        let places = Arc::clone(&self.searches).acquire_owned();
        let permit = tokio::time::timeout(self.patience, places);
        Some(Place {
            _permit: Arc::new(permit.await.ok()?.ok()?),
        })
    }
}
