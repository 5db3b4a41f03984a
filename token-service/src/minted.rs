//! Phantom JWTs that were signed a moment ago, to be given again: a signature by RSA costs more than
//! all the rest of a swap.
//!
//! INVARIANT: only the signature is saved. Whoever asks has found token, grant, client and user anew,
//! and has asked the decision point; the JWT is named by what came of it, each claim by its value. What
//! has changed since is asked for by another name, so that nothing has to be voided here, nor heard of.

use std::fmt;
use std::time::Duration;

use oauth::PhantomJwt;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use service_kit::{UnixTime, digest};

use crate::error::Trouble;
use crate::jws::Claims;

/// Of this process. Bounded in bytes.
pub(crate) struct MintedJwts(Cache<Name, Minted, Weight>);

/// A JWT and its time.
#[derive(Clone)]
pub(crate) struct Minted {
    pub(crate) jwt: PhantomJwt,
    pub(crate) iat: UnixTime,
    pub(crate) exp: UnixTime,
}

/// All that a JWT says, but for its own time and its own id, and what signs it.
#[derive(Debug)]
pub(crate) struct Wanted<'a> {
    pub(crate) kid: &'a str,
    /// What it is cut from.
    pub(crate) token_ref: &'a str,
    /// How long one lives at most.
    pub(crate) ttl: Duration,
    /// Without `iat`, `exp` and `jti`.
    pub(crate) claims: &'a Claims,
}

/// A digest: what is asked for may be long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Name([u8; 32]);

#[derive(Debug, Clone)]
struct Weight;

/// Some ten thousand JWTs.
const MOST_BYTES: u64 = 16 << 20;
/// Of an entry, beside the JWT.
const OVERHEAD: u64 = 128;
const USUAL_BYTES: u64 = 1024;

impl MintedJwts {
    /// One of this name that has at least half of the time left that a new one until `exp` would have.
    pub(crate) fn find(&self, name: Name, now: UnixTime, exp: UnixTime) -> Option<Minted> {
        self.0.get(&name).filter(|minted| {
            // A clock that was set back makes it one of the future.
            let is_of_now = minted.iat <= now && now < minted.exp;
            is_of_now && minted.exp <= exp && minted.exp.since(now) * 2 >= exp.since(now)
        })
    }

    pub(crate) fn keep(&self, name: Name, minted: Minted) {
        self.0.insert(name, minted);
    }
}

impl Default for MintedJwts {
    fn default() -> Self {
        let usual = usize::try_from(MOST_BYTES / USUAL_BYTES).unwrap_or(usize::MAX);
        Self(Cache::with_weighter(usual, MOST_BYTES, Weight))
    }
}

impl Wanted<'_> {
    pub(crate) fn name(&self) -> Result<Name, Trouble> {
        let whole = (self.kid, self.token_ref, self.ttl.as_secs(), self.claims);
        let text = serde_json::to_vec(&whole).map_err(|error| Trouble::Record {
            message: error.to_string(),
        })?;
        Ok(Name(digest::sha256(&text)))
    }
}

impl Weighter<Name, Minted> for Weight {
    fn weight(&self, _: &Name, minted: &Minted) -> u64 {
        OVERHEAD + u64::try_from(minted.jwt.reveal().len()).unwrap_or(MOST_BYTES)
    }
}

impl fmt::Debug for MintedJwts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "MintedJwts({})", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(secs: u64) -> UnixTime {
        UnixTime::from_secs(secs)
    }

    fn minted(iat: u64, exp: u64) -> Minted {
        Minted {
            jwt: PhantomJwt::new("a.b.c"),
            iat: at(iat),
            exp: at(exp),
        }
    }

    fn name(kid: &str, token_ref: &str, ttl: u64, scope: &str) -> Name {
        let claims = json!({ "scope": scope }).as_object().unwrap().clone();
        let wanted = Wanted {
            kid,
            token_ref,
            ttl: Duration::from_secs(ttl),
            claims: &claims,
        };
        wanted.name().unwrap()
    }

    #[test]
    fn whatever_a_jwt_says_is_in_its_name() {
        let names = [
            name("k", "t", 1, "a"),
            name("l", "t", 1, "a"),
            name("k", "u", 1, "a"),
            name("k", "t", 2, "a"),
            name("k", "t", 1, "a b"),
            name("kt", "", 1, "a"),
        ];
        for (index, one) in names.iter().enumerate() {
            for (other_index, other) in names.iter().enumerate() {
                assert_eq!(one == other, index == other_index);
            }
        }
        assert_eq!(names[0], name("k", "t", 1, "a"));
    }

    #[test]
    fn one_is_found_while_it_has_half_of_the_time_of_a_new_one() {
        let jwts = MintedJwts::default();
        let it = name("k", "t", 120, "a");
        assert!(jwts.find(it, at(1000), at(1120)).is_none());
        jwts.keep(it, minted(1000, 1120));
        for (now, exp, is_found) in [
            (1000, 1120, true),
            (1060, 1180, true),
            (1061, 1181, false),
            // Of a token that ends itself, to the last.
            (1119, 1120, true),
            (1120, 1120, false),
            (1121, 1241, false),
            // Longer than a new one could be.
            (1010, 1100, false),
            // Signed in the future.
            (999, 1120, false),
        ] {
            let found = jwts.find(it, at(now), at(exp));
            assert_eq!(found.is_some(), is_found, "{now} {exp}");
        }
        assert!(
            jwts.find(name("k", "t", 120, "b"), at(1000), at(1120))
                .is_none()
        );
        assert!(!format!("{jwts:?}").contains("a.b.c"));
    }

    #[test]
    fn no_more_is_kept_than_fits() {
        let jwts = MintedJwts::default();
        for count in 0..60_000 {
            let long = Minted {
                jwt: PhantomJwt::new("x".repeat(1000)),
                ..minted(1000, 1120)
            };
            jwts.keep(name("k", &count.to_string(), 120, "a"), long);
        }
        assert!(jwts.0.weight() <= MOST_BYTES);
        assert!(jwts.0.len() > 10_000, "{jwts:?}");
    }
}
