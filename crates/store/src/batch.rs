//! Writes that happen together or not at all.

use std::time::Duration;

use bytes::Bytes;

/// A list of writes and conditions, applied in order, as one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    pub(crate) writes: Vec<Write>,
}

/// One element of a [`Batch`]. `ttl` none: kept for ever. A key stands in a batch at most once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// Unconditional.
    Put {
        key: String,
        value: Bytes,
        ttl: Option<Duration>,
    },
    /// The whole batch fails with [`Commit::Conflict`] where the key exists.
    PutNew {
        key: String,
        value: Bytes,
        ttl: Option<Duration>,
    },
    /// The whole batch fails with [`Commit::Conflict`] where the value is not `expected`.
    Replace {
        key: String,
        expected: Bytes,
        value: Bytes,
        ttl: Option<Duration>,
    },
    /// Unconditional; the key may be absent.
    Delete { key: String },
    /// To an event log.
    Append { log: String, event: Bytes },
}

/// What became of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a conflict means that nothing was written"]
pub enum Commit {
    Applied,
    /// A condition did not hold; nothing was written.
    Conflict,
}

impl Commit {
    pub fn is_applied(self) -> bool {
        self == Self::Applied
    }
}

impl FromIterator<Write> for Batch {
    fn from_iter<I: IntoIterator<Item = Write>>(writes: I) -> Self {
        Self {
            writes: writes.into_iter().collect(),
        }
    }
}

impl Batch {
    pub fn new() -> Self {
        Self::default()
    }

    #[must_use]
    pub fn put(mut self, key: impl Into<String>, value: Bytes, ttl: Option<Duration>) -> Self {
        self.writes.push(Write::Put {
            key: key.into(),
            value,
            ttl,
        });
        self
    }

    #[must_use]
    pub fn put_new(mut self, key: impl Into<String>, value: Bytes, ttl: Option<Duration>) -> Self {
        self.writes.push(Write::PutNew {
            key: key.into(),
            value,
            ttl,
        });
        self
    }

    #[must_use]
    pub fn replace(
        mut self,
        key: impl Into<String>,
        expected: Bytes,
        value: Bytes,
        ttl: Option<Duration>,
    ) -> Self {
        self.writes.push(Write::Replace {
            key: key.into(),
            expected,
            value,
            ttl,
        });
        self
    }

    #[must_use]
    pub fn delete(mut self, key: impl Into<String>) -> Self {
        self.writes.push(Write::Delete { key: key.into() });
        self
    }

    #[must_use]
    pub fn append(mut self, log: impl Into<String>, event: Bytes) -> Self {
        self.writes.push(Write::Append {
            log: log.into(),
            event,
        });
        self
    }

    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// For stores that stand before others.
    pub fn writes(&self) -> &[Write] {
        &self.writes
    }

    /// Whether followers have to be told.
    pub(crate) fn appends(&self) -> bool {
        self.writes
            .iter()
            .any(|write| matches!(write, Write::Append { .. }))
    }
}
