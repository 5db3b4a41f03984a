//! Assertions that are signed for us and good once (RFC 7521, RFC 7523 in the strict reading of its
//! successor: one audience, which is the issuer). Of clients, and of issuers that speak for others.
//!
//! SECURITY: an audience that is only one of several, or an endpoint's URL, is what lets one server
//! use at another what was meant for it.

use std::time::Duration;

use jose::Fault;
use serde_json::{Map, Value};
use service_kit::UnixTime;
use store::Batch;

use crate::error::Trouble;
use crate::record::{self, AssertionUse};

/// An assertion is good for so long at most.
const LONGEST: Duration = Duration::from_mins(5);

/// A signer's clock may be so far ahead of ours (FAPI 2.0 section 5.3.2.1).
const AHEAD: Duration = Duration::from_secs(10);

const LONGEST_JTI: usize = 255;

/// Why an assertion proves nothing. For the audit log only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unproven {
    #[error("`client_assertion_type` is missing or of another kind")]
    OtherType,
    #[error("`client_assertion` is missing")]
    Missing,
    #[error("the assertion: {0}")]
    Jws(#[from] Fault),
    #[error("the assertion's `iss` and `sub` are not one client")]
    Issuer,
    #[error("the assertion's `iss` is not known, or not to be used by the client")]
    UnknownIssuer,
    #[error("the assertion's `sub` is missing or nobody's")]
    Subject,
    #[error("the assertion's `aud` is not the issuer alone")]
    Audience,
    #[error("the assertion's `exp` is missing, past, or too far ahead")]
    Expiry,
    #[error("the assertion's `iat` or `nbf` is ahead")]
    NotYet,
    #[error("the assertion's `jti` is missing or too long")]
    NoId,
    #[error("the assertion has been used before")]
    Used,
}

/// What is remembered of one that has been used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Use {
    id: String,
    exp: UnixTime,
}

impl Use {
    /// Of claims whose signature has held: whether they are for us, and good now. `whose` names the
    /// signer: each has ids of its own.
    pub(crate) fn of(
        claims: &Map<String, Value>,
        whose: &str,
        audience: &str,
        now: UnixTime,
    ) -> Result<Self, Unproven> {
        let text = |name: &str| claims.get(name).and_then(Value::as_str);
        if text("aud") != Some(audience) {
            return Err(Unproven::Audience);
        }
        let exp = time(claims, "exp")
            .filter(|exp| now < *exp && exp.since(now) <= LONGEST + AHEAD)
            .ok_or(Unproven::Expiry)?;
        for name in ["iat", "nbf"] {
            let begins = time(claims, name);
            let is_good = begins.is_some_and(|begins| begins <= now.plus(AHEAD));
            if claims.contains_key(name) && !is_good {
                return Err(Unproven::NotYet);
            }
        }
        let jti = text("jti")
            .filter(|jti| (1..=LONGEST_JTI).contains(&jti.len()))
            .ok_or(Unproven::NoId)?;
        Ok(Self {
            id: AssertionUse::id(whose, jti),
            exp,
        })
    }

    /// Adds to a batch that this is the first use; a batch with it is written once.
    pub(crate) fn first(&self, batch: Batch, now: UnixTime) -> Result<Batch, Trouble> {
        let used = AssertionUse { exp: self.exp };
        record::put_new(batch, &self.id, &used, self.exp, now)
    }
}

/// Whole seconds as a number (RFC 7519 section 2); a text is none.
fn time(claims: &Map<String, Value>, name: &str) -> Option<UnixTime> {
    claims.get(name)?.as_u64().map(UnixTime::from_secs)
}
