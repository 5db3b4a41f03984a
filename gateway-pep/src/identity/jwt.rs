//! Tokens that are JWTs of an issuer whose keys are known (RFC 7519, RFC 9068), verified here.
//!
//! Nothing in a token says which key verifies it, but for naming one of those that the issuer has: what
//! its header says beside that is not looked at.

use std::sync::Arc;
use std::time::Duration;

use jose::{Accepted, Algorithm, Fault, Unverified};
use oauth::ResourceId;
use service_kit::UnixTime;
use service_kit::renewal::Renewal;
use tokio::time::Instant;

use super::Vouched;
use super::answer::{Answer, Forwarded};
use super::claims::{Audience, Claims};
use super::fault::{TokenFault, Unknown};
use super::jwks::Jwks;
use super::mapping::Mapping;

/// What a token of one issuer must be.
#[derive(Debug)]
pub(crate) struct JwtRules {
    pub(crate) issuer: String,
    pub(crate) keys: Arc<Jwks>,
    /// Empty: the resource of the route's upstream.
    pub(crate) audiences: Vec<String>,
    pub(crate) algorithms: Vec<Algorithm>,
    /// What `typ` may say. Nothing, where it may be a JWT of any kind.
    pub(crate) types: Accepted,
    pub(crate) leeway: Duration,
    pub(crate) max_lifetime: Duration,
    pub(crate) mapping: Mapping,
    pub(crate) forwarded: Forwarded,
}

/// Why there are no claims to look at.
enum Unsigned {
    No(TokenFault),
    /// None are known, so nothing is.
    NoKeys,
    /// One is missing, and the issuer cannot be asked for it.
    NoNewKey,
}

/// Claims that make a token of the same issuer another kind of token.
const NO_ACCESS_TOKEN: [&str; 4] = ["nonce", "at_hash", "c_hash", "events"];

impl JwtRules {
    pub(super) async fn verify(
        &self,
        token: &str,
        (name, resource): (&str, &ResourceId),
        now: UnixTime,
    ) -> Result<Answer, Unknown> {
        let holds = match self.signed(token).await {
            Ok(claims) => self.vouch(token, &claims, resource, now),
            Err(Unsigned::No(fault)) => Err(fault),
            Err(Unsigned::NoKeys) => return Err(Unknown::Keys(name.to_owned())),
            Err(Unsigned::NoNewKey) => return Err(Unknown::NewKey(name.to_owned())),
        };
        Ok(holds.map_or_else(
            |fault| {
                tracing::debug!(issuer = name, %fault, "a token is refused");
                Answer::Inactive
            },
            |vouched| Answer::Vouched(Box::new(vouched)),
        ))
    }

    /// The claims, once the signature has held.
    async fn signed(&self, token: &str) -> Result<Claims, Unsigned> {
        let unverified = Unverified::read(token, self.types)?;
        if !self.algorithms.contains(&unverified.algorithm()) {
            return Err(Unsigned::No(TokenFault::Algorithm));
        }
        // Before anything is asked of the issuer for it.
        if unverified.issuer() != Some(&self.issuer) {
            return Err(Unsigned::No(TokenFault::Issuer));
        }
        let held = self.holds(&unverified);
        if !held.as_ref().is_err_and(Unsigned::is_for_want_of_a_key) {
            return held;
        }
        // New keys are used before everybody has heard of them.
        let renewal = self.keys.renew().await;
        match (self.holds(&unverified), renewal) {
            // Whether it has such a key by now, the issuer alone could say.
            (Err(Unsigned::No(TokenFault::Jws(Fault::UnknownKey))), Renewal::Failed) => {
                Err(Unsigned::NoNewKey)
            }
            (held, _) => held,
        }
    }

    fn holds(&self, token: &Unverified<'_>) -> Result<Claims, Unsigned> {
        let known = self.keys.current(Instant::now()).ok_or(Unsigned::NoKeys)?;
        Ok(Claims::new(token.verify(&known.keys)?))
    }

    fn vouch(
        &self,
        token: &str,
        claims: &Claims,
        resource: &ResourceId,
        now: UnixTime,
    ) -> Result<Vouched, TokenFault> {
        let ends = self.ends(claims, now)?;
        let wanted = Audience {
            named: &self.audiences,
            resource: resource.as_str(),
        };
        if claims.are_for(wanted)? != Some(true) {
            return Err(TokenFault::Audience);
        }
        // A type of its own says it already.
        if self.types.untyped && NO_ACCESS_TOKEN.iter().any(|name| claims.has(name)) {
            return Err(TokenFault::NoAccessToken);
        }
        Ok(Vouched {
            facts: self.mapping.facts(claims)?,
            confirmation: claims.confirmation()?,
            ends,
            forwarded: self.forwarded.header(token),
        })
    }

    /// Until when it holds, if it holds now.
    fn ends(&self, claims: &Claims, now: UnixTime) -> Result<UnixTime, TokenFault> {
        let expires = claims.time("exp")?.ok_or(TokenFault::Claim("exp"))?;
        let made = claims.time("iat")?.ok_or(TokenFault::Claim("iat"))?;
        let ends = expires.plus(self.leeway);
        if ends <= now {
            return Err(TokenFault::Expired);
        }
        claims.have_begun(now.plus(self.leeway))?;
        if expires.since(made) > self.max_lifetime {
            return Err(TokenFault::Lifetime);
        }
        Ok(ends)
    }
}

impl Unsigned {
    fn is_for_want_of_a_key(&self) -> bool {
        matches!(
            self,
            Self::NoKeys | Self::No(TokenFault::Jws(Fault::UnknownKey))
        )
    }
}

impl From<Fault> for Unsigned {
    fn from(fault: Fault) -> Self {
        Self::No(fault.into())
    }
}
