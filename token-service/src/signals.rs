//! What others outside are told: that a login has ended, that a user was disabled. It is written into a log in
//! the batch that makes it true, and told from there until it was taken: a process that dies, an
//! outage, a receiver that is away delay it and lose nothing.
//!
//! There is one log for all, and for each receiver a cursor into it. Each is told in order, at least
//! once; who does not listen holds nobody else up.

mod message;
mod outbox;
mod sender;
mod worker;

use std::collections::BTreeSet;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use service_kit::{UnixTime, random};
use store::{Batch, Commit, MAX_VALUE_BYTES};

use crate::core::Core;
use crate::error::Trouble;
use crate::registry::{EventReceiver, Registry};

pub(crate) use outbox::prepare;
pub(crate) use worker::start;

/// Something that others are told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Signal {
    /// The `jti` of every token that tells of it: who has seen it can know it again.
    jti: String,
    at: UnixTime,
    #[serde(flatten)]
    what: Occurrence,
}

/// What has happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub(crate) enum Occurrence {
    /// A login has ended in which these clients took part.
    SessionEnded {
        sid: String,
        sub: String,
        clients: BTreeSet<String>,
    },
    /// A user was disabled, or is not there any more.
    UserDisabled { sub: String },
    /// A receiver is told for the first time.
    Greeting { receiver: String },
}

/// The log of signals.
pub(crate) const LOG: &str = "signals";

/// Record of the users who were last enabled.
const USERS_KEY: &str = "registry:users";

/// Attempts against other writers before giving up.
const ATTEMPTS: usize = 16;

impl Signal {
    pub(crate) fn of(jti: &str, at: UnixTime, what: Occurrence) -> Self {
        Self {
            jti: jti.to_owned(),
            at,
            what,
        }
    }

    /// As it stands in the log.
    pub(crate) fn encode(&self) -> Bytes {
        // Texts and a number: there is nothing in it that cannot be written.
        serde_json::to_vec(self).unwrap_or_default().into()
    }

    /// None: another version wrote it.
    fn decode(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    fn concerns(&self, receiver: &EventReceiver) -> bool {
        match &self.what {
            Occurrence::SessionEnded { clients, .. } => {
                receiver.clients.is_empty() || !receiver.clients.is_disjoint(clients)
            }
            Occurrence::UserDisabled { .. } => true,
            Occurrence::Greeting { receiver: id } => *id == receiver.id,
        }
    }
}

/// Whether there is anybody to tell.
pub(crate) fn is_heard(registry: &Registry) -> bool {
    !registry.event_receivers.is_empty()
}

/// Says which users are not enabled any more that were: here, in another process, or before a restart.
pub(crate) async fn announce_users(core: &Core) -> Result<(), Trouble> {
    let registry = core.registry();
    if !is_heard(&registry) {
        return Ok(());
    }
    let now = registry.enabled_users();
    let bytes = serde_json::to_vec(&now).unwrap_or_default();
    if bytes.len() > MAX_VALUE_BYTES {
        tracing::error!("there are too many users to say who is disabled to receivers of events");
        return Ok(());
    }
    let bytes = Bytes::from(bytes);
    for _ in 0..ATTEMPTS {
        let before = core.store.get(USERS_KEY).await?;
        if before.as_ref() == Some(&bytes) {
            return Ok(());
        }
        let mut batch = match &before {
            Some(before) => Batch::new().replace(USERS_KEY, before.clone(), bytes.clone(), None),
            None => Batch::new().put_new(USERS_KEY, bytes.clone(), None),
        };
        let before = before.as_deref().unwrap_or(b"[]");
        let before: BTreeSet<String> = serde_json::from_slice(before).unwrap_or_default();
        for sub in before.difference(&now).cloned() {
            let signal = Signal::of(&random::id()?, core.now(), Occurrence::UserDisabled { sub });
            batch = batch.append(LOG, signal.encode());
        }
        if core.store.commit(batch).await? == Commit::Applied {
            return Ok(());
        }
    }
    Err(Trouble::Record {
        message: "the users change all the time".into(),
    })
}
