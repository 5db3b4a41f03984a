//! The event log: ordered, bounded, followed by position.

use bytes::Bytes;

use crate::StoreError;
use crate::limits::{EVENTS_PER_PAGE, refused};

/// A place in one event log. Means nothing in another log or on another backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position(pub(crate) String);

impl Position {
    /// As a record can keep it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// One that a record has kept.
    pub fn kept(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

/// What [`crate::Store::follow`] saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventPage {
    /// What comes after the asked position (all of it or a first page of it; perhaps nothing),
    /// and where to go on.
    Events { events: Vec<Bytes>, next: Position },
    /// Events after the asked position are gone (trimmed, flushed, restored from a backup).
    /// Whoever follows must drop everything it derived and go on from `next`.
    Gap { next: Position },
}

impl EventPage {
    /// Whether it says nothing new.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Events { events, .. } => events.is_empty(),
            Self::Gap { .. } => false,
        }
    }
}

/// Which numbers a log of this process holds: `first..=last`, numbered from 1; `first` is
/// `last + 1` where it holds none. A position is the number of the last event seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sequence {
    pub(crate) first: u64,
    pub(crate) last: u64,
}

impl Default for Sequence {
    fn default() -> Self {
        Self { first: 1, last: 0 }
    }
}

impl Sequence {
    pub(crate) fn parse(position: &Position) -> Result<u64, StoreError> {
        position
            .0
            .parse()
            .map_err(|_| refused("the position belongs to another store"))
    }

    pub(crate) fn tail(self) -> Position {
        Position(self.last.to_string())
    }

    /// The number of the event that is being appended.
    pub(crate) fn append(&mut self) -> u64 {
        // At a million events a second this lasts for half a million years.
        self.last = self.last.saturating_add(1);
        self.last
    }

    /// The number of an event to drop, where more than `max` are held.
    pub(crate) fn trim_one(&mut self, max: u64) -> Option<u64> {
        let held = self.last.saturating_add(1).saturating_sub(self.first);
        (held > max).then(|| {
            let dropped = self.first;
            self.first = self.first.saturating_add(1);
            dropped
        })
    }

    /// The page after a position. `read(skip, take)` gives that many events, leaving out the
    /// first `skip` that are held.
    pub(crate) fn page(self, after: u64, read: impl FnOnce(u64, usize) -> Vec<Bytes>) -> EventPage {
        let next = after.saturating_add(1);
        if next < self.first || after > self.last {
            return EventPage::Gap { next: self.tail() };
        }
        let events = read(next.saturating_sub(self.first), EVENTS_PER_PAGE);
        let seen = u64::try_from(events.len()).unwrap_or(u64::MAX);
        let next = Position(after.saturating_add(seen).to_string());
        EventPage::Events { events, next }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_a_gap_once_the_event_after_it_was_trimmed() {
        let mut sequence = Sequence::default();
        for _ in 0..5 {
            sequence.append();
        }
        while sequence.trim_one(2).is_some() {}
        assert_eq!(sequence, Sequence { first: 4, last: 5 });
        let page = |after| sequence.page(after, |_, _| Vec::new());
        assert!(matches!(page(2), EventPage::Gap { .. }), "3 is gone");
        assert!(matches!(page(3), EventPage::Events { .. }), "4 is next");
        assert!(matches!(page(5), EventPage::Events { .. }), "the end");
        assert!(matches!(page(6), EventPage::Gap { .. }), "from the future");
    }
}
