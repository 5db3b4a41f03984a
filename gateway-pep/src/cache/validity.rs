//! What one worker knows about which answers still hold.

use std::iter;
use std::rc::Rc;
use std::time::Duration;

use oauth::ActiveToken;
use service_kit::UnixTime;

use super::generations::HashedMap;
use super::keyed::KeyedHash;
use crate::events::Change;

/// Follows the announced changes. Answers carry the generation in which they were asked for.
#[derive(Debug)]
pub(crate) struct Validity {
    hash: KeyedHash,
    /// The next announcement to look at.
    pub(crate) cursor: u64,
    tokens: Epoch,
    decisions: Epoch,
    /// Purges so far.
    purges: u64,
    /// Revoked tokens and grants, clients that are gone, and how long to remember each: longer than anything that was
    /// asked for before the revocation can be in a cache.
    revoked: HashedMap<UnixTime>,
    remember: Duration,
    /// How far the clocks of gateways may differ.
    skew: Duration,
}

/// One kind of answer.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Epoch {
    /// Counts the times that all answers became void.
    pub(crate) generation: u64,
    /// Shared answers asked for up to then may be void, too.
    pub(crate) trusted_from: UnixTime,
}

/// More revocations than this are remembered as "everything".
const MAX_REVOKED: usize = 100_000;

impl Validity {
    pub(crate) fn new(hash: KeyedHash, remember: Duration, skew: Duration) -> Self {
        Self {
            hash,
            cursor: 0,
            tokens: Epoch::default(),
            decisions: Epoch::default(),
            purges: 0,
            revoked: HashedMap::default(),
            remember,
            skew,
        }
    }

    pub(crate) fn tokens(&self) -> Epoch {
        self.tokens
    }

    pub(crate) fn decisions(&self) -> Epoch {
        self.decisions
    }

    /// What was asked for before a purge is not remembered after it.
    pub(crate) fn purges(&self) -> u64 {
        self.purges
    }

    /// Names of a token, its grant and its client, and of all that it was exchanged from, as
    /// [`Validity::is_revoked`] wants them.
    pub(crate) fn names(&self, token: &ActiveToken) -> Rc<[u128]> {
        let own = iter::once((&token.token_ref, &token.grant, &token.facts.client_id));
        let origins = token.origins.iter();
        let others = origins.map(|it| (&it.token_ref, &it.grant, &it.client_id));
        own.chain(others)
            .flat_map(|(token_ref, grant, client)| {
                [
                    self.hash.of_numbered([0], token_ref.as_bytes()),
                    self.hash.of_numbered([1], grant.as_bytes()),
                    self.hash.of_numbered([2], client.as_bytes()),
                ]
            })
            .collect()
    }

    pub(crate) fn is_revoked(&self, names: &[u128]) -> bool {
        !self.revoked.is_empty() && names.iter().any(|name| self.revoked.contains_key(name))
    }

    pub(crate) fn apply(&mut self, change: &Change, now: UnixTime) {
        match change {
            Change::Token(token_ref) => {
                let name = self.hash.of_numbered([0], token_ref.as_bytes());
                self.revoke(name, now);
            }
            Change::Grant(grant) => {
                let name = self.hash.of_numbered([1], grant.as_bytes());
                self.revoke(name, now);
            }
            Change::Client(client) => {
                let name = self.hash.of_numbered([2], client.as_bytes());
                self.revoke(name, now);
            }
            // It is no token and no decision: sessions are remembered elsewhere.
            Change::Sessions(_) => {}
            Change::AllTokens { at } => self.tokens.void(at.plus(self.skew)),
            Change::AllDecisions { at } => self.decisions.void(at.plus(self.skew)),
            Change::Everything { at } => {
                self.tokens.void(at.plus(self.skew));
                self.decisions.void(at.plus(self.skew));
            }
            // What is shared cannot be looked through; there, what is older is not believed any more.
            Change::Purge { at, .. } => {
                self.purges += 1;
                let at = at.plus(self.skew);
                self.tokens.trusted_from = self.tokens.trusted_from.max(at);
                self.decisions.trusted_from = self.decisions.trusted_from.max(at);
            }
        }
    }

    fn revoke(&mut self, name: u128, now: UnixTime) {
        if self.revoked.len() >= MAX_REVOKED {
            self.revoked.retain(|_, until| *until > now);
        }
        if self.revoked.len() >= MAX_REVOKED {
            self.tokens.void(now.plus(self.skew));
            // Still remembered below are only those that come from now on: all others are
            // covered by the new generation.
            self.revoked.clear();
        }
        self.revoked.insert(name, now.plus(self.remember));
    }
}

impl Epoch {
    fn void(&mut self, at: UnixTime) {
        self.generation += 1;
        self.trusted_from = self.trusted_from.max(at);
    }
}

#[cfg(test)]
mod tests {
    use oauth::{Origin, PhantomJwt, Scope, SubjectFacts, SubjectKind};

    use super::*;

    fn token(token_ref: &str, grant: &str, client: &str, origins: Vec<Origin>) -> ActiveToken {
        ActiveToken {
            facts: SubjectFacts {
                kind: SubjectKind::User,
                sub: "alice".into(),
                client_id: client.into(),
                scope: Scope::empty(),
                username: None,
                auth_time: None,
                acr: None,
                amr: Vec::new(),
                act: None,
                api_key: None,
                attributes: serde_json::Map::new(),
            },
            jwt: PhantomJwt::new("j"),
            exp: 0,
            token_ref: token_ref.into(),
            grant: grant.into(),
            origins,
            confirmation: None,
        }
    }

    fn origin() -> Origin {
        Origin {
            token_ref: "t1".into(),
            grant: "g1".into(),
            client_id: "c1".into(),
        }
    }

    #[test]
    fn revocations_are_remembered_by_name_and_too_many_void_everything() {
        let hash = KeyedHash::random().unwrap();
        let mut validity = Validity::new(hash, Duration::from_mins(1), Duration::from_secs(2));
        let now = UnixTime::from_secs(1000);
        let names = validity.names(&token("t1", "g1", "c1", Vec::new()));
        let exchanged = validity.names(&token("t2", "g2", "c2", vec![origin()]));
        validity.apply(&Change::Token("g1".into()), now);
        assert!(!validity.is_revoked(&names), "a token is not a grant");
        validity.apply(&Change::Grant("g1".into()), now);
        assert!(validity.is_revoked(&names));
        assert!(validity.is_revoked(&exchanged), "with what it came from");
        let other = validity.names(&token("t2", "g2", "c2", Vec::new()));
        assert!(!validity.is_revoked(&other));
        assert_eq!(validity.tokens().generation, 0);
        for n in 0..MAX_REVOKED {
            validity.apply(&Change::Token(n.to_string()), now);
        }
        assert_eq!(validity.tokens().generation, 1);
        assert_eq!(validity.tokens().trusted_from, UnixTime::from_secs(1002));
        assert_eq!(validity.decisions().generation, 0);
    }

    #[test]
    fn the_end_of_a_client_is_about_its_tokens_and_what_came_of_them() {
        let hash = KeyedHash::random().unwrap();
        let mut validity = Validity::new(hash, Duration::from_mins(1), Duration::from_secs(2));
        let own = validity.names(&token("t1", "g1", "c1", Vec::new()));
        let exchanged = validity.names(&token("t2", "g2", "c2", vec![origin()]));
        let other = validity.names(&token("c1", "c1", "c2", Vec::new()));
        validity.apply(&Change::Client("c1".into()), UnixTime::from_secs(1000));
        assert!(validity.is_revoked(&own) && validity.is_revoked(&exchanged));
        assert!(!validity.is_revoked(&other), "neither a token nor a grant");
        assert_eq!(validity.tokens().generation, 0);
    }
}
