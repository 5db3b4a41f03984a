//! The logins here that one login at an identity provider has led to: what ends when the provider says
//! that it has ended.

use serde::{Deserialize, Serialize};
use service_kit::UnixTime;

use super::{Record, id_of};

/// Two lists have each login: one under the provider's session id, one under its subject.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UpstreamLogins {
    pub(crate) logins: Vec<UpstreamLogin>,
    /// What the provider has said up to then leads to nothing any more.
    pub(crate) over: Option<UnixTime>,
}

/// See [`UpstreamLogins`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UpstreamLogin {
    /// Our public id of it.
    pub(crate) sid: String,
    /// Who it is here.
    pub(crate) sub: String,
    /// Handle of the session.
    pub(crate) session: String,
    pub(crate) exp: UnixTime,
}

/// Of more, the oldest are forgotten.
const MOST: usize = 1000;

impl UpstreamLogins {
    pub(crate) fn id_of_session(provider: &str, sid: &str) -> String {
        id_of(provider, &format!("sid:{sid}"))
    }

    pub(crate) fn id_of_subject(provider: &str, sub: &str) -> String {
        id_of(provider, &format!("sub:{sub}"))
    }

    /// The same with one more, and without those that have ended by themselves.
    pub(crate) fn with(&self, login: UpstreamLogin, now: UnixTime) -> Self {
        let alive = self.logins.iter().filter(|login| now < login.exp);
        let mut logins: Vec<_> = alive.cloned().chain([login]).collect();
        let forgotten = logins.len().saturating_sub(MOST);
        logins.drain(..forgotten);
        Self {
            logins,
            over: self.over,
        }
    }

    /// When the last of them ends.
    pub(crate) fn exp(&self) -> Option<UnixTime> {
        self.logins.iter().map(|login| login.exp).max()
    }
}

impl Record for UpstreamLogins {
    const AREA: &'static str = "ul";
}
