//! Logout tokens of a provider (OpenID Connect Back-Channel Logout 1.0 section 2.6): read and verified with
//! the provider's keys. That each is good once, whoever has a store has to hold.

use std::time::Duration;

use jose::{Accepted, Fault as Jws, Unverified};
use serde_json::{Map, Value};
use service_kit::UnixTime;

use crate::discovery::keys;
use crate::{Fault, RelyingParty};

/// What a provider has ended.
#[derive(Debug, PartialEq, Eq)]
pub struct Farewell {
    pub sub: Option<String>,
    pub sid: Option<String>,
    /// When it said so.
    pub at: UnixTime,
    /// Of the logout token: it is good once.
    pub jti: String,
}

/// An ID token has no `events`, and a logout token no nonce: one is never taken for the other.
const TYPES: Accepted = Accepted {
    types: &["logout+jwt", "jwt"],
    untyped: true,
};

const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// Older ones are refused.
const OLDEST: Duration = Duration::from_mins(5);
const SKEW: Duration = Duration::from_mins(1);

/// After its `iat`, so long a logout token could be taken, and its `jti` is to be remembered.
pub const LOGOUT_TOKEN_LIFE: Duration = OLDEST.saturating_add(SKEW);

impl RelyingParty {
    /// What a logout token says, every check of which has held.
    pub async fn farewell(&self, token: &str, now: UnixTime) -> Result<Farewell, Fault> {
        let claims = self.signed(token).await?;
        read(self, &claims, now).ok_or(Fault::Invalid("the logout token's claims"))
    }

    async fn signed(&self, token: &str) -> Result<Map<String, Value>, Fault> {
        let unverified = Unverified::read(token, TYPES)
            .map_err(|_| Fault::Invalid("the logout token's form"))?;
        let metadata = self.metadata().await?;
        match unverified.verify(&keys(&metadata)?) {
            Ok(claims) => Ok(claims),
            Err(Jws::UnknownKey | Jws::OtherKey) => {
                let renewed = self.renewed_metadata().await?;
                unverified
                    .verify(&keys(&renewed)?)
                    .map_err(|_| Fault::Invalid("the logout token's key"))
            }
            Err(_) => Err(Fault::Invalid("the logout token's signature")),
        }
    }
}

/// None: a check of section 2.6 does not hold.
fn read(party: &RelyingParty, claims: &Map<String, Value>, now: UnixTime) -> Option<Farewell> {
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    let seconds = |name: &str| claims.get(name).and_then(Value::as_u64);
    let is_ours = match claims.get("aud")? {
        Value::String(one) => *one == party.client_id,
        Value::Array(all) => all.contains(&party.client_id.as_str().into()),
        _ => false,
    };
    let is_event = claims.get("events")?.get(EVENT)?.is_object();
    let at = UnixTime::from_secs(seconds("iat")?);
    let is_fresh = at <= now.plus(SKEW) && now < at.plus(OLDEST);
    let is_alive = match claims.get("exp") {
        Some(exp) => now < UnixTime::from_secs(exp.as_u64()?),
        None => true,
    };
    let is_good = is_ours
        && is_event
        && is_fresh
        && is_alive
        && text("iss")? == party.issuer
        && !claims.contains_key("nonce");
    let farewell = Farewell {
        sub: text("sub").map(str::to_owned),
        sid: text("sid").map(str::to_owned),
        at,
        jti: text("jti").filter(|jti| !jti.is_empty())?.to_owned(),
    };
    let is_about_somebody = farewell.sub.is_some() || farewell.sid.is_some();
    (is_good && is_about_somebody).then_some(farewell)
}
