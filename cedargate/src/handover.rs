//! A process of this program takes the place of another one: it is given its listeners, with the connections that wait
//! in them, and the file of its store. The old one goes on until the new one says that it serves; where the new one
//! does not get that far, nothing has changed.
//!
//! The two talk over a Unix socket. SECURITY: what is handed over is everything that a process has; whoever is at the
//! other end is the same user, by the system's word, or is told nothing.
//!
//! ```text
//! new   Hello ─────▶            old   ◀───── Listener…, That was all
//!       Store, please ─────▶          ◀───── Released: verbs wait
//!       Opened, a socket ─────▶             verbs go there
//!       Serving ─────▶                ◀───── Draining
//! ```

mod channel;
mod giver;
mod place;
mod successor;
mod taker;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub(crate) use giver::Giver;
pub(crate) use successor::follow_signals;
pub(crate) use taker::{Predecessor, find, is_served};

/// What the two say to each other. Both have to know the same: a version that says something else has another number.
const PROTOCOL: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
enum Message {
    /// The new one: the first word.
    Hello { protocol: u32, version: String },
    /// The old one: sockets of one name, with this message. There may be several for one name.
    Listener {
        name: String,
        address: std::net::SocketAddr,
    },
    /// The old one: these were all of them.
    ThatWasAll,
    /// The new one: it is to keep its state in this file.
    StorePlease { path: PathBuf },
    /// The old one: the file is closed.
    StoreReleased,
    /// The old one: it does not have that file.
    NotMyStore,
    /// The new one: the file is open, and who still needs it asks by the socket that comes with this message.
    StoreOpened,
    /// The new one: it answers.
    Serving,
    /// The old one: it takes nothing new.
    Draining,
    /// The old one: nothing comes of it.
    Refused { reason: String },
}

/// Why nothing was handed over.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandoverError {
    #[error("the process at `{}` cannot be talked to", .0.display())]
    Talk(PathBuf, #[source] std::io::Error),
    #[error("the process at the other end is of the user {theirs}, and this one of {ours}")]
    AnotherUser { theirs: u32, ours: u32 },
    #[error("the process that runs refuses to hand over: {0}")]
    Refused(String),
    #[error("another process hands over by protocol {0}, and this one by {PROTOCOL}")]
    AnotherProtocol(u32),
    #[error("the other process said something else than was its turn")]
    OutOfTurn,
    #[error("the other process is gone")]
    Gone(#[source] std::io::Error),
    #[error("the other process took too long")]
    TooSlow,
    #[error("the other process has given up waiting for this one, and goes on")]
    GivenUp,
    #[error(transparent)]
    Store(#[from] store::StoreError),
}
