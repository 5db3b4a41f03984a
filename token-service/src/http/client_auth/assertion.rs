//! `private_key_jwt`: who calls signs an assertion with a key of its own (RFC 7523 section 3).

use jose::{Accepted, KeySet, Unverified};
use serde_json::Value;
use store::Batch;

use crate::assertion::{Unproven, Use};
use crate::core::Core;
use crate::error::Trouble;

/// The only kind of assertion.
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

const TYPES: Accepted = Accepted {
    types: &["jwt", "client-authentication+jwt"],
    untyped: true,
};

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
        let used = match self.check(core, keys) {
            Ok(used) => used,
            Err(unproven) => return Ok(Err(unproven)),
        };
        // Last, so that only what holds is remembered; and durable before it counts.
        let first = core.store.commit(used.first(Batch::new(), core.now())?);
        Ok(if first.await?.is_applied() {
            Ok(())
        } else {
            Err(Unproven::Used)
        })
    }

    fn check(&self, core: &Core, keys: &KeySet) -> Result<Use, Unproven> {
        let claims = self.unverified.verify(keys)?;
        let text = |name: &str| claims.get(name).and_then(Value::as_str);
        if text("iss") != Some(&self.client) || text("sub") != Some(&self.client) {
            return Err(Unproven::Issuer);
        }
        Use::of(&claims, &self.client, core.issuer.as_str(), core.now())
    }
}
