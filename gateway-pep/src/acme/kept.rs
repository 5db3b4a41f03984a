//! What gateways share of it: the account, certificates with their keys, what is shown to the authority, and whose turn
//! it is. All of it sealed, under names that say nothing.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use service_kit::tls::{Challenges, Issued, IssuedError};
use service_kit::{SharedClock, UnixTime, digest};
use store::{Store, StoreError};
use tokio::time::timeout;

use super::AcmeError;
use crate::seal::Seal;

/// The store, as this knows it.
#[derive(Debug)]
pub(super) struct Kept {
    store: Arc<dyn Store>,
    seal: Seal,
    clock: SharedClock,
    /// Whoever shakes hands for another name costs no look into the store.
    names: BTreeSet<String>,
}

/// A certificate with its chain and its key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// PEM.
    pub(super) chain: String,
    /// SECURITY: PKCS#8 as PEM; in the store, sealed.
    key: Key,
    pub(super) renew_at: UnixTime,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Key(String);

impl std::fmt::Debug for Key {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Key(…)")
    }
}

/// Who orders, and how it went the last times.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Attempt {
    failures: u32,
    /// Nobody tries before.
    not_before: UnixTime,
    /// Somebody is at it, until then at the most.
    taken_until: UnixTime,
}

/// The right to order a certificate.
#[derive(Debug)]
pub(super) struct Turn {
    key: String,
    raw: Bytes,
    pub(super) failures: u32,
}

/// What an authority may look at.
#[derive(Debug, Serialize, Deserialize)]
struct Shown {
    authorization: String,
    until: UnixTime,
}

const PATIENCE: Duration = Duration::from_secs(5);
/// An order takes no longer.
const TURN: Duration = Duration::from_mins(10);
/// An authority may look as long.
const SHOWN: Duration = Duration::from_hours(1);
/// Tokens have 128 bits or more (RFC 8555 section 8.1), and are written as base64url.
const TOKEN: std::ops::RangeInclusive<usize> = 22..=128;

impl Record {
    pub(super) fn new(chain: String, key: &str) -> Self {
        Self {
            chain,
            key: Key(key.to_owned()),
            renew_at: UnixTime::from_secs(0),
        }
    }

    pub(super) fn issued(&self) -> Result<Issued, IssuedError> {
        Issued::read(&self.chain, &self.key.0)
    }
}

impl Kept {
    pub(super) fn new(
        store: Arc<dyn Store>,
        seal: Seal,
        clock: SharedClock,
        names: BTreeSet<String>,
    ) -> Self {
        Self {
            store,
            seal,
            clock,
            names,
        }
    }

    /// The account at a directory, as it was kept.
    pub(super) async fn account<T: DeserializeOwned>(
        &self,
        directory: &str,
    ) -> Result<Option<T>, AcmeError> {
        let key = self.key("account", directory);
        let raw = self.read(&key).await?;
        Ok(raw.and_then(|raw| self.seal.open(&key, &raw)))
    }

    /// Keeps an account, where there is none; whether there was none.
    pub(super) async fn put_account<T: Serialize>(
        &self,
        directory: &str,
        account: &T,
    ) -> Result<bool, AcmeError> {
        let key = self.key("account", directory);
        let sealed = self.sealed(&key, account)?;
        self.soon(self.store.put_new(&key, sealed, None)).await
    }

    /// SECURITY: what was not sealed by a gateway, for these names, is nothing.
    pub(super) async fn record(&self, names: &[String]) -> Result<Option<Record>, AcmeError> {
        let key = self.key("certificate", &names.join(","));
        let raw = self.read(&key).await?;
        Ok(raw.and_then(|raw| self.seal.open(&key, &raw)))
    }

    pub(super) async fn put_record(
        &self,
        names: &[String],
        record: &Record,
    ) -> Result<(), AcmeError> {
        let key = self.key("certificate", &names.join(","));
        let sealed = self.sealed(&key, record)?;
        self.soon(self.store.put(&key, sealed, None)).await
    }

    /// None: somebody else has it, or it is too soon.
    pub(super) async fn take_turn(&self, names: &[String]) -> Result<Option<Turn>, AcmeError> {
        let key = self.key("turn", &names.join(","));
        let now = self.clock.now();
        let before = self.read(&key).await?;
        let attempt = before.as_ref().and_then(|raw| self.seal.open(&key, raw));
        let attempt: Attempt = attempt.unwrap_or_default();
        if now < attempt.not_before || now < attempt.taken_until {
            return Ok(None);
        }
        let taken = Attempt {
            taken_until: now.plus(TURN),
            ..attempt
        };
        let failures = taken.failures;
        let raw = self.sealed(&key, &taken)?;
        let is_mine = match before {
            None => {
                self.soon(self.store.put_new(&key, raw.clone(), None))
                    .await?
            }
            Some(before) => {
                let replacing = self.store.replace(&key, before, raw.clone(), None);
                self.soon(replacing).await?
            }
        };
        Ok(is_mine.then_some(Turn { key, raw, failures }))
    }

    /// Lets others have it, after a while.
    pub(super) async fn end_turn(&self, turn: Turn, failures: u32, wait: Duration) {
        let ended = async {
            let attempt = Attempt {
                failures,
                not_before: self.clock.now().plus(wait),
                taken_until: UnixTime::from_secs(0),
            };
            let raw = self.sealed(&turn.key, &attempt)?;
            let replacing = self.store.replace(&turn.key, turn.raw.clone(), raw, None);
            self.soon(replacing).await
        };
        if let Err(error) = ended.await {
            tracing::warn!(%error, "nobody orders certificates until this turn is over by itself");
        }
    }

    pub(super) async fn show_by_token(&self, token: &str, shown: &str) -> Result<(), AcmeError> {
        self.show(self.key("token", token), shown).await
    }

    pub(super) async fn show_by_name(&self, name: &str, shown: &str) -> Result<(), AcmeError> {
        self.show(self.key("name", name), shown).await
    }

    /// What a token stands for; nothing, where no authority was asked by it.
    pub(super) async fn by_token(&self, token: &str) -> Option<String> {
        let is_known = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        if !TOKEN.contains(&token.len()) || !token.bytes().all(is_known) {
            return None;
        }
        self.shown(&self.key("token", token)).await
    }

    async fn show(&self, key: String, authorization: &str) -> Result<(), AcmeError> {
        let shown = Shown {
            authorization: authorization.to_owned(),
            until: self.clock.now().plus(SHOWN),
        };
        let sealed = self.sealed(&key, &shown)?;
        self.soon(self.store.put(&key, sealed, Some(SHOWN))).await
    }

    async fn shown(&self, key: &str) -> Option<String> {
        let raw = self.read(key).await.ok()??;
        let shown: Shown = self.seal.open(key, &raw)?;
        (self.clock.now() < shown.until).then_some(shown.authorization)
    }

    fn key(&self, kind: &str, what: &str) -> String {
        let name = self.seal.name(format!("{kind}:{what}").as_bytes());
        format!("acme-{kind}:{name}")
    }

    fn sealed<T: Serialize>(&self, key: &str, value: &T) -> Result<Bytes, AcmeError> {
        let sealed = self.seal.seal(key, value);
        sealed.map(Bytes::from).ok_or(AcmeError::Seal)
    }

    async fn read(&self, key: &str) -> Result<Option<Bytes>, AcmeError> {
        self.soon(self.store.get(key)).await
    }

    async fn soon<T>(
        &self,
        verb: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, AcmeError> {
        let answered = timeout(PATIENCE, verb).await;
        Ok(answered.unwrap_or(Err(StoreError::Timeout))?)
    }
}

#[async_trait]
impl Challenges for Kept {
    async fn digest(&self, name: &str) -> Option<[u8; 32]> {
        let name = self.names.get(&name.to_ascii_lowercase())?;
        let key = self.key("name", name);
        let authorization = self.shown(&key).await?;
        Some(digest::sha256(authorization.as_bytes()))
    }
}
