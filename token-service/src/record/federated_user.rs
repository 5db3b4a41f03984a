//! Somebody who has logged in at an identity provider, under a `sub` of ours: what the provider said of
//! them at their last login.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use service_kit::{UnixTime, digest};

use super::Record;

/// Kept for as long as anything can depend on it that the last login has led to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FederatedUser {
    /// The id of the provider's configuration, and its issuer then.
    pub(crate) provider: String,
    pub(crate) issuer: String,
    /// The provider's own name for them.
    pub(crate) upstream_sub: String,
    pub(crate) username: String,
    pub(crate) name: Option<String>,
    pub(crate) email: Option<String>,
    pub(crate) attributes: Map<String, Value>,
    pub(crate) last_login: UnixTime,
}

/// No user and no client of the configuration has a name that begins so.
pub(crate) const PREFIX: &str = "federated:";

impl FederatedUser {
    /// Their `sub` here, which is the id of the record: the same for the same person of the same
    /// provider, for ever, and none that a provider could choose.
    pub(crate) fn sub(provider: &str, issuer: &str, upstream_sub: &str) -> String {
        let text = format!("{}:{issuer}{upstream_sub}", issuer.len());
        let hash = digest::sha256_base64url(text.as_bytes());
        format!("{PREFIX}{provider}:{hash}")
    }

    pub(crate) fn is_sub(sub: &str) -> bool {
        sub.starts_with(PREFIX)
    }

    /// Whether it says the same of the same person.
    pub(crate) fn says_the_same(&self, other: &Self) -> bool {
        let at = |record: &Self| Self {
            last_login: UnixTime::from_secs(0),
            ..record.clone()
        };
        at(self) == at(other)
    }
}

impl Record for FederatedUser {
    const AREA: &'static str = "fu";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_people_have_one_sub() {
        let subs = [
            FederatedUser::sub("a", "https://x", "1"),
            FederatedUser::sub("b", "https://x", "1"),
            FederatedUser::sub("a", "https://x1", ""),
            FederatedUser::sub("a", "https://x", "2"),
        ];
        for (at, sub) in subs.iter().enumerate() {
            assert!(FederatedUser::is_sub(sub) && sub.len() < 255);
            assert!(!subs[..at].contains(sub), "{sub}");
        }
        assert!(!FederatedUser::is_sub("alice"));
    }
}
