//! Callers that are known by a token: whose token it is, from the first byte to the caller.
//!
//! What has been verified is remembered until it expires, by the hash of the token alone, so that
//! a signature is verified once for many requests. It counts only as long as the issuer's keys are
//! the ones that verified it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jose::{Accepted, Fault, Unverified};
use quick_cache::sync::Cache;
use service_kit::metrics::MetricError;
use service_kit::renewal::Pace;
use service_kit::{ConfigIssue, Metrics, Tasks, UnixTime, digest};

use super::claims::{Claims, Expected};
use super::fault::TokenFault;
use super::keys::{Keys, Known};
use super::way::{Jwt, KeysAt};
use super::{Caller, Refusal};
use crate::PdpConfig;
use crate::config::CallerConfig;

/// Issuers of callers' tokens.
#[derive(Default)]
pub(super) struct Issuers {
    issuers: Vec<Issuer>,
    /// None where there are no issuers.
    verified: Option<Cache<[u8; 32], Verified>>,
}

/// Issuers while the configuration is read.
pub(super) struct Building {
    refresh: Duration,
    rest: Duration,
    rescan: Duration,
    issuers: Vec<Issuer>,
}

#[derive(Debug)]
struct Issuer {
    name: String,
    at: KeysAt,
    keys: Arc<Keys>,
    members: Vec<Member>,
}

#[derive(Debug)]
struct Member {
    expected: Expected,
    caller: Caller,
}

/// A token that has held.
#[derive(Debug, Clone, Copy)]
struct Verified {
    issuer: usize,
    member: usize,
    until: UnixTime,
    /// Of the keys.
    version: [u8; 32],
}

/// RFC 9068 has a type; others write none, or `JWT`.
pub(super) const TOKENS: Accepted = Accepted {
    types: &["jwt", "at+jwt"],
    untyped: true,
};

/// Tokens that are remembered.
const REMEMBERED: usize = 4096;

impl Issuers {
    pub(super) fn building(config: &PdpConfig) -> Building {
        Building {
            refresh: Duration::from_secs(config.jwks_refresh_seconds.max(1)),
            rest: Duration::from_millis(config.jwks_rest_ms),
            rescan: Duration::from_millis(config.rescan_ms.max(10)),
            issuers: Vec::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.issuers.is_empty()
    }

    pub(super) fn follow(&self, metrics: &Metrics, tasks: &Tasks) -> Result<(), MetricError> {
        if self.issuers.is_empty() {
            return Ok(());
        }
        let loads = metrics.counters(
            "pdp_caller_keys_read_total",
            "Readings of the keys of issuers of callers' tokens: `ok` or `failed`.",
            &["result"],
        )?;
        for issuer in &self.issuers {
            let keys = Arc::clone(&issuer.keys);
            keys.follow(issuer.name.clone(), loads.clone(), tasks);
        }
        Ok(())
    }

    /// Whose token it is. None: nobody's.
    pub(super) async fn identify(
        &self,
        token: &str,
        now: UnixTime,
    ) -> Result<Option<Caller>, Refusal> {
        let Some(verified) = self.verified.as_ref().filter(|_| jose::is_like_one(token)) else {
            return Ok(None);
        };
        let fingerprint = digest::sha256(token.as_bytes());
        if let Some(remembered) = verified.get(&fingerprint)
            && let Some(caller) = self.recall(remembered, now)
        {
            return Ok(Some(caller));
        }
        match self.verify(token, now).await {
            Ok(found) => {
                verified.insert(fingerprint, found);
                Ok(self.recall(found, now))
            }
            Err(None) => Err(Refusal::NoKeys),
            Err(Some(fault)) => {
                tracing::debug!(%fault, "a caller's token is refused");
                Ok(None)
            }
        }
    }

    fn recall(&self, verified: Verified, now: UnixTime) -> Option<Caller> {
        let issuer = self.issuers.get(verified.issuer)?;
        let stands = now < verified.until
            && issuer
                .keys
                .current()
                .is_some_and(|keys| keys.version == verified.version);
        let member = issuer.members.get(verified.member)?;
        stands.then(|| member.caller.clone())
    }

    /// No fault: there are no keys yet to know by.
    async fn verify(&self, token: &str, now: UnixTime) -> Result<Verified, Option<TokenFault>> {
        let unverified = Unverified::read(token, TOKENS).map_err(TokenFault::from)?;
        let (index, issuer) = self
            .issuers
            .iter()
            .enumerate()
            .find(|(_, issuer)| unverified.issuer() == Some(&issuer.name))
            .ok_or(TokenFault::UnknownIssuer)?;
        let (known, claims) = match issuer.holds(&unverified) {
            // New keys are used before everybody has heard of them.
            Err(None | Some(TokenFault::Jws(Fault::UnknownKey))) if issuer.keys.renew().await => {
                issuer.holds(&unverified)?
            }
            other => other?,
        };
        let until = claims.hold_until(now)?;
        Ok(Verified {
            issuer: index,
            member: issuer.member(&claims)?,
            until,
            version: known.version,
        })
    }
}

impl Issuer {
    fn holds(&self, token: &Unverified<'_>) -> Result<(Arc<Known>, Claims), Option<TokenFault>> {
        let known = self.keys.current().ok_or(None)?;
        let claims = token.verify(&known.keys).map_err(TokenFault::from)?;
        Ok((known, Claims::verified(claims)))
    }

    fn member(&self, claims: &Claims) -> Result<usize, TokenFault> {
        let mut met = self
            .members
            .iter()
            .enumerate()
            .filter(|(_, member)| claims.meet(&member.expected));
        match (met.next(), met.next()) {
            (Some((index, _)), None) => Ok(index),
            (None, _) => Err(TokenFault::NoCaller),
            (Some(_), Some(_)) => Err(TokenFault::ManyCallers),
        }
    }
}

impl Building {
    pub(super) fn add(
        &mut self,
        jwt: Jwt,
        configured: &CallerConfig,
        caller: Caller,
    ) -> Result<(), ConfigIssue> {
        let member = Member {
            expected: jwt.expected,
            caller,
        };
        let known = self
            .issuers
            .iter_mut()
            .find(|issuer| issuer.name == jwt.issuer);
        if let Some(issuer) = known {
            return issuer.join(member, &jwt.keys, configured);
        }
        let pace = match &jwt.keys {
            KeysAt::File(_) => Pace {
                refresh: self.rescan,
                rest: self.rescan,
            },
            KeysAt::Url(_) => Pace {
                refresh: self.refresh,
                rest: self.rest,
            },
        };
        let keys = jwt
            .keys
            .source()
            .and_then(|source| Keys::open(source, pace))
            .map_err(|error| configured.issue(&format!("{} {error}", jwt.keys.shown())))?;
        self.issuers.push(Issuer {
            name: jwt.issuer,
            at: jwt.keys,
            keys: Arc::new(keys),
            members: vec![member],
        });
        Ok(())
    }

    pub(super) fn build(self) -> Issuers {
        let verified = (!self.issuers.is_empty()).then(|| Cache::new(REMEMBERED));
        Issuers {
            issuers: self.issuers,
            verified,
        }
    }
}

impl Issuer {
    fn join(
        &mut self,
        member: Member,
        at: &KeysAt,
        configured: &CallerConfig,
    ) -> Result<(), ConfigIssue> {
        if self.at != *at {
            return Err(configured
                .issue("another caller of the same `jwt.issuer` has other keys")
                .hint("an issuer has one key set: give the same `jwks_url` or `jwks_file`"));
        }
        let mut others = self.members.iter();
        if let Some(other) = others.find(|other| other.expected.overlaps(&member.expected)) {
            let name = &other.caller.name;
            return Err(configured
                .issue(&format!(
                    "a token can be this caller's and `{name}`'s at once"
                ))
                .hint("give both a `jwt.subject` or a `jwt.client_id`"));
        }
        self.members.push(member);
        Ok(())
    }
}

impl fmt::Debug for Issuers {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(&self.issuers).finish()
    }
}
