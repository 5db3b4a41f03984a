//! The second level: entries in a store that gateways share, sealed so that whoever can write to
//! the store can neither read nor mint an identity or a permit.
//!
//! The name of an entry is a keyed hash of what it answers; the entry is bound to its name, so
//! it cannot be moved to another. A store that fails or lies is a miss.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use service_kit::{Secret, UnixTime, random};
use store::Store;
use tokio::time::{Instant, timeout};

/// Entries of one kind.
#[derive(Clone)]
pub(crate) struct Sealed {
    store: Arc<dyn Store>,
    area: &'static str,
    naming: hmac::Key,
    sealing: Arc<LessSafeKey>,
    ttl: Duration,
}

/// What a sealed entry holds.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Entry<T> {
    /// When the question was asked, not when it was answered: all that happened before is in
    /// the answer.
    pub(crate) as_of: UnixTime,
    pub(crate) answer: T,
}

/// One worker's access: leaves a store that fails alone for a while.
#[derive(Debug, Clone)]
pub(crate) struct SealedAccess {
    sealed: Sealed,
    ill_until: Rc<Cell<Option<Instant>>>,
}

/// The store may not cost more than asking would.
const PATIENCE: Duration = Duration::from_millis(100);
const QUARANTINE: Duration = Duration::from_secs(1);

impl std::fmt::Debug for Sealed {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Sealed")
            .field("area", &self.area)
            .finish_non_exhaustive()
    }
}

impl Sealed {
    /// Entries under `area`. None where the secret cannot make keys, which does not happen.
    pub(crate) fn new(
        store: Arc<dyn Store>,
        area: &'static str,
        secret: &Secret,
        ttl: Duration,
    ) -> Option<Self> {
        let root = hmac::Key::new(hmac::HMAC_SHA256, secret.reveal().as_bytes());
        let derive = |purpose: &str| hmac::sign(&root, format!("{area}: {purpose}").as_bytes());
        let naming = hmac::Key::new(hmac::HMAC_SHA256, derive("naming").as_ref());
        let sealing = UnboundKey::new(&AES_256_GCM, derive("sealing").as_ref()).ok()?;
        Some(Self {
            store,
            area,
            naming,
            sealing: Arc::new(LessSafeKey::new(sealing)),
            ttl,
        })
    }

    pub(crate) fn access(self) -> SealedAccess {
        SealedAccess {
            sealed: self,
            ill_until: Rc::default(),
        }
    }

    fn name(&self, question: &[u8]) -> String {
        let tag = hmac::sign(&self.naming, question);
        format!("{}:{}", self.area, URL_SAFE_NO_PAD.encode(tag.as_ref()))
    }

    fn seal<T: Serialize>(&self, name: &str, entry: &Entry<T>) -> Option<Bytes> {
        let nonce = random::bytes::<NONCE_LEN>().ok()?;
        let mut sealed = serde_json::to_vec(entry).ok()?;
        self.sealing
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(name.as_bytes()),
                &mut sealed,
            )
            .ok()?;
        Some([&nonce[..], &sealed].concat().into())
    }

    fn open<T: DeserializeOwned>(&self, name: &str, value: &[u8]) -> Option<Entry<T>> {
        let (nonce, sealed) = value.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut sealed = sealed.to_vec();
        let plain = self
            .sealing
            .open_in_place(nonce, Aad::from(name.as_bytes()), &mut sealed);
        serde_json::from_slice(plain.ok()?).ok()
    }
}

impl SealedAccess {
    /// What is known about a question, if it was asked after `trusted_from`.
    pub(crate) async fn find<T: DeserializeOwned>(
        &self,
        question: &[u8],
        trusted_from: UnixTime,
    ) -> Option<Entry<T>> {
        if self
            .ill_until
            .get()
            .is_some_and(|until| Instant::now() < until)
        {
            return None;
        }
        let name = self.sealed.name(question);
        let Ok(Ok(value)) = timeout(PATIENCE, self.sealed.store.get(&name)).await else {
            self.fell_ill();
            return None;
        };
        let entry = self.sealed.open::<T>(&name, &value?);
        entry.filter(|entry| entry.as_of > trusted_from)
    }

    /// Shares an answer. Failing to is no failure.
    pub(crate) async fn share<T: Serialize>(&self, question: &[u8], entry: &Entry<T>) {
        if self
            .ill_until
            .get()
            .is_some_and(|until| Instant::now() < until)
        {
            return;
        }
        let name = self.sealed.name(question);
        let Some(value) = self.sealed.seal(&name, entry) else {
            return;
        };
        let put = self.sealed.store.put(&name, value, Some(self.sealed.ttl));
        if !matches!(timeout(PATIENCE, put).await, Ok(Ok(()))) {
            self.fell_ill();
        }
    }

    /// How long an entry may be used after it was asked for.
    pub(crate) fn ttl(&self) -> Duration {
        self.sealed.ttl
    }

    fn fell_ill(&self) {
        self.ill_until.set(Some(Instant::now() + QUARANTINE));
    }
}
