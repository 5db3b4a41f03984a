//! Typed records above the store: how they are named, read and written. A record never asks
//! which backend it is on.

mod access_token;
mod api_keys;
mod assertion_use;
mod client_document;
mod code;
mod consent;
mod device_code;
mod farewells;
mod federated_login;
mod federated_user;
mod grant;
mod interaction;
mod login_pause;
mod logout_request;
mod logout_token_use;
mod proof_use;
mod pushed_request;
mod receiver_cursor;
mod refresh_token;
mod registered_client;
mod session;
mod session_grants;
mod token_reference;
mod upstream_logins;
mod upstream_logout;

use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use service_kit::{UnixTime, digest};
use store::{Batch, Store};

use crate::error::Trouble;

pub(crate) use access_token::AccessToken;
pub(crate) use api_keys::{ApiKey, ApiKeys};
pub(crate) use assertion_use::AssertionUse;
pub(crate) use client_document::ClientDocument;
pub(crate) use code::{Code, CodeState};
pub(crate) use consent::Consent;
pub(crate) use device_code::{Approval, DeviceCode, DevicePace, DeviceState, UserCodeUse};
pub(crate) use farewells::{Farewell, Farewells};
pub(crate) use federated_login::FederatedLogin;
pub(crate) use federated_user::{FederatedUser, PREFIX as FEDERATED};
pub(crate) use grant::{Authentication, Exchanged, Grant, GrantState, Subject};
pub(crate) use interaction::{Asked, AuthorizationRequest, Interaction, LoginWanted};
pub(crate) use login_pause::LoginPause;
pub(crate) use logout_request::LogoutRequest;
pub(crate) use logout_token_use::LogoutTokenUse;
pub(crate) use proof_use::ProofUse;
pub(crate) use pushed_request::PushedRequest;
pub(crate) use receiver_cursor::ReceiverCursor;
pub(crate) use refresh_token::{RefreshState, RefreshToken, Rotation};
pub(crate) use registered_client::{
    KeptSecret, ListedClient, RegisteredClient, Registrar, Registrations,
};
pub(crate) use session::{Session, Upstream};
pub(crate) use session_grants::{SessionGrant, SessionGrants};
pub(crate) use token_reference::TokenReference;
pub(crate) use upstream_logins::{UpstreamLogin, UpstreamLogins};
pub(crate) use upstream_logout::UpstreamLogout;

/// Something that the store keeps.
pub(crate) trait Record: Serialize + DeserializeOwned {
    /// The first part of its key. Each record has its own, so that nothing is ever taken for a
    /// record of another kind.
    const AREA: &'static str;
}

/// A record and the bytes as the store has them: what a conditional write compares with.
#[derive(Debug, Clone)]
pub(crate) struct Stored<R> {
    pub(crate) record: R,
    pub(crate) bytes: Bytes,
}

/// The store drops a record this much after its end. Expiry itself is decided by the clock.
const GRACE: Duration = Duration::from_mins(1);

/// The key of a record.
pub(crate) fn key<R: Record>(id: &str) -> String {
    format!("{}:{id}", R::AREA)
}

/// Reads a record.
pub(crate) async fn load<R: Record>(
    store: &dyn Store,
    id: &str,
) -> Result<Option<Stored<R>>, Trouble> {
    match store.get(&key::<R>(id)).await? {
        None => Ok(None),
        Some(bytes) => Ok(Some(Stored {
            record: decode(&bytes)?,
            bytes,
        })),
    }
}

/// Writes a record that ends at `exp`, in the place of any other.
pub(crate) async fn keep<R: Record>(
    store: &dyn Store,
    id: &str,
    record: &R,
    exp: UnixTime,
    now: UnixTime,
) -> Result<(), Trouble> {
    let until = Some(keep_until(exp, now));
    store.put(&key::<R>(id), encode(record)?, until).await?;
    Ok(())
}

/// Writes a record that ends at `exp`, if there is none of its name; whether there was none.
pub(crate) async fn keep_new<R: Record>(
    store: &dyn Store,
    id: &str,
    record: &R,
    exp: UnixTime,
    now: UnixTime,
) -> Result<bool, Trouble> {
    let until = Some(keep_until(exp, now));
    Ok(store.put_new(&key::<R>(id), encode(record)?, until).await?)
}

/// Adds to a batch that a record which ends at `exp` is written, if there is none of its name.
pub(crate) fn put_new<R: Record>(
    batch: Batch,
    id: &str,
    record: &R,
    exp: UnixTime,
    now: UnixTime,
) -> Result<Batch, Trouble> {
    let keep = Some(keep_until(exp, now));
    Ok(batch.put_new(key::<R>(id), encode(record)?, keep))
}

/// Whether something is bound to a key (or a certificate, by its hash), and `shown` is not that one.
pub(crate) fn is_other_key(bound: Option<&str>, shown: Option<&str>) -> bool {
    bound.is_some() && bound != shown
}

/// What a record becomes.
#[derive(Debug)]
pub(crate) struct Change<R> {
    pub(crate) record: R,
    pub(crate) keep: Duration,
    /// Written with it, or not at all.
    pub(crate) also: Batch,
}

impl<R> Change<R> {
    pub(crate) fn of(record: R, keep: Duration) -> Self {
        Self {
            record,
            keep,
            also: Batch::new(),
        }
    }
}

/// What came of changing a record.
#[derive(Debug)]
pub(crate) enum Changed<R> {
    To(R),
    /// The change was none.
    Not,
    /// Others were faster, each time.
    Contended,
}

/// Attempts against other writers before giving up.
const ATTEMPTS: usize = 16;

/// Changes a record, or makes it, whoever else does at the same time. None where the change is none.
pub(crate) async fn change<R: Record>(
    store: &dyn Store,
    id: &str,
    change: impl FnMut(Option<&R>) -> Option<Change<R>>,
) -> Result<Option<R>, Trouble> {
    match change_within(ATTEMPTS, store, id, change).await? {
        Changed::To(after) => Ok(Some(after)),
        Changed::Not => Ok(None),
        Changed::Contended => Err(Trouble::Record {
            message: format!("{} changes all the time", R::AREA),
        }),
    }
}

/// The same, where the caller knows for how long to try, and what it means to lose.
pub(crate) async fn change_within<R: Record>(
    attempts: usize,
    store: &dyn Store,
    id: &str,
    mut change: impl FnMut(Option<&R>) -> Option<Change<R>>,
) -> Result<Changed<R>, Trouble> {
    for _ in 0..attempts {
        let stored = load::<R>(store, id).await?;
        let Some(after) = change(stored.as_ref().map(|stored| &stored.record)) else {
            return Ok(Changed::Not);
        };
        let (key, bytes, keep) = (key::<R>(id), encode(&after.record)?, Some(after.keep));
        let batch = match stored {
            Some(stored) => after.also.replace(key, stored.bytes, bytes, keep),
            None => after.also.put_new(key, bytes, keep),
        };
        if store.commit(batch).await?.is_applied() {
            return Ok(Changed::To(after.record));
        }
    }
    Ok(Changed::Contended)
}

/// An id made of two names. Hashed, because they may be long and hold anything.
fn id_of(first: &str, second: &str) -> String {
    digest::sha256_base64url(format!("{}:{first}{second}", first.len()).as_bytes())
}

/// Reads and deletes a record; of any number of concurrent callers one gets it.
pub(crate) async fn take<R: Record>(store: &dyn Store, id: &str) -> Result<Option<R>, Trouble> {
    match store.take(&key::<R>(id)).await? {
        None => Ok(None),
        Some(bytes) => decode(&bytes).map(Some),
    }
}

/// As the store keeps it.
pub(crate) fn encode<R: Record>(record: &R) -> Result<Bytes, Trouble> {
    serde_json::to_vec(record)
        .map(Bytes::from)
        .map_err(|error| Trouble::Record {
            message: format!("{}: {error}", R::AREA),
        })
}

/// How long the store keeps a record that ends at `exp`.
pub(crate) fn keep_until(exp: UnixTime, now: UnixTime) -> Duration {
    exp.since(now) + GRACE
}

fn decode<R: Record>(bytes: &[u8]) -> Result<R, Trouble> {
    // The error's own text could quote the record: keep only the place.
    serde_json::from_slice(bytes).map_err(|error| Trouble::Record {
        message: format!("{} at column {}", R::AREA, error.column()),
    })
}
