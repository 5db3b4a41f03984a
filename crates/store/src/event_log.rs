//! The event log: ordered, bounded, followed by position.

use bytes::Bytes;

/// A place in one event log. Means nothing in another log or on another backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position(pub(crate) String);

/// What [`crate::Store::follow`] saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventPage {
    /// Everything since the asked position (perhaps nothing), and where to go on.
    Events { events: Vec<Bytes>, next: Position },
    /// Events after the asked position are gone (trimmed, flushed, restored from a backup).
    /// Whoever follows must drop everything it derived and go on from `next`.
    Gap { next: Position },
}
