//! The set of keys: as the store has it ([`RingRecord`]), as it is used ([`Ring`]), and the
//! rules by which keys come and go.

use std::sync::Arc;

use bytes::Bytes;
use jose::KeySet;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use service_kit::UnixTime;

use super::{KeyPlan, SigningKey};
use crate::config::SigningAlgorithm;
use crate::error::Trouble;
use crate::secrets::Secrets;

/// One record for all keys: a change of the ring is one conditional write.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct RingRecord {
    /// In the order in which they sign.
    keys: Vec<KeyRecord>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct KeyRecord {
    /// Those of before were all of one.
    #[serde(default)]
    algorithm: SigningAlgorithm,
    kid: String,
    sealed: String,
    /// From here on it signs, until the next one does.
    signs_from: UnixTime,
}

/// For which algorithms there are keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// Those that something is signed by.
    InForce,
    /// Those that something may be signed by one day, too: their keys are published until then.
    All,
}

/// Keys that are ready to sign.
#[derive(Debug, Default)]
pub(super) struct Ring {
    keys: Vec<(UnixTime, Arc<SigningKey>)>,
    verifying: Arc<KeySet>,
}

impl Extent {
    fn of(self, plan: &KeyPlan) -> impl Iterator<Item = SigningAlgorithm> {
        SigningAlgorithm::ALL
            .into_iter()
            .filter(move |algorithm| self == Self::All || plan.algorithms.contains(algorithm))
    }
}

impl KeyRecord {
    /// Made aside: one of RSA takes a tenth of a second, in which others are to be answered.
    pub(super) async fn make(
        algorithm: SigningAlgorithm,
        signs_from: UnixTime,
        secrets: &Secrets,
    ) -> Result<Self, Trouble> {
        let made = tokio::task::spawn_blocking(move || SigningKey::generate(algorithm)).await;
        let document = made.ok().flatten().ok_or(Trouble::Crypto {
            message: "key generation",
        })?;
        let made = SigningKey::seal(algorithm, &document, secrets)?;
        Ok(Self {
            algorithm,
            kid: made.key.kid().to_owned(),
            sealed: made.sealed,
            signs_from,
        })
    }
}

impl Ring {
    /// The youngest key of an algorithm whose time has come.
    pub(super) fn current(
        &self,
        algorithm: SigningAlgorithm,
        now: UnixTime,
    ) -> Option<Arc<SigningKey>> {
        let mut of_it = self
            .keys
            .iter()
            .filter(|(_, key)| key.algorithm() == algorithm);
        of_it
            .clone()
            .rev()
            .find(|(signs_from, _)| *signs_from <= now)
            // A clock that was set back must not stop the service: the oldest key is published.
            .or(of_it.next())
            .map(|(_, key)| key.clone())
    }

    fn of(keys: Vec<(UnixTime, Arc<SigningKey>)>) -> Result<Self, Trouble> {
        let jwks = jwks(&keys).to_string();
        let verifying = KeySet::parse(jwks.as_bytes()).map_err(|_| Trouble::Crypto {
            message: "the own keys cannot be read",
        })?;
        Ok(Self {
            keys,
            verifying: Arc::new(verifying),
        })
    }

    /// Every published key, as others see it.
    pub(super) fn jwks(&self) -> Value {
        jwks(&self.keys)
    }

    /// Every published key, for verifying.
    pub(super) fn verifying(&self) -> Arc<KeySet> {
        Arc::clone(&self.verifying)
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
            SigningKey::open(record.algorithm, &record.kid, &record.sealed, secrets)
                .map(|key| (record.signs_from, Arc::new(key)))
                .ok_or(Trouble::Crypto {
                    message: SEALED_WITH_ANOTHER_SECRET,
                })
        });
        Ring::of(keys.collect::<Result<_, _>>()?)
    }

    /// Of which algorithms a key is to be made now, and from when on it signs.
    pub(super) fn due(
        &self,
        plan: &KeyPlan,
        extent: Extent,
        now: UnixTime,
    ) -> Vec<(SigningAlgorithm, UnixTime)> {
        let published = now.plus(plan.publish_ahead);
        let of = |algorithm| {
            let mut keys = self.keys.iter().rev();
            match keys.find(|key| key.algorithm == algorithm) {
                // It signs before anybody can have heard of it: there is no other.
                None if plan.algorithms.contains(&algorithm) => Some((algorithm, now)),
                None => Some((algorithm, published)),
                Some(last) => {
                    let due = last.signs_from.plus(plan.rotate);
                    (published >= due).then(|| (algorithm, due.max(published)))
                }
            }
        };
        extent.of(plan).filter_map(of).collect()
    }

    /// What the ring should be now, with what was made for it. None: it is.
    pub(super) fn turned(
        &self,
        plan: &KeyPlan,
        extent: Extent,
        now: UnixTime,
        made: Vec<KeyRecord>,
    ) -> Option<Self> {
        let mut turned = self.clone();
        for algorithm in extent.of(plan) {
            turned.drop_dead(algorithm, plan, now);
        }
        turned.keys.extend(made);
        (turned != *self).then_some(turned)
    }

    /// A key is dead when the one after it has signed for longer than any token lives.
    fn drop_dead(&mut self, algorithm: SigningAlgorithm, plan: &KeyPlan, now: UnixTime) {
        let of_it = |key: &&KeyRecord| key.algorithm == algorithm;
        let successors = self.keys.iter().filter(of_it).skip(1);
        let mut dead = successors
            .take_while(|key| key.signs_from.plus(plan.longest_token) < now)
            .count();
        self.keys.retain(|key| {
            let is_dead = key.algorithm == algorithm && dead > 0;
            dead -= usize::from(is_dead);
            !is_dead
        });
    }
}

/// RFC 7517 section 5.
fn jwks(keys: &[(UnixTime, Arc<SigningKey>)]) -> Value {
    let keys: Vec<&Value> = keys.iter().map(|(_, key)| key.jwk()).collect();
    json!({ "keys": keys })
}

/// Recognised when the service starts, where it has its own explanation.
pub(crate) const SEALED_WITH_ANOTHER_SECRET: &str = "a key was sealed with another secret";
