//! Room for requests: how many are answered at once.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

/// Room for requests, by how much they cost.
#[derive(Debug)]
pub(crate) struct Room {
    requests: Semaphore,
    /// Searches, filters, explanations: what may walk through much.
    searches: Arc<Semaphore>,
    patience: Duration,
}

/// The place of a search. Whoever does the work holds it, not whoever waits for the answer: a client
/// that hangs up ends no work on another thread. It is given back when the last clone is dropped.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    _permit: Arc<OwnedSemaphorePermit>,
}

impl Room {
    pub(crate) fn new(requests: usize, searches: usize, patience: Duration) -> Self {
        let semaphore = |count: usize| Semaphore::new(count.clamp(1, Semaphore::MAX_PERMITS));
        Self {
            requests: semaphore(requests),
            searches: Arc::new(semaphore(searches)),
            patience,
        }
    }

    /// A place among requests, if there is one soon.
    pub(crate) async fn for_request(&self) -> Option<SemaphorePermit<'_>> {
        if let Ok(place) = self.requests.try_acquire() {
            return Some(place);
        }
        let place = tokio::time::timeout(self.patience, self.requests.acquire()).await;
        place.ok()?.ok()
    }

    /// A place among searches, if there is one soon.
    pub(crate) async fn for_search(&self) -> Option<Place> {
        let places = Arc::clone(&self.searches).acquire_owned();
        let permit = tokio::time::timeout(self.patience, places).await.ok()?;
        Some(Place {
            _permit: Arc::new(permit.ok()?),
        })
    }
}
