//! Signing keys: shared by every replica through the store, sealed there, rotated without a gap.
//!
//! A key is published before it signs and withdrawn after its last token died. Which key signs
//! is decided by the clock alone, so replicas agree without talking; the store is asked only to
//! learn of new keys.

mod ring;
mod signing_key;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use jose::KeySet;
use serde_json::Value;
use service_kit::UnixTime;
use store::Store;

use crate::config::SigningAlgorithm;
use crate::error::Trouble;
use crate::secrets::Secrets;
pub(crate) use ring::SEALED_WITH_ANOTHER_SECRET;
use ring::{Extent, KeyRecord, Ring, RingRecord};
pub(crate) use signing_key::SigningKey;

/// The keys as this process knows them.
#[derive(Debug)]
pub(crate) struct Keys {
    store: Arc<dyn Store>,
    plan: ArcSwap<KeyPlan>,
    ring: ArcSwap<Ring>,
}

/// When keys come and go.
#[derive(Debug, Clone)]
pub(crate) struct KeyPlan {
    /// There is a key for each.
    pub(crate) algorithms: BTreeSet<SigningAlgorithm>,
    /// How long a key signs.
    pub(crate) rotate: Duration,
    /// How long a key is published before it signs.
    pub(crate) publish_ahead: Duration,
    /// The longest life of anything signed.
    pub(crate) longest_token: Duration,
}

/// How long a JWKS answer may be kept. Well under every plan's `publish_ahead`.
pub(crate) const JWKS_MAX_AGE: Duration = Duration::from_mins(5);
/// How often a process looks for keys that another one made.
pub(crate) const REFRESH: Duration = Duration::from_mins(1);
/// A key must be seen by every replica and every cache before it signs.
pub(crate) const MIN_PUBLISH_AHEAD: Duration = Duration::from_mins(10);

/// Attempts to change the ring before somebody else's changes are taken for a fault.
const ATTEMPTS: usize = 16;
const KEY: &str = "keys:rings";
/// Of before there was more than one algorithm. Replicas of that time would take every key for one of
/// theirs, and drop what is in use: they are left what they know.
const KEY_BEFORE: &str = "keys:ring";

impl Keys {
    /// Reads the ring, and makes the first key where there is none.
    pub(crate) async fn open(
        store: Arc<dyn Store>,
        secrets: &Secrets,
        plan: KeyPlan,
        now: UnixTime,
    ) -> Result<Self, Trouble> {
        let keys = Self {
            store,
            plan: ArcSwap::from_pointee(plan),
            ring: ArcSwap::from_pointee(Ring::default()),
        };
        keys.turn(secrets, now).await?;
        Ok(keys)
    }

    /// By what keys come and go.
    pub(crate) fn plan(&self) -> Arc<KeyPlan> {
        self.plan.load_full()
    }

    /// By another plan from the next turn on.
    pub(crate) fn go_by(&self, plan: Arc<KeyPlan>) {
        self.plan.store(plan);
    }

    /// From now on, keys come and go by another plan.
    pub(crate) async fn follow(
        &self,
        plan: KeyPlan,
        secrets: &Secrets,
        now: UnixTime,
    ) -> Result<(), Trouble> {
        self.plan.store(Arc::new(plan));
        self.turn(secrets, now).await
    }

    /// Learns of other replicas' changes and does what is due: makes the next key, drops the
    /// dead. Safe to call from any number of replicas at once.
    pub(crate) async fn turn(&self, secrets: &Secrets, now: UnixTime) -> Result<(), Trouble> {
        self.turn_to(Extent::InForce, secrets, now).await
    }

    /// The same, and keys of the algorithms that nothing is signed by yet: when something is, whoever
    /// keeps a JWK Set has seen them. Not at start, which waits for nothing that it does not need.
    pub(crate) async fn turn_all(&self, secrets: &Secrets, now: UnixTime) -> Result<(), Trouble> {
        self.turn_to(Extent::All, secrets, now).await
    }

    async fn turn_to(
        &self,
        extent: Extent,
        secrets: &Secrets,
        now: UnixTime,
    ) -> Result<(), Trouble> {
        for _ in 0..ATTEMPTS {
            let stored = self.store.get(KEY).await?;
            let first = match &stored {
                Some(_) => None,
                None => self.store.get(KEY_BEFORE).await?,
            };
            let before = match stored.as_ref().or(first.as_ref()) {
                Some(bytes) => RingRecord::decode(bytes)?,
                None => RingRecord::default(),
            };
            let plan = self.plan.load_full();
            let mut made = Vec::new();
            for (algorithm, signs_from) in before.due(&plan, extent, now) {
                made.push(KeyRecord::make(algorithm, signs_from, secrets).await?);
            }
            let Some(after) = before.turned(&plan, extent, now, made) else {
                self.ring.store(Arc::new(before.open(secrets)?));
                return Ok(());
            };
            // Opened before it is written: what this process cannot read it must not change.
            let ring = after.open(secrets)?;
            if self.write(stored, after.encode()?).await? {
                self.ring.store(Arc::new(ring));
                return Ok(());
            }
        }
        Err(Trouble::Record {
            message: "the key ring changes all the time".into(),
        })
    }

    /// The key that signs now.
    pub(crate) fn current(
        &self,
        algorithm: SigningAlgorithm,
        now: UnixTime,
    ) -> Result<Arc<SigningKey>, Trouble> {
        self.ring
            .load()
            .current(algorithm, now)
            .ok_or(Trouble::Crypto {
                message: "no signing key",
            })
    }

    /// The JWK Set (RFC 7517 section 5): public members only.
    pub(crate) fn jwks(&self) -> Value {
        self.ring.load().jwks()
    }

    /// The same, for verifying what comes back.
    pub(crate) fn verifying(&self) -> Arc<KeySet> {
        self.ring.load().verifying()
    }

    async fn write(&self, before: Option<Bytes>, after: Bytes) -> Result<bool, Trouble> {
        Ok(match before {
            Some(expected) => self.store.replace(KEY, expected, after, None).await?,
            None => self.store.put_new(KEY, after, None).await?,
        })
    }
}

#[cfg(test)]
mod tests;
