//! Answers that need not be asked for again, and the rules under which that is sound.
//!
//! Each worker has its own first level (no locks); gateways share a sealed second level where an
//! answer would otherwise cross the network. An entry is used only while the event log is being
//! heard, it has not expired, nothing that voids it was announced, and the announcement that
//! might void it could not have been missed: what was fetched before something changed is never
//! inserted after.

pub(crate) mod decisions;
pub(crate) mod flight;
pub(crate) mod generations;
pub(crate) mod keyed;
pub(crate) mod sealed;
pub(crate) mod tokens;
pub(crate) mod validity;
pub(crate) mod verdict;

use service_kit::UnixTime;
use tokio::time::Instant;

/// When a request began, read once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    pub(crate) instant: Instant,
    pub(crate) unix: UnixTime,
    /// Whether the event log was heard recently enough for caches to be used.
    pub(crate) trusted: bool,
    pub(crate) epochs: Epochs,
}

/// How often everything of a kind became void, up to a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Epochs {
    pub(crate) tokens: u64,
    pub(crate) decisions: u64,
    /// Something was purged: it need not be this.
    pub(crate) purges: u64,
}

/// Where an answer came from. Also a metric label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// This worker's memory.
    L1,
    /// The store that gateways share.
    L2,
    /// Whoever answers such questions.
    Remote,
    /// An answer older than it should be, because nobody could be asked.
    Stale,
}

impl Source {
    pub(crate) const ALL: [Self; 4] = [Self::L1, Self::L2, Self::Remote, Self::Stale];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::L1 => "l1",
            Self::L2 => "l2",
            Self::Remote => "remote",
            Self::Stale => "stale",
        }
    }
}
