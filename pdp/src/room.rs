//! Room for requests: how many are answered at once.

use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

/// Room for requests, by how much they cost.
#[derive(Debug)]
pub(crate) struct Room {
    requests: Semaphore,
    /// Searches, filters, explanations: what may walk through much.
    searches: Semaphore,
    patience: Duration,
}

impl Room {
    pub(crate) fn new(requests: usize, searches: usize, patience: Duration) -> Self {
        let semaphore = |count: usize| Semaphore::new(count.clamp(1, Semaphore::MAX_PERMITS));
        Self {
            requests: semaphore(requests),
            searches: semaphore(searches),
            patience,
        }
    }

    /// A place, if there is one soon.
    pub(crate) async fn place(&self, is_search: bool) -> Option<SemaphorePermit<'_>> {
        let places = if is_search {
            &self.searches
        } else {
            &self.requests
        };
        if let Ok(place) = places.try_acquire() {
            return Some(place);
        }
        let place = tokio::time::timeout(self.patience, places.acquire()).await;
        place.ok()?.ok()
    }
}
