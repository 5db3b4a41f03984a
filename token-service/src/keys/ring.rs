//! The set of keys: as the store has it ([`RingRecord`]), as it is used ([`Ring`]), and the
//! rules by which keys come and go.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use service_kit::UnixTime;

use super::{KeyPlan, SigningKey};
use crate::error::Trouble;
use crate::secrets::Secrets;

/// One record for all keys: a change of the ring is one conditional write.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct RingRecord {
    /// In the order in which they sign.
    keys: Vec<KeyRecord>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct KeyRecord {
    kid: String,
    sealed: String,
    /// From here on it signs, until the next one does.
    signs_from: UnixTime,
}

/// Keys that are ready to sign.
#[derive(Debug, Default)]
pub(super) struct Ring {
    keys: Vec<(UnixTime, Arc<SigningKey>)>,
}

impl Ring {
    /// The youngest key whose time has come.
    pub(super) fn current(&self, now: UnixTime) -> Option<Arc<SigningKey>> {
        self.keys
            .iter()
            .rev()
            .find(|(signs_from, _)| *signs_from <= now)
            // A clock that was set back must not stop the service: the oldest key is published.
            .or(self.keys.first())
            .map(|(_, key)| key.clone())
    }

    /// Every published key.
    pub(super) fn keys(&self) -> impl Iterator<Item = &SigningKey> {
        self.keys.iter().map(|(_, key)| &**key)
    }
}

impl RingRecord {
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Trouble> {
        serde_json::from_slice(bytes).map_err(|error| Trouble::Record {
            message: format!("the key ring at column {}", error.column()),
        })
    }

    pub(super) fn encode(&self) -> Result<Bytes, Trouble> {
        serde_json::to_vec(self)
            .map(Bytes::from)
            .map_err(|error| Trouble::Record {
                message: error.to_string(),
            })
    }

    /// Opens every key.
    pub(super) fn open(&self, secrets: &Secrets) -> Result<Ring, Trouble> {
        let keys = self.keys.iter().map(|record| {
            SigningKey::open(&record.kid, &record.sealed, secrets)
                .map(|key| (record.signs_from, Arc::new(key)))
                .ok_or(Trouble::Crypto {
                    message: SEALED_WITH_ANOTHER_SECRET,
                })
        });
        Ok(Ring {
            keys: keys.collect::<Result<_, _>>()?,
        })
    }

    /// What the ring should be now. None: it is.
    pub(super) fn turned(
        &self,
        secrets: &Secrets,
        plan: KeyPlan,
        now: UnixTime,
    ) -> Result<Option<Self>, Trouble> {
        let mut turned = self.clone();
        turned.drop_dead(plan, now);
        match turned.keys.last() {
            // Nobody can have cached a set without it: the first key signs at once.
            None => turned.add(secrets, now)?,
            Some(last) => {
                let due = last.signs_from.plus(plan.rotate);
                if now.plus(plan.publish_ahead) >= due {
                    turned.add(secrets, due.max(now.plus(plan.publish_ahead)))?;
                }
            }
        }
        Ok((turned != *self).then_some(turned))
    }

    fn add(&mut self, secrets: &Secrets, signs_from: UnixTime) -> Result<(), Trouble> {
        let made = SigningKey::make(secrets)?;
        self.keys.push(KeyRecord {
            kid: made.key.kid().to_owned(),
            sealed: made.sealed,
            signs_from,
        });
        Ok(())
    }

    /// A key is dead when the one after it has signed for longer than any token lives.
    fn drop_dead(&mut self, plan: KeyPlan, now: UnixTime) {
        let successors: Vec<_> = self.keys.iter().skip(1).map(|key| key.signs_from).collect();
        let dead = successors
            .iter()
            .take_while(|signs_from| signs_from.plus(plan.longest_token) < now)
            .count();
        self.keys.drain(..dead);
    }
}

/// Recognised when the service starts, where it has its own explanation.
pub(crate) const SEALED_WITH_ANOTHER_SECRET: &str = "a key was sealed with another secret";
