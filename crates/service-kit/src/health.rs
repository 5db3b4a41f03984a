//! Liveness and readiness: each part of a service says how it is, by name.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

/// How one part is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum Status {
    Ready,
    /// Works, but on something old (a policy file is broken, and the old snapshot decides).
    Stale {
        reason: String,
    },
    /// Must not get requests.
    NotReady {
        reason: String,
    },
}

/// The parts of one process. Clones share.
#[derive(Debug, Clone, Default)]
pub struct Health(Arc<Mutex<BTreeMap<String, Status>>>);

impl Health {
    pub fn new() -> Self {
        Self::default()
    }

    /// Says how a part is; replaces what it said before.
    pub fn set(&self, part: &str, status: Status) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(part.to_owned(), status);
    }

    /// The part is none any more.
    pub fn forget(&self, part: &str) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(part);
    }

    /// Every part.
    pub fn parts(&self) -> BTreeMap<String, Status> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// True when no part is [`Status::NotReady`].
    pub fn is_ready(&self) -> bool {
        !self
            .parts()
            .values()
            .any(|status| matches!(status, Status::NotReady { .. }))
    }
}
