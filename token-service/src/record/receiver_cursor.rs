//! How far somebody who is told of things has been told.

use serde::{Deserialize, Serialize};
use service_kit::UnixTime;

use super::Record;

/// Under the receiver's name. Whoever sends has written here before that it does: of all replicas one
/// is at it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ReceiverCursor {
    /// In the log of signals.
    pub(crate) position: String,
    /// So many of those after the position are done with.
    pub(crate) done: usize,
    /// The next one was tried so often.
    pub(crate) attempts: u32,
    /// Nobody sends before: somebody is at it, or waits to try again.
    pub(crate) not_before: UnixTime,
}

impl ReceiverCursor {
    /// Nothing after the position is done.
    pub(crate) fn at(position: &store::Position) -> Self {
        Self {
            position: position.as_str().to_owned(),
            done: 0,
            attempts: 0,
            not_before: UnixTime::default(),
        }
    }
}

impl Record for ReceiverCursor {
    const AREA: &'static str = "cursor";
}
