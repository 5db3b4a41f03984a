//! `private_key_jwt`: who calls signs an assertion with a key of its own (RFC 7523 section 3, in the
//! strict reading of its successor: one audience, which is the issuer).
//!
//! SECURITY: an audience that is only one of several, or an endpoint's URL, is what lets one server
//! use at another what was meant for it.

use std::time::Duration;

use jose::{Accepted, Fault, KeySet, Unverified};
use serde_json::{Map, Value};
use service_kit::UnixTime;

use crate::core::Core;
use crate::error::Trouble;
use crate::record::{self, AssertionUse};

/// The only kind of assertion.
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

const TYPES: Accepted = Accepted {
    types: &["jwt", "client-authentication+jwt"],
    untyped: true,
};

/// An assertion is good for so long at most.
const LONGEST: Duration = Duration::from_mins(5);

/// A client's clock may be so far ahead of ours (FAPI 2.0 section 5.3.2.1).
const AHEAD: Duration = Duration::from_secs(10);

const LONGEST_JTI: usize = 255;

/// Why an assertion proves nothing. For the audit log only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unproven {
    #[error("`client_assertion_type` is missing or of another kind")]
    OtherType,
    #[error("`client_assertion` is missing")]
    Missing,
    #[error("the assertion: {0}")]
    Jws(#[from] Fault),
    #[error("the assertion's `iss` and `sub` are not one client")]
    Issuer,
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

/// An assertion as it came, and who it says to be from.
pub(super) struct Assertion<'a> {
    unverified: Unverified<'a>,
    pub(super) client: String,
}

impl<'a> Assertion<'a> {
    pub(super) fn read(kind: Option<&str>, text: Option<&'a str>) -> Result<Self, Unproven> {
        if kind != Some(JWT_BEARER) {
            return Err(Unproven::OtherType);
        }
        let unverified = Unverified::read(text.ok_or(Unproven::Missing)?, TYPES)?;
        let client = unverified.issuer().ok_or(Unproven::Issuer)?.to_owned();
        Ok(Self { unverified, client })
    }

    /// For a client that is not there, or has no keys.
    pub(super) fn prove_by_nobody(&self) {
        self.unverified.verify_by_nobody();
    }

    /// Whether it is the client's, for us, now, and for the first time.
    pub(super) async fn prove(
        &self,
        core: &Core,
        keys: &KeySet,
    ) -> Result<Result<(), Unproven>, Trouble> {
        let now = core.now();
        let (jti, exp) = match self.check(core.issuer.as_str(), keys, now) {
            Ok(checked) => checked,
            Err(unproven) => return Ok(Err(unproven)),
        };
        // Last, so that only what holds is remembered; and durable before it counts.
        let id = AssertionUse::id(&self.client, &jti);
        let used = AssertionUse { exp };
        let keep = Some(record::keep_until(exp, now));
        let is_first = core
            .store
            .put_new(
                &record::key::<AssertionUse>(&id),
                record::encode(&used)?,
                keep,
            )
            .await?;
        Ok(if is_first {
            Ok(())
        } else {
            Err(Unproven::Used)
        })
    }

    fn check(
        &self,
        issuer: &str,
        keys: &KeySet,
        now: UnixTime,
    ) -> Result<(String, UnixTime), Unproven> {
        let claims = self.unverified.verify(keys)?;
        let text = |name: &str| claims.get(name).and_then(Value::as_str);
        if text("iss") != Some(&self.client) || text("sub") != Some(&self.client) {
            return Err(Unproven::Issuer);
        }
        if text("aud") != Some(issuer) {
            return Err(Unproven::Audience);
        }
        let exp = time(&claims, "exp")
            .filter(|exp| now < *exp && exp.since(now) <= LONGEST + AHEAD)
            .ok_or(Unproven::Expiry)?;
        for name in ["iat", "nbf"] {
            let begins = time(&claims, name);
            let is_good = begins.is_some_and(|begins| begins <= now.plus(AHEAD));
            if claims.contains_key(name) && !is_good {
                return Err(Unproven::NotYet);
            }
        }
        let jti = text("jti")
            .filter(|jti| (1..=LONGEST_JTI).contains(&jti.len()))
            .ok_or(Unproven::NoId)?;
        Ok((jti.to_owned(), exp))
    }
}

/// Whole seconds as a number (RFC 7519 section 2); a text is none.
fn time(claims: &Map<String, Value>, name: &str) -> Option<UnixTime> {
    claims.get(name)?.as_u64().map(UnixTime::from_secs)
}
