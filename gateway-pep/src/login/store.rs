//! Sessions in the store that gateways share: sealed, under keyed hashes. Whatever ends a session is told to
//! every gateway in the same batch.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use relying_party::{Farewell, LOGOUT_TOKEN_LIFE};
use serde::{Deserialize, Serialize};
use service_kit::UnixTime;
use store::{Batch, Store, StoreError};
use tokio::time::timeout;

use super::Login;
use super::record::{Session, SessionId};
use crate::events::SessionEvent;
use crate::seal::Seal;

/// Where sessions are.
#[derive(Debug, Clone)]
pub(crate) struct SessionStore {
    store: Arc<dyn Store>,
    /// The event log.
    log: String,
    seal: Seal,
    patience: Duration,
}

/// A session as it was read.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) session: Session,
    /// To every one of these an end may be told: of the session, of the provider's login, of the person.
    pub(crate) names: Names,
    raw: Bytes,
}

/// Keyed hashes.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    pub(crate) session: String,
    pub(crate) sid: Option<String>,
    pub(crate) sub: String,
}

/// What became of a logout token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    Done,
    /// It has come before.
    Replay,
}

/// A logout token is about whoever logged in before. Written into the store as it is compared.
#[derive(Debug, Serialize, Deserialize)]
struct End {
    at: UnixTime,
}

/// Against others that write the same at once.
const TRIES: usize = 8;

/// The clocks of gateways may be so far apart.
const GRACE: Duration = Duration::from_mins(1);

impl Names {
    pub(crate) fn all(&self) -> impl Iterator<Item = &str> {
        let names = [Some(&self.session), self.sid.as_ref(), Some(&self.sub)];
        names.into_iter().flatten().map(String::as_str)
    }
}

impl SessionStore {
    pub(crate) fn new(store: Arc<dyn Store>, log: String, seal: Seal, patience: Duration) -> Self {
        Self {
            store,
            log,
            seal,
            patience,
        }
    }

    /// What a session is called, by its id.
    pub(crate) fn name(&self, id: &SessionId) -> String {
        self.seal
            .name(format!("session\0{}", id.reveal()).as_bytes())
    }

    fn named(&self, kind: &str, login: &str, text: &str) -> String {
        self.seal
            .name(format!("{kind}\0{login}\0{text}").as_bytes())
    }

    /// A session that has not ended. None: there is none of this login.
    pub(crate) async fn load(
        &self,
        name: &str,
        login: &Login,
        now: UnixTime,
    ) -> Result<Option<Kept>, StoreError> {
        let Some(raw) = self.within(self.store.get(&key(name))).await? else {
            return Ok(None);
        };
        let Some(session) = self.seal.open::<Session>(name, &raw) else {
            return Ok(None);
        };
        if *session.login != *login.name || session.is_over(now, login.idle, login.lifetime) {
            return Ok(None);
        }
        let names = Names {
            session: name.to_owned(),
            sid: session
                .sid
                .as_ref()
                .map(|sid| self.named("sid", &session.login, sid)),
            sub: self.named("sub", &session.login, &session.sub),
        };
        if let Some(sid) = &names.sid
            && self.end(sid).await?.is_some()
        {
            return Ok(None);
        }
        let has_ended = self.end(&names.sub).await?;
        if has_ended.is_some_and(|(end, _)| session.issued <= end.at) {
            return Ok(None);
        }
        Ok(Some(Kept {
            session,
            names,
            raw,
        }))
    }

    /// Keeps a new session, in the place of the one that the browser has had, if any, and uses up the state that
    /// it came by; false where that was used before.
    pub(crate) async fn begin(
        &self,
        (id, session): (&SessionId, &Session),
        (state, keep_state): (&str, Duration),
        (before, login): (Option<&SessionId>, &Login),
    ) -> Result<bool, StoreError> {
        let name = self.name(id);
        let value = self.sealed(&name, session)?;
        let keep = Some(login.lifetime.saturating_add(GRACE));
        let keep_state = Some(keep_state.saturating_add(GRACE));
        let mut batch = Batch::new()
            .put_new(self.used(state), Bytes::new(), keep_state)
            .put_new(key(&name), value, keep);
        if let Some(before) = before {
            let before = self.name(before);
            batch = batch.delete(key(&before)).append(&self.log, told(&before)?);
        }
        // The 32 random bytes of an id do not come twice: a conflict is about the state.
        let commit = self.within(self.store.commit(batch)).await?;
        Ok(commit.is_applied())
    }

    /// Writes over what was read; false where somebody else has written, or the session has ended. The new
    /// state as the next one to write over.
    pub(crate) async fn replace(
        &self,
        kept: &Kept,
        session: Session,
        login: &Login,
        now: UnixTime,
    ) -> Result<Option<Kept>, StoreError> {
        let name = &kept.names.session;
        let (key, value) = (key(name), self.sealed(name, &session)?);
        let left = login.lifetime.saturating_sub(now.since(session.began));
        let keep = Some(left.saturating_add(GRACE));
        let replacing = self
            .store
            .replace(&key, kept.raw.clone(), value.clone(), keep);
        let is_written = self.within(replacing).await?;
        Ok(is_written.then(|| Kept {
            session,
            names: kept.names.clone(),
            raw: value,
        }))
    }

    /// Ends one session, for every gateway.
    pub(crate) async fn end_session(&self, name: &str) -> Result<(), StoreError> {
        let batch = Batch::new()
            .delete(key(name))
            .append(&self.log, told(name)?);
        self.within(self.store.commit(batch)).await.map(drop)
    }

    /// Ends what a provider says has ended: its login `sid`, or where it names none, all of the person's
    /// that began before.
    ///
    /// The sessions themselves are not looked for: whoever reads one looks whether it was ended so.
    pub(crate) async fn end_by(
        &self,
        login: &Login,
        farewell: &Farewell,
        now: UnixTime,
    ) -> Result<Ended, StoreError> {
        let name = match (&farewell.sid, &farewell.sub) {
            (Some(sid), _) => self.named("sid", &login.name, sid),
            (None, Some(sub)) => self.named("sub", &login.name, sub),
            (None, None) => return Ok(Ended::Done),
        };
        let used = format!(
            "gateway-logout-token:{}",
            self.named("jti", &login.name, &farewell.jti)
        );
        let used_until = farewell.at.plus(LOGOUT_TOKEN_LIFE + GRACE);
        let keep = Some(login.lifetime.saturating_add(GRACE));
        for _ in 0..TRIES {
            let before = self.end(&name).await?;
            let at = before
                .as_ref()
                .map_or(farewell.at, |(end, _)| end.at.max(farewell.at));
            let value = serde_json::to_vec(&End { at }).map_err(|_| refused("no end"))?;
            let batch = Batch::new().put_new(&used, Bytes::new(), Some(used_until.since(now)));
            let batch = match before {
                None => batch.put_new(end_key(&name), value.into(), keep),
                Some((_, raw)) => batch.replace(end_key(&name), raw, value.into(), keep),
            };
            let batch = batch.append(&self.log, told(&name)?);
            if self.within(self.store.commit(batch)).await?.is_applied() {
                return Ok(Ended::Done);
            }
            if self.within(self.store.get(&used)).await?.is_some() {
                return Ok(Ended::Replay);
            }
        }
        Err(StoreError::Timeout)
    }

    /// Whether somebody has logged in by this state. Nobody else can write: nothing is kept of logins that
    /// come to nothing.
    pub(crate) async fn is_used(&self, state: &str) -> Result<bool, StoreError> {
        let used = self.within(self.store.get(&self.used(state))).await?;
        Ok(used.is_some())
    }

    fn used(&self, state: &str) -> String {
        format!("gateway-login-used:{}", self.named("state", "", state))
    }

    async fn end(&self, name: &str) -> Result<Option<(End, Bytes)>, StoreError> {
        let raw = self.within(self.store.get(&end_key(name))).await?;
        let Some(raw) = raw else { return Ok(None) };
        // SECURITY: what cannot be read ends everything.
        let end = serde_json::from_slice(&raw).unwrap_or(End {
            at: UnixTime::from_millis(u64::MAX),
        });
        Ok(Some((end, raw)))
    }

    fn sealed(&self, name: &str, session: &Session) -> Result<Bytes, StoreError> {
        let sealed = self.seal.seal(name, session);
        sealed
            .map(Bytes::from)
            .ok_or_else(|| refused("a session cannot be sealed"))
    }

    async fn within<T>(
        &self,
        asking: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        timeout(self.patience, asking)
            .await
            .unwrap_or(Err(StoreError::Timeout))
    }
}

fn key(name: &str) -> String {
    format!("gateway-session:{name}")
}

fn end_key(name: &str) -> String {
    format!("gateway-session-end:{name}")
}

fn told(name: &str) -> Result<Bytes, StoreError> {
    let event = SessionEvent::SessionsEnded {
        name: name.to_owned(),
    };
    let event = serde_json::to_vec(&event);
    event
        .map(Bytes::from)
        .map_err(|_| refused("an event cannot be written"))
}

fn refused(message: &str) -> StoreError {
    StoreError::Refused {
        message: message.to_owned(),
    }
}
