//! The grants that a login led to, under the login's public id: what ends with it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use service_kit::UnixTime;

use super::{Grant, Record};

/// One list for a login: it is looked up when the login ends, and never searched for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SessionGrants {
    pub(crate) grants: Vec<SessionGrant>,
    /// The login is over, and leads to nothing any more: codes may still be under way.
    #[serde(default)]
    pub(crate) is_over: bool,
}

/// See [`SessionGrants`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SessionGrant {
    pub(crate) id: String,
    pub(crate) client_id: String,
    /// It was given for the time when nobody is there, and outlives the login (OpenID Connect
    /// Back-Channel Logout section 2.7).
    pub(crate) is_offline: bool,
    pub(crate) exp: UnixTime,
}

impl SessionGrant {
    pub(crate) fn of(id: &str, grant: &Grant) -> Self {
        Self {
            id: id.to_owned(),
            client_id: grant.client_id.clone(),
            is_offline: grant.scope.contains("offline_access"),
            exp: grant.exp,
        }
    }
}

/// Of a login that leads to more, the oldest have to end.
const MOST: usize = 1000;

impl SessionGrants {
    /// The same with one more, and without those that have ended by themselves.
    pub(crate) fn with(&self, grant: SessionGrant, now: UnixTime) -> Self {
        let alive = self.grants.iter().filter(|grant| now < grant.exp);
        Self {
            grants: alive.cloned().chain([grant]).collect(),
            is_over: self.is_over,
        }
    }

    /// The oldest, where there are too many.
    pub(crate) fn surplus(&self) -> &[SessionGrant] {
        let (surplus, _) = self.grants.split_at(self.grants.len().saturating_sub(MOST));
        surplus
    }

    /// The same without some.
    pub(crate) fn without(&self, ended: &[SessionGrant]) -> Self {
        let left = self.grants.iter().filter(|grant| !ended.contains(grant));
        Self {
            grants: left.cloned().collect(),
            is_over: self.is_over,
        }
    }

    /// The clients that took part.
    pub(crate) fn clients(&self) -> BTreeSet<String> {
        let clients = self.grants.iter().map(|grant| grant.client_id.clone());
        clients.collect()
    }

    /// When the last of them ends.
    pub(crate) fn exp(&self) -> Option<UnixTime> {
        self.grants.iter().map(|grant| grant.exp).max()
    }
}

impl Record for SessionGrants {
    const AREA: &'static str = "sg";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_ended_is_forgotten_and_the_oldest_of_very_many_is_to_end() {
        let at = UnixTime::from_secs;
        let grant = |n: usize, exp: u64| SessionGrant {
            id: n.to_string(),
            client_id: "web".into(),
            is_offline: false,
            exp: at(exp),
        };
        let mut all = SessionGrants::default();
        assert_eq!(all.exp(), None);
        for n in 0..MOST {
            all = all.with(grant(n, 100), at(1));
        }
        assert_eq!(all.surplus(), []);
        all = all.with(grant(MOST, 100), at(1));
        assert_eq!(all.surplus(), [grant(0, 100)]);
        all = all.without(all.surplus());
        assert_eq!((all.grants.len(), all.grants[0].id.as_str()), (MOST, "1"));
        all = all.with(grant(7, 200), at(100));
        assert_eq!((all.grants.len(), all.exp()), (1, Some(at(200))));
    }
}
